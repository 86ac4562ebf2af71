//go:build !rescue

package main

import (
	"errors"
	"io"
	"testing"
	"time"

	"phonebackupbox/usbhost"
	initiator "phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

// TestAFilmIsGoneOnWithInTheVault: the cable of a phone comes out in the middle of a film. What was copied is committed as
// incomplete, and the next run reads on where it was, through the driver, the vault and the array as the box has them.
func TestAFilmIsGoneOnWithInTheVault(t *testing.T) {
	b, _, _ := newBays(t)
	const size, cut = 30_000_001, 20_000_000
	storage := vphone.NewStorage("Internal shared storage", 1<<36, nil)
	taken := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if err := errors.Join(storage.Put("DCIM/film.mp4", taken, vphone.Generated(7, size)), storage.Put("DCIM/a.jpg", taken, vphone.Text("a"))); err != nil {
		t.Fatal(err)
	}
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{storage}})
	defer phone.Unplug()
	run := func() (usbhost.Report, error) {
		driver, err := initiator.Open(t.Context(), phone.Plug(), initiator.Options{Location: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		defer driver.Close() // it may be unplugged by then
		info, err := driver.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		draft, err := b.Begin(t.Context(), info)
		if err != nil {
			t.Fatal(err)
		}
		if n := phone.Stats().Sent(); n == 0 {
			phone.UnplugIn("DCIM/film.mp4", cut)
		}
		report, failed := driver.Backup(t.Context(), draft, nil)
		if _, err := draft.Commit(t.Context(), report, failed == nil && report.Complete()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(draft.Verify(t.Context(), nil), draft.Close()); err != nil {
			t.Fatal(err)
		}
		return report, failed
	}
	if _, err := run(); !errors.Is(err, usbhost.ErrUnplugged) {
		t.Fatal(err)
	}
	report, err := run()
	if err != nil || !report.Complete() || report.Stored+report.Kept != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	if again := phone.Stats().Files["DCIM/film.mp4"].Again; again > 3<<20 {
		t.Errorf("%d bytes were read again", again)
	}
	if moved := report.Moved; moved > size-cut+4<<20 {
		t.Errorf("%d bytes crossed the cable for the rest of %d", moved, size-cut)
	}
	fsys, backup, err := b.Latest(t.Context(), "mtp:VPHONE0001")
	if err != nil || !backup.Complete {
		t.Fatalf("%+v, %v", backup, err)
	}
	f, err := fsys.Open("Internal shared storage/DCIM/film.mp4")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := io.NewSectionReader(vphone.Generated(7, size), 0, size)
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(f, p)
		m, _ := io.ReadFull(want, q)
		if n != m || string(p[:n]) != string(q[:m]) {
			t.Fatal("the film in the vault is not the phone's")
		}
		if err != nil {
			break
		}
	}
}
