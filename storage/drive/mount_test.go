//go:build linux

package drive

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage"
)

func tool(t *testing.T, name string, args ...string) error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Logf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return err
}

// mount mounts until the test ends, or skips it where that is not allowed.
func mount(t *testing.T, args ...string) {
	t.Helper()
	if err := tool(t, "mount", args...); err != nil {
		t.Skip("this system does not let us mount")
	}
	dir := args[len(args)-1]
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil && isMounted(dir) {
			t.Errorf("umount %s: %v", dir, err)
		}
	})
}

func isMounted(dir string) bool {
	f, err := FormatOf(dir)
	return err == nil && f.Mount == dir
}

// mountLoop makes a file system in a file, mounts it, and returns where.
func mountLoop(t *testing.T, fstype string) string {
	t.Helper()
	dir := t.TempDir()
	image, point := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	write(t, image, "")
	if err := os.Truncate(image, 256<<20); err != nil {
		t.Fatal(err)
	}
	if err := tool(t, "mkfs."+fstype, image); err != nil {
		t.Skipf("no %s can be made here", fstype)
	}
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, "-o", "loop", image, point)
	return point
}

// TestCheckOnFileSystems runs the conformance suite on what this system's kernel can mount; make vm runs it on all three with
// the box's.
func TestCheckOnFileSystems(t *testing.T) {
	for _, fstype := range []string{"ext4", "exfat", "vfat"} {
		t.Run(fstype, func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("mounting needs root")
			}
			m := mountLoop(t, fstype)
			d, err := Create(filepath.Join(m, "box"), newUUID())
			if err != nil {
				t.Fatal(err)
			}
			if err := storage.Check(t.Context(), d); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if got := d.Format(); got.Type != fstype {
				t.Errorf("on %s it takes itself for %+v", fstype, got)
			}
		})
	}
}

// A drive is found where it is mounted, once, wherever that is.
func TestFindMounted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	const fstype = "ext4"
	m := mountLoop(t, fstype)
	want := made(t, filepath.Join(m, "box"), newUUID())
	other := t.TempDir()
	mount(t, "--bind", m, other)
	got, err := Find(t.Context())
	got = slices.DeleteFunc(got, func(f Found) bool { return f.Vault != want.Vault })
	if err != nil || len(got) != 1 || got[0].Drive != want.Drive || !strings.HasSuffix(got[0].Dir, "/box") {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if f, err := FormatOf(want.Dir); err != nil || f.Type != fstype || f.Mount != m || !strings.HasPrefix(f.Device, "/dev/loop") {
		t.Errorf("%+v, %v; want %s at %s", f, err, fstype, m)
	}
}

func TestEject(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	m := mountLoop(t, "ext4")
	dir := filepath.Join(m, "box")
	d, err := Create(dir, newUUID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Eject(dir); !errors.Is(err, ErrBusy) || !isMounted(m) {
		t.Errorf("while a boxd writes: %v, still mounted: %v", err, isMounted(m))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(filepath.Join(dir, "README.html"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Eject(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), m) || !isMounted(m) {
		t.Errorf("while a file is open: %v, still mounted: %v", err, isMounted(m))
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	bound := t.TempDir()
	mount(t, "--bind", m, bound)
	e, err := Eject(dir)
	if err != nil || isMounted(m) || isMounted(bound) || len(e.Unmounted) != 2 || !strings.HasPrefix(e.Device, "/dev/loop") {
		t.Errorf("%+v, %v; mounted: %v, %v", e, err, isMounted(m), isMounted(bound))
	}
}

func TestEjectRefusals(t *testing.T) {
	dir := made(t, t.TempDir(), newUUID()).Dir
	for _, dir := range []string{dir, "/proc"} {
		if _, err := Eject(dir); !errors.Is(err, ErrSystemDisk) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := Eject(filepath.Join(dir, "none")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a folder that is none: %v", err)
	}
}

// An owner filled the drive up: deleting must work then, of all things.
func TestDeleteOnFullDrive(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	ctx := t.Context()
	m := mountLoop(t, "ext4")
	d := reopened(t, made(t, filepath.Join(m, "box"), newUUID()).Dir, fat)
	if err := errors.Join(d.Put(ctx, "vault/a", []byte("a")), d.Sync(ctx), d.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(m, "film"))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 1 << 10, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		err = nil
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d = reopened(t, d.dir, fat)
	if err := d.Put(ctx, "vault/b", []byte("b")); !errors.Is(err, storage.ErrFull) {
		t.Errorf("put: %v", err)
	}
	if err := d.Delete(ctx, "vault/a"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := errors.Join(d.Sync(ctx), d.Close()); err != nil {
		t.Error(err)
	}
}
