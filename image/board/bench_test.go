package board

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

var (
	inVM       = flag.Bool("vm", false, "boot the box in QEMU: make board")
	everything = flag.Bool("all", false, "all scenarios, not only those of CI: they take a quarter of an hour more")
	report     = flag.String("report", "", "write how it went to this `file`, such as docs/E2E.md")
)

const (
	// silence is how long the machine may say nothing; it is slow where the processor is only imitated.
	silence = 4 * time.Minute
	// patience is how long one thing may be waited for, whatever the machine says meanwhile.
	patience = 6 * time.Minute

	mib = 1 << 20
	// Where the image has its partitions: image/pack.
	bootAt = 4 * mib
	rootAt = bootAt + 128*mib
	permAt = rootAt + 2*192*mib
	// cardSize is how large the card is that the image is written to: /perm grows to its end.
	cardSize = permAt + 256*mib
)

// tools are what all scenarios use.
type tools struct {
	image  string // the card's, as make card writes it
	kernel string // from that image
	boxd   string // for this machine
	restic string // stock
}

// built looks for the image, and makes the rest, once.
var built = sync.OnceValues(func() (b tools, err error) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return b, err
	}
	b.image, b.restic = filepath.Join(root, "bin", "card.img"), filepath.Join(root, ".cache", "bin", "restic")
	if _, err := os.Stat(b.image); err != nil {
		return b, fmt.Errorf("%w: make board makes it", err)
	}
	dir := filepath.Join(root, ".cache", "board")
	b.kernel, b.boxd = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "boxd")
	part := fmt.Sprintf("%s@@%d", b.image, bootAt)
	for _, c := range [][]string{
		{"mkdir", "-p", dir},
		{"go", "build", "-trimpath", "-o", b.boxd, "./cmd/boxd"},
		{"mcopy", "-n", "-o", "-i", part, "::/vmlinuz", b.kernel},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	return b, nil
})

// box is one box on the bench, over as many starts and scenarios as it is used for, and who sits before it.
type box struct {
	*testing.T            // the scenario's
	owner      *testing.T // whose end is the box's
	since      time.Time  // when its life began
	long       bool       // too long a life for CI
	dir        string     // for all that belongs to it
	card       string     // the image of its SD card
	cardFuse   vm.Fuse    // of the card
	trial      bool       // the next start, and no other, is with the trial's line of arguments
	args       string     // more for the kernel's line of arguments
	m          *vm.Machine
	eye        *eye      // on its lights
	reel       *reel     // what they have shown
	scenario   *scenario // what is played now; nil between
}

// need skips a test that nobody asked for: asked for by -vm, nothing may be missing.
func need(t *testing.T) {
	t.Helper()
	if !*inVM {
		t.Skip("boots the box in QEMU, which takes minutes: make board")
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil { // of all tests: they run side by side
		t.Fatal(err)
	}
	for program, pkg := range map[string]string{vm.Program: "qemu-system-arm", "mcopy": "mtools", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v (Debian: %s)", err, pkg)
		}
	}
}

// newBox has nothing yet, not even a card.
func newBox(t *testing.T) *box {
	t.Helper()
	need(t)
	return &box{T: t, owner: t, since: time.Now(), dir: t.TempDir(), reel: &reel{}}
}

// newLongBox is for scenarios that take too long for CI.
func newLongBox(t *testing.T) *box {
	t.Helper()
	if need(t); !*everything {
		t.Skip("takes minutes more: make e2e-all")
	}
	x := newBox(t)
	x.long = true
	return x
}

// flash writes the image to a card for the box. perm, if not "", is a folder whose contents then lie on /perm.
func (x *box) flash(perm string) {
	x.Helper()
	b, err := built()
	if err != nil {
		x.Fatal(err)
	}
	x.card = filepath.Join(x.dir, "card")
	x.host("cp", "--sparse=always", b.image, x.card)
	if err := os.Truncate(x.card, cardSize); err != nil {
		x.Fatal(err)
	}
	if perm != "" {
		x.host("mke2fs", "-q", "-F", "-t", "ext4", "-L", "perm", "-d", perm, "-E", fmt.Sprintf("offset=%d,root_owner=0:0", permAt), x.card, "64M")
	}
}

// host runs a program here and returns what it says.
func (x *box) host(name string, args ...string) string {
	x.Helper()
	said, err := x.try(name, args...)
	if err != nil {
		x.Fatalf("%s %q: %v\n%s", name, args, err, said)
	}
	return said
}

func (x *box) try(name string, args ...string) (string, error) {
	out, err := exec.CommandContext(x.Context(), name, args...).CombinedOutput()
	return string(out), err
}

// slack is how long the board's watchdog waits for boxd, in seconds: an imitated processor that has company is slow.
const slack = " i6300esb.heartbeat=60"

// cmdline is a line of arguments for the kernel on the card's boot partition, as the board's loader passes it on.
func (x *box) cmdline(name string) string {
	x.Helper()
	line := x.host("mtype", "-i", fmt.Sprintf("%s@@%d", x.card, bootAt), "::/"+name)
	// The serial port has another name on QEMU's board.
	return strings.ReplaceAll(strings.TrimSpace(line), "console=serial0,115200", "console=ttyAMA0") + slack
}

// boot plugs the box's power in. extra are more of QEMU's options.
func (x *box) boot(extra ...string) {
	x.Helper()
	b, err := built()
	if err != nil {
		x.Fatal(err)
	}
	name := "cmdline.txt"
	if x.trial {
		name, x.trial = "trial.txt", false
	}
	card := vm.NewDisk(x.card, "virtio-blk-pci,drive=DRIVE", 1)
	card.Fuse = &x.cardFuse
	x.m, err = vm.Boot(x.owner.Context(), vm.Config{Kernel: b.kernel, Memory: 512, Args: x.cmdline(name) + x.args, Disks: []*vm.Disk{card},
		Extra: append([]string{"-device", "i6300esb", "-action", "watchdog=reset", "-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:80",
			"-device", "virtio-net-pci,netdev=net"}, extra...)})
	if err != nil {
		x.Fatal(err)
	}
	x.eye = x.watch()
	m, e := x.m, x.eye
	x.owner.Cleanup(func() {
		e.close()
		if err := m.CutPower(); err != nil {
			x.owner.Error(err)
		}
	})
}

// cut pulls the box's plug, and those of all that hangs on it.
func (x *box) cut() {
	x.Helper()
	x.eye.close()
	if err := x.m.CutPower(); err != nil {
		x.Error(err)
	}
}

// ends waits until the machine has ended by itself.
func (x *box) ends() {
	x.Helper()
	ended := make(chan error, 1)
	m := x.m
	go func() { ended <- m.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			x.Error(err)
		}
	case <-time.After(patience):
		x.Fatal("the machine does not end:\n" + m.Log())
	}
	x.eye.close()
}

// hear reads the console up to a line that holds text, and returns it.
func (x *box) hear(text string) string {
	x.Helper()
	line, err := x.listen(text)
	if err != nil {
		x.Fatalf("waiting for %q: %v\n%s", text, err, x.m.Log())
	}
	if s := x.scenario; s != nil {
		s.heard = append(s.heard, heard{time.Now(), line})
	}
	return line
}

func (x *box) listen(text string) (string, error) {
	for from := time.Now(); time.Since(from) < patience; {
		asked := time.Now()
		line, ok := x.m.Next(silence)
		switch {
		case !ok && time.Since(asked) < silence:
			return "", errors.New("the box ended") // by its watchdog, where nothing says so
		case !ok:
			return "", fmt.Errorf("the box said nothing for %v", silence)
		}
		if strings.Contains(line, text) {
			return line, nil
		}
	}
	return "", errors.New("it did not come")
}

// silent fails if the console ever said one of the words.
func (x *box) silent(words ...string) {
	x.Helper()
	for _, w := range words {
		if strings.Contains(x.m.Log(), w) {
			x.Errorf("the console says %q:\n%s", w, x.m.Log())
		}
	}
}
