package rpi

import (
	"errors"
	"fmt"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// ErrStuck: nothing takes what is written to the port, as on a USB gadget whose other end is not read.
var ErrStuck = errors.New("rpi: the serial port takes nothing")

const (
	// writeWithin is how long one chunk may take. At 9600 baud it takes 0.3 s.
	writeWithin = 5 * time.Second
	// chunk is how much is written at once, in bytes: less than any port's buffer, so that emptying that ends a write that hangs.
	chunk = 256
)

// Serial is a serial port: a UART of the board, or the kernel's USB gadget. Read and Write may be called at the same time, and so may
// Close, which ends them.
type Serial struct {
	port   serial.Port
	within time.Duration
}

// OpenSerial opens the port at path with 8 data bits, no parity and no flow control. Where the kernel writes its messages to the same
// port, line ends stay what a terminal needs.
func OpenSerial(path string, baud int) (*Serial, error) {
	port, err := serial.Open(path, &serial.Mode{BaudRate: baud})
	if err != nil {
		return nil, fmt.Errorf("rpi: %s: %w", path, err)
	}
	if err := lineEnds(path); err != nil {
		return nil, errors.Join(fmt.Errorf("rpi: %s: %w", path, err), port.Close())
	}
	return &Serial{port, writeWithin}, nil
}

// lineEnds has the kernel send CR LF for each LF, for everyone who writes to the port: process 1 does, too.
func lineEnds(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		t.Oflag |= unix.OPOST | unix.ONLCR
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	return errors.Join(err, unix.Close(fd))
}

// Read waits for at least one byte. It returns an error once the port is closed or gone.
func (s *Serial) Read(p []byte) (int, error) {
	n, err := s.port.Read(p)
	if err == nil && n == 0 && len(p) > 0 {
		err = errors.New("rpi: the serial port is gone")
	}
	return n, err
}

// Write returns ErrStuck when the port takes nothing for writeWithin; what was on its way is lost then.
func (s *Serial) Write(p []byte) (n int, err error) {
	for len(p) > n && err == nil {
		var m int
		m, err = s.write(p[n:min(n+chunk, len(p))])
		n += m
	}
	return n, err
}

func (s *Serial) write(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := s.port.Write(p)
		done <- result{n, err}
	}()
	late := time.NewTimer(s.within)
	defer late.Stop()
	select {
	case r := <-done:
		return r.n, r.err
	case <-late.C:
	}
	if err := s.port.ResetOutputBuffer(); err != nil {
		return 0, errors.Join(ErrStuck, err)
	}
	late.Reset(s.within)
	select {
	case <-done:
	case <-late.C: // a driver that hangs keeps this one goroutine; the box goes on
	}
	return 0, ErrStuck
}

// DropInput throws away what came and was not read. The kernel has 4 KiB of it at hand and up to 64 KiB behind that, which move up when the
// former are dropped.
func (s *Serial) DropInput() error {
	for range 20 {
		if err := s.port.ResetInputBuffer(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// Close lets go of the port.
func (s *Serial) Close() error { return s.port.Close() }
