package rpi

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"phonebackupbox/hal/rpi/pty"
)

// openPty opens a pair of terminals: the far end, and the path of the near one.
func openPty(t *testing.T) (far *os.File, near string) {
	t.Helper()
	far, near, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return far, near
}

func TestSerial(t *testing.T) {
	far, path := openPty(t)
	s, err := OpenSerial(path, 115200)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write([]byte("line\n")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "line\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
	sent := []byte("\x03\x04\x11\x13\x1a\xff\x00 raw\r\n") // none of it means anything to the port
	if _, err := far.Write(sent); err != nil {
		t.Fatal(err)
	}
	got = make([]byte, len(sent))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%q, %v", got, err)
	}
	ended := make(chan error, 1)
	go func() { _, err := s.Read(make([]byte, 1)); ended <- err }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a closed port is read on")
	}
}

// A far end that reads nothing: Write gives up, and again, and Close is not held up by it.
func TestAStuckPortIsGivenUp(t *testing.T) {
	_, path := openPty(t)
	s, err := OpenSerial(path, 115200)
	if err != nil {
		t.Fatal(err)
	}
	s.within = 20 * time.Millisecond
	for range 2 {
		if _, err := s.Write(make([]byte, 1<<20)); !errors.Is(err, ErrStuck) {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
