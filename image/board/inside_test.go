package board

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

// repack changes the first root of the box's card as change says, and returns the file that has it; the card stays as it is.
func (x *box) repack(change func(root string)) string {
	x.Helper()
	root, packed := filepath.Join(x.dir, "root"), filepath.Join(x.dir, "root.squashfs")
	x.host("rm", "-rf", root)
	x.host("unsquashfs", "-q", "-n", "-no-xattrs", "-o", fmt.Sprint(rootAt), "-d", root, x.card)
	change(root)
	x.host("mksquashfs", root, packed, "-comp", "gzip", "-Xcompression-level", "1", "-b", "256K", "-action", "uncompressed @ name(boxd) || name(init) || name(e2fsck)", // as image/pack
		"-all-root", "-no-xattrs", "-noappend", "-no-progress", "-quiet")
	return packed
}

// withProbe puts the probe onto the box's card, in its first root, beside boxd, or in its place.
func (x *box) withProbe(inPlace bool) {
	x.Helper()
	probe := filepath.Join(x.dir, "probe")
	x.host("env", "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", probe, "./probe")
	packed := x.repack(func(root string) {
		boxd := filepath.Join(root, "user", "boxd")
		if !inPlace {
			x.host("cp", probe, filepath.Join(root, "user", "probe"))
			return
		}
		if err := os.Rename(boxd, filepath.Join(root, "user", "realboxd")); err != nil {
			x.Fatal(err)
		}
		x.host("cp", probe, boxd)
	})
	x.host("dd", "if="+packed, "of="+x.card, "bs=1M", "conv=notrunc", "status=none", fmt.Sprintf("seek=%d", rootAt/mib))
}

// ask has the probe look, and returns what it says, each without the word before it.
func (x *box) ask(what, word string) (said []string) {
	x.Helper()
	if err := x.m.Type(what); err != nil {
		x.Fatal(err)
	}
	for {
		line, err := x.listen("probe: ")
		if err != nil {
			x.Fatalf("%s: %v\n%s", what, err, x.m.Log())
		}
		if line == "probe: done" {
			return said
		}
		if rest, ok := strings.CutPrefix(line, "probe: "+word+" "); ok {
			said = append(said, rest)
		}
	}
}

// rss is what boxd has in memory, in MB: now, and at most since it was started.
func (x *box) rss() (now, most float64) {
	x.Helper()
	for _, line := range x.ask("memory", "VmRSS") {
		fmt.Sscanf(line, "%f kB", &now)
	}
	for _, line := range x.ask("memory", "VmHWM") {
		fmt.Sscanf(line, "%f kB", &most)
	}
	if now == 0 || most == 0 {
		x.Fatalf("boxd has %v MB, %v at most", now/1000, most/1000)
	}
	return now / 1000, most / 1000
}

// TestInside looks at the box from within: what is open, what runs, how much memory it takes, what becomes of one that hangs.
func TestInside(t *testing.T) {
	x := newBox(t)
	f := newFamily(x, 2)
	x.withProbe(false)
	for _, s := range []struct {
		name, shows string
		do          func()
	}{
		{"a start", "the box gets ready; how soon, beside an empty init on the same kernel, is among the figures", func() { starts(f) }},
		{"a wireless network, and no radio", "the owner names one in box.toml: its passphrase is erased there, and all that follows is as without; the four modules of the radios' driver are all that the kernel has", func() { wireless(f) }},
		{"nothing is open but the page", "one port, no shell, a root that cannot be written; a keyboard and a network adapter that are plugged in get nothing", func() { closed(f) }},
		{"memory", "at rest and during a backup, with 512 MiB in the board", func() { memory(f) }},
		{"boxd hangs", "the watchdog resets the board, and the next start needs nobody", func() { hang(f) }},
	} {
		if !x.play(s.name, s.shows, s.do) {
			t.Fatal("what follows needs a box that is well:\n" + x.m.Log())
		}
	}
}

// strangers are what nobody should plug in; they are there from the start.
var strangers = []string{"-device", "usb-kbd,bus=usb.0", "-netdev", "user,id=stranger,restrict=on", "-device", "usb-net,bus=usb.0,netdev=stranger,mac=52:54:00:99:99:99"}

const passphrase = "correct horse battery"

// wireless has the owner name a network that the board has no radio for. The box starts anew for it, and then lives with it.
func wireless(f *family) {
	f.settings(wiring + "[wifi]\nssid = \"home\"\ncountry = \"DE\"\npassphrase = \"" + passphrase + "\"\n")
	f.boot()
	f.hear("the box knows of another wireless network now, and is started anew")
	f.ends()
	f.silent(passphrase)
	if left := f.host("mtype", "-i", fmt.Sprintf("%s@@%d", f.card, bootAt), "::/box.toml"); strings.Contains(left, "horse") || !strings.Contains(left, "home") {
		f.Errorf("on the card is now\n%s", left)
	}
	f.start(strangers...)
}

// starts measures an empty init and the box by turns, from when the board has power, and takes the fastest of each. All that is
// plugged in is the same; the empty init is the probe, on the same card. The box was switched off, or its plug was pulled before.
func starts(f *family) {
	rounds := 1
	if *report != "" {
		rounds = 5
	}
	f.settings(wiring)
	f.start(strangers...) // the first one, which is not measured
	empty, ready, again := time.Hour, time.Hour, time.Hour
	for i := range rounds {
		if i > 0 {
			f.start(strangers...)
		}
		f.press(4 * time.Second)
		f.hear("all is written; the box is to be switched off")
		f.ends()
		from := time.Now()
		f.args = " init=/user/probe"
		f.boot(strangers...)
		f.plug(f.drives...)
		f.hear("probe: up")
		empty = min(empty, time.Since(from))
		f.cut()
		from, f.args = time.Now(), ""
		f.start(strangers...)
		ready = min(ready, f.readyAt.Sub(from))
		f.cut()
		from = time.Now()
		f.start(strangers...)
		again = min(again, f.readyAt.Sub(from))
		f.cut()
	}
	figure(f.T, "from power to ready, beside an empty init on the same kernel, card and board",
		fmt.Sprintf("%.1f s, %.1f s: %.2f times; after a power cut %.2f times", ready.Seconds(), empty.Seconds(), ready.Seconds()/empty.Seconds(), again.Seconds()/empty.Seconds()), "1.5 times")
	f.withProbe(true)
}

// rights are what each program may do (docs/adr/054-who-may-do-what.md): process 1 alone may do everything. The last one is the probe,
// which boxd's place has started.
var rights = []string{
	"/gokrazy/init  Uid=0,0,0,0 Gid=0,0,0,0 Groups= CapEff=000001ffffffffff CapBnd=000001ffffffffff NoNewPrivs=0",
	"/gokrazy/init network Uid=1,1,1,1 Gid=1,1,1,1 Groups= CapEff=0000000002003000 CapBnd=0000000002003000 NoNewPrivs=1",
	"/gokrazy/init ports Uid=2,2,2,2 Gid=2,2,2,2 Groups= CapEff=0000000000000000 CapBnd=0000000000000000 NoNewPrivs=1",
	"/user/realboxd run Uid=0,0,0,0 Gid=0,0,0,0 Groups= CapEff=0000000000a2040a CapBnd=0000000000a2040a NoNewPrivs=1",
	"probe watch Uid=0,0,0,0 Gid=0,0,0,0 Groups= CapEff=0000000000a2040a CapBnd=0000000000a2040a NoNewPrivs=1",
}

func closed(f *family) {
	sockets := f.ask("look", "socket")
	allowed := []string{"tcp6 80 <nil>"}
	for _, s := range sockets {
		if !slices.Contains(allowed, s) {
			f.Errorf("open besides the page: %s", s)
		}
	}
	if !slices.Contains(sockets, allowed[0]) {
		f.Errorf("the page is not: %q", sockets)
	}
	for _, p := range f.ask("look", "process") {
		if name, _, _ := strings.Cut(p, " "); !slices.Contains([]string{"/gokrazy/init", "/user/realboxd", "probe"}, name) {
			f.Errorf("what runs: %s", p)
		}
	}
	if got := f.ask("look", "rights"); !slices.Equal(slices.Sorted(slices.Values(got)), rights) {
		f.Errorf("what runs may do\n%s\nand should\n%s", strings.Join(got, "\n"), strings.Join(rights, "\n"))
	}
	for _, l := range f.ask("look", "link") {
		if name, rest, _ := strings.Cut(l, " "); name != "lo" && name != "eth0" && strings.HasPrefix(rest, "true") {
			f.Errorf("a network adapter that was plugged in is up: %s", l)
		}
	}
	for _, w := range f.ask("look", "write") {
		if !strings.HasSuffix(w, "read-only file system") {
			f.Errorf("write %s", w)
		}
	}
	otherCard(f)
	if m := f.ask("look", "modules disabled"); !slices.Equal(m, []string{"1 <nil>"}) {
		f.Errorf("modules: %q", m)
	}
	// Of the kernel's own words, those of a country's rules are believed only with their makers' signature.
	for _, words := range []string{"wifi: the rules are those of DE", "wifi: this board has no radio"} {
		f.until("init says "+words, func() bool { return strings.Contains(f.m.Log(), words) })
	}
	modules := f.ask("look", "module")
	if slices.Sort(modules); !slices.Equal(modules, []string{"brcmfmac", "brcmfmac_cyw", "brcmfmac_wcc", "brcmutil"}) {
		f.Errorf("modules: %q", modules)
	}
	f.silent(passphrase)
	// All that a keyboard, or whoever has the serial line, could tell the kernel itself.
	for _, keys := range []string{"ctrl-alt-delete", "alt-sysrq-i", "alt-sysrq-b", "ctrl-c", "ret"} {
		if _, err := f.m.Monitor(f.Context(), "sendkey %s", keys); err != nil {
			f.Fatal(err)
		}
	}
	if err := f.m.Command(f.Context(), "chardev-send-break", map[string]any{"id": "serial0"}, nil); err != nil {
		f.Fatal(err)
	}
	if err := f.m.Type("b"); err != nil { // reboots, if the kernel listens
		f.Fatal(err)
	}
	f.ask("look", "socket")
	f.silent("sysrq", "init: starting\ninit: starting", "to be started anew")
}

// otherCard is that of another box, with the same signature: nothing of it is used, and when it is gone all is well.
func otherCard(f *family) {
	b, err := built()
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.dir, "other")
	f.host("cp", "--sparse=always", b.image, path)
	d := &drive{"other", vm.NewDisk(path, "usb-storage,bus=usb.0,removable=on,drive=DRIVE,serial=other", 1)}
	f.plug(d)
	f.hear("B-17")
	for _, m := range f.ask("look", "mount") {
		if strings.HasPrefix(m, "/perm ") && !strings.HasSuffix(m, " /dev/vda4") || strings.Contains(m, "squashfs") && !strings.HasPrefix(m, "/ ") || strings.Contains(m, "/dev/sdc") {
			f.Errorf("another box's card is used: %s", m)
		}
	}
	if err := f.m.PullDisk(f.Context(), d.name, d.disk); err != nil {
		f.Fatal(err)
	}
	f.hear("* idle")
}

func memory(f *family) {
	rest, _ := f.rss()
	out := f.connect(f.anna)
	f.hear("files are in the vault, read back and compared")
	_, most := f.rss()
	out()
	f.hear("unplugged")
	figure(f.T, "boxd in memory at rest", fmt.Sprintf("%.0f MB", rest), "40 MB")
	figure(f.T, "boxd in memory at most, after a backup", fmt.Sprintf("%.0f MB", most), "200 MB")
	if rest > 40 || most > 200 {
		f.Error("that is too much")
	}
}

func hang(f *family) {
	f.ask("stop", "")
	f.ends()
	f.start()
	f.ask("look", "process")
	f.cut()
	f.vaulted(f.anna)
}
