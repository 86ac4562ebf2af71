package vm

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// WriteInitramfs writes the root file system that a kernel starts from, a cpio archive of the kind "newc" (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst). files maps names, such as "init" or "lib/libusb.so", to the files
// here that are to be there, all of them executable; their folders are made. It also holds /dev/console, which the kernel opens for init.
func WriteInitramfs(w io.Writer, files map[string]string) error {
	b := bufio.NewWriter(w)
	a := archive{w: b, made: map[string]bool{".": true}}
	const console = 5<<8 | 1 // character device 5, 1
	a.folders("dev")
	a.entry("dev/console", 0o020600, console, nil)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("vm: initramfs: %q is no name in it", name)
		}
		a.folders(path.Dir(name))
		p, err := os.ReadFile(files[name])
		if err != nil {
			return fmt.Errorf("vm: initramfs: %w", err)
		}
		a.entry(name, 0o100755, 0, p)
	}
	a.entry("TRAILER!!!", 0, 0, nil)
	if a.err == nil {
		a.err = b.Flush()
	}
	if a.err != nil {
		return fmt.Errorf("vm: initramfs: %w", a.err)
	}
	return nil
}

// archive writes entries until one fails.
type archive struct {
	w    io.Writer
	n    int             // entries so far
	made map[string]bool // folders
	err  error
}

// folders makes a folder and those above it.
func (a *archive) folders(name string) {
	if a.made[name] {
		return
	}
	a.folders(path.Dir(name))
	a.made[name] = true
	a.entry(name, 0o040755, 0, nil)
}

// entry writes a header of 13 numbers, the name and the data, each filled up to a multiple of four bytes.
func (a *archive) entry(name string, mode, device int, data []byte) {
	if a.err != nil {
		return
	}
	a.n++
	fields := []int{a.n, mode, 0, 0, 1, 0, len(data), 0, 0, device >> 8, device & 0xff, len(name) + 1, 0}
	header := []byte("070701")
	for _, f := range fields {
		header = fmt.Appendf(header, "%08x", f)
	}
	header = append(append(header, name...), 0)
	for _, p := range [][]byte{header, data} {
		pad := make([]byte, -len(p)&3)
		if _, a.err = a.w.Write(append(p[:len(p):len(p)], pad...)); a.err != nil {
			return
		}
	}
}
