package drive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	monday = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	friday = time.Date(2026, 11, 27, 20, 0, 0, 0, time.UTC)
)

func pageDrive(t *testing.T) *Drive {
	t.Helper()
	d, err := Create(t.TempDir(), "0f8fad5b-d9cb-469f-a165-70867728950e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// show shows a page, which must be written or not, and returns what is on the drive under a name.
func show(t *testing.T, d *Drive, p Page, now time.Time, written bool, name string) string {
	t.Helper()
	changed, err := d.ShowPage(p, now)
	if err != nil || changed != written {
		t.Fatalf("%+v: written %v, %v; want %v", p, changed, err, written)
	}
	b, err := os.ReadFile(filepath.Join(d.Dir(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wants(t *testing.T, page string, there, not []string) {
	t.Helper()
	flat := strings.Join(strings.Fields(page), " ")
	for _, s := range there {
		if !strings.Contains(flat, s) {
			t.Errorf("it does not say %q:\n%s", s, page)
		}
	}
	for _, s := range not {
		if strings.Contains(flat, s) {
			t.Errorf("it says %q:\n%s", s, page)
		}
	}
}

// TestPageTellsWhatIs: the page follows what the box says of its drives, and is written only when that changes.
func TestPageTellsWhatIs(t *testing.T) {
	d := pageDrive(t)
	one := Page{Drives: 1, Needed: 1, Complete: true}
	first := show(t, d, one, monday, true, pageName)
	wants(t, first, []string{"0f8fad5b", d.ID()[:8], "held everything since 23 November 2026", "restic -r", "no rescue program"}, []string{"The box has", "rescue-windows", d.ID()[:10]})
	if again := show(t, d, one, friday, false, pageName); again != first {
		t.Error("it changed")
	}
	two := Page{Drives: 2, Needed: 1, Complete: true, Programs: []string{"rescue-linux", "rescue-windows.exe"}}
	wants(t, show(t, d, two, friday, true, pageName), []string{"since 23 November 2026", "As of 27 November 2026", "The box has 2 drives", "rescue-windows", "sudo"}, []string{"rescue-mac", "no rescue program"})
	three := Page{Drives: 3, Needed: 2, Programs: []string{"rescue-mac"}}
	wants(t, show(t, d, three, friday, true, pageName), []string{"Any 2 of them are enough", "2 of the 3 drives", "rescue-mac-intel"}, []string{"held everything", "restic -r", "rescue-windows"})
	wants(t, show(t, d, Page{Drives: 3, Needed: 3}, friday, true, pageName), []string{"all of them are needed"}, []string{"Any 3"})
	// A clock that was never set dates nothing.
	wants(t, show(t, d, two, time.Unix(1000, 0), true, pageName), []string{"enough to get everything back"}, []string{"As of", "1970", "since"})
}

// TestPageOfTheOwner: what the owner wrote, or made of ours, stays.
func TestPageOfTheOwner(t *testing.T) {
	d := pageDrive(t)
	p := Page{Drives: 2, Needed: 1}
	edited := strings.Replace(show(t, d, p, monday, true, pageName), "phone backup box", "box of Ann, phone 555-0100", 1)
	for _, own := range []string{"<p>my drive", edited, ""} {
		name := filepath.Join(d.Dir(), pageName)
		if err := os.WriteFile(name, []byte(own), 0o644); err != nil {
			t.Fatal(err)
		}
		p.Needed++
		wants(t, show(t, d, p, friday, true, otherPage), []string{"belongs to a phone backup box"}, nil)
		show(t, d, p, friday, false, otherPage)
		if b, err := os.ReadFile(name); err != nil || string(b) != own {
			t.Errorf("the owner's page became %.100q, %v", b, err)
		}
	}
	if err := os.Remove(filepath.Join(d.Dir(), pageName)); err != nil {
		t.Fatal(err)
	}
	show(t, d, p, friday, true, pageName)
	if _, err := os.Stat(filepath.Join(d.Dir(), otherPage)); err == nil {
		t.Error("two pages of ours")
	}
	for _, name := range []string{pageName, otherPage} {
		if err := os.WriteFile(filepath.Join(d.Dir(), name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := d.ShowPage(p, friday); err == nil || changed {
		t.Errorf("both names taken: %v, %v", changed, err)
	}
}

// FuzzParsePage: whatever lies there, only what we wrote is taken for ours.
func FuzzParsePage(f *testing.F) {
	good, err := pageOf(newFacts(newIdentity("0f8fad5b-d9cb-469f-a165-70867728950e"), Page{Drives: 2, Needed: 1, Programs: []string{"rescue-mac"}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, 0)
	f.Add(good[:len(good)-1], 5)
	f.Add([]byte("<!-- e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 -->\n"), 0)
	f.Fuzz(func(t *testing.T, p []byte, flip int) {
		facts, ours := parsePage(p)
		if bytes.Equal(p, good) && (!ours || facts.Drives != 2 || facts.Programs[0] != "rescue-mac") {
			t.Errorf("our own page: %v %+v", ours, facts)
		}
		if len(p) == 0 || !ours {
			return
		}
		q := bytes.Clone(p)
		q[uint(flip)%uint(len(q))] ^= 1
		if _, ours := parsePage(q); ours {
			t.Errorf("with a bit flipped at %d it is ours still", uint(flip)%uint(len(q)))
		}
	})
}
