package redir

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

// guest is the machine's end of a connection. What it reads and writes is spelled out here from the protocol's document, not
// taken from the code under test; that QEMU agrees is for image/phones to show.
type guest struct {
	t    testing.TB
	conn net.Conn
	in   chan reply // what comes, but for interrupts; closed when the connection ends
	ints chan []byte
	next uint64
	done chan error // what Serve returned
}

type reply struct {
	kind uint32
	id   uint64
	body []byte
}

// connect has Serve serve a phone to a guest that is past the hellos.
func connect(t testing.TB, ctx context.Context, plug func() *vphone.Attachment) *guest {
	t.Helper()
	ours, theirs := net.Pipe()
	g := &guest{t: t, conn: ours, in: make(chan reply, 4096), ints: make(chan []byte, 4096), next: 1 << 40, done: make(chan error, 1)}
	var wait sync.WaitGroup
	wait.Go(func() { g.done <- Serve(ctx, theirs, plug) })
	hello := make([]byte, 12+68)
	if _, err := io.ReadFull(ours, hello); err != nil {
		t.Fatal(err)
	}
	if caps := binary.LittleEndian.Uint32(hello[12+64:]); caps != 0x72 {
		t.Fatalf("capabilities %#x", caps)
	}
	if _, err := ours.Write(helloOf(0xf2)); err != nil {
		t.Fatal(err)
	}
	wait.Go(g.read)
	t.Cleanup(func() {
		ours.Close()
		wait.Wait()
	})
	return g
}

func helloOf(caps uint32) []byte {
	b := make([]byte, 12+68)
	b[4] = 68
	copy(b[12:], "qemu 7.2")
	binary.LittleEndian.PutUint32(b[12+64:], caps)
	return b
}

func (g *guest) read() {
	defer close(g.in)
	for {
		h := make([]byte, 16)
		if _, err := io.ReadFull(g.conn, h); err != nil {
			return
		}
		r := reply{binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint64(h[8:]), make([]byte, binary.LittleEndian.Uint32(h[4:]))}
		if _, err := io.ReadFull(g.conn, r.body); err != nil {
			return
		}
		if r.kind == 103 {
			g.ints <- r.body
			continue
		}
		g.in <- r
	}
}

// send sends a packet and returns its number.
func (g *guest) send(kind uint32, body ...byte) uint64 {
	g.t.Helper()
	g.next++
	g.sendAs(kind, g.next, body)
	return g.next
}

func (g *guest) sendAs(kind uint32, id uint64, body []byte) {
	g.t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint64(b, id)
	if _, err := g.conn.Write(append(b, body...)); err != nil {
		g.t.Fatal(err)
	}
}

// want returns the next packet, which must be of that kind.
func (g *guest) want(kind uint32) reply {
	g.t.Helper()
	r, ok := <-g.in
	if !ok {
		g.t.Fatalf("the connection ended (%v), wanted packet %d", <-g.done, kind)
	}
	if r.kind != kind {
		g.t.Fatalf("packet %d %x, want %d", r.kind, r.body, kind)
	}
	return r
}

// connected reads what comes when a phone is plugged in, and chooses its configuration.
func (g *guest) connected() {
	g.t.Helper()
	g.want(5)
	g.want(4)
	g.want(1)
	g.configure()
}

func (g *guest) configure() {
	g.t.Helper()
	id := g.send(6, 1)
	g.want(5)
	g.want(4)
	if r := g.want(8); r.id != id || !bytes.Equal(r.body, []byte{0, 1}) {
		g.t.Fatalf("set configuration: %x", r.body)
	}
}

// control does a control transfer and returns its status and what came.
func (g *guest) control(requestType, request byte, value, index uint16, length int, data ...byte) (byte, []byte) {
	g.t.Helper()
	b := []byte{requestType & 0x80, request, requestType, 0}
	for _, n := range []uint16{value, index, uint16(length)} {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	id := g.send(100, append(b, data...)...)
	r := g.want(100)
	if r.id != id || len(r.body) < 10 || !bytes.Equal(r.body[:3], b[:3]) {
		g.t.Fatalf("control: %x", r.body)
	}
	if n := int(binary.LittleEndian.Uint16(r.body[8:])); requestType&0x80 != 0 && n != len(r.body)-10 {
		g.t.Fatalf("control: %d bytes, says %d", len(r.body)-10, n)
	}
	return r.body[3], r.body[10:]
}

// submit asks for a bulk transfer: of data where the endpoint is 0x01, of so many bytes where it is 0x81.
func (g *guest) submit(endpoint byte, length int, data []byte) uint64 {
	g.t.Helper()
	b := []byte{endpoint, 0, byte(length), byte(length >> 8), 0, 0, 0, 0, byte(length >> 16), byte(length >> 24)}
	return g.send(101, append(b, data...)...)
}

// result is how a bulk transfer ended.
type result struct {
	id     uint64
	status byte
	n      int
	data   []byte
}

func (g *guest) result() result {
	g.t.Helper()
	r := g.want(101)
	n := int(binary.LittleEndian.Uint16(r.body[2:])) | int(binary.LittleEndian.Uint16(r.body[8:]))<<16
	if r.body[0]&0x80 != 0 && len(r.body)-10 != n {
		g.t.Fatalf("bulk: %d bytes, says %d", len(r.body)-10, n)
	}
	return result{r.id, r.body[1], n, r.body[10:]}
}

func (g *guest) bulkIn(length int) result {
	g.t.Helper()
	id := g.submit(0x81, length, nil)
	r := g.result()
	if r.id != id {
		g.t.Fatalf("answer to %d, want %d", r.id, id)
	}
	return r
}

func (g *guest) bulkOut(p []byte) result {
	g.t.Helper()
	id := g.submit(0x01, len(p), p)
	r := g.result()
	if r.id != id {
		g.t.Fatalf("answer to %d, want %d", r.id, id)
	}
	return r
}

// script is a device that does what a function says.
type script struct {
	serve   func(*vphone.Port)
	control func(*vphone.Port, usbhost.Setup, []byte) (int, error)
}

func (s script) Describe() usbhost.Interface {
	return usbhost.Interface{Vendor: 0x18d1, Product: 0x4ee1, Serial: "S", Maker: "Maker", Model: "Modèle 😀", Class: 6, SubClass: 1, Protocol: 1}
}
func (s script) Serve(p *vphone.Port) { s.serve(p) }
func (s script) Control(p *vphone.Port, u usbhost.Setup, b []byte) (int, error) {
	if s.control == nil {
		return 0, usbhost.ErrStalled
	}
	return s.control(p, u, b)
}

// scripted serves a device that does what a function says, each time that it is plugged in.
func scripted(t testing.TB, w vphone.Wire, serve func(*vphone.Port)) *guest {
	t.Helper()
	g := connect(t, t.Context(), func() *vphone.Attachment { return vphone.Plug(script{serve: serve}, w) })
	g.connected()
	return g
}

// sends returns a device that queues one transfer of each length, numbering its bytes.
func sends(lengths ...int) func(*vphone.Port) {
	return func(p *vphone.Port) {
		var next byte
		for _, n := range lengths {
			b := make([]byte, n)
			for i := range b {
				b[i], next = next, next+1
			}
			if p.Queue(b) != nil {
				return
			}
		}
		_ = p.Flush() // ends with the test
		_ = p.Mute()
	}
}
