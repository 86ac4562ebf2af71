//go:build !rescue && linux

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// press types keys for the box's button.
func (b *runningBox) press(keys string) {
	b.t.Helper()
	if _, err := io.WriteString(b.keys, keys); err != nil {
		b.t.Fatal(err)
	}
}

// A restore by the button tells what is left to do: on the console, on the page, by a command, and after the box was started anew.
func TestTheReceiptOfARestoreByTheButton(t *testing.T) {
	s, old, fresh := newSite(t, 2, 1), t.TempDir(), filepath.Join(t.TempDir(), "new phone")
	chatty(func(name string, hours, size int) {
		if err := os.MkdirAll(filepath.Join(old, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(old, name), make([]byte, size), time.Now().Add(-time.Duration(hours)*time.Hour))
	})
	must(t, exitOK, s.with("backup", "folder:"+old)...)
	state := filepath.Join(s.dir, "state")
	if _, errs := must(t, exitFailed, "receipt", "--state", state); !strings.Contains(errs, "no restore by the button") {
		t.Errorf("before: %s", errs)
	}
	if err := os.Mkdir(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	b := runSite(t, s, state, fresh)
	address := b.until("http://")
	b.until(asksPhone)
	b.press("r")
	b.until("Armed")
	b.press("d")
	b.until("Open no chat app on the new phone")
	b.until("are on the new phone, checked")
	b.until("WhatsApp: last local backup")
	b.until("tap Restore when it asks")
	if p := page(t, address); !strings.Contains(p, "The last restore") || !strings.Contains(p, "are on new phone, checked.") || !strings.Contains(p, "tap Restore when it asks") {
		t.Errorf("the page:\n%s", p)
	}
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out, _ := must(t, exitOK, "receipt", "--state", state)
	for _, want := range []string{"13 of 13 files of ", "On the phone now:", "tap Restore when it asks", "64-digit key"} {
		if !strings.Contains(out, want) {
			t.Errorf("the receipt does not say %q:\n%s", want, out)
		}
	}
	b = runSite(t, s, state, fresh+" away")
	address = b.until("http://")
	b.until("The box is ready.")
	if p := page(t, address); !strings.Contains(p, "are on new phone, checked.") {
		t.Errorf("started anew, the page:\n%s", p)
	}
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// What could not be restored is named by the kept receipt and counted by the one that is shown; one that was cut short says so, and
// does not say what is where.
func TestReceiptsOfRestoresThatDidNotEndWell(t *testing.T) {
	k := clerk{t.TempDir()}
	if last, err := k.Last(t.Context()); last != nil || err != nil {
		t.Errorf("none yet: %+v, %v", last, err)
	}
	from := fstest.MapFS{"DCIM/a.jpg": {Data: []byte("x")}, "DCIM/secret.jpg": {Data: []byte("y")}}
	run := firmware.RestoreRun{From: from, Backup: firmware.Backup{Name: "Anna", Phone: "mtp:A", Time: night, Complete: true}, Target: usbhost.Info{Name: "New"},
		Report: usbhost.Report{Listed: 2, Stored: 1, Problems: []usbhost.Problem{{Name: "DCIM/secret.jpg", Reason: "no room", Listed: true}}}}
	got, err := k.Write(t.Context(), run)
	if err != nil || got.Summary() != "1 of 2 files of Anna are on New; 1 could not be put onto it as in the backup." || len(got.Absent) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	out, _ := must(t, exitOK, "receipt", "--state", k.dir)
	if !strings.Contains(out, "! DCIM/secret.jpg: no room") || !strings.Contains(out, "1 file       1 B  DCIM") {
		t.Errorf("the receipt: %s", out)
	}
	run.Err, run.Report.Problems = errors.New("unplugged"), nil
	if got, err = k.Write(t.Context(), run); err != nil || got.Summary() != "1 of 2 files of Anna are on New; the restore was cut short." {
		t.Errorf("%+v, %v", got, err)
	}
	if out, _ = must(t, exitOK, "receipt", "--state", k.dir); strings.Contains(out, "On the phone now") {
		t.Errorf("cut short: %s", out)
	}
	if last, err := k.Last(t.Context()); err != nil || last.Ended || last.Source != "Anna" {
		t.Errorf("kept: %+v, %v", last, err)
	}
	if err := os.WriteFile(filepath.Join(k.dir, receiptName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if last, err := k.Last(t.Context()); last != nil || err == nil {
		t.Errorf("damaged: %+v, %v", last, err)
	}
}
