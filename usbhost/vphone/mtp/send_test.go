package mtp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// objectInfoBytes is an ObjectInfo dataset as an initiator writes it.
func objectInfoBytes(format uint16, size uint32, name, modified string) []byte {
	return le(uint32(0), format, uint16(0), size, uint16(0), [7]uint32{}, uint16(0), uint32(0), uint32(0),
		name, "", modified, "")
}

// empty is a phone that holds nothing but a folder "in".
func empty(t *testing.T, capacity int64) (*Phone, *vphone.Storage) {
	t.Helper()
	s := vphone.NewStorage("s", capacity, nil)
	if err := s.Mkdir("in", noon); err != nil {
		t.Fatal(err)
	}
	p := NewPhone(Config{Storages: []*vphone.Storage{s}, Location: time.FixedZone("JST", 9*3600)})
	t.Cleanup(func() {
		if err := p.Err(); err != nil {
			t.Error(err)
		}
	})
	return p, s
}

// send announces a file and sends its content; it returns the new handle.
func (h *initiator) send(parent uint32, name, modified string, content []byte) uint32 {
	h.t.Helper()
	info := objectInfoBytes(0x3000, uint32(len(content)), name, modified)
	r := h.must(h.do(OpSendObjectInfo, info, 0x10001, parent))
	if content == nil {
		content = []byte{} // a data phase of nothing is still one
	}
	h.must(h.do(OpSendObject, content))
	return r.params[2]
}

func holds(t *testing.T, s *vphone.Storage, path string) (vphone.Entry, []byte) {
	t.Helper()
	for _, e := range s.Entries() {
		if e.Path == path {
			r, err := e.Open()
			if err != nil {
				return e, nil
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			return e, b.Bytes()
		}
	}
	return vphone.Entry{}, nil
}

func TestSendFilesOfEverySize(t *testing.T) {
	p, s := empty(t, 1<<30)
	h := session(t, p)
	for _, size := range []int{0, 1, 499, 500, 501, 1012, 16384 - 12, 16384, chunkSize - 12, chunkSize, 2*chunkSize - 12, 3*chunkSize + 1} {
		want := bytesOf(t, vphone.Generated(uint64(size), 1<<30), 0, int64(size))
		h.send(every, "f", "20240506T123456Z", want)
		e, got := holds(t, s, "f")
		if !bytes.Equal(got, want) || !e.ModTime.Equal(noon) {
			t.Fatalf("%d bytes arrived as %d, time %v", size, len(got), e.ModTime)
		}
		if err := s.Remove("f"); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Stats().Files["f"].Received; n < 3*chunkSize {
		t.Errorf("counted %d bytes", n)
	}
}

func TestSendObjectInfoIsCheckedAsAOSPDoes(t *testing.T) {
	p, _ := empty(t, 10_000)
	h := session(t, p)
	h.handles(every, 0, 0)
	file := h.send(1, "taken", "", []byte("x"))
	info := func(name string) []byte { return objectInfoBytes(0x3000, 5, name, "") }
	for _, tt := range []struct {
		name            string
		storage, parent uint32
		data            []byte
		code            uint16
	}{
		{"a root as 0", 0x10001, 0, info("a"), 0x2009},
		{"a parent that is a file", 0x10001, file, info("a"), 0x201a},
		{"no such storage", 0x20001, every, info("a"), 0x2008},
		{"no name", 0x10001, every, info(""), 0x201d},
		{".", 0x10001, every, info("."), 0x201d},
		{"..", 0x10001, every, info(".."), 0x201d},
		{"a slash", 0x10001, every, info("a/b"), 0x201d},
		{"a name that is taken", 0x10001, 1, info("taken"), 0x2002},
		{"a name of 256 bytes", 0x10001, every, info(strings.Repeat("é", 128)), 0x2002},
		{"too large", 0x10001, every, objectInfoBytes(0x3000, 10_000, "a", ""), 0x200c},
		{"4 GiB with too little room", 0x10001, every, objectInfoBytes(0x3000, every, "a", ""), 0x200c},
		{"a dataset that ends early", 0x10001, every, info("abc")[:40], 0x201d},
		{"an empty dataset", 0x10001, every, []byte{}, 0x201d},
		{"a huge dataset", 0x10001, every, make([]byte, 100_000), 0x2002},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.t = t
			h.refused(tt.code, OpSendObjectInfo, tt.data, tt.storage, tt.parent)
			h.refused(0x2015, OpSendObject, nil)
		})
	}
	if n := len(p.Storages()[0].Entries()); n != 2 {
		t.Errorf("the phone holds %d entries", n)
	}
}

func TestSentDatesAndFolders(t *testing.T) {
	p, s := empty(t, 1<<20)
	h := session(t, p)
	h.handles(every, 0, 0)
	h.send(every, "z", "20240506T123456Z", nil)
	h.send(every, "local", "20240506T213456", nil)
	h.send(every, "zoned", "20240506T213456+0200", nil)
	for _, name := range []string{"z", "local", "zoned"} {
		if e, _ := holds(t, s, name); !e.ModTime.Equal(noon) {
			t.Errorf("%s: %v", name, e.ModTime.UTC())
		}
	}
	before := time.Now().Add(-time.Second)
	h.send(every, "junk", "yesterday", nil)
	if e, _ := holds(t, s, "junk"); e.ModTime.Before(before) {
		t.Errorf("a junk date gave %v", e.ModTime)
	}
	r := h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3001, 0, "new 📁", ""), 0x10001, 1))
	if r.params[0] != 0x10001 || r.params[1] != 1 {
		t.Errorf("parameters %x", r.params)
	}
	h.send(r.params[2], "x", "", []byte("y"))
	if _, got := holds(t, s, "in/new 📁/x"); string(got) != "y" {
		t.Errorf("%q", got)
	}
	if r := h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3001, 0, "top", ""), 0x10001, every)); r.params[1] != 0 {
		t.Errorf("a root's parameter is %x", r.params)
	}
	h.must(h.do(OpSendObject, []byte{})) // allowed for a folder
}

func TestSizeBeyond32BitsEndsWithAShortPacket(t *testing.T) {
	p, s := empty(t, 64<<30)
	h := session(t, p)
	content := bytesOf(t, vphone.Generated(6, 3<<20), 0, 3<<20-12)
	h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3000, every, "big", ""), 0x10001, every))
	h.must(h.do(OpSendObject, content))
	if _, got := holds(t, s, "big"); !bytes.Equal(got, content) {
		t.Errorf("%d bytes arrived", len(got))
	}
}

func TestWrongLengthsLeaveNothing(t *testing.T) {
	p, s := empty(t, 1<<30)
	h := session(t, p)
	for _, n := range []int{0, 99, 101, 5000} {
		h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3000, 100, "f", ""), 0x10001, every))
		h.refused(0x2002, OpSendObject, make([]byte, n))
		if e, _ := holds(t, s, "f"); e.Path != "" {
			t.Fatalf("%d of 100 bytes left a file", n)
		}
	}
	h.send(every, "f", "", make([]byte, 100))
}

// begin announces 10 MiB and sends the first of them.
func (h *initiator) begin() {
	h.t.Helper()
	h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3000, 10<<20, "f", ""), 0x10001, every))
	h.write(commandBytes(OpSendObject, h.tid))
	h.write(append(le(uint32(12+10<<20), uint16(2), uint16(OpSendObject), h.tid), make([]byte, 3<<20-12)...))
	h.tid++
}

func TestCancelDeletesThePartialFile(t *testing.T) {
	p, s := empty(t, 1<<30)
	h := session(t, p)
	h.begin()
	if e, _ := holds(t, s, "f"); e.Path == "" {
		t.Fatal("nothing was begun")
	}
	if _, err := h.control(0x64, false, 6); err != nil {
		t.Fatal(err)
	}
	h.must(h.do(OpGetStorageIDs, nil))
	if e, _ := holds(t, s, "f"); e.Path != "" {
		t.Fatal("the partial file stayed")
	}
	if s.Free() != 1<<30 {
		t.Fatal("its room is lost")
	}
	h.send(every, "f", "", []byte("again"))
}

func TestUnplugDeletesThePartialFile(t *testing.T) {
	p, s := empty(t, 1<<30)
	session(t, p).begin()
	p.Unplug()
	if n := len(s.Entries()); n != 1 {
		t.Fatalf("%d entries", n)
	}
	h := session(t, p)
	h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3000, 10, "f", ""), 0x10001, every))
	h.must(h.do(OpGetStorageIDs, nil)) // anything but SendObject forgets the announcement
	h.refused(0x2015, OpSendObject, nil)
	if n := len(s.Entries()); n != 1 {
		t.Fatalf("%d entries", n)
	}
}

func TestFullDiskStalls(t *testing.T) {
	p, s := empty(t, 5<<30)
	h := session(t, p)
	h.must(h.do(OpSendObjectInfo, objectInfoBytes(0x3000, every, "f", ""), 0x10001, every))
	if err := s.Put("app data", noon, vphone.Generated(1, 5<<30-1<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.do(OpSendObject, make([]byte, 30<<20)); !errors.Is(err, usbhost.ErrStalled) {
		t.Fatal(err)
	}
	h.must(h.do(OpGetStorageIDs, nil))
	if e, _ := holds(t, s, "f"); e.Path != "" || s.Free() != 1<<20 {
		t.Fatalf("left %q, free %d", e.Path, s.Free())
	}
}

func TestReadOnlyStorage(t *testing.T) {
	p, s := empty(t, 1<<20)
	h := session(t, p)
	h.handles(every, 0, 0)
	s.SetReadOnly(true)
	h.refused(0x200e, OpSendObjectInfo, objectInfoBytes(0x3000, 1, "f", ""), 0x10001, every)
	h.refused(0x200e, OpDeleteObject, nil, 1)
	if r := h.must(h.do(OpGetStorageInfo, nil, 0x10001)); r.payload()[4] != 1 {
		t.Error("StorageInfo says it can be written")
	}
}

func TestChangingObjects(t *testing.T) {
	p, s := sample(t, Quirks{})
	h := session(t, p)
	a := h.find("a.jpg") // DCIM 1, empty.txt 2, Camera 3, a.jpg 4, b.mp4 5; card: Music 6, song 7
	rename := func(name string) []byte { return le(name) }
	h.must(h.do(OpSetObjectPropValue, rename("ä.jpg"), a, 0xdc07))
	h.refused(0x2002, OpSetObjectPropValue, rename("b.mp4"), a, 0xdc07)
	h.refused(0x2002, OpSetObjectPropValue, rename("../x"), a, 0xdc07)
	h.refused(0xa80a, OpSetObjectPropValue, le("20240506T123456Z"), a, 0xdc09) // dates cannot be set later
	h.refused(0xa80a, OpSetObjectPropValue, le(uint64(5)), a, 0xdc04)
	h.refused(0x2009, OpSetObjectPropValue, rename("x"), 99, 0xdc07)
	h.must(h.do(OpMoveObject, nil, a, 0x10001, 1))
	h.refused(0x2009, OpMoveObject, nil, a, 0x10001, every) // a root is 0 here
	h.refused(0x2002, OpMoveObject, nil, 1, 0x10001, 3)     // into itself
	h.refused(0x2002, OpCopyObject, nil, 1, 0x10001, 3)
	h.refused(0x2002, OpCopyObject, nil, 3, 0x10001, 3)
	h.refused(0x201a, OpMoveObject, nil, a, 0x10001, 5)
	if e, _ := holds(t, s, "DCIM/ä.jpg"); e.Size != 100_000 || !e.ModTime.Equal(noon) {
		t.Errorf("%+v", e)
	}
	r := h.must(h.do(OpCopyObject, nil, 3, 0x20001, 0))
	card := p.Storages()[1]
	if e, _ := holds(t, card, "Camera/b.mp4"); e.Size != 5<<20 {
		t.Errorf("%+v", e)
	}
	h.must(h.do(OpDeleteObject, nil, r.params[0]))
	if e, _ := holds(t, card, "Camera"); e.Path != "" {
		t.Error("deleted, but there")
	}
	h.must(h.do(OpMoveObject, nil, 3, 0x20001, 6))
	if e, _ := holds(t, card, "Music/Camera/b.mp4"); e.Size != 5<<20 {
		t.Errorf("%+v", e)
	}
	if e, _ := holds(t, s, "DCIM/Camera"); e.Path != "" {
		t.Error("moved, but there")
	}
	h.must(h.do(OpGetObjectInfo, nil, 3))
	h.refused(0x2009, OpDeleteObject, nil, 99)
	h.must(h.do(OpSetDevicePropValue, le("my phone"), 0xd402))
	golden(t, h.must(h.do(OpGetDevicePropValue, nil, 0xd402)).payload(), "09 6d00790020007000 68006f006e00650000 00")
	h.refused(0x200a, OpSetDevicePropValue, le(uint8(1)), 0x5001)
}

func TestEditingObjects(t *testing.T) {
	p, s := sample(t, Quirks{})
	h := session(t, p)
	a := h.find("a.jpg")
	want := bytesOf(t, vphone.Generated(1, 100_000), 0, 100_000)
	h.refused(0x2002, OpSendPartialObject, nil, a, 0, 0, 3) // not begun
	h.must(h.do(OpBeginEditObject, nil, a))
	h.refused(0x2002, OpBeginEditObject, nil, a)
	h.must(h.do(OpSendPartialObject, []byte("abc"), a, 10, 0, 3))
	copy(want[10:], "abc")
	r := h.must(h.do(OpSendPartialObject, []byte("tail"), a, 99_998, 0, 4))
	want = append(want[:99_998], "tail"...)
	if r.params[0] != 4 {
		t.Errorf("parameters %x", r.params)
	}
	if _, got := holds(t, s, "DCIM/Camera/a.jpg"); !bytes.Equal(got, want) {
		t.Error("the patches are wrong")
	}
	h.refused(0x2002, OpSendPartialObject, nil, a, 200_000, 0, 3)
	h.must(h.do(OpTruncateObject, nil, a, 11, 0))
	h.must(h.do(OpTruncateObject, nil, a, 14, 0))
	h.must(h.do(OpEndEditObject, nil, a))
	h.refused(0x2002, OpEndEditObject, nil, a)
	if _, got := holds(t, s, "DCIM/Camera/a.jpg"); !bytes.Equal(got, append(want[:11:11], 0, 0, 0)) {
		t.Errorf("%x", got)
	}
}

// What a spool on disk got is what the phone gives back.
func TestReceivedFilesGoToTheSpool(t *testing.T) {
	spool := &vphone.Spool{Dir: t.TempDir()}
	s := vphone.NewStorage("s", 1<<40, spool)
	p := NewPhone(Config{Storages: []*vphone.Storage{s}})
	h := session(t, p)
	want := bytesOf(t, vphone.Generated(6, 5<<20), 0, 5<<20)
	handle := h.send(every, "big", "", want)
	if r := h.must(h.do(OpGetObject, nil, handle)); !bytes.Equal(r.payload(), want) {
		t.Error("read back differently")
	}
	p.Unplug()
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
}

// On a file system that folds case, as Android's do, the second of two such names overwrites the first and nothing is said.
func TestFoldedCaseOverwrites(t *testing.T) {
	p, s := empty(t, 1<<20)
	s.SetFoldCase(true)
	h := session(t, p)
	h.send(every, "IMG.jpg", "20240506T123456Z", []byte("first"))
	h.send(every, "img.JPG", "20240506T123456Z", []byte("second"))
	if _, got := holds(t, s, "IMG.jpg"); string(got) != "second" || len(s.Entries()) != 2 {
		t.Fatalf("%q", got)
	}
	h.refused(0x2002, OpSendObjectInfo, objectInfoBytes(0x3001, 0, "IN", ""), 0x10001, every)
	if free := s.Free(); free != 1<<20-6 {
		t.Fatalf("free %d", free)
	}
}
