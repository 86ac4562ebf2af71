package samples

import (
	"encoding/binary"
	"errors"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tiff builds a little-endian TIFF block as a camera does: maker and model in the first directory, the date in the Exif
// directory.
func tiff(maker, model, taken string) []byte {
	le := binary.LittleEndian
	b := []byte("II*\x00\x08\x00\x00\x00")
	strs := 8 + 2 + 3*12 + 4 + 2 + 12 + 4
	entry := func(tag, kind uint16, count, value int) {
		b = le.AppendUint16(b, tag)
		b = le.AppendUint16(b, kind)
		b = le.AppendUint32(b, uint32(count))
		b = le.AppendUint32(b, uint32(value))
	}
	b = le.AppendUint16(b, 3)
	entry(0x010f, 2, len(maker)+1, strs)
	entry(0x0110, 2, len(model)+1, strs+len(maker)+1)
	entry(0x8769, 4, 1, 8+2+3*12+4)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, 1)
	entry(0x9003, 2, len(taken)+1, strs+len(maker)+len(model)+2)
	b = le.AppendUint32(b, 0)
	return append(b, maker+"\x00"+model+"\x00"+taken+"\x00"...)
}

func withExif(t []byte) []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xe1}
	b = binary.BigEndian.AppendUint16(b, uint16(2+6+len(t)))
	b = append(b, "Exif\x00\x00"...)
	return append(append(b, t...), 0xff, 0xda, 0, 2, 0xff, 0xd9)
}

func TestLookReadsTheCamera(t *testing.T) {
	m, ok := look(withExif(tiff("Apple Inc.", "iPhone XS", "2019:08:07 16:05:04")))
	if !ok || m.maker != "Apple Inc." || m.model != "iPhone XS" || !m.taken.Equal(time.Date(2019, 8, 7, 16, 5, 4, 0, time.UTC)) {
		t.Errorf("look = %+v, %v", m, ok)
	}
	heic := append([]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic junk Exif\x00\x00"), tiff("Apple", "iPhone 15 Pro", "")...)
	if m, ok := look(heic); !ok || m.model != "iPhone 15 Pro" {
		t.Errorf("look at a HEIC = %+v, %v", m, ok)
	}
}

func TestLookRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                    nil,
		"a JPEG without Exif":        {0xff, 0xd8, 0xff, 0xda, 0, 2},
		"a JPEG naming no camera":    withExif(tiff("\x00\x00\x00\x00", "", "")),
		"the head of a picture":      withExif(tiff("Canon", "S40", ""))[:100],
		"a cut-off segment":          {0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 'E'},
		"a text":                     []byte("hello, this is no picture"),
		"a directory beyond the end": withExif([]byte("II*\x00\xff\xff\xff\xff")),
	} {
		if m, ok := look(b); ok {
			t.Errorf("%s: accepted as %+v", name, m)
		}
	}
}

func FuzzLook(f *testing.F) {
	f.Add(withExif(tiff("Canon", "EOS", "2001:01:01 00:00:00")))
	f.Add([]byte("\x00\x00\x00\x18ftypheic Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := look(b)
		if !ok {
			return
		}
		for _, r := range m.maker + m.model {
			if r < ' ' || r > '~' {
				t.Fatalf("unprintable %q in %+v", r, m)
			}
		}
	})
}

func TestExtras(t *testing.T) {
	files := Extras(3000)
	names, folded, empty := map[string]bool{}, map[string]int{}, 0
	for _, f := range files {
		if names[f.Name] {
			t.Errorf("%q twice", f.Name)
		}
		names[f.Name] = true
		folded[strings.ToLower(f.Name)]++
		if f.Size == 0 {
			empty++
		}
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, io.NewSectionReader(c, 0, f.Size+10)); err != nil || n != f.Size {
			t.Errorf("%s: %d bytes of %d, %v", f.Name, n, f.Size, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, elem := range strings.Split(f.Name, "/") {
			if n := len(elem); n > 255 {
				t.Errorf("%q has %d bytes", elem, n)
			}
		}
	}
	if empty != 1 || folded["documents/readme.txt"] != 2 || len(files) < 3010 {
		t.Errorf("%d files, %d empty, %d called readme.txt in some case", len(files), empty, folded["documents/readme.txt"])
	}
	if again := Extras(3000); again[1].Size != files[1].Size || again[1].Time != files[1].Time {
		t.Error("not the same the second time")
	}
}

func TestDrawnPicturesOpen(t *testing.T) {
	set, err := Draw(t.Context(), t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if set.Real || set.Reason == "" || len(set.Files) != 3 {
		t.Fatalf("%+v", set)
	}
	for _, f := range set.Files {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jpeg.Decode(io.NewSectionReader(c, 0, f.Size)); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if f.Size < 100_000 {
			t.Errorf("%s has only %d bytes", f.Name, f.Size)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestGetDrawsWithoutTheGoCommand: on a machine with nothing in its path, Get says why it drew.
func TestGetDrawsWithoutTheGoCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	set, err := Get(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if set.Real || len(set.Files) != drawn || !strings.Contains(set.Reason, "go") {
		t.Errorf("real %v, %d files, %q", set.Real, len(set.Files), set.Reason)
	}
}

func TestSetDropsDoublesAndNamesAll(t *testing.T) {
	dir := t.TempDir()
	g := gather{log: func(string) {}}
	for i := range 14 {
		// Pictures 0 and 1 have the same bytes; all have the same date.
		b := withExif(tiff("Maker", "Model"+string(rune('a'+max(1, i))), "2020:01:02 03:04:05"))
		name := filepath.Join(dir, string(rune('a'+i))+".jpg")
		if err := os.WriteFile(name, append(b, make([]byte, minSample)...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g.add("pkg@v1", dir, nil)
	g.add("pkg@v2", "", errors.New("refused"))
	set, err := g.set()
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Files) != 13 || set.Cameras() != 13 || set.Count(".jpg") != 13 {
		t.Errorf("%d files by %d cameras", len(set.Files), set.Cameras())
	}
	if set.Files[0].Name != "DCIM/Camera/IMG_20200102_030405.jpg" || set.Files[1].Name != "DCIM/Camera/IMG_20200102_030405_1.jpg" {
		t.Errorf("names %q, %q", set.Files[0].Name, set.Files[1].Name)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Folder(dir); err == nil {
		t.Error("an empty folder was taken")
	}
	if err := os.MkdirAll(filepath.Join(dir, "été"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "été", "a.jpg"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := Folder(dir)
	if err != nil || len(set.Files) != 1 || set.Files[0].Name != "DCIM/Camera/été/a.jpg" {
		t.Errorf("%+v, %v", set, err)
	}
}
