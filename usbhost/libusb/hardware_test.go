//go:build libusb && hardware

package libusb

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"runtime"
	"slices"
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

var (
	rounds = flag.Int("rounds", 3, "how often each way of reading is tried")
	wanted = flag.String("serial", "", "of the phone; empty: the only one that is attached")
)

// bench is a phone on the bench, in an open session.
type bench struct {
	*testing.T
	p           *pipe
	transaction uint32
}

// newBench claims the phone. Skipping is for machines that have none.
func newBench(t *testing.T) *bench {
	t.Helper()
	all, err := Attached()
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(d Device) bool { return d.Use != Files || *wanted != "" && d.Interface.Serial != *wanted })
	if len(all) != 1 {
		t.Skipf("%d phones are attached that show files", len(all))
	}
	i, err := all[0].Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t, i.Pipe.(*pipe), 0}
	t.Cleanup(func() {
		if err := b.p.Close(); err != nil {
			t.Error(err)
		}
	})
	b.do(0x1002, 1) // OpenSession
	t.Cleanup(func() { b.do(0x1003) })
	return b
}

// command sends one (PTP over USB: Still Image Class 1.0, section 7.1.1).
func (b *bench) command(op uint16, params ...uint32) {
	b.Helper()
	p := binary.LittleEndian.AppendUint32(nil, uint32(12+4*len(params)))
	p = binary.LittleEndian.AppendUint16(p, 1)
	p = binary.LittleEndian.AppendUint16(p, op)
	p = binary.LittleEndian.AppendUint32(p, b.transaction)
	b.transaction++
	for _, v := range params {
		p = binary.LittleEndian.AppendUint32(p, v)
	}
	if n, err := b.p.Write(context.WithoutCancel(b.Context()), p); err != nil || n != len(p) {
		b.Fatalf("command %#x: %d bytes, %v", op, n, err)
	}
}

// do does a transaction with little data and returns them.
func (b *bench) do(op uint16, params ...uint32) (data []byte) {
	b.Helper()
	b.command(op, params...)
	buf := make([]byte, 64<<10)
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 30*time.Second) // also while the test ends
		n, err := b.p.Read(ctx, buf)
		cancel()
		switch {
		case err != nil:
			b.Fatalf("operation %#x: %v", op, err)
		case n >= 12 && binary.LittleEndian.Uint16(buf[4:]) == 3:
			if code := binary.LittleEndian.Uint16(buf[6:]); code != 0x2001 {
				b.Fatalf("operation %#x: response %#x", op, code)
			}
			return data
		case n >= 12:
			data = slices.Clone(buf[12:n])
		}
	}
}

// biggest is the phone's largest object among those at the top of its first storage, and its size in bytes.
func (b *bench) biggest() (handle, size uint32) {
	b.Helper()
	storage := binary.LittleEndian.Uint32(b.do(0x1004)[4:])
	handles := b.do(0x1007, storage, 0, 0xffffffff)
	for handles = handles[4:]; len(handles) >= 4; handles = handles[4:] {
		h := binary.LittleEndian.Uint32(handles)
		if n := binary.LittleEndian.Uint32(b.do(0x1008, h)[8:]); n > size && n < 1<<31 {
			handle, size = h, n
		}
	}
	if size < 16<<20 {
		b.Skip("the phone has no file of 16 MiB or more at the top of its first storage")
	}
	return handle, size
}

// byPipe reads an object in transfers of so many bytes, one after the other, as drivers do.
func (b *bench) byPipe(handle, size uint32, transfer int) time.Duration {
	b.Helper()
	buf := make([]byte, transfer)
	from := time.Now()
	b.command(0x1009, handle)
	for got := 0; got < int(size)+24; { // with the data's header and the response
		n, err := b.p.Read(b.Context(), buf)
		if err != nil {
			b.Fatal(err)
		}
		got += n
	}
	return time.Since(from)
}

// byStream reads an object with count transfers in flight at all times: the raw rate of the bulk endpoint.
func (b *bench) byStream(handle, size uint32, transfer, count int) time.Duration {
	b.Helper()
	from := time.Now()
	b.command(0x1009, handle)
	s, err := b.p.in.NewStream(transfer, count)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, transfer)
	for got := 0; got < int(size)+24; {
		n, err := s.ReadContext(b.Context(), buf)
		if err != nil {
			b.Fatal(err)
		}
		got += n
	}
	took := time.Since(from)
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := s.ReadContext(ctx, buf); err == nil {
		b.Fatal("more came than there was")
	}
	return took
}

// One transfer after the other against transfers that are always in flight. Shown, not judged: the numbers are in docs/adr/030.
func TestRate(t *testing.T) {
	b := newBench(t)
	handle, size := b.biggest()
	ways := []struct {
		name string
		read func() time.Duration
		best time.Duration
	}{
		{"4 in flight, 1 MiB each", func() time.Duration { return b.byStream(handle, size, 1<<20, 4) }, 0},
		{"one at a time, 4 MiB", func() time.Duration { return b.byPipe(handle, size, 4<<20) }, 0},
		{"one at a time, 1 MiB", func() time.Duration { return b.byPipe(handle, size, 1<<20) }, 0},
		{"one at a time, 256 KiB", func() time.Duration { return b.byPipe(handle, size, 256<<10) }, 0},
	}
	for range *rounds {
		for i := range ways {
			took := ways[i].read()
			t.Logf("%s: %v", ways[i].name, took)
			if ways[i].best == 0 || took < ways[i].best {
				ways[i].best = took
			}
		}
	}
	for _, w := range ways {
		t.Logf("%-26s %6.1f MB/s, %3.0f %% of what was always in flight", w.name, float64(size)/1e6/w.best.Seconds(), 100*ways[0].best.Seconds()/w.best.Seconds())
	}
}

// soon is how late the end of a transfer may be noticed: a machine under emulation, beside other work, stands still for seconds.
// What nothing ends takes 5 s (controlTime), or for ever.
const soon = 4 * time.Second

// A read that is cancelled returns soon, and the one after it works: nothing is left in flight.
func TestCancel(t *testing.T) {
	b := newBench(t)
	for range *rounds {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		from := time.Now()
		n, err := b.p.Read(ctx, make([]byte, 1<<20)) // the phone was asked for nothing
		cancel()
		if took := time.Since(from); n != 0 || !errors.Is(err, context.DeadlineExceeded) || took > soon {
			t.Errorf("%d bytes, %v after %v", n, err, took)
		}
		if ids := b.do(0x1004); len(ids) < 4 {
			t.Errorf("after a read that was cancelled: %x", ids)
		}
	}
	// Close ends what is under way.
	ended := make(chan error, 1)
	go func() {
		_, err := b.p.Read(context.Background(), make([]byte, 1<<20))
		ended <- err
	}()
	for len(ended) == 0 && b.p.users.TryLock() { // until the read is under way, which it holds
		b.p.users.Unlock()
		runtime.Gosched()
	}
	device := b.p.device
	if err := b.p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || errors.Is(err, usbhost.ErrUnplugged) {
		t.Errorf("a read that Close ended: %v", err)
	}
	again, err := device.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.p = again.Pipe.(*pipe)
	if ids := b.do(0x1004); len(ids) < 4 { // the phone knows nothing of it: its session is open still
		t.Errorf("after it was claimed again: %x", ids)
	}
}

// A class request that the phone never answers ends when its time is up, bulk transfers go on meanwhile, and Close waits no
// longer than that. It wants a phone that answers no such request: image/phones has one.
func TestControlIsBounded(t *testing.T) {
	if *wanted == "" {
		t.Skip("for a phone that answers no class request")
	}
	b := newBench(t)
	ask := func(within time.Duration) <-chan error {
		ended := make(chan error, 1)
		from := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), within)
		s := usbhost.Setup{RequestType: 0xa1, Request: 0x67, Index: uint16(b.p.device.Interface.Number)} // Get Device Status
		p := b.p
		go func() {
			defer cancel()
			_, err := p.Control(ctx, s, make([]byte, 32))
			t.Logf("a request that may take %v ended after %v: %v", within, time.Since(from), err)
			if late := time.Since(from) - min(within, controlTime); late < -50*time.Millisecond || late > soon {
				err = errors.New("too early, or too late")
			}
			ended <- err
		}()
		return ended
	}
	for _, within := range []time.Duration{500 * time.Millisecond, time.Hour} {
		ended := ask(within)
		during := 0
		for ; len(ended) == 0; during++ {
			if ids := b.do(0x1004); len(ids) < 4 {
				t.Errorf("while a request waits: %x", ids)
			}
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || during < 2 {
			t.Errorf("within %v, %d transactions meanwhile: %v", within, during, err)
		}
	}
	ended := ask(time.Hour)
	for len(ended) == 0 && b.p.control.TryLock() { // until it is under way, which it holds
		b.p.control.Unlock()
		runtime.Gosched()
	}
	device, from := b.p.device, time.Now()
	if err := b.p.Close(); err != nil || time.Since(from) > controlTime+soon {
		t.Errorf("Close took %v: %v", time.Since(from), err)
	}
	<-ended
	again, err := device.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.p = again.Pipe.(*pipe)
}
