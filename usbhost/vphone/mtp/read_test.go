package mtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
)

func bytesOf(t *testing.T, c vphone.Content, off, n int64) []byte {
	t.Helper()
	p := make([]byte, n)
	if m, err := c.ReadAt(p, off); int64(m) != n {
		t.Fatal(m, err)
	}
	return p
}

// one is a phone with a single file "f".
func one(t *testing.T, c vphone.Content, q Quirks, w vphone.Wire) *Phone {
	t.Helper()
	s := vphone.NewStorage("s", 1<<40, nil)
	if err := s.Put("f", noon, c); err != nil {
		t.Fatal(err)
	}
	return NewPhone(Config{Storages: []*vphone.Storage{s}, Quirks: q, Wire: w})
}

// packets reads n bulk-IN packets one by one and returns their lengths and bytes.
func (h *initiator) packets(n int) (lengths []int, all []byte) {
	h.t.Helper()
	for range n {
		b := make([]byte, h.iface.MaxPacket)
		n, err := h.iface.Pipe.Read(h.t.Context(), b)
		if err != nil {
			h.t.Fatal(err)
		}
		lengths, all = append(lengths, n), append(all, b[:n]...)
	}
	return lengths, all
}

func (h *initiator) write(b []byte) {
	h.t.Helper()
	if _, err := h.iface.Pipe.Write(h.t.Context(), b); err != nil {
		h.t.Fatal(err)
	}
}

// packetsOf is the model: how a container of size payload bytes looks on the wire, then the response.
func packetsOf(packet int, payload int64) (lengths []int) {
	total := 12 + payload
	for ; total >= int64(packet); total -= int64(packet) {
		lengths = append(lengths, packet)
	}
	return append(lengths, int(total), 12) // the last may be empty
}

func TestFilesOfEverySizeOnTheWire(t *testing.T) {
	for _, packet := range []int{64, 512, 1024} {
		sizes := []int64{0, 1, 51, 52, 53, 499, 500, 501, 511, 512, 1011, 1012, 1013, 2047, 2048}
		if packet == 512 {
			sizes = append(sizes, chunkSize, chunkSize+499, chunkSize+500, chunkSize+501, 2*chunkSize+500)
		}
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%d bytes in packets of %d", size, packet), func(t *testing.T) {
				c := vphone.Generated(uint64(size), size)
				h := session(t, one(t, c, Quirks{}, vphone.Wire{MaxPacket: packet}))
				h.find("f")
				h.write(commandBytes(OpGetObject, 99, 1))
				want := packetsOf(packet, size)
				got, all := h.packets(len(want))
				if !slices.Equal(got, want) {
					t.Fatalf("packets %v, want %v", got, want)
				}
				header := le(uint32(12+size), uint16(2), uint16(OpGetObject), uint32(99))
				body := append(header, bytesOf(t, c, 0, size)...)
				if !bytes.Equal(all, append(body, le(uint32(12), uint16(3), uint16(0x2001), uint32(99))...)) {
					t.Fatal("other bytes than expected")
				}
			})
		}
	}
}

func TestPacketQuirks(t *testing.T) {
	read := func(q Quirks, size int64, packets int) []int {
		h := session(t, one(t, vphone.Generated(1, size), q, vphone.Wire{}))
		h.find("f")
		h.write(commandBytes(OpGetObject, 99, 1))
		got, _ := h.packets(packets)
		return got
	}
	for _, tt := range []struct {
		name string
		q    Quirks
		size int64
		want []int
	}{
		{"a response in place of the empty packet", Quirks{ResponseInsteadZLP: true}, 1012, []int{512, 512, 12}},
		{"the header alone", Quirks{HeaderAlone: true}, 600, []int{12, 512, 88, 12}},
		{"the header alone, full packets", Quirks{HeaderAlone: true}, 1024, []int{12, 512, 512, 0, 12}},
		{"the header alone, nothing else", Quirks{HeaderAlone: true}, 0, []int{12, 12}},
	} {
		if got := read(tt.q, tt.size, len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDatasetsEndInAnEmptyPacketToo(t *testing.T) {
	s := vphone.NewStorage("s", 1<<30, nil)
	for i := range 124 { // 12 + 4 + 4*124 = 512
		if err := s.Put(fmt.Sprint(i), noon, vphone.Bytes(nil)); err != nil {
			t.Fatal(err)
		}
	}
	h := session(t, NewPhone(Config{Storages: []*vphone.Storage{s}}))
	h.write(commandBytes(OpGetObjectHandles, 1, every, 0, 0))
	if got, _ := h.packets(3); !slices.Equal(got, []int{512, 0, 12}) {
		t.Fatalf("packets %v", got)
	}
}

func TestFourGiBAndMore(t *testing.T) {
	const size = 5<<30 + 7
	c := vphone.Generated(4, size)
	p := one(t, c, Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	r := h.must(h.do(OpGetObjectInfo, nil, 1))
	if got := binary.LittleEndian.Uint32(r.payload()[8:]); got != every {
		t.Errorf("ObjectInfo says %d bytes", got)
	}
	r = h.must(h.do(OpGetObjectPropValue, nil, 1, 0xdc04))
	if got := binary.LittleEndian.Uint64(r.payload()); got != size {
		t.Errorf("DC04 says %d bytes", got)
	}
	r = h.must(h.do(OpGetPartialObject64, nil, 1, 5, 1, 3000))
	if !bytes.Equal(r.payload(), bytesOf(t, c, 1<<32+5, 3000)) || r.params[0] != 3000 {
		t.Error("a range above 4 GiB is wrong")
	}
	r = h.must(h.do(OpGetPartialObject64, nil, 1, 1<<30+2, 1, every))
	if !bytes.Equal(r.payload(), []byte(bytesOf(t, c, 5<<30+2, 5))) || r.params[0] != 5 {
		t.Errorf("a range past the end gave %d bytes, %d", len(r.payload()), r.params)
	}
	h.write(commandBytes(OpGetObject, h.tid, 1))
	if _, all := h.packets(1); binary.LittleEndian.Uint32(all) != every {
		t.Errorf("container length % x", all[:4])
	}
}

func TestPartialReads(t *testing.T) {
	c := vphone.Generated(5, 10_000)
	p := one(t, c, Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	for _, tt := range []struct{ off, n, want uint32 }{
		{0, 10_000, 10_000}, {0, 500, 500}, {100, 1012, 1012}, {9_999, 100, 1}, {10_000, 5, 0}, {0, 0, 0}, {3, every, 9_997},
	} {
		for _, op := range []uint16{OpGetPartialObject, OpGetPartialObject64} {
			params := []uint32{1, tt.off, tt.n}
			if op == OpGetPartialObject64 {
				params = []uint32{1, tt.off, 0, tt.n}
			}
			r := h.must(h.do(op, nil, params...))
			if !bytes.Equal(r.payload(), bytesOf(t, c, int64(tt.off), int64(tt.want))) || r.params[0] != tt.want {
				t.Errorf("%+v: %d bytes, %d", tt, len(r.payload()), r.params)
			}
		}
	}
	h.refused(0x2002, OpGetPartialObject, nil, 1, 10_001, 1)
	h.refused(0x2002, OpGetPartialObject64, nil, 1, 0, 0x80000000, 1)
	h.refused(0x201d, OpGetPartialObject64, nil, 1, 0, 0)
}

func TestStatsTellWhatWasReadTwice(t *testing.T) {
	p := one(t, vphone.Generated(5, 10_000), Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	p.ResetStats()
	for _, w := range [][2]uint32{{0, 4000}, {4000, 4000}, {8000, 4000}} {
		h.must(h.do(OpGetPartialObject64, nil, 1, w[0], 0, w[1]))
	}
	f := p.Stats().Files["f"]
	if f.Reads != 3 || f.Sent != 10_000 || f.Again != 0 {
		t.Errorf("%+v", f)
	}
	h.must(h.do(OpGetPartialObject64, nil, 1, 3000, 0, 2000))
	h.must(h.do(OpGetObject, nil, 1))
	if s := p.Stats(); s.Files["f"].Again != 12_000 || s.SentAgain() != 12_000 || s.Sent() != 22_000 {
		t.Errorf("%+v", s.Files["f"])
	}
}

func TestFailingObject(t *testing.T) {
	p := one(t, vphone.Generated(5, 5<<20), Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	p.FailingObject("f")
	if r := h.refused(0x2002, OpGetObject, nil, 1); r.data != nil {
		t.Error("data came")
	}
}

// AOSP stalls in the middle of a file; the status then names both endpoints, and the next transaction works.
func TestFailingInTheMiddleStalls(t *testing.T) {
	p := one(t, vphone.Generated(5, 5<<20), Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	p.FailingAt("f", 3<<20)
	r, err := h.do(OpGetObject, nil, 1)
	if !errors.Is(err, usbhost.ErrStalled) {
		t.Fatalf("%#x, %v", r.code, err)
	}
	st, err := h.control(0x67, true, 64)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, st, `0c00 1f20 8100 0100 00000000`)
	st, err = h.control(0x67, true, 64)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, st, `0800 0120 00000000`)
	if _, err := h.control(0x67, true, 7); !errors.Is(err, usbhost.ErrStalled) {
		t.Errorf("7 bytes of status: %v", err)
	}
	h.must(h.do(OpGetPartialObject64, nil, 1, 0, 0, 1<<20))
	if got := p.Stats().Files["f"].Sent; got != 2<<20+500+1<<20 {
		t.Errorf("%d bytes counted", got)
	}
}

// Android 8 sent its response right behind the data: no short packet tells them apart.
func TestFailingInTheMiddleWithoutAStall(t *testing.T) {
	p := one(t, vphone.Generated(5, 5<<20), Quirks{NoStall: true}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	p.FailingAt("f", 3<<20)
	h.write(commandBytes(OpGetObject, 50, 1))
	b := make([]byte, 8<<20)
	n, err := h.iface.Pipe.Read(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if n != 512+2<<20+12 {
		t.Fatalf("one transfer of %d bytes", n)
	}
	golden(t, b[n-12:n], `0c000000 0300 0220 32000000`)
}

func TestShortFileLies(t *testing.T) {
	c := vphone.Generated(5, 5000)
	p := one(t, c, Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	p.ShortFile("f", 1012)
	r := h.must(h.do(OpGetObject, nil, 1))
	if binary.LittleEndian.Uint32(r.data) != 5012 || !bytes.Equal(r.payload(), bytesOf(t, c, 0, 1012)) {
		t.Errorf("%d bytes, header says %d", len(r.payload()), binary.LittleEndian.Uint32(r.data))
	}
	r = h.must(h.do(OpGetPartialObject64, nil, 1, 1000, 0, 4000))
	if len(r.payload()) != 12 || r.params[0] != 4000 {
		t.Errorf("%d bytes, %d", len(r.payload()), r.params)
	}
	r = h.must(h.do(OpGetPartialObject64, nil, 1, 2000, 0, 10))
	if len(r.payload()) != 0 || r.params[0] != 10 {
		t.Errorf("%d bytes, %d", len(r.payload()), r.params)
	}
}

func TestGrowsWhileRead(t *testing.T) {
	p := one(t, vphone.Generated(5, 5000), Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	p.GrowsWhileRead("f", 1)
	size := func() uint64 {
		return binary.LittleEndian.Uint64(h.must(h.do(OpGetObjectPropValue, nil, 1, 0xdc04)).payload())
	}
	if r := h.must(h.do(OpGetObject, nil, 1)); len(r.payload()) != 5000 {
		t.Errorf("%d bytes", len(r.payload()))
	}
	if size() != 6000 {
		t.Errorf("size %d", size())
	}
	if r := h.must(h.do(OpGetObject, nil, 1)); len(r.payload()) != 6000 || size() != 6000 {
		t.Errorf("%d bytes, size %d", len(r.payload()), size())
	}
	if e := p.Storages()[0].Entries()[0]; !e.ModTime.Equal(noon.Add(2 * time.Second)) {
		t.Errorf("time %v", e.ModTime)
	}
}

func TestUnplugInTheMiddleOfAFile(t *testing.T) {
	for _, at := range []int64{0, 1, 499, 500, 501, 1 << 20, 5<<20 - 1, 5 << 20} {
		c := vphone.Generated(5, 5<<20)
		p := one(t, c, Quirks{}, vphone.Wire{})
		h := session(t, p)
		h.find("f")
		p.UnplugIn("f", at)
		h.write(commandBytes(OpGetObject, 50, 1))
		var got []byte
		var err error
		for err == nil {
			b := make([]byte, 64<<10)
			var n int
			n, err = h.iface.Pipe.Read(t.Context(), b)
			got = append(got, b[:n]...)
		}
		if !errors.Is(err, usbhost.ErrUnplugged) || !bytes.Equal(got[12:], bytesOf(t, c, 0, at)) {
			t.Fatalf("at %d: %d bytes, %v", at, len(got)-12, err)
		}
		<-h.iface.Gone
		h = session(t, p) // once is enough
		h.must(h.do(OpGetObject, nil, h.find("f")))
	}
}

// cancel abandons a read after the first packet and cancels the transaction.
func (h *initiator) cancel(handle uint32) {
	h.t.Helper()
	h.write(commandBytes(OpGetObject, h.tid, handle))
	h.tid++
	h.packets(1)
	if _, err := h.control(0x64, false, 6); err != nil {
		h.t.Fatal(err)
	}
}

func TestCancelEndsAReadWithoutAResponse(t *testing.T) {
	p := one(t, vphone.Generated(5, 50<<20), Quirks{}, vphone.Wire{})
	h := session(t, p)
	h.find("f")
	for range 50 {
		h.cancel(1)
		h.must(h.do(OpGetStorageIDs, nil))
	}
}

// silent reports whether the phone leaves a command unanswered; call it in a bubble.
func (h *initiator) silent() bool {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	_, err := h.doCtx(ctx, OpGetStorageIDs, nil)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		h.t.Fatal(err)
	}
	return err != nil
}

func TestWedgeLastsUntilReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := one(t, vphone.Generated(5, 50<<20), Quirks{Wedge: true}, vphone.Wire{})
		h := session(t, p)
		h.find("f")
		if h.silent() {
			t.Fatal("silent before anything happened")
		}
		h.cancel(1)
		if !h.silent() {
			t.Fatal("answers after a cancelled transaction")
		}
		if _, err := h.control(0x66, false, 0); err != nil {
			t.Fatal(err)
		}
		if h.silent() {
			t.Fatal("silent after Reset")
		}
		h.cancel(1)
		h = session(t, p)
		if h.silent() {
			t.Fatal("silent after replugging")
		}
	})
}

func TestResetKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := one(t, vphone.Generated(5, 100), Quirks{ResetKills: true}, vphone.Wire{})
		h := session(t, p)
		if _, err := h.control(0x66, false, 0); err != nil {
			t.Fatal(err)
		}
		if !h.silent() {
			t.Fatal("answers after Reset")
		}
		if _, err := h.control(0x66, false, 0); !errors.Is(err, usbhost.ErrStalled) {
			t.Fatal(err)
		}
		if session(t, p).silent() {
			t.Fatal("silent after replugging")
		}
	})
}

func TestSamsungHangsOnAFullLastPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := one(t, vphone.Generated(5, 100_000), Samsung(), vphone.Wire{})
		h := session(t, p)
		h.handles(every, 0, every)
		h.must(h.do(OpGetPartialObject, nil, 1, 0, 1000))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.doCtx(ctx, OpGetPartialObject, nil, 1, 0, 1012); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if !h.silent() {
			t.Fatal("answers")
		}
	})
}

func TestIgnoredOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := one(t, vphone.Generated(5, 100), Quirks{IgnoredOpens: 1}, vphone.Wire{})
		h := dial(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.doCtx(ctx, OpOpenSession, nil, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		h.must(h.do(OpOpenSession, nil, 1))
	})
}

func TestSlowPhones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := one(t, vphone.Generated(5, 100), Quirks{FirstByte: 3003 * time.Millisecond}, vphone.Wire{})
		p.Delay(OpOpenSession, 8*time.Second)
		start := time.Now()
		h := session(t, p)
		if d := time.Since(start); d != 8*time.Second {
			t.Errorf("OpenSession took %v", d)
		}
		start = time.Now()
		h.must(h.do(OpGetStorageIDs, nil))
		if d := time.Since(start); d != 3003*time.Millisecond {
			t.Errorf("GetStorageIDs took %v", d)
		}
	})
}

func TestStrictPhoneWantsSessionsAndCountingTransactions(t *testing.T) {
	p := one(t, vphone.Generated(5, 100), Quirks{Strict: true}, vphone.Wire{})
	h := dial(t, p)
	h.must(h.do(OpGetDeviceInfo, nil))
	h.refused(0x2003, OpGetObject, nil, 1)
	h.tid = 0
	h.must(h.do(OpOpenSession, nil, 1))
	h.must(h.do(OpGetStorageIDs, nil))
	h.tid = 1
	h.refused(0x2004, OpGetStorageIDs, nil)
	h.tid = 2
	h.must(h.do(OpGetStorageIDs, nil))
}

// A driver that gave up and claims the interface again finds its old session open.
func TestSessionOutlivesThePipe(t *testing.T) {
	p := one(t, vphone.Generated(5, 100), Quirks{}, vphone.Wire{})
	h := session(t, p)
	if err := h.iface.Pipe.Close(); err != nil {
		t.Fatal(err)
	}
	h.iface = p.Interface()
	h.refused(0x201e, OpOpenSession, nil, 2)
	h.must(h.do(OpCloseSession, nil))
	h.must(h.do(OpOpenSession, nil, 2))
}

func BenchmarkGetObject(b *testing.B) {
	s := vphone.NewStorage("s", 1<<40, nil)
	if err := s.Put("f", noon, vphone.Generated(1, 1<<36)); err != nil {
		b.Fatal(err)
	}
	p := NewPhone(Config{Storages: []*vphone.Storage{s}})
	i := p.Plug()
	defer p.Unplug()
	buf := make([]byte, 1<<20)
	send := func(c []byte) {
		if _, err := i.Pipe.Write(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	send(commandBytes(OpOpenSession, 0, 1))
	i.Pipe.Read(b.Context(), buf)
	send(commandBytes(OpGetObjectHandles, 1, every, 0, 0))
	i.Pipe.Read(b.Context(), buf)
	i.Pipe.Read(b.Context(), buf)
	send(commandBytes(OpGetObject, 2, 1))
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := i.Pipe.Read(b.Context(), buf); err != nil {
			b.Fatal(err)
		}
	}
}
