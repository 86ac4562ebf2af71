package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/image/vm"
)

// plug plugs an image in as a USB stick, by name.
func (l *lab) plug(m *vm.Machine, name, path string) {
	l.t.Helper()
	err := m.Command(l.t.Context(), "blockdev-add", map[string]any{"driver": "raw", "node-name": name, "file": map[string]any{"driver": "file", "filename": path}}, nil)
	if err == nil {
		err = m.Plug(l.t.Context(), map[string]any{"driver": "usb-storage", "id": "stick-" + name, "bus": "usb.0", "drive": name})
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// pull pulls it out, whatever the machine does with it.
func (l *lab) pull(m *vm.Machine, name string) {
	l.t.Helper()
	err := m.Unplug(l.t.Context(), "stick-"+name)
	if err == nil {
		err = m.Command(l.t.Context(), "blockdev-del", map[string]any{"node-name": name}, nil)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// stick makes the image of one.
func (l *lab) stick(name string, mkfs ...string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name+".stick")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Truncate(path, 40<<20); err != nil {
		l.t.Fatal(err)
	}
	command(l.t, nil, mkfs[0], append(mkfs[1:], path)...)
	return path
}

// Drives are plugged into the box's kernel while it runs: clean ones are written once that is wanted, pulled out and taken back
// where they were; one that is dirty, with no program here to mend it, is never written; others are refused in words.
func TestAttach(t *testing.T) {
	need(t, vm.Program, "mkfs.ext4", "mkfs.exfat", "mkfs.vfat")
	l := newLab(t)
	m := l.boot("attach", "drives=5")
	l.expect(m, "WATCHING")
	for _, fs := range [][]string{{"ext4", "mkfs.ext4", "-q", "-L", "photos"}, {"exFAT", "mkfs.exfat"}, {"FAT32", "mkfs.vfat", "-F", "32", "-s", "1"}} {
		path := l.stick(fs[0], fs[1:]...)
		l.plug(m, fs[0], path)
		l.expect(m, "WRITTEN "+fs[0]+" /mnt/")
		l.pull(m, fs[0])
		l.expect(m, "GONE")
		if fs[0] == "ext4" { // pulled out, so it is dirty: the journal is not replayed behind the program's back
			l.plug(m, "again", path)
			l.expect(m, "READONLY ext4")
			l.pull(m, "again")
			l.expect(m, "GONE")
		}
	}
	blank := l.stick("blank", "true")
	l.plug(m, "blank", blank)
	if said := l.until(m, "REFUSED"); !strings.Contains(said, "no file system that this box knows; format it as exFAT") {
		t.Error(said)
	}
	if _, err := exec.LookPath("mkntfs"); err == nil { // Debian's ntfs-3g, which is no part of the box
		l.plug(m, "ntfs", l.stick("ntfs", "mkntfs", "-F", "-q", "-Q"))
		if said := l.until(m, "REFUSED"); !strings.Contains(said, "NTFS, for Windows") {
			t.Error(said)
		}
	}
	l.pull(m, "blank")
	l.finish(m)
}
