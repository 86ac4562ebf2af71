package mtp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"phonebackupbox/usbhost/vphone"
)

const every = 0xffffffff

// objectsIn returns the distinct handles of a property list, in order.
func objectsIn(t *testing.T, r reply) []uint32 {
	t.Helper()
	p := r.payload()
	count := int(binary.LittleEndian.Uint32(p))
	p = p[4:]
	var hs []uint32
	for range count {
		h, kind := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint16(p[6:])
		size := map[uint16]int{0: 0, 4: 2, 6: 4, 8: 8, 10: 16}[kind]
		if kind == 0xffff {
			size = 1 + 2*int(p[8])
		}
		p = p[8+size:]
		if !slices.Contains(hs, h) {
			hs = append(hs, h)
		}
	}
	if len(p) != 0 {
		t.Fatalf("%d bytes behind the list", len(p))
	}
	return hs
}

func TestPropListChoosesAsAOSPDoes(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	h.find("a.jpg") // numbers everything: DCIM 1, empty.txt 2, Camera 3, a.jpg 4, b.mp4 5; card: Music 6, song 7
	for _, tt := range []struct {
		name                               string
		handle, format, prop, group, depth uint32
		code                               uint16
		want                               []uint32
	}{
		{"everything on all storages", every, 0, 0xdc01, 0, every, 0x2001, []uint32{1, 2, 3, 4, 5, 6, 7}},
		{"handle 0 at any depth is the same", 0, 0, 0xdc01, 0, every, 0x2001, []uint32{1, 2, 3, 4, 5, 6, 7}},
		{"FFFFFFFF at depth 0 is the same", every, 0, 0xdc01, 0, 0, 0x2001, []uint32{1, 2, 3, 4, 5, 6, 7}},
		{"one format of everything", every, 0x3801, 0xdc01, 0, every, 0x2001, []uint32{4}},
		{"the roots' entries", 0, 0, 0xdc01, 0, 1, 0x2001, []uint32{1, 2, 6}},
		{"handle 0 at depth 0 is the same", 0, 0, 0xdc01, 0, 0, 0x2001, []uint32{1, 2, 6}},
		{"FFFFFFFF at depth 1 is the same", every, 0, 0xdc01, 0, 1, 0x2001, []uint32{1, 2, 6}},
		{"one object", 4, 0, 0xdc01, 0, 0, 0x2001, []uint32{4}},
		{"one object of another format", 4, 0x3001, 0xdc01, 0, 0, 0x2001, nil},
		{"a folder's entries, then the folder", 3, 0, 0xdc01, 0, 1, 0x2001, []uint32{4, 5, 3}},
		{"a folder's entries of a format", 3, 0x3801, 0xdc01, 0, 1, 0x2001, []uint32{4}},
		{"a folder at any depth", 1, 0, 0xdc01, 0, every, 0xa808, nil},
		{"a folder at depth 2", 1, 0, 0xdc01, 0, 2, 0xa808, nil},
		{"no property", every, 0, 0, 0, every, 0x2006, nil},
		{"a group", every, 0, 0, 1, every, 0xa807, nil},
		{"no such object", 99, 0, 0xdc01, 0, 0, 0x2009, nil},
		{"the entries of a file", 4, 0, 0xdc01, 0, 1, 0x2009, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.t = t
			r := h.refused(tt.code, OpGetObjectPropList, nil, tt.handle, tt.format, tt.prop, tt.group, tt.depth)
			if got := objectsIn(t, r); !slices.Equal(got, tt.want) {
				t.Fatalf("objects %d, want %d", got, tt.want)
			}
		})
	}
	h.t = t
	if r := h.refused(0x201d, OpGetObjectPropList, nil, every, 0, 0xdc01, 0); r.data != nil {
		t.Error("four parameters were answered with data")
	}
}

func TestHandlesAndCounts(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	for _, tt := range []struct {
		storage, format, parent uint32
		want                    []uint32
	}{
		{every, 0, 0, []uint32{1, 2, 3, 4, 5, 6, 7}},
		{0x10001, 0, every, []uint32{1, 2}},
		{0x20001, 0, 0, []uint32{6, 7}},
		{every, 0, every, []uint32{1, 2, 6}},
		{every, 0x3001, 0, []uint32{1, 3, 6}},
		{every, 0, 3, []uint32{4, 5}},
		{0x20001, 0, 3, []uint32{4, 5}}, // a parent's storage counts, not the one named
	} {
		if got := h.handles(tt.storage, tt.format, tt.parent); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %d", tt, got)
		}
		r := h.must(h.do(OpGetNumObjects, nil, tt.storage, tt.format, tt.parent))
		if int(r.params[0]) != len(tt.want) {
			t.Errorf("%+v: count %d", tt, r.params[0])
		}
	}
	h.refused(0x2008, OpGetObjectHandles, nil, 0x30001, 0, 0)
	h.refused(0x2009, OpGetObjectHandles, nil, every, 0, 4)
	h.refused(0x2009, OpGetNumObjects, nil, every, 0, 77)
	h.refused(0x2009, OpGetObjectInfo, nil, 77)
	h.refused(0x2009, OpGetObject, nil, 0)
	h.refused(0x2002, OpGetObject, nil, 1) // a folder
	h.refused(0x2002, OpGetThumb, nil, 4)
	h.refused(0x2005, 0x9808, nil, 4)
	h.refused(0x2005, 0x9806, nil, 4)
	h.refused(0x2008, OpGetStorageInfo, nil, 0x30001)
	h.refused(0x200a, OpGetDevicePropValue, nil, 0xd4ff)
	h.refused(0xa80a, OpGetObjectPropDesc, nil, 0xdc05, 0x3000)
}

func TestHandlesAreOfOneRun(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	old := h.find("a.jpg")
	h = session(t, p)
	h.find("a.jpg")
	h.refused(0x2009, OpGetObjectInfo, nil, old)
}

func TestOneFailingFolderFailsEveryListingAboveIt(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	h.find("a.jpg")
	p.FailingFolder("DCIM/Camera")
	r := h.refused(0x2009, OpGetObjectPropList, nil, every, 0, 0xdc07, 0, every)
	if len(objectsIn(t, r)) != 0 {
		t.Error("the refusal came with objects")
	}
	h.refused(0x2009, OpGetObjectHandles, nil, every, 0, 0)
	h.refused(0x2009, OpGetObjectPropList, nil, 3, 0, 0xdc07, 0, 1)
	if got := objectsIn(t, h.must(h.do(OpGetObjectPropList, nil, 1, 0, 0xdc07, 0, 1))); !slices.Equal(got, []uint32{3, 1}) {
		t.Errorf("its parent lists %d", got)
	}
	if got := h.handles(0x20001, 0, 0); len(got) != 2 {
		t.Errorf("the other storage lists %d", got)
	}
	p.Heal("DCIM/Camera")
	h.find("a.jpg")
}

func TestOnePoisonedObjectFailsItsListings(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	h.find("a.jpg")
	p.PoisonObject("DCIM/Camera/a.jpg")
	h.refused(0x2002, OpGetObjectPropList, nil, every, 0, 0xdc07, 0, every)
	h.refused(0x2002, OpGetObjectPropList, nil, 3, 0, 0xdc07, 0, 1)
	h.refused(0x2002, OpGetObjectInfo, nil, 4)
	h.must(h.do(OpGetObjectInfo, nil, 5))
	if got := h.handles(every, 0, 3); len(got) != 2 {
		t.Errorf("handles %d", got)
	}
}

func TestListingQuirks(t *testing.T) {
	p, _ := sample(t, Quirks{NoBulkList: true})
	h := session(t, p)
	h.refused(0x2005, OpGetObjectPropList, nil, every, 0, 0xdc01, 0, every)

	p, _ = sample(t, Quirks{PerFolderOnly: true})
	h = session(t, p)
	h.refused(0xa808, OpGetObjectPropList, nil, every, 0, 0xdc01, 0, every)
	h.refused(0xa808, OpGetObjectPropList, nil, 0, 0, 0xdc01, 0, every)
	h.refused(0xa808, OpGetObjectPropList, nil, every, 0, 0xdc01, 0, 0)
	if got := objectsIn(t, h.must(h.do(OpGetObjectPropList, nil, 0, 0, 0xdc01, 0, 1))); len(got) != 3 {
		t.Errorf("roots %d", got)
	}

	p, _ = sample(t, Samsung())
	h = session(t, p)
	h.refused(0x2009, OpGetObjectPropList, nil, 0, 0, 0xdc01, 0, 1)
	h.refused(0x2009, OpGetObjectHandles, nil, every, 0, 0)
	if got := h.handles(every, 0, every); len(got) != 3 {
		t.Errorf("roots %d", got)
	}
	h.refused(0x2005, OpGetPartialObject64, nil, 1, 0, 0, 10)
}

func TestLockedPhoneShowsNoStorage(t *testing.T) {
	p, _ := sample(t, Quirks{})
	p.Lock()
	h := session(t, p)
	h.must(h.do(OpGetDeviceInfo, nil))
	if r := h.must(h.do(OpGetStorageIDs, nil)); binary.LittleEndian.Uint32(r.payload()) != 0 {
		t.Error("a locked phone shows storages")
	}
	h.refused(0x2008, OpGetObjectHandles, nil, every, 0, 0)
	h.refused(0x2009, OpGetObjectPropList, nil, every, 0, 0xdc01, 0, every)
	p.Unlock()
	b := make([]byte, 64)
	if n, err := h.iface.Pipe.Event(t.Context(), b); n != 16 || err != nil || binary.LittleEndian.Uint16(b[6:]) != 0x4004 {
		t.Fatalf("event % x, %v", b[:n], err)
	}
	a := h.find("a.jpg")
	p.Lock() // the session goes on
	h.must(h.do(OpGetObject, nil, a))
	p.Revoke()
	h.refused(0x2009, OpGetObject, nil, a)
	p.Unlock() // as new storages, with new numbers for everything
	h.refused(0x2009, OpGetObject, nil, a)
	h.must(h.do(OpGetObject, nil, h.find("a.jpg")))
	h.refused(0x2008, OpGetObjectHandles, nil, 0x10001, 0, 0)
}

func TestDatesAndNamesMayBeJunk(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	a := h.find("a.jpg")
	p.JunkDate("DCIM/Camera/a.jpg", "20480000T000000")
	p.ToldName("DCIM/Camera/b.mp4", "../../x")
	r := h.must(h.do(OpGetObjectPropValue, nil, a, 0xdc09))
	golden(t, r.payload(), `10 3200300034003800300030003000300054003000300030003000300030000000`)
	h.find("../../x")
}

func TestTwentyThousandObjectsInOneReply(t *testing.T) {
	s := vphone.NewStorage("big", 1<<40, nil)
	for i := range 20_000 {
		if err := s.Put(fmt.Sprintf("d%d/f%d.jpg", i/500, i), noon, vphone.Generated(uint64(i), 1000)); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPhone(Config{Storages: []*vphone.Storage{s}})
	h := session(t, p)
	for _, prop := range []uint32{0xdc07, 0xffffffff} {
		r := h.must(h.do(OpGetObjectPropList, nil, every, 0, prop, 0, every))
		want := 20_040
		if prop == every {
			want *= 11
		}
		if n := int(binary.LittleEndian.Uint32(r.payload())); n != want {
			t.Fatalf("%d properties, want %d", n, want)
		}
	}
	if n := p.Stats().Operations[OpGetObjectPropList]; n != 2 {
		t.Fatalf("counted %d queries", n)
	}
}

// A phone that is only to be charged has no interface for files, from the next time that it is plugged in until its owner chooses
// otherwise.
func TestAPhoneThatIsOnlyCharged(t *testing.T) {
	p := NewPhone(Config{})
	defer p.Unplug()
	for _, charge := range []bool{false, true, false} {
		p.ChargeOnly(charge)
		if got := p.Plug().Class; (got != 6) != charge {
			t.Errorf("charge only %v: class %d", charge, got)
		}
	}
}
