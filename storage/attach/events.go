package attach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// events are the kernel's, which tell when devices come and go.
type events struct{ *os.File }

// maxEvent is what the kernel puts into one event at most, in bytes: its buffer of 2048 (Linux, include/linux/kobject.h) and
// the head before it, whose path is at most as long.
const maxEvent = 8 << 10

// listen tells changed of events until ctx ends. One that waits already stands for all.
func (e events) listen(ctx context.Context, changed chan<- struct{}) error {
	stop := context.AfterFunc(ctx, func() { _ = e.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxEvent)
	for {
		n, err := e.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !lostEvents(err):
			return fmt.Errorf("attach: kernel events: %w", err)
		case err == nil && !concernsDisks(buf[:n]):
			continue
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// Close lets go of the socket.
func (e events) Close() error {
	if e.File == nil {
		return nil
	}
	if err := e.File.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// concernsDisks tells whether a message of the kernel is about a block device: "ACTION@PATH", a zero byte, and then KEY=VALUE,
// each ended by a zero byte (Linux, lib/kobject_uevent.c). The messages of udev, which begin with "libudev", are none of the kernel's.
func concernsDisks(msg []byte) bool {
	head, rest, _ := bytes.Cut(msg, []byte{0})
	if action, path, at := bytes.Cut(head, []byte{'@'}); !at || len(action) == 0 || !bytes.HasPrefix(path, []byte{'/'}) {
		return false
	}
	for field := range bytes.SplitSeq(rest, []byte{0}) {
		if string(field) == "SUBSYSTEM=block" {
			return true
		}
	}
	return false
}
