package usbhost_test

import (
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
)

func TestTallyAccountsForEveryFile(t *testing.T) {
	tally := usbhost.NewTally(nil)
	tally.List(4, 100)
	tally.Start("a", 10).Stored()
	tally.Start("b", 20).Kept()
	tally.Start("c", 30).Failed("cannot be read", true)
	if n := tally.Report().Unaccounted(); n != 1 {
		t.Errorf("one file is open, Unaccounted() = %d", n)
	}
	tally.Start("d", 40).Gone()
	tally.Remark("link", "a symbolic link", false)
	r := tally.Report()
	if r.Unaccounted() != 0 || r.Listed != 3 || r.Stored != 1 || r.Kept != 1 || r.Bytes != 30 || len(r.Problems) != 2 {
		t.Errorf("report %+v", r)
	}
	if r.Complete() {
		t.Error("a run with problems counts as complete")
	}
}

func TestAFileThatIsTakenBackCountsOnce(t *testing.T) {
	var last usbhost.Progress
	tally := usbhost.NewTally(func(p usbhost.Progress) { last = p })
	tally.List(2, 30)
	tally.Start("a", 10).Stored()
	tally.Start("b", 20).Stored()
	tally.TakeBack(20, 25)
	if n := tally.Report().Unaccounted(); n != 1 {
		t.Errorf("one file is open, Unaccounted() = %d", n)
	}
	tally.Start("b", 25).Stored()
	if r := tally.Report(); r.Stored != 2 || r.Bytes != 35 || !r.Complete() {
		t.Errorf("report %+v", r)
	}
	if last.Files != 2 || last.FilesTotal != 2 || last.Bytes != 35 || last.BytesTotal != 35 {
		t.Errorf("progress %+v", last)
	}
}

func TestTallyShowsTheLastFileAndStaysQuietBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []usbhost.Progress
		tally := usbhost.NewTally(func(p usbhost.Progress) { seen = append(seen, p) })
		tally.List(1000, 1000)
		for range 1000 {
			time.Sleep(time.Millisecond)
			item := tally.Start("f", 1)
			item.Moved(1)
			item.Moved(1) // read again: twice over the cable, once in the total
			item.Stored()
		}
		last := seen[len(seen)-1]
		if last.Files != 1000 || last.Bytes != 1000 || last.Moved != 2000 {
			t.Errorf("last progress %+v", last)
		}
		if len(seen) > 6 {
			t.Errorf("%d calls in a second", len(seen))
		}
	})
}
