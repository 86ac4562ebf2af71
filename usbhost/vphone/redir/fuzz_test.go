package redir

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

// FuzzServe lets a machine send anything. Whatever it is, the stay ends soon after the machine has gone, the phone is
// unplugged, and no goroutine is left.
func FuzzServe(f *testing.F) {
	head := func(kind, length uint32, id uint64, body ...byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, kind)
		b = binary.LittleEndian.AppendUint32(b, length)
		return append(binary.LittleEndian.AppendUint64(b, id), body...)
	}
	configure := head(6, 1, 1, 1)
	out := command(0x1002, 0, 1)
	open := append(head(101, uint32(10+len(out)), 2, 0x01, 0, byte(len(out)), 0, 0, 0, 0, 0, 0, 0), out...)
	in := head(101, 10, 3, 0x81, 0, 0, 2, 0, 0, 0, 0, 0, 0)
	f.Add(helloOf(0xf2), bytes.Join([][]byte{head(3, 0, 0), configure, head(15, 1, 0, 0x82), open, in, head(21, 0, 3), head(3, 0, 0), configure, open, in}, nil))
	f.Add(helloOf(0xf2), bytes.Join([][]byte{head(100, 10, 1, 0x80, 6, 0x80, 0, 0, 1, 0, 0, 18, 0), head(7, 0, 2), head(10, 1, 3, 0), head(9, 2, 4, 0, 0), head(12, 3, 5, 0x83, 1, 1), head(18, 8, 6, make([]byte, 8)...), head(23, 3, 0, 'a', 'b', 0)}, nil))
	f.Add(helloOf(0xf2), bytes.Join([][]byte{configure, in, in}, nil))
	f.Add([]byte("no hello at all, but text"), []byte{})
	f.Fuzz(func(t *testing.T, hello, rest []byte) {
		before := runtime.NumGoroutine()
		phone := mtp.NewPhone(mtp.Config{})
		ours, theirs := net.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- Serve(t.Context(), theirs, func() *vphone.Attachment { phone.Plug(); return phone.Attachment() })
		}()
		drained := make(chan struct{})
		go func() {
			io.Copy(io.Discard, ours)
			close(drained)
		}()
		_, _ = ours.Write(append(hello, rest...)) // it may hang up before it has read all
		ours.Close()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the stay does not end")
		}
		<-drained
		if a := phone.Attachment(); a != nil {
			select {
			case <-a.Gone():
			default:
				t.Fatal("the phone is still plugged in")
			}
		}
		for limit := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(limit) {
				t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
			}
		}
	})
}
