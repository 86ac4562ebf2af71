//go:build !rescue

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
	"phonebackupbox/usbhost/mtp"
)

// A log never grows beyond its bounds, goes on where it ended, and its newest record is always there.
func TestLogsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	record := bytes.Repeat([]byte("x"), 99_999)
	for i := range 5 {
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 13 {
			if _, err := l.Write(append(record, '\n')); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() == 0 || info.Size() > maxLog {
				t.Fatalf("%v, %v", info, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if old, err := os.Stat(path + ".1"); err != nil || old.Size() > maxLog || old.Size() < maxLog-100_000 {
			t.Fatalf("round %d: the log before: %v, %v", i, old, err)
		}
	}
	if _, err := openLog(t.TempDir()); err == nil {
		t.Error("a folder is a log")
	}
}

// What a log tells of an error is its kind, whatever the error's own words name.
func TestLogsNameNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	log := l.logger()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("mtp: DCIM/secret.jpg at 7: %w", errors.Join(mtp.AccessDenied, usbhost.ErrUnplugged)), `err="phone unplugged, access denied (0x200f)"`},
		{&fs.PathError{Op: "open", Path: "/media/secret", Err: syscall.EACCES}, `err="permission denied"`},
		{&fs.PathError{Op: "read", Path: "/media/secret", Err: syscall.EIO}, `err="input/output error"`},
		{&libusb.BusyError{Name: "secret", Holders: []libusb.Holder{{PID: 7, Name: "secret"}}}, `err="in use by another program"`},
		{errors.New("secret"), "err=other"},
	} {
		log.Warn("usb: phone cannot be opened", "port", "1-1", "err", tt.err)
		log.Debug("ended", "name", "secret")
		said, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(said), tt.want+"\n") || strings.Contains(string(said), "secret") {
			t.Errorf("%v: %s, want %s", tt.err, said, tt.want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
