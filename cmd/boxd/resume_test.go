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
	phone.UnplugIn("DCIM/film.mp4", cut)
	if _, err := backUpOnce(t, b, phone); !errors.Is(err, usbhost.ErrUnplugged) {
		t.Fatal(err)
	}
	report, err := backUpOnce(t, b, phone)
	if err != nil || !report.Complete() || report.Stored+report.Kept != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	if again := phone.Stats().Files["DCIM/film.mp4"].Again; again > 3<<20 {
		t.Errorf("%d bytes were read again", again)
	}
	if moved := report.Moved; moved > size-cut+4<<20 {
		t.Errorf("%d bytes crossed the cable for the rest of %d", moved, size-cut)
	}
	sameInVault(t, b, "DCIM/film.mp4", io.NewSectionReader(vphone.Generated(7, size), 0, size))
}

// TestAPhotoThatChangedWhileItWasReadIsRightInTheVault: it is stored, found to have changed, removed and stored once more.
func TestAPhotoThatChangedWhileItWasReadIsRightInTheVault(t *testing.T) {
	b, _, _ := newBays(t)
	storage := vphone.NewStorage("Internal shared storage", 1<<36, nil)
	taken := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if err := errors.Join(storage.Put("DCIM/1.jpg", taken, vphone.Generated(7, 4_000_000)), storage.Put("DCIM/2.jpg", taken, vphone.Generated(8, 4_000_000))); err != nil {
		t.Fatal(err)
	}
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{storage}})
	defer phone.Unplug()
	phone.GrowsWhileRead("DCIM/1.jpg", 1)
	if report, err := backUpOnce(t, b, phone); err != nil || !report.Complete() || report.Stored != 2 {
		t.Fatal(report, err)
	}
	for _, e := range storage.Entries() {
		if e.Folder {
			continue
		}
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		sameInVault(t, b, e.Path, r)
	}
}

// backUpOnce plugs a phone in, backs it up into the bays, commits, and verifies what was stored.
func backUpOnce(t *testing.T, b *bays, phone *mtp.Phone) (usbhost.Report, error) {
	t.Helper()
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
	report, failed := driver.Backup(t.Context(), draft, nil)
	if _, err := draft.Commit(t.Context(), report, failed == nil && report.Complete()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(draft.Verify(t.Context(), nil), draft.Close()); err != nil {
		t.Fatal(err)
	}
	return report, failed
}

// sameInVault compares a file of the newest snapshot, which has to be complete, with the phone's.
func sameInVault(t *testing.T, b *bays, path string, want io.Reader) {
	t.Helper()
	fsys, backup, err := b.Latest(t.Context(), "mtp:VPHONE0001")
	if err != nil || !backup.Complete {
		t.Fatalf("%+v, %v", backup, err)
	}
	f, err := fsys.Open("Internal shared storage/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(f, p)
		m, _ := io.ReadFull(want, q)
		if n != m || string(p[:n]) != string(q[:m]) {
			t.Fatalf("%q in the vault is not the phone's", path)
		}
		if err != nil {
			break
		}
	}
}
