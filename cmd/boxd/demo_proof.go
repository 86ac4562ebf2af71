//go:build !rescue

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"phonebackupbox/usbhost/vphone"
)

// finding is one row of the table at the end: what was tried and what it found.
type finding struct {
	Tried string `json:"tried"`
	Found string `json:"found"`
	OK    bool   `json:"ok"`
}

// findings collects the rows; the demonstration succeeds only if all hold.
type findings []finding

func (f *findings) add(ok bool, tried, found string, args ...any) {
	*f = append(*f, finding{tried, fmt.Sprintf(found, args...), ok})
}

func (f findings) ok() bool {
	for _, row := range f {
		if !row.OK {
			return false
		}
	}
	return len(f) > 0
}

// table writes the rows as two columns.
func (f findings) table(w io.Writer, colour bool) {
	width := 0
	for _, row := range f {
		width = max(width, len([]rune(row.Tried)))
	}
	for _, row := range f {
		mark, on, off := "✓", "\x1b[32m", "\x1b[0m"
		if !row.OK {
			mark, on = "✗", "\x1b[1;31m"
		}
		if !colour {
			on, off = "", ""
		}
		fmt.Fprintf(w, "  %s%s%s %s%s  %s\n", on, mark, off, row.Tried, strings.Repeat(" ", width-len([]rune(row.Tried))), row.Found)
	}
}

// compared is what the comparison of two phones found.
type compared struct {
	files   int
	bytes   int64
	missing []string
	extra   []string
	content []string // SHA-256 differs
	times   []string // modification time differs
}

func (c compared) same() bool {
	return c.files > 0 && len(c.missing)+len(c.extra)+len(c.content)+len(c.times) == 0
}

func (c compared) String() string {
	if c.same() {
		return fmt.Sprintf("%s, %s: each SHA-256, name and time the same", plural(c.files, "file", "files"), size(c.bytes))
	}
	s := fmt.Sprintf("%d missing, %d more, %d with other content, %d with another time", len(c.missing), len(c.extra), len(c.content), len(c.times))
	for _, list := range [][]string{c.missing, c.extra, c.content, c.times} {
		if len(list) > 0 {
			s += "; for one: " + printable(list[0])
		}
	}
	return s
}

// comparePhones compares what two phones hold, past every driver. It hashes both sides.
func comparePhones(was, is *vphone.Storage) (compared, error) {
	var c compared
	have := map[string]vphone.Entry{}
	for _, e := range is.Entries() {
		if !e.Folder {
			have[e.Path] = e
		}
	}
	for _, want := range was.Entries() {
		if want.Folder {
			continue
		}
		c.files++
		c.bytes += want.Size
		got, ok := have[want.Path]
		if !ok {
			c.missing = append(c.missing, want.Path)
			continue
		}
		delete(have, want.Path)
		same, err := sameContent(want, got)
		if err != nil {
			return c, err
		}
		if !same {
			c.content = append(c.content, want.Path)
		}
		if !want.ModTime.Equal(got.ModTime) {
			c.times = append(c.times, want.Path)
		}
	}
	for name := range have {
		c.extra = append(c.extra, name)
	}
	return c, nil
}

func sameContent(want, got vphone.Entry) (bool, error) {
	if want.Size != got.Size {
		return false, nil
	}
	a, err := want.SHA256()
	if err != nil {
		return false, err
	}
	b, err := got.SHA256()
	return a == b, err
}

// rot flips one bit in each of up to n files in the folder sub of a drive, and returns how many it hit.
func rot(dir, sub string, n int) (hit int, err error) {
	err = filepath.WalkDir(filepath.Join(dir, sub), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || hit == n {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 || strings.HasSuffix(p, ".p") { // parity of its own: the next file has it
			return err
		}
		hit++
		return flipBit(p, info.Size()/2+int64(hit)*997%max(info.Size()/2, 1))
	})
	return hit, err
}

func flipBit(file string, at int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		return err
	}
	return f.Sync()
}

// leaks searches what lies on the drives for any of the words, and returns where it found one.
func leaks(dirs []string, words []string) (string, error) {
	found := ""
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || found != "" {
				return err
			}
			hit, err := holdsAny(p, words)
			if hit {
				found = p
			}
			return err
		})
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// holdsAny looks at the first and last MiB of a file: headers and tables are there. Words of ten bytes and more do not
// turn up in sealed bytes by chance.
func holdsAny(file string, words []string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	const part = 1 << 20
	buf := make([]byte, part)
	for _, off := range []int64{0, max(0, info.Size()-part)} {
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return false, err
		}
		for _, w := range words {
			if bytes.Contains(buf[:n], []byte(w)) {
				return true, nil
			}
		}
	}
	return false, nil
}
