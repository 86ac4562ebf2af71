package board

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// wiring is how lights and button hang on QEMU's board, as its owner would write it down.
const wiring = `[board]
chip = "9030000.pl061"
lights = [0, 1, 2, 4, 5, 6]
button = 7
button_active_high = true
`

const buttonPin = 7

// settings are what the owner writes onto the card's boot partition.
func (x *box) settings(text string) {
	x.Helper()
	path := filepath.Join(x.dir, "box.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		x.Fatal(err)
	}
	x.host("mcopy", "-o", "-i", fmt.Sprintf("%s@@%d", x.card, bootAt), path, "::/box.toml")
}

// press holds the button for so long.
func (x *box) press(d time.Duration) {
	x.Helper()
	for _, down := range []bool{true, false} {
		if err := x.m.SetPin(x.Context(), buttonPin, down); err != nil {
			x.Fatal(err)
		}
		if down {
			time.Sleep(d)
		}
	}
}

// tap is how long a finger taps.
const tap = 200 * time.Millisecond

// TestHands is a box out of its carton: nobody has a computer, only a finger.
func TestHands(t *testing.T) {
	t.Parallel()
	x := newBox(t)
	f := &family{box: x, anna: newPhone(x, "ANNA", 12, 1_000_000)}
	for _, s := range []struct {
		name, shows string
		do          func(*family)
	}{
		{"the first start", "a blank card, two drives and a phone, each taken in by a tap; the key lies on the card, and opens what is on the drives", first},
		{"a restore by the button", "a new phone has every byte after ten seconds of holding and a double tap", restore},
	} {
		if !x.play(s.name, s.shows, func() { s.do(f) }) {
			t.Fatal("what follows needs a box that is well:\n" + x.m.Log())
		}
	}
}

func first(f *family) {
	f.flash("")
	f.settings(wiring)
	f.boot()
	f.hear("B-18")
	for _, name := range []string{"drive1", "drive2"} {
		d := f.newDrive(name, 256*mib, "")
		f.drives = append(f.drives, d)
		f.plug(d)
		f.hear("a new drive: tap to use it")
		f.show("that light 2 breathes", func(l frame) bool { return l[1] > 0.3 && rest(l, 0) == l[1] })
		f.press(tap)
		if name == "drive1" {
			f.hear("the first of a new vault")
		} else {
			f.hear("The new drive belongs to the vault now.")
		}
	}
	out := f.connect(f.anna)
	f.hear("a new phone: tap to back it up from now on")
	f.show("that light 3 breathes", func(l frame) bool { return l[2] > 0.3 && rest(l, 0) == l[2] })
	f.press(tap)
	f.hear("all 12 files are in the vault, read back and compared")
	out()
	f.hear("unplugged")
}

func restore(f *family) {
	blank := newPhone(f.box, "BERTA", 0, 0)
	out := f.connect(blank)
	f.hear("a new phone: tap to back it up from now on")
	f.press(11 * time.Second)
	f.hear("double tap to restore")
	f.press(tap)
	time.Sleep(tap)
	f.press(tap)
	f.hear("the phone has everything")
	out()
	f.press(4 * time.Second)
	f.hear("all is written; the box is to be switched off")
	f.ends()
	f.site.key = f.keyOnCard()
	f.vaulted(f.anna)
	f.same("the new phone", f.holds(blank), f.holds(f.anna))
}

// keyOnCard copies the box's key off its card.
func (x *box) keyOnCard() string {
	x.Helper()
	perm, key := filepath.Join(x.dir, "perm.img"), filepath.Join(x.dir, "key.txt")
	x.host("dd", "if="+x.card, "of="+perm, "bs=1M", "status=none", "conv=sparse", fmt.Sprintf("skip=%d", permAt/mib))
	x.host("debugfs", "-R", "dump /box/key.txt "+key, perm)
	return key
}
