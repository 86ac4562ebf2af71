package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What was unmounted is not looked at again; whatever a power cut or an error left is, and what is no ext4.
func TestClean(t *testing.T) {
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		if mke2fs, err = exec.LookPath("/usr/sbin/mke2fs"); err != nil {
			t.Skip("mke2fs is missing (Debian: e2fsprogs)")
		}
	}
	for _, c := range []struct {
		name string
		args []string
		at   int64 // in the superblock
		put  byte
		want bool
	}{
		{"as unmounted", nil, 58, 1, true},
		{"not unmounted", nil, 58, 0, false},
		{"with errors", nil, 58, 3, false},
		{"with a journal to be replayed", nil, 96, 0xc6, false},
		{"without a journal", []string{"-O", "^has_journal"}, 58, 1, false},
		{"no ext4", nil, 56, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := filepath.Join(t.TempDir(), "device")
			if out, err := exec.Command(mke2fs, append(c.args, "-q", "-t", "ext4", device, "8M")...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			f, err := os.OpenFile(device, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte{c.put}, 1024+c.at); err != nil {
				t.Fatal(err)
			}
			if clean(device) != c.want {
				t.Errorf("clean is %v", !c.want)
			}
		})
	}
	if clean(filepath.Join(t.TempDir(), "none")) {
		t.Error("what is not there is clean")
	}
}
