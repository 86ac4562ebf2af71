package mtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
	"unicode/utf16"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// initiator is the smallest host that can talk to a phone. It builds and reads bytes by hand: it shares nothing with the
// phone's own encoder, nor with the driver.
type initiator struct {
	t     *testing.T
	iface usbhost.Interface
	tid   uint32
}

// reply is what came back: the data phase with its header, if there was one, and the response.
type reply struct {
	data   []byte // with the header; nil if there was no data phase
	code   uint16
	params []uint32
	reads  []int // lengths of the bulk-IN transfers
}

func (r reply) payload() []byte {
	if r.data == nil {
		return nil
	}
	return r.data[12:]
}

func le(fields ...any) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		if s, ok := f.(string); ok {
			u := utf16.Encode([]rune(s))
			if len(u) == 0 {
				b.WriteByte(0)
				continue
			}
			b.WriteByte(byte(len(u) + 1))
			f = append(u, 0)
		}
		if err := binary.Write(&b, binary.LittleEndian, f); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func commandBytes(op uint16, tid uint32, params ...uint32) []byte {
	return le(uint32(12+4*len(params)), uint16(1), op, tid, params)
}

func dial(t *testing.T, p *Phone) *initiator {
	t.Helper()
	i := p.Plug()
	t.Cleanup(p.Unplug)
	return &initiator{t: t, iface: i}
}

// session dials and opens a session.
func session(t *testing.T, p *Phone) *initiator {
	t.Helper()
	h := dial(t, p)
	h.must(h.do(OpOpenSession, nil, 1))
	h.tid = 1
	return h
}

func (h *initiator) must(r reply, err error) reply {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	if r.code != 0x2001 {
		h.t.Fatalf("response %#x, want OK", r.code)
	}
	return r
}

// refused wants a response other than OK.
func (h *initiator) refused(code uint16, op uint16, out []byte, params ...uint32) reply {
	h.t.Helper()
	r, err := h.do(op, out, params...)
	if err != nil {
		h.t.Fatal(err)
	}
	if r.code != code {
		h.t.Fatalf("operation %#x %x: response %#x, want %#x", op, params, r.code, code)
	}
	return r
}

// do runs one transaction; out is the payload of its data phase, if not nil.
func (h *initiator) do(op uint16, out []byte, params ...uint32) (reply, error) {
	return h.doCtx(context.Background(), op, out, params...)
}

func (h *initiator) doCtx(ctx context.Context, op uint16, out []byte, params ...uint32) (reply, error) {
	tid := h.tid
	h.tid++
	if _, err := h.iface.Pipe.Write(ctx, commandBytes(op, tid, params...)); err != nil {
		return reply{}, err
	}
	if out != nil {
		if err := h.sendData(ctx, op, tid, out); err != nil {
			return reply{}, err
		}
	}
	return h.collect(ctx, op, tid)
}

func (h *initiator) sendData(ctx context.Context, op uint16, tid uint32, out []byte) error {
	b := append(le(uint32(12+len(out)), uint16(2), op, tid), out...)
	if _, err := h.iface.Pipe.Write(ctx, b); err != nil {
		return err
	}
	if len(b)%h.iface.MaxPacket == 0 {
		_, err := h.iface.Pipe.Write(ctx, nil)
		return err
	}
	return nil
}

// collect reads until the response container, telling the two by their type as a careful host does.
func (h *initiator) collect(ctx context.Context, op uint16, tid uint32) (r reply, err error) {
	buf := make([]byte, 64<<10)
	var data []byte
	for {
		n, err := h.iface.Pipe.Read(ctx, buf)
		if err != nil {
			return r, err
		}
		r.reads = append(r.reads, n)
		if n >= 12 && binary.LittleEndian.Uint16(buf[4:]) == 3 && binary.LittleEndian.Uint32(buf[8:]) == tid &&
			int(binary.LittleEndian.Uint32(buf)) == n {
			r.data, r.code = data, binary.LittleEndian.Uint16(buf[6:])
			for p := buf[12:n]; len(p) >= 4; p = p[4:] {
				r.params = append(r.params, binary.LittleEndian.Uint32(p))
			}
			return r, nil
		}
		if data == nil {
			if n < 12 || binary.LittleEndian.Uint16(buf[4:]) != 2 || binary.LittleEndian.Uint16(buf[6:]) != op ||
				binary.LittleEndian.Uint32(buf[8:]) != tid {
				return r, fmt.Errorf("no data header: % x", buf[:min(n, 16)])
			}
		}
		data = append(data, buf[:n]...)
	}
}

func (h *initiator) handles(storage, format, parent uint32) []uint32 {
	h.t.Helper()
	r := h.must(h.do(OpGetObjectHandles, nil, storage, format, parent))
	p := r.payload()
	out := make([]uint32, binary.LittleEndian.Uint32(p))
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(p[4+4*i:])
	}
	return out
}

// find returns the handle of the object whose file name is name.
func (h *initiator) find(name string) uint32 {
	h.t.Helper()
	r := h.must(h.do(OpGetObjectPropList, nil, 0xffffffff, 0, 0xdc07, 0, 0xffffffff))
	for p := r.payload()[4:]; len(p) > 0; {
		handle, n := binary.LittleEndian.Uint32(p), int(p[8])
		var u []uint16
		for i := range max(n-1, 0) {
			u = append(u, binary.LittleEndian.Uint16(p[9+2*i:]))
		}
		if string(utf16.Decode(u)) == name {
			return handle
		}
		p = p[9+2*n:]
	}
	h.t.Fatalf("no object %q", name)
	return 0
}

func (h *initiator) control(request byte, in bool, n int) ([]byte, error) {
	p := make([]byte, n)
	kind := byte(0x21)
	if in {
		kind = 0xa1
	}
	n, err := h.iface.Pipe.Control(context.Background(), usbhost.Setup{RequestType: kind, Request: request}, p)
	return p[:n], err
}

var noon = time.Date(2024, 5, 6, 12, 34, 56, 0, time.UTC)

// sample is a phone with a folder, three files and a second, removable storage.
func sample(t *testing.T, q Quirks) (*Phone, *vphone.Storage) {
	t.Helper()
	s := vphone.NewStorage("Internal shared storage", 64<<30, nil)
	card := vphone.NewStorage("SD card", 32<<30, nil)
	put := func(s *vphone.Storage, path string, c vphone.Content) {
		if err := s.Put(path, noon, c); err != nil {
			t.Fatal(err)
		}
	}
	put(s, "DCIM/Camera/a.jpg", vphone.Generated(1, 100_000))
	put(s, "DCIM/Camera/b.mp4", vphone.Generated(2, 5<<20))
	put(s, "empty.txt", vphone.Bytes(nil))
	put(card, "Music/song.mp3", vphone.Generated(3, 1012))
	return NewPhone(Config{Storages: []*vphone.Storage{s, card}, Quirks: q}), s
}
