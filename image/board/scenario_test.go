package board

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

// family is a box that was set up, its drives, and the phone that it knows.
type family struct {
	*box
	site    site
	drives  []*drive
	fuse    vm.Fuse // of the drives
	anna    *phone
	readyAt time.Time // at the last start
}

// newFamily sets a box up with so many drives, any one of which may die: of two, each holds everything.
func newFamily(x *box, drives int) *family {
	x.Helper()
	f := &family{box: x, anna: newPhone(x, "ANNA", 12, 1_000_000)}
	f.site = newSite(x, drives, f.anna)
	x.flash(f.site.perm)
	for i, dir := range f.site.drives {
		d := x.newDrive(fmt.Sprintf("drive%d", i+1), 256*mib, dir)
		d.disk.Fuse = &f.fuse
		f.drives = append(f.drives, d)
	}
	return f
}

// TestScenarios is one box's life. The scenarios follow each other, some on a machine that runs already.
func TestScenarios(t *testing.T) {
	t.Parallel()
	x := newBox(t)
	f := newFamily(x, 2)
	for _, s := range []struct {
		name, shows string
		do          func(*family)
	}{
		{"an overnight backup", "nobody is there; every file is stored, and done is shown", backup},
		{"the cable comes out in the middle of a file", "light 1 and amber; plugged in again, it goes on where it was; both drives hold every byte", unplug},
		{"the power goes during a backup", "nothing that was acknowledged is lost; the next start needs nobody; both drives hold every byte", powerCut},
	} {
		if !f.play(s.name, s.shows, func() { s.do(f) }) {
			t.Fatal("what follows needs a box that is well:\n" + f.m.Log())
		}
	}
}

func (f *family) start(extra ...string) {
	f.Helper()
	f.boot(extra...)
	f.plug(f.drives...)
	f.hear("* idle")
	f.readyAt = time.Now()
	f.show("the dot of a box that is ready", dot)
}

// all is what the box says of a phone that is wholly stored.
func (f *family) all() string {
	n := 0
	for _, e := range f.anna.storage.Entries() {
		if !e.Folder {
			n++
		}
	}
	return fmt.Sprintf("all %d files are in the vault, read back and compared", n)
}

func (f *family) done() { f.Helper(); f.hear(f.all()) }

// vaulted has stock restic read each drive, and compares what it finds of the newest snapshot with the phone.
func (f *family) vaulted(p *phone) {
	f.Helper()
	for _, d := range f.drives {
		f.same(d.name, f.stored(f.site.key, f.unpack(d)), f.holds(p))
	}
}

// What the lights may show.
func dot(f frame) bool  { return f[0] > 0 && f[0] <= 0.03 && rest(f, 1) == 0 }
func full(f frame) bool { return rest(f, 0) > 4.9 && f[5] == 0 }

// trouble is the one steady light and amber, at the moment when that is lit.
func trouble(light int) func(frame) bool {
	return func(f frame) bool { return f[light-1] > 0.9 && f[5] > 0.5 && rest(f, 0)-f[light-1] == 0 }
}

// rest is the sum of the white lights from one on.
func rest(f frame, from int) (sum float64) {
	for _, v := range f[from:5] {
		sum += v
	}
	return sum
}

// Nobody is there: the phone that the box knows is plugged in, and in the morning everything is stored.
func backup(f *family) {
	f.start()
	out := f.connect(f.anna)
	f.hear("all 12 files are in the vault, read back and compared")
	f.show("the full bar of done", full)
	out()
	f.hear("unplugged")
}

// mostAgain is how many bytes may be read twice when the cable came out: docs/adr/032-resume-within-a-file.md.
const mostAgain = 8 * mib

// The cable comes out in the middle of a large file. The box says so; plugged in again, it goes on from there.
func unplug(f *family) {
	const video = "DCIM/Camera/VID_0001.mp4"
	f.anna.put(f.box, video, 24*mib)
	f.anna.UnplugIn(video, 15*mib)
	out := f.connect(f.anna)
	f.hear("B-02")
	f.show("light 1 and amber", trouble(1))
	out()
	f.anna.ResetStats()
	out = f.connect(f.anna)
	f.hear("all 13 files are in the vault, read back and compared")
	f.show("the full bar of done", full)
	if again := f.anna.Stats().SentAgain(); again > mostAgain {
		f.Errorf("%d bytes were read again", again)
	}
	out()
	f.cut()
	f.vaulted(f.anna)
}

// The power goes while a backup is being written. What was acknowledged is there, what was not is backed up when the phone is
// plugged in the next time, and nobody has to do anything.
func powerCut(f *family) {
	f.start()
	for i := range 8 {
		f.anna.put(f.box, "Download/"+strings.Repeat("x", i+1)+".bin", 4*mib)
	}
	f.anna.ResetStats()
	f.connect(f.anna)
	f.until("half of the files have come", func() bool { return f.anna.Stats().Sent() > 16*mib })
	select {
	case <-f.fuse.Arm(20):
	case <-time.After(patience):
		f.Fatal("nothing more is written:\n" + f.m.Log())
	}
	f.cut()
	f.silent("all 21 files")
	f.fuse.Mend()
	for _, d := range f.drives {
		f.Logf("%s: %d sectors that were not flushed are lost", d.name, d.disk.Lost())
	}
	f.start()
	out := f.connect(f.anna)
	f.hear("all 21 files are in the vault, read back and compared")
	f.show("the full bar of done", full)
	out()
	f.cut()
	f.vaulted(f.anna)
}
