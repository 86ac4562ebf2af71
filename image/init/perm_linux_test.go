package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The power goes while /perm's superblock is written: one of its two sectors is the new one. The others are copies that the kernel
// made when it grew the mounted file system, so they too say that there is a journal to be played back.
func TestHalfASuperblock(t *testing.T) {
	device := filepath.Join(t.TempDir(), "perm")
	const block = 1024
	superblocks := []int64{1, 8193, 24577, 40961, 57345} // of 64 MiB in blocks of 1 KiB, in blocks (ext4, "Sparse Superblocks")
	tool(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", fmt.Sprint(block), device, "64M")
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sb := make([]byte, block)
	read := func(n int64, p []byte) {
		t.Helper()
		if _, err := f.ReadAt(p, n*block); err != nil {
			t.Fatal(err)
		}
	}
	write := func(at int64, p []byte) {
		t.Helper()
		if _, err := f.WriteAt(p, at); err != nil {
			t.Fatal(err)
		}
	}
	read(superblocks[0], sb)
	first, script := device+".superblock", device+".journal"
	if err := errors.Join(os.WriteFile(first, sb, 0o600), os.WriteFile(script, fmt.Appendf(nil, "journal_open -c -v 3\njournal_write -b 1 %s\njournal_close\n", first), 0o600)); err != nil {
		t.Fatal(err)
	}
	tool(t, "debugfs", "-w", "-f", script, device)
	read(superblocks[0], sb)
	for _, n := range superblocks[1:] {
		const group, checksum = 0x5a, 0x3fc // offsets (Linux, fs/ext4/ext4.h, struct ext4_super_block)
		old := make([]byte, block)
		read(n, old)
		backup := append([]byte(nil), sb...)
		copy(backup[group:group+2], old[group:])
		binary.LittleEndian.PutUint32(backup[checksum:], ^crc32.Checksum(backup[:checksum], crc32.MakeTable(crc32.Castagnoli)))
		write(n*block, backup)
	}
	const written = 0x30                                          // the time of the last write, in the first sector; the checksum is in the second
	write(superblocks[0]*block+written, []byte{0xde, 0xad, 0, 0}) // and this is all that matters of it
	run := func(args ...string) (int, error) {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		t.Logf("%q\n%s", args, out)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
	if err := check(run, device); err != nil {
		t.Error(err)
	}
	tool(t, "e2fsck", "-f", "-n", device)
}

// tool runs a program of e2fsprogs.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	path := program(name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%v (Debian: e2fsprogs)", err)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}
