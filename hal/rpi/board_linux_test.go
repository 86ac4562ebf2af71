package rpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"phonebackupbox/hal"
)

// The number of a call holds the size of what it takes, in bits 16 to 29 (Linux, include/uapi/asm-generic/ioctl.h).
func TestSizes(t *testing.T) {
	for call, size := range map[uint32]uintptr{
		getChipInfo: unsafe.Sizeof(chipInfo{}), unix.GPIO_V2_GET_LINE_IOCTL: unsafe.Sizeof(lineRequest{}),
		unix.GPIO_V2_GET_LINEINFO_IOCTL: unsafe.Sizeof(lineInfo{}), unix.GPIO_V2_LINE_SET_VALUES_IOCTL: unsafe.Sizeof(lineValues{}),
	} {
		if want := uintptr(call >> 16 & 0x3fff); size != want {
			t.Errorf("%#x takes %d bytes, not %d", call, want, size)
		}
	}
	if size := unsafe.Sizeof(lineEvent{}); size != 48 {
		t.Errorf("an event has %d bytes", size)
	}
}

// contact is a button whose kernel is a test.
func contact(t *testing.T, down bool) (*Button, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return newButton(r, down), w
}

func TestEdges(t *testing.T) {
	b, kernel := contact(t, true)
	if e, err := b.Edge(t.Context()); err != nil || !e.Down {
		t.Errorf("it was down from the first moment on: %v, %v", e, err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	for i, down := range []bool{false, true} {
		then := time.Now().Add(-time.Duration(i+1) * time.Minute) // nobody read it for so long
		e := lineEvent{timestamp: uint64(now.Nano() - int64(i+1)*int64(time.Minute)), id: unix.GPIO_V2_LINE_EVENT_FALLING_EDGE}
		if down {
			e.id = unix.GPIO_V2_LINE_EVENT_RISING_EDGE
		}
		if _, err := kernel.Write(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e))); err != nil {
			t.Fatal(err)
		}
		got, err := b.Edge(t.Context())
		if err != nil || got.Down != down || got.At.Sub(then).Abs() > 10*time.Second {
			t.Errorf("%+v, %v; want down %v at %v", got, err, down, then)
		}
	}
}

func TestWaitingForAnEdgeCanBeEnded(t *testing.T) {
	b, kernel := contact(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	context.AfterFunc(ctx, func() {})
	go cancel()
	if _, err := b.Edge(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	e := lineEvent{id: unix.GPIO_V2_LINE_EVENT_RISING_EDGE}
	if _, err := kernel.Write(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e))); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Edge(t.Context()); err != nil || !got.Down {
		t.Errorf("the next one: %v, %v", got, err)
	}
	if err := kernel.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Edge(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("a dead line: %v", err)
	}
}

func TestNoChip(t *testing.T) {
	if _, err := openChip(t.TempDir(), Auto); !errors.Is(err, ErrNoChip) {
		t.Error(err)
	}
}

func TestWiring(t *testing.T) {
	if err := Default.Check(); err != nil {
		t.Error(err)
	}
	picture, err := os.ReadFile("../../docs/wiring.svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range append(Default.Lights[:], Default.Button) {
		if !strings.Contains(string(picture), fmt.Sprintf(">GPIO%d<", line)) {
			t.Errorf("docs/wiring.svg has nothing at GPIO%d", line)
		}
	}
	for want, c := range map[string]Config{
		"light 2 and the amber light are both at line 6": {Lights: [hal.Lights]int{5, 6, 13, 19, 26, 6}, Button: 16},
		"light 1 and the button are both at line 5":      {Lights: [hal.Lights]int{5, 6, 13, 19, 26, 21}, Button: 5},
		"the button is at line -1":                       {Lights: [hal.Lights]int{5, 6, 13, 19, 26, 21}, Button: -1},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestCost measures six lights that breathe, on a file that takes what is written to it: go test ./hal/rpi -run Cost -v
func TestCost(t *testing.T) {
	if !testing.Verbose() || testing.Short() {
		t.Skip("measures for some seconds, with -v")
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, frame := range map[string]func(i int) hal.Frame{
		"dark":        func(int) hal.Frame { return hal.Frame{} },
		"a dot":       func(int) hal.Frame { return hal.Frame{3} },
		"six breathe": func(i int) hal.Frame { l := hal.Level(20 + i*2%230); return hal.Frame{l, l, l, l, l, l} },
		"six levels": func(i int) hal.Frame {
			l := hal.Level(20 + i*2%100)
			return hal.Frame{l, l + 20, l + 40, l + 60, l + 80, l + 100}
		},
	} {
		d := newDimmer(writes{null}, waitUntil)
		b := &Board{lights: d}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		before, from := used(t), time.Now()
		for i, tick := 0, time.NewTicker(40*time.Millisecond); i < 75; i++ {
			if err := d.show(frame(i)); err != nil {
				t.Fatal(err)
			}
			<-tick.C
		}
		t.Logf("%-12s %.2f %% of a processor", name, 100*float64(used(t)-before)/float64(time.Since(from)))
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

type writes struct{ f *os.File }

func (w writes) set(uint64) error { _, err := w.f.Write([]byte{0}); return err }

func used(t *testing.T) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
