package mtp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
)

// hostiles is how many hostile phones TestHostilePhones tries; make soak takes thousands.
var hostiles = flag.Int("hostiles", 300, "hostile phones to try")

// hostile is a phone that answers whatever is asked with what may hurt: containers of any kind and length, right and wrong
// transactions, lists that never end, names that climb out of folders, silence, trickles and stalls. What it does follows from
// its seed. Every transfer takes at least 1 ms.
type hostile struct {
	r       *rand.Rand
	events  *rand.Rand // Event has a goroutine of its own
	op      uint16
	id      uint32
	queue   [][]byte // transfers to come
	endless bool     // data without end
	pace    time.Duration
	sane    int // of 100 answers so many make sense
	reads   int
}

func (h *hostile) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hostile) Write(ctx context.Context, p []byte) (int, error) {
	if err := h.sleep(ctx, time.Millisecond); err != nil {
		return 0, err
	}
	if len(p) >= 12 && binary.LittleEndian.Uint16(p[4:]) == 1 {
		h.op, h.id = binary.LittleEndian.Uint16(p[6:]), binary.LittleEndian.Uint32(p[8:])
		h.queue, h.endless = nil, false
		h.answer()
	}
	return len(p), nil
}

func (h *hostile) Read(ctx context.Context, p []byte) (int, error) {
	if h.reads++; h.reads > 200_000 {
		return 0, usbhost.ErrUnplugged // as the owner does in the end
	}
	if err := h.sleep(ctx, h.pace); err != nil {
		return 0, err
	}
	switch {
	case len(h.queue) > 0:
		n := copy(p, h.queue[0])
		if h.queue[0] = h.queue[0][n:]; len(h.queue[0]) == 0 {
			h.queue = h.queue[1:]
		}
		return n, nil
	case h.endless:
		n := len(p)
		if h.r.IntN(4) == 0 {
			n = h.r.IntN(len(p) + 1)
		}
		for i := 0; i+8 <= n; i += 8 {
			binary.LittleEndian.PutUint64(p[i:], h.r.Uint64()&0x0000ffff_0000ffff)
		}
		return n, nil
	}
	if h.r.IntN(20) == 0 {
		return 0, usbhost.ErrStalled
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (h *hostile) Event(ctx context.Context, p []byte) (int, error) {
	if err := h.sleep(ctx, time.Second); err != nil {
		return 0, err
	}
	e := binary.LittleEndian.AppendUint32(nil, uint32(h.events.IntN(40)))
	e = binary.LittleEndian.AppendUint16(e, 4)
	e = binary.LittleEndian.AppendUint16(e, uint16(0x4000+h.events.IntN(16)))
	for range h.events.IntN(8) {
		e = binary.LittleEndian.AppendUint32(e, uint32(h.events.IntN(8)))
	}
	return copy(p, e), nil
}

func (h *hostile) Control(ctx context.Context, s usbhost.Setup, p []byte) (int, error) {
	if h.r.IntN(3) == 0 {
		return 0, usbhost.ErrStalled
	}
	if s.Request == 0x67 && h.r.IntN(2) == 0 {
		return copy(p, []byte{4, 0, 1, 0x20}), nil
	}
	return copy(p, h.bytes(h.r.IntN(len(p)+1))), nil
}

func (h *hostile) Close() error { return nil }

func (h *hostile) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(h.r.Uint32())
	}
	return b
}

// container builds one, whose length now and then is a lie.
func (h *hostile) container(kind, code uint16, id uint32, payload []byte) []byte {
	length := uint32(12 + len(payload))
	if h.r.IntN(100) >= h.sane {
		length = []uint32{0, 11, 12, 13, 1 << 20, 0x7fffffff, 0xffffffff, h.r.Uint32()}[h.r.IntN(8)]
	}
	b := binary.LittleEndian.AppendUint32(nil, length)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, code)
	return append(binary.LittleEndian.AppendUint32(b, id), payload...)
}

// answer queues what the phone says to the command that came.
func (h *hostile) answer() {
	h.pace = time.Millisecond
	if h.r.IntN(100) >= h.sane {
		switch h.r.IntN(6) {
		case 0: // nothing at all
			return
		case 1: // rubbish
			for range h.r.IntN(5) {
				h.queue = append(h.queue, h.bytes(1+h.r.IntN(2000)))
			}
		case 2: // data without end, fast
			h.queue, h.endless = append(h.queue, h.container(2, h.op, h.id, nil)), true
		case 3: // data without end, drop by drop
			h.queue, h.endless, h.pace = append(h.queue, h.container(2, h.op, h.id, nil)), true, 10*time.Second
		case 4: // answers to others
			for range h.r.IntN(100) {
				h.queue = append(h.queue, h.container(uint16(2+h.r.IntN(3)), h.op, h.r.Uint32(), h.bytes(h.r.IntN(20))))
			}
		case 5: // a refusal
			h.queue = append(h.queue, h.container(3, uint16(0x2000+h.r.IntN(32)), h.id, nil))
			return
		}
	}
	if p := h.payload(); p != nil {
		h.queue = append(h.queue, h.container(2, h.op, h.id, p))
	}
	h.queue = append(h.queue, h.container(3, 0x2001, h.id, nil))
}

func (h *hostile) str(b []byte, s string) []byte {
	b = append(b, byte(len(s)+1))
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return append(b, 0, 0)
}

func (h *hostile) name() string {
	return []string{"..", ".", "", "/", "../../etc/passwd", "a", "b", "\x00", "DCIM", "a/b", "%2F", "con"}[h.r.IntN(12)]
}

// handle is one of few, so that folders lie in one another.
func (h *hostile) handle() uint32 {
	return []uint32{0, 0xffffffff, 1, 2, 3, 4, 5, 6, 7, h.r.Uint32()}[h.r.IntN(10)]
}

// payload is a dataset that more or less fits the operation; nil where there is none.
func (h *hostile) payload() []byte {
	le := binary.LittleEndian
	switch h.op {
	case 0x1001:
		b := append(le.AppendUint16(nil, 100), make([]byte, 6)...)
		b = append(h.str(b, "x"), 0, 0)
		b = le.AppendUint32(b, 6)
		for _, op := range []uint16{0x1007, 0x9805, 0x95c1, 0x100c, 0x100b, 0x1015} {
			if h.r.IntN(4) == 0 {
				op = 0x1001
			}
			b = le.AppendUint16(b, op)
		}
		b = append(b, make([]byte, 16)...)
		return h.str(h.str(h.str(h.str(b, "m"), "m"), "1"), "s")
	case 0x1004, 0x1007:
		n := h.r.IntN(20)
		b := le.AppendUint32(nil, uint32(n))
		for range n {
			b = le.AppendUint32(b, h.handle())
		}
		return b
	case 0x1005:
		b := append(make([]byte, 6), h.bytes(16)...)
		return h.str(h.str(append(b, 0, 0, 0, 0), h.name()), "")
	case 0x1008:
		b := le.AppendUint32(nil, 0x10001)
		b = le.AppendUint16(b, uint16(0x3000+h.r.IntN(2)))
		b = le.AppendUint32(append(b, 0, 0), []uint32{0, 100, 5 << 20, 0xffffffff, h.r.Uint32()}[h.r.IntN(5)])
		b = le.AppendUint32(append(b, make([]byte, 26)...), h.handle())
		b = h.str(append(b, make([]byte, 10)...), h.name())
		return append(h.str(h.str(b, "20240601T120000"), "99999999T999999"), 0)
	case 0x9805:
		n := h.r.IntN(60)
		b := le.AppendUint32(nil, uint32(n+h.r.IntN(2)))
		for range n {
			b = h.element(b)
		}
		return b
	case 0x1009, 0x95c1:
		return h.bytes([]int{0, 100, 5000, 70_000}[h.r.IntN(4)])
	}
	return nil
}

func (h *hostile) element(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, h.handle())
	switch h.r.IntN(6) {
	case 0:
		return le.AppendUint32(append(b, 0x0b, 0xdc, 6, 0), h.handle())
	case 1:
		return h.str(append(b, 0x07, 0xdc, 0xff, 0xff), h.name())
	case 2:
		return le.AppendUint64(append(b, 0x04, 0xdc, 8, 0), h.r.Uint64()>>h.r.IntN(64))
	case 3:
		return le.AppendUint16(append(b, 0x02, 0xdc, 4, 0), uint16(0x3000+h.r.IntN(2)))
	case 4:
		return le.AppendUint32(append(b, 0x01, 0xdc, 6, 0), 0x10001)
	}
	return h.str(append(b, 0x09, 0xdc, 0xff, 0xff), "20240601T120000")
}

// wary is a tree that takes at most a few megabytes of a file and looks at every name.
type wary struct {
	*vphone.Tree
	t    *testing.T
	seed uint64
}

func (w wary) look(name string) {
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "" || elem == ".." || elem == "." && name != "." || strings.ContainsRune(elem, 0) {
			w.t.Errorf("seed %d: the name %q", w.seed, name)
		}
	}
}

var errFull = errors.New("the test has seen enough")

func (w wary) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	w.look(name)
	n, err := io.Copy(io.Discard, io.LimitReader(r, 4<<20))
	switch {
	case err != nil:
		return err
	case n == 4<<20:
		return errFull
	case size >= 0 && n != size:
		w.t.Errorf("seed %d: %q of %d bytes ended after %d without an error", w.seed, name, size, n)
	}
	return w.Tree.Create(name, 0, mtime, strings.NewReader(""))
}

func (w wary) Mkdir(name string, mtime time.Time) error {
	w.look(name)
	return w.Tree.Mkdir(name, mtime)
}

// TestHostilePhones: whatever a phone sends, a backup and a restore end within a day, nothing panics, no name leaves the tree,
// and no file counts as stored that is not as long as it was listed.
func TestHostilePhones(t *testing.T) {
	listed, n := 0, *hostiles/every
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) { listed += hostilePhone(t, seed) })
	}
	if listed < n/2 {
		t.Errorf("only %d files were listed: these phones are refused before they can do harm", listed)
	}
}

func hostilePhone(t *testing.T, seed uint64) (listed int) {
	r := rand.New(rand.NewPCG(seed, 9))
	pipe := &hostile{r: r, events: rand.New(rand.NewPCG(seed, 10)), sane: []int{50, 90, 98, 100}[seed%4]}
	began := time.Now()
	p, err := mtp.Open(t.Context(), usbhost.Interface{MaxPacket: 512, Serial: "H", Pipe: pipe, Gone: make(chan struct{})}, mtp.Options{Location: time.UTC, Probe: true})
	if err != nil {
		return 0
	}
	tree := wary{vphone.NewTree(), t, seed}
	report, err := p.Backup(t.Context(), tree, nil)
	if err == nil && report.Unaccounted() != 0 {
		t.Errorf("seed %d: %+v", seed, report)
	}
	pipe.reads = 0
	var from fs.FS = vphone.NewTree()
	if err := from.(*vphone.Tree).Create("S/a", 3, time.Unix(1e9, 0), strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Restore(t.Context(), from, nil); err != nil && errors.Is(err, context.Canceled) {
		t.Errorf("seed %d: %v", seed, err)
	}
	pipe.reads = 0
	_ = p.Close() // a hostile phone may refuse even that
	if took := time.Since(began); took > 24*time.Hour {
		t.Errorf("seed %d: it took %v", seed, took)
	}
	return report.Listed
}
