package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/image/card"
	"phonebackupbox/image/update"
)

// pack makes an image of the pinned kernel and firmware in a folder of its own, with one program, and returns its path.
func pack(t *testing.T, dir, program string) string {
	t.Helper()
	file := filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "image")
	if err := run(t.Context(), []string{"--program", "user/boxd=" + file, "--program", "gokrazy/init=" + file, "--licence", "libusb=" + file, "--sources", "../sources/list",
		"--bill", filepath.Join(dir, "bill"), "--out", out}); err != nil {
		t.Fatal(err)
	}
	return out
}

// needTools skips where Debian's tools are missing: those that make the image, and those that read it.
func needTools(t *testing.T) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, name := range []string{"mksquashfs", "unsquashfs", "mcopy", "mkfs.vfat", "fsck.vfat", "mke2fs", "e2fsck", "sfdisk"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%v (Debian: squashfs-tools mtools dosfstools e2fsprogs fdisk)", err)
		}
	}
}

func tell(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// partition cuts a part out of an image.
func partition(t *testing.T, image string, at, size int64) string {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := filepath.Join(t.TempDir(), "partition")
	p, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(p, io.NewSectionReader(f, at, size)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestImage reads an image with tools that we did not write.
func TestImage(t *testing.T) {
	needTools(t)
	image := pack(t, t.TempDir(), "a program")
	// Another file system lists its files in another order.
	other, err := os.MkdirTemp("/dev/shm", "pack")
	if err != nil {
		other = t.TempDir()
	}
	defer os.RemoveAll(other)
	if sum(t, pack(t, other, "a program")) != sum(t, image) {
		t.Error("two builds of the same differ")
	}

	table := tell(t, "sfdisk", "--dump", image)
	for _, want := range []string{"label-id: 0xb0c5b0c5", "start=        8192, size=      262144, type=c, bootable", "start=      270336, size=      393216, type=83",
		"start=      663552, size=      393216, type=83", "start=     1056768, size=      131072, type=83"} {
		if !strings.Contains(table, want) {
			t.Errorf("the partition table lacks %q:\n%s", want, table)
		}
	}

	mbr := make([]byte, sector)
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(f, mbr)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	const whole = 32 << 30
	start, size, grown, err := card.Grow(mbr, whole)
	if err != nil || !grown || start != bootStart+bootSize+2*rootSize || start+size != whole {
		t.Errorf("the box grows /perm to %d bytes from %d: %v, %v", size, start, grown, err)
	}

	boot := partition(t, image, bootStart, bootSize)
	tell(t, "fsck.vfat", "-n", boot)
	names := tell(t, "mdir", "-i", boot, "-b", "-/", "::")
	for _, want := range []string{"::/vmlinuz\n", "::/config.txt\n", "::/cmdline.txt\n", "::/start4.elf\n", "::/bootcode.bin\n", "::/bcm2710-rpi-3-b-plus.dtb\n",
		"::/bcm2710-rpi-zero-2-w.dtb\n", "::/bcm2711-rpi-4-b.dtb\n", "::/bcm2712-rpi-5-b.dtb\n", "::/overlays/overlay_map.dtb\n", "::/licences/LICENSE.linux\n",
		"::/licences/LICENSE.broadcom\n", "::/licences/libusb.txt\n", "::/licences/README.txt\n"} {
		if !strings.Contains(names, want) {
			t.Errorf("the boot partition lacks %q", want)
		}
	}
	if line := mtype(t, boot, "cmdline.txt"); !strings.Contains(line, "root=PARTUUID=b0c5b0c5-02 ro ") {
		t.Errorf("the kernel is not told of a read-only root: %q", line)
	}

	if mtype(t, boot, "tryboot.txt") != mtype(t, boot, "config.txt")+tryOnce || strings.Replace(mtype(t, boot, "trial.txt"), "-03 ", "-02 ", 1) != mtype(t, boot, "cmdline.txt") {
		t.Error("an update would not be tried as it is started later")
	}
	for name, want := range map[string]update.Slot{"cmdline.txt": update.SlotA, "trial.txt": update.SlotB} {
		if _, slot, err := update.Root([]byte(mtype(t, boot, name))); err != nil || slot != want {
			t.Errorf("%s starts slot %v: %v", name, slot, err)
		}
	}
	if text := mtype(t, boot, "licences/go.txt"); !strings.Contains(text, "==== Go and its standard library") {
		t.Error("Go's licence is missing")
	}

	perm := partition(t, image, bootStart+bootSize+2*rootSize, permSize)
	tell(t, "e2fsck", "-f", "-n", perm)
}

func mtype(t *testing.T, boot, name string) string {
	t.Helper()
	return tell(t, "mtype", "-i", boot, "::/"+name)
}

// TestBill sees that the list of parts names what the go command linked into a program, and those that are not Go's.
func TestBill(t *testing.T) {
	program := filepath.Join(t.TempDir(), "init")
	tell(t, "go", "build", "-o", program, "../init")
	c := contents{version: "1.2", programs: map[string]string{"gokrazy/init": program}, sources: "../sources/list"}
	modules, err := c.linked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.bill(modules)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		BOMFormat, SpecVersion string
		Metadata               struct{ Component part }
		Components             []part
	}
	if err := json.Unmarshal(b, &got); err != nil || got.BOMFormat != "CycloneDX" || got.SpecVersion != "1.5" || got.Metadata.Component.Version != "1.2" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, name := range []string{kernelModule, firmwareModule, "github.com/insomniacslk/dhcp", "libusb", "e2fsprogs", "glibc", "firmware-brcm80211", "wireless-regdb", "/gokrazy/init"} {
		i := slices.IndexFunc(got.Components, func(p part) bool { return p.Name == name })
		if i < 0 || len(got.Components[i].Hashes) != 1 || len(got.Components[i].Hashes[0].Content) != 64 {
			t.Errorf("%s: %+v", name, got.Components)
		}
	}
	if text, err := goTerms(t.Context(), modules[2:]); err != nil || !strings.Contains(string(text), "==== github.com/insomniacslk/dhcp v") {
		t.Errorf("the licences of what is in init: %v", err)
	}
}

// TestRoot sees that the root holds what it is given and nothing that lets anybody in.
func TestRoot(t *testing.T) {
	needTools(t)
	c := contents{programs: map[string]string{"user/boxd": "main.go"}, files: map[string]string{"lib/firmware/radio.bin": "main.go"}}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := c.makeRoot(t.Context(), root, dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	line := regexp.MustCompile(`(?m)^([-dlbcps][-rwxsStT]{9}) (\S+) .* squashfs-root/(.+)$`)
	for _, m := range line.FindAllStringSubmatch(tell(t, "unsquashfs", "-lls", root), -1) {
		got = append(got, strings.Join(m[1:], " "))
	}
	want := []string{"drwxr-xr-x root/root etc/ssl", "drwxr-xr-x root/root etc/ssl/certs", "-r--r--r-- root/root etc/ssl/certs/ca-certificates.crt", "-r--r--r-- root/root etc/hostname", "-r--r--r-- root/root etc/hosts", "-r--r--r-- root/root etc/modules", "-r-xr-xr-x root/root user/boxd",
		"drwxr-xr-x root/root lib", "drwxr-xr-x root/root lib/firmware", "-r--r--r-- root/root lib/firmware/radio.bin",
		"lrwxrwxrwx root/root etc/resolv.conf -> /tmp/resolv.conf"}
	for _, f := range folders {
		want = append(want, "drwxr-xr-x root/root "+f)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the root holds\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whom the box believes is a list that a client can read.
func TestAuthorities(t *testing.T) {
	if !x509.NewCertPool().AppendCertsFromPEM(authorities()) {
		t.Error("no list of authorities")
	}
}

func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 513), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path + ".out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := place(f, path, 0, 512); err == nil || !strings.Contains(err.Error(), "513 bytes; its partition takes 512") {
		t.Errorf("513 bytes in a partition of 512: %v", err)
	}
	if err := place(f, path, 0, 513); err != nil {
		t.Error(err)
	}
}
