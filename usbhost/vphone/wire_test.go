package vphone

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
)

// script is a device that does what a function says.
type script struct {
	serve   func(*Port)
	control func(*Port, usbhost.Setup, []byte) (int, error)
}

func (s script) Describe() usbhost.Interface { return usbhost.Interface{Model: "script", Class: 6} }
func (s script) Serve(p *Port)               { s.serve(p) }
func (s script) Control(p *Port, u usbhost.Setup, b []byte) (int, error) {
	if s.control == nil {
		return 0, usbhost.ErrStalled
	}
	return s.control(p, u, b)
}

func plug(t testing.TB, w Wire, serve func(*Port)) *Attachment {
	t.Helper()
	a := Plug(script{serve: serve}, w)
	t.Cleanup(a.Unplug)
	return a
}

// sends returns a device that queues one transfer of each length, numbering its bytes.
func sends(lengths ...int) func(*Port) {
	return func(p *Port) {
		var next byte
		for _, n := range lengths {
			b := make([]byte, n)
			for i := range b {
				b[i] = next
				next++
			}
			if p.Queue(b) != nil {
				return
			}
		}
		p.Flush()
	}
}

func TestReadEndsAtAShortPacketOrWhenFull(t *testing.T) {
	for _, tt := range []struct {
		name   string
		packet int
		sent   []int
		buffer int
		want   []int
	}{
		{"a short packet ends the read", 512, []int{12}, 4096, []int{12}},
		{"two short transfers are two reads", 512, []int{12, 100}, 4096, []int{12, 100}},
		{"full packets run on into the next transfer", 512, []int{512, 1024, 10}, 4096, []int{1546}},
		{"an empty packet ends a transfer of full packets", 512, []int{1024, 0, 12}, 4096, []int{1024, 12}},
		{"an empty packet after a full buffer is a read of its own", 512, []int{1024, 0, 12}, 1024, []int{1024, 0, 12}},
		{"an empty packet alone is a read of nothing", 512, []int{0, 1}, 512, []int{0, 1}},
		{"a small buffer cuts at packets", 512, []int{1500}, 512, []int{512, 512, 476}},
		{"full speed packets", 64, []int{130}, 64, []int{64, 64, 2}},
		{"SuperSpeed packets: 512 bytes are short", 1024, []int{512, 12}, 4096, []int{512, 12}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := plug(t, Wire{MaxPacket: tt.packet}, sends(tt.sent...)).Interface()
			var got []int
			var all []byte
			for range tt.want {
				b := make([]byte, tt.buffer)
				n, err := i.Pipe.Read(t.Context(), b)
				if err != nil {
					t.Fatal(err)
				}
				got, all = append(got, n), append(all, b[:n]...)
			}
			if !slices.Equal(got, tt.want) {
				t.Fatalf("reads of %v, want %v", got, tt.want)
			}
			for k, b := range all {
				if b != byte(k) {
					t.Fatalf("byte %d is %d", k, b)
				}
			}
		})
	}
}

func TestReadRefusesABufferThatIsNoWholePackets(t *testing.T) {
	i := plug(t, Wire{}, sends(12)).Interface()
	for _, n := range []int{0, 1, 511, 513} {
		if _, err := i.Pipe.Read(t.Context(), make([]byte, n)); err == nil {
			t.Errorf("a buffer of %d bytes was accepted", n)
		}
	}
}

func TestWriteSendsNoEmptyPacketByItself(t *testing.T) {
	got := make(chan int, 10)
	i := plug(t, Wire{}, func(p *Port) {
		b := make([]byte, 4096)
		for {
			n, err := p.Read(b)
			if err != nil {
				return
			}
			got <- n
		}
	}).Interface()
	for _, n := range []int{1024, 512, 7, 512, 0, 0} {
		if m, err := i.Pipe.Write(t.Context(), make([]byte, n)); m != n || err != nil {
			t.Fatalf("Write of %d: %d, %v", n, m, err)
		}
	}
	for _, want := range []int{1543, 512, 0} {
		if n := <-got; n != want {
			t.Fatalf("the device read %d bytes, want %d", n, want)
		}
	}
}

func TestCancelledReadLeavesTheRestInThePipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := Plug(script{serve: sends(512, 12)}, Wire{})
		defer a.Unplug()
		i := a.Interface()
		ctx, cancel := context.WithTimeout(t.Context(), 1003*time.Millisecond)
		defer cancel()
		b := make([]byte, 512)
		if n, err := i.Pipe.Read(ctx, b); n != 512 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := i.Pipe.Read(t.Context(), b); n != 12 || err != nil {
			t.Fatal(n, err)
		}
		start := time.Now()
		if _, err := i.Pipe.Read(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err %v", err)
		}
		if d := time.Since(start); d != 1003*time.Millisecond {
			t.Fatalf("the read ended after %v", d)
		}
	})
}

func TestUnplugAtEveryByte(t *testing.T) {
	sent := []int{12, 1024, 700, 512, 0, 12}
	total := 0
	for _, n := range sent {
		total += n
	}
	for cut := range total {
		a := Plug(script{serve: sends(sent...)}, Wire{})
		a.UnplugAfter(int64(cut))
		i := a.Interface()
		got := 0
		for {
			n, err := i.Pipe.Read(t.Context(), make([]byte, 1024))
			got += n
			if err != nil {
				if !errors.Is(err, usbhost.ErrUnplugged) {
					t.Fatal(err)
				}
				break
			}
		}
		if got != cut {
			t.Fatalf("%d bytes came, want %d", got, cut)
		}
		select {
		case <-i.Gone:
		default:
			t.Fatal("Gone is not closed")
		}
		a.Unplug()
	}
}

func TestUnplugWakesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := Plug(script{serve: func(p *Port) { p.Mute() }}, Wire{})
		i := a.Interface()
		errs := make(chan error, 3)
		go func() { _, err := i.Pipe.Read(t.Context(), make([]byte, 512)); errs <- err }()
		go func() { _, err := i.Pipe.Write(t.Context(), make([]byte, 512)); errs <- err }()
		go func() { _, err := i.Pipe.Event(t.Context(), make([]byte, 64)); errs <- err }()
		synctest.Wait()
		a.Unplug()
		for range 3 {
			if err := <-errs; !errors.Is(err, usbhost.ErrUnplugged) {
				t.Errorf("err %v, want ErrUnplugged", err)
			}
		}
		if _, err := i.Pipe.Control(t.Context(), usbhost.Setup{}, nil); !errors.Is(err, usbhost.ErrUnplugged) {
			t.Errorf("Control: %v", err)
		}
	})
}

func TestStallIsSeenOnceAndCleared(t *testing.T) {
	i := plug(t, Wire{}, func(p *Port) {
		p.Queue(make([]byte, 512))
		p.Flush()
		p.Stall()
		sends(5)(p)
	}).Interface()
	b := make([]byte, 4096)
	n, err := i.Pipe.Read(t.Context(), b)
	if n != 512 || !errors.Is(err, usbhost.ErrStalled) {
		t.Fatalf("Read: %d, %v", n, err)
	}
	if n, err := i.Pipe.Read(t.Context(), b); n != 5 || err != nil {
		t.Fatalf("Read after the stall: %d, %v", n, err)
	}
}

// A Cancel must end the transaction under way, and never the one that the host begins after it: here the device looks
// only when both are there.
func TestCancelNeverHitsTheNextCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		look := make(chan struct{})
		a := Plug(script{
			serve: func(p *Port) {
				b := make([]byte, 512)
				<-look
				if _, err := p.Read(b); !errors.Is(err, ErrCancelled) {
					t.Errorf("the first look: %v", err)
				}
				n, err := p.Read(b)
				if err != nil {
					t.Errorf("the second look: %v", err)
				}
				for range 2 {
					if err := p.Queue(bytes.Clone(b[:n])); err != nil {
						t.Errorf("the answer: %v", err)
					}
				}
				p.Flush()
			},
			control: func(p *Port, _ usbhost.Setup, _ []byte) (int, error) { p.Cancel(); return 0, nil },
		}, Wire{})
		defer a.Unplug()
		i := a.Interface()
		if _, err := i.Pipe.Control(t.Context(), usbhost.Setup{}, nil); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() { _, err := i.Pipe.Write(t.Context(), []byte("command")); wrote <- err }()
		synctest.Wait()
		close(look)
		for range 2 {
			b := make([]byte, 512)
			if n, err := i.Pipe.Read(t.Context(), b); err != nil || string(b[:n]) != "command" {
				t.Fatalf("%q, %v", b[:n], err)
			}
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
	})
}

func TestVanishAfterCountsBehindWhatIsQueued(t *testing.T) {
	i := plug(t, Wire{}, func(p *Port) {
		p.Queue(make([]byte, 100))
		p.VanishAfter(10)
		p.Queue(make([]byte, 50))
		p.Flush()
	}).Interface()
	b := make([]byte, 512)
	if n, err := i.Pipe.Read(t.Context(), b); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := i.Pipe.Read(t.Context(), b); n != 10 || !errors.Is(err, usbhost.ErrUnplugged) {
		t.Fatal(n, err)
	}
}

func TestRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 40 << 20
		a := Plug(script{serve: func(p *Port) {
			b := make([]byte, size)
			if p.Queue(b) == nil {
				p.Flush()
			}
		}}, Wire{Rate: 40 << 20})
		defer a.Unplug()
		i := a.Interface()
		start, got := time.Now(), 0
		for b := make([]byte, 64<<10); got < size; {
			n, err := i.Pipe.Read(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		if d := time.Since(start); d < 990*time.Millisecond || d > 1010*time.Millisecond {
			t.Fatalf("40 MiB at 40 MiB/s took %v", d)
		}
	})
}

// Whatever the device sends and however the host reads, the bytes and the transfers' ends are those of packets.
func TestPipeAgreesWithAPacketModel(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		packet := []int{64, 512, 1024}[r.IntN(3)]
		var sent []int
		var packets []int // the model: every packet's length
		for range 1 + r.IntN(6) {
			n := r.IntN(5*packet + 1)
			if r.IntN(2) == 0 {
				n -= n % packet
			}
			sent = append(sent, n)
			for left := n; ; left -= packet {
				packets = append(packets, min(left, packet))
				if left <= packet {
					break
				}
			}
		}
		i := plug(t, Wire{MaxPacket: packet}, sends(append(sent, 1)...)).Interface()
		packets = append(packets, 1)
		for len(packets) > 0 {
			room := packet * (1 + r.IntN(4))
			want, full := 0, room
			for len(packets) > 0 && full > 0 {
				p := packets[0]
				packets = packets[1:]
				want, full = want+p, full-packet
				if p < packet {
					break
				}
			}
			n, err := i.Pipe.Read(t.Context(), make([]byte, room))
			if err != nil || n != want {
				t.Fatalf("seed %d: read of %d bytes (%v), want %d; sent %v", seed, n, err, want, sent)
			}
		}
	}
}

func TestEventsWaitForTheHost(t *testing.T) {
	i := plug(t, Wire{}, func(p *Port) { p.Interrupt([]byte("one")); p.Interrupt([]byte("two")) }).Interface()
	b := make([]byte, 64)
	for _, want := range []string{"one", "two"} {
		if n, err := i.Pipe.Event(t.Context(), b); err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
}

func TestClosedPipeIsClosedButThePhoneStays(t *testing.T) {
	a := plug(t, Wire{}, sends(3))
	i := a.Interface()
	if err := i.Pipe.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Pipe.Read(t.Context(), make([]byte, 512)); err == nil {
		t.Fatal("a closed pipe was read")
	}
	if n, err := a.Interface().Pipe.Read(t.Context(), make([]byte, 512)); n != 3 || err != nil {
		t.Fatalf("the interface claimed again: %d, %v", n, err)
	}
}

func TestBusPassesOverAPhoneThatCannotBeOpened(t *testing.T) {
	b := NewBus(func(_ context.Context, i usbhost.Interface) (usbhost.Phone, error) {
		if i.Model == "broken" {
			return nil, errors.New("no")
		}
		return stubPhone{}, nil
	}, nil)
	b.Arrive(usbhost.Interface{Model: "broken"})
	b.Arrive(usbhost.Interface{Model: "good"})
	if p, err := b.Accept(t.Context()); p == nil || err != nil {
		t.Fatal(p, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

type stubPhone struct{ usbhost.Phone }

func BenchmarkPipeIn(b *testing.B) {
	buf := make([]byte, 2<<20)
	i := plug(b, Wire{}, func(p *Port) {
		for p.Queue(buf) == nil {
		}
	}).Interface()
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	in := make([]byte, 1<<20)
	for b.Loop() {
		if _, err := i.Pipe.Read(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPipeOut(b *testing.B) {
	i := plug(b, Wire{}, func(p *Port) {
		buf := make([]byte, 2<<20)
		for {
			if _, err := p.Read(buf); err != nil {
				return
			}
		}
	}).Interface()
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	out := make([]byte, 1<<20)
	for b.Loop() {
		if _, err := i.Pipe.Write(b.Context(), out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGenerated(b *testing.B) {
	c := Generated(1, 1<<40)
	p := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	var off int64
	for b.Loop() {
		if _, err := c.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
		off += 1 << 20
	}
}
