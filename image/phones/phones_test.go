package main_test

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

var inVM = flag.Bool("vm", false, "boot the test machine in QEMU: make e2e")

// silence is how long the machine may say nothing; it is slow where the processor is only imitated.
const silence = 2 * time.Minute

// lab is a machine that runs, and who sits before it.
type lab struct {
	*testing.T
	m *vm.Machine
}

// boot starts a machine with the box's kernel and boxd. phones are QEMU's devices; args go to the kernel.
func boot(t *testing.T, args string, phones ...string) *lab {
	t.Helper()
	need(t)
	kernel, err := vm.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := vm.Config{Kernel: kernel, Args: args}
	for _, p := range phones {
		c.Extra = append(c.Extra, "-device", p)
	}
	return start(t, c, map[string]string{"boxd": build(t, "./cmd/boxd")})
}

// need skips a test that nobody asked for, or that cannot be.
func need(t *testing.T) {
	t.Helper()
	if !*inVM {
		t.Skip("boots a machine, which takes minutes: make e2e")
	}
	for program, pkg := range map[string]string{vm.Program: "qemu-system-arm", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross", "pkg-config": "pkgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v (Debian: %s)", err, pkg)
		}
	}
}

// start starts a machine that runs this folder's program and has the files, by their names in it.
func start(t *testing.T, c vm.Config, files map[string]string) *lab {
	t.Helper()
	files = maps.Clone(files)
	files["init"] = build(t, "./image/phones")
	c.Initramfs = filepath.Join(t.TempDir(), "initramfs")
	f, err := os.Create(c.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	err = vm.WriteInitramfs(f, files)
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	m, err := vm.Boot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.CutPower(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{t, m}
	l.await("READY")
	return l
}

// build makes a static program with libusb for the machine's processor.
func build(t *testing.T, pkg string) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	command(t, root, nil, "image/libusb/build", "arm64")
	out := filepath.Join(root, ".cache", "vm", "usb-"+filepath.Base(pkg)) // stays: building takes longer than booting
	command(t, root, []string{"CGO_ENABLED=1", "GOOS=linux", "GOARCH=arm64", "CC=aarch64-linux-gnu-gcc", "PKG_CONFIG_LIBDIR=" + filepath.Join(root, ".cache", "libusb", "arm64")},
		"go", "build", "-trimpath", "-tags", "libusb,netgo,osusergo", "-ldflags", `-s -w -linkmode external -extldflags "-static"`, "-o", out, pkg)
	return out
}

func command(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if strings.Contains(name, "/") {
		cmd.Path = filepath.Join(dir, name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// await reads the console up to a line that begins with "vm: " and the words, and returns what follows them.
func (l *lab) await(words string) string {
	l.Helper()
	for {
		line, ok := l.m.Next(silence)
		if !ok {
			l.Fatalf("waiting for %s: the machine ended, or said nothing for %v:\n%s", words, silence, l.m.Log())
		}
		if said, ours := strings.CutPrefix(line, "vm: "); ours {
			if rest, ok := strings.CutPrefix(said, words); ok {
				return strings.TrimSpace(rest)
			}
			if strings.HasPrefix(said, "FAILED") || strings.HasPrefix(said, "BROKEN") {
				l.Fatalf("waiting for %s: %s\n%s", words, said, l.m.Log())
			}
		}
	}
}

// do has the machine do something and returns the lines that it said.
func (l *lab) do(format string, args ...any) []string {
	l.Helper()
	l.begin(format, args...)
	said, ok := l.end()
	if !ok {
		l.Fatalf(format+": %s", append(args, strings.Join(said, "\n"))...)
	}
	return said
}

func (l *lab) begin(format string, args ...any) {
	l.Helper()
	if err := l.m.Type(fmt.Sprintf(format, args...)); err != nil {
		l.Fatal(err)
	}
}

// end reads to the end of what was begun, and tells whether it went well.
func (l *lab) end() (said []string, ok bool) {
	l.Helper()
	for {
		line, ok := l.m.Next(silence)
		if !ok {
			l.Fatalf("the machine ended, or said nothing for %v:\n%s", silence, l.m.Log())
		}
		said = append(said, line)
		if strings.HasPrefix(line, "vm: DONE") || strings.HasPrefix(line, "vm: FAILED") {
			return said, strings.HasPrefix(line, "vm: DONE")
		}
	}
}

// off has the machine switched off.
func (l *lab) off() {
	l.Helper()
	l.begin("off")
	for _, ok := l.m.Next(silence); ok; _, ok = l.m.Next(silence) {
	}
	if err := l.m.Wait(); err != nil {
		l.Error(err)
	}
}

// lines are those that begin with "vm: " and the word, without them.
func lines(said []string, word string) (out []string) {
	for _, line := range said {
		if rest, ok := strings.CutPrefix(line, "vm: "+word+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// phone makes a folder for QEMU's usb-mtp to show, which puts questionable names into the place of those that are not ASCII.
func phone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int{
		"DCIM/Camera/IMG_0001.jpg": 3_000_001, "DCIM/Camera/VID_0002.mp4": 24 << 20, "DCIM/Camera/512.bin": 512 - 12, "DCIM/Camera/1024.bin": 1024 - 12,
		"DCIM/Camera/1MiB.bin": 1 << 20, "DCIM/Camera/empty": 0, "DCIM/one": 1, "Music/a b.mp3": 70_000, "notes.txt": 12,
	} {
		p := make([]byte, size)
		_, _ = random.Read(p) // never fails
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, p, 0o644); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2024, 2, 29, 12, 0, size%60, 0, time.UTC)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contents is what a folder holds, in the words of the machine's "sum", every name below prefix.
func contents(t *testing.T, dir, prefix string) []string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		p, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = fmt.Sprintf("%x %d %d %s", sha256.Sum256(p), len(p), info.ModTime().Unix(), prefix+filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Values(out))
}

// same compares what the machine has with what it should have.
func (l *lab) same(what string, said, want []string) {
	l.Helper()
	got := lines(said, "FILE")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		l.Errorf("%s: the machine has\n%s\nand the phone\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const serial = "QEMU0001"

// QEMU's own MTP responder is backed up by the whole program: through the kernel of the box, libusb, our driver, the vault.
func TestBackUpAPhone(t *testing.T) {
	dir := phone(t)
	l := boot(t, "", "usb-mtp,id=phone,bus=usb.0,serial="+serial+",desc=Phone,rootdir="+dir)
	l.begin("run /boxd phones --json")
	said, ok := l.end()
	var phones []struct {
		ID, State string
		Gives     []string
		Speed     int
	}
	if err := json.Unmarshal([]byte(strings.Join(said[:len(said)-1], "\n")), &phones); err != nil || !ok {
		t.Fatalf("%v\n%s", err, strings.Join(said, "\n"))
	}
	if len(phones) != 1 || phones[0].ID != "mtp:"+serial || phones[0].State != "ready" || phones[0].Speed != 480 {
		t.Errorf("boxd phones: %+v", phones)
	}
	t.Log(strings.Join(l.do("run /boxd phones"), "\n"))
	const vault = "--drive /tmp/a --drive /tmp/b --key-file /tmp/key"
	l.do("run /boxd vault create %s", vault)
	for _, name := range []string{"any", "mtp:" + serial} {
		t.Log(strings.Join(l.do("run /boxd backup %s %s", name, vault), "\n"))
	}
	l.do("run /boxd restore latest --to /tmp/out %s", vault)
	l.same("restored", l.do("sum /tmp/out"), contents(t, dir, "Phone/"))
	l.off()
}
