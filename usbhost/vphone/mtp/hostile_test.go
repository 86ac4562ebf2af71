package mtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

func TestCommandsThatAreNone(t *testing.T) {
	good := commandBytes(OpGetObjectPropList, 7, 1, 2, 3, 4, 5)
	if c, err := parseCommand(good); err != nil || len(c.params) != 5 || c.transaction != 7 {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, b := range map[string][]byte{
		"nothing":                        {},
		"a header that ends early":       good[:11],
		"a length below the header's":    le(uint32(11), uint16(1), uint16(OpGetObject), uint32(1)),
		"a length beyond the transfer":   good[:28],
		"six parameters":                 commandBytes(OpGetObject, 1, 1, 2, 3, 4, 5, 6),
		"a data container":               le(uint32(12), uint16(2), uint16(OpGetObject), uint32(1)),
		"a length of 4 GiB":              le(uint32(every), uint16(1), uint16(OpGetObject), uint32(1)),
		"a response sent by an impostor": le(uint32(12), uint16(3), uint16(0x2001), uint32(1)),
	} {
		if c, err := parseCommand(b); err == nil {
			t.Errorf("%s was read as %+v", name, c)
		}
	}
}

// A data container of another operation or transaction is not taken for this one's.
func TestForeignDataIsRefused(t *testing.T) {
	p, s := empty(t, 1<<20)
	h := session(t, p)
	info := objectInfoBytes(0x3000, 3, "f", "")
	for _, header := range [][]byte{
		le(uint32(12+len(info)), uint16(2), uint16(OpSendObject), h.tid),
		le(uint32(12+len(info)), uint16(2), uint16(OpSendObjectInfo), h.tid+1),
		le(uint32(12+len(info)), uint16(1), uint16(OpSendObjectInfo), h.tid),
	} {
		h.write(commandBytes(OpSendObjectInfo, h.tid, 0x10001, every))
		h.write(append(header, info...))
		r, err := h.collect(t.Context(), OpSendObjectInfo, h.tid)
		if err != nil || r.code != 0x2002 {
			t.Fatalf("%#x, %v", r.code, err)
		}
	}
	if n := len(s.Entries()); n != 1 {
		t.Fatalf("%d entries", n)
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(commandBytes(OpGetObjectPropList, 7, every, 0, 0xdc07, 0, every))
	f.Add(commandBytes(OpGetDeviceInfo, 0))
	f.Add([]byte{12, 0, 0, 0, 1, 0})
	f.Add(le(uint32(every), uint16(1), uint16(OpGetObject), uint32(1), uint32(2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommand(b)
		if err != nil {
			return
		}
		if len(c.params) > 5 {
			t.Fatalf("%d parameters", len(c.params))
		}
		again := commandBytes(c.code, c.transaction, c.params...)
		// The length field may count up to three bytes that are no parameter.
		if !bytes.Equal(again[4:], b[4:len(again)]) {
			t.Fatalf("% x came back as % x", b, again)
		}
	})
}

func FuzzObjectInfo(f *testing.F) {
	f.Add(objectInfoBytes(0x3801, 5, "a.jpg", "20240506T123456Z"))
	f.Add(objectInfoBytes(0x3001, 0, "😀", "")[:60])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseObjectInfo(b)
		if err != nil {
			return
		}
		if len(vphone.Units(o.name)) > 255 {
			t.Fatalf("a name of %d units", len(vphone.Units(o.name)))
		}
		if _, err := parseDate(o.modified, time.UTC); err == nil && len(o.modified) < 9 {
			t.Fatalf("%q is a date", o.modified)
		}
	})
}

// FuzzHostileInitiator writes any transfers at all to a phone. It must never panic, never write outside its storage,
// and answer GetDeviceInfo once it was told to cancel.
func FuzzHostileInitiator(f *testing.F) {
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, le(uint16(len(p)))...)
			b = append(b, p...)
		}
		return b
	}
	data := func(op uint16, p []byte) []byte {
		return append(le(uint32(12+len(p)), uint16(2), op, uint32(2)), p...)
	}
	open := commandBytes(OpOpenSession, 0, 1)
	list := commandBytes(OpGetObjectPropList, 1, every, 0, every, 0, every)
	f.Add(join(open, list, commandBytes(OpGetObject, 2, 5)))
	f.Add(join(open, list, commandBytes(OpGetPartialObject64, 2, 5, every, every, every)))
	f.Add(join(open, list, commandBytes(OpSendObjectInfo, 2, 0x10001, every),
		data(OpSendObjectInfo, objectInfoBytes(0x3000, every, "../../etc/passwd", ""))))
	f.Add(join(open, list, commandBytes(OpSendObjectInfo, 2, 0x10001, every),
		data(OpSendObjectInfo, objectInfoBytes(0x3000, 5, "x", "")), commandBytes(OpSendObject, 2), data(OpSendObject, []byte("hello"))))
	f.Add(join(open, list, commandBytes(OpBeginEditObject, 2, 4), commandBytes(OpTruncateObject, 2, 4, every, 0x7fffffff)))
	f.Add(join(open, list, commandBytes(OpBeginEditObject, 2, 4), commandBytes(OpSendPartialObject, 2, 4, 0, 0, every), data(OpSendPartialObject, []byte("x"))))
	f.Add(join(open, list, commandBytes(OpCopyObject, 2, 1, 0x10001, 3), commandBytes(OpMoveObject, 2, 1, 0x20001, 6)))
	f.Add(join(data(OpSendObject, nil), nil, open, nil, open))
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) { hostileInitiator(t, b) })
	})
}

func hostileInitiator(t *testing.T, b []byte) {
	p, s := sample(t, Quirks{})
	i := p.Plug()
	defer p.Unplug()
	for k := 0; len(b) >= 2 && k < 20; k++ {
		n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
		transfer := b[2 : 2+n]
		b = b[2+n:]
		hostileTransfer(t, i, transfer)
	}
	if _, err := i.Pipe.Control(t.Context(), usbhost.Setup{RequestType: 0x21, Request: 0x64}, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	h := &initiator{t: t, iface: i, tid: 0x7fff}
	if _, err := h.do(OpGetDeviceInfo, nil); err != nil && !errors.Is(err, usbhost.ErrStalled) {
		t.Fatal(err)
	}
	for _, e := range s.Entries() {
		if bytes.Contains([]byte(e.Path), []byte("..")) {
			t.Fatalf("the phone holds %q", e.Path)
		}
	}
}

// hostileTransfer writes one transfer, reading whatever comes meanwhile, but not for long.
func hostileTransfer(t *testing.T, i usbhost.Interface, transfer []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<20)
		for range 3 {
			if _, err := i.Pipe.Read(ctx, buf); err != nil {
				return
			}
		}
	}()
	if _, err := i.Pipe.Write(ctx, transfer); err != nil && ctx.Err() == nil && !errors.Is(err, usbhost.ErrStalled) {
		t.Error(err)
	}
	if len(transfer)%512 == 0 && len(transfer) > 0 {
		if _, err := i.Pipe.Write(ctx, nil); err != nil && ctx.Err() == nil && !errors.Is(err, usbhost.ErrStalled) {
			t.Error(err)
		}
	}
	<-done
}

func TestControlRequestsOfAllKinds(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	for kind := range 256 {
		for _, request := range []byte{0, 1, 0x64, 0x65, 0x66, 0x67, 0xff} {
			for _, n := range []int{0, 1, 7, 8, 12, 64} {
				for _, index := range []uint16{0, 1, 0x81} {
					s := usbhost.Setup{RequestType: byte(kind), Request: request, Index: index}
					m, err := h.iface.Pipe.Control(t.Context(), s, make([]byte, n))
					if m < 0 || m > n || err != nil && !errors.Is(err, usbhost.ErrStalled) {
						t.Fatalf("%+v of %d bytes: %d, %v", s, n, m, err)
					}
				}
			}
		}
	}
	h.must(h.do(OpGetStorageIDs, nil))
}
