package board

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpdate plays the Raspberry Pi's loader, too: it reads the command line from the card's boot partition, and the trial's once
// after the box has asked for that (docs/adr/048-how-an-update-is-tried.md).
func TestUpdate(t *testing.T) {
	t.Parallel() // a trial takes two minutes of waiting
	x := newBox(t)
	f := newFamily(x, 2)
	for _, s := range []struct {
		name, shows string
		do          func(*family)
	}{
		{"an update", "a signed file on a drive is installed, tried, found healthy and kept; lights 1 and 5 alternate", good},
		{"a bad update", "it is tried twice, the watchdog ends it, and the box is back with what it ran before, and says so", bad},
	} {
		if !x.play(s.name, s.shows, func() { s.do(f) }) {
			t.Fatal("what follows needs a box that is well:\n" + x.m.Log())
		}
	}
}

// release makes a signed update and returns a stick with it. what says where its root comes from.
func (x *box) release(version, what, file string) *drive {
	x.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		x.Fatal(err)
	}
	dir := filepath.Join(x.dir, "release"+version)
	if err := os.Mkdir(dir, 0o755); err != nil {
		x.Fatal(err)
	}
	x.host("go", "run", "../update/sign", "-key", filepath.Join(root, ".cache", "board", "update.pem"), what, file, "-version", version, "-counter", version,
		"-out", filepath.Join(dir, "boxd-"+version+".update"))
	return x.newDrive("stick"+version, 192*mib, dir)
}

func good(f *family) {
	b, err := built()
	if err != nil {
		f.Fatal(err)
	}
	stick := f.release("2", "-image", b.image)
	f.start()
	f.plug(stick)
	f.show("light 1 or 5 alone", func(l frame) bool { return l[0] > 0.5 && rest(l, 1) == 0 })
	f.show("the other one", func(l frame) bool { return l[4] > 0.5 && rest(l, 0) == l[4] })
	f.hear("The box starts anew with version 2.")
	f.hear(`with "0 tryboot"`)
	f.ends()
	f.trial = true
	f.start()
	f.hear("The update is good and is kept")
	f.cut()
	if line := f.cmdline("cmdline.txt"); !strings.Contains(line, "-03 ") {
		f.Errorf("it is not what starts from now on: %s", line)
	}
}

func bad(f *family) {
	// Whatever the next release holds in boxd's place, it is no program.
	packed := f.repack(func(root string) {
		path := filepath.Join(root, "user", "boxd")
		if err := os.Chmod(path, 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("no program"), 0o755); err != nil {
			f.Fatal(err)
		}
	})
	stick := f.release("3", "-root", packed)
	f.start()
	f.plug(stick)
	for try := range 2 {
		f.hear(`with "0 tryboot"`)
		f.ends()
		f.trial, f.args = true, " i6300esb.heartbeat=20" // nothing will come that could be slow
		f.boot()
		f.hear("exec format error")
		f.ends() // by its watchdog
		f.args = ""
		f.boot()
		f.plug(f.drives...)
		if try == 0 {
			f.hear("version 3 is tried once more")
		}
	}
	f.hear("* needs you  B-96")
	out := f.connect(f.anna)
	f.hear("files are in the vault, read back and compared")
	out()
	f.cut()
	if line := f.cmdline("cmdline.txt"); !strings.Contains(line, "-03 ") {
		f.Errorf("what was kept is not what starts: %s", line)
	}
	f.vaulted(f.anna)
}
