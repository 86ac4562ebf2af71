//go:build !rescue

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/folder"
)

// haltingPhone is a phone whose backup is interrupted when its n-th file is about to be stored.
type haltingPhone struct {
	usbhost.Phone
	n         int64
	interrupt context.CancelFunc
}

func (p *haltingPhone) Backup(ctx context.Context, into usbhost.Tree, watch usbhost.Watch) (usbhost.Report, error) {
	return p.Phone.Backup(ctx, &haltingTree{Tree: into, p: p}, watch)
}

type haltingTree struct {
	usbhost.Tree
	p    *haltingPhone
	seen atomic.Int64
}

func (t *haltingTree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	if t.seen.Add(1) == t.p.n {
		t.p.interrupt()
	}
	return t.Tree.Create(name, size, mtime, r)
}

// TestInterruptedBackupGoesOn interrupts a first backup, as SIGINT does: nothing of it may be visible, and the next run
// keeps what was stored instead of reading it again.
func TestInterruptedBackupGoesOn(t *testing.T) {
	s, dir := newSite(t, 3, 1), t.TempDir()
	makePhone(t, dir)
	card, err := folder.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := vaultFlags{drives: s.drives, keyFile: s.key}
	r, err := f.open(ctx, writing)
	if err != nil {
		t.Fatal(err)
	}
	c := &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}}
	const n = 150
	err = backUp(ctx, c, r, &haltingPhone{Phone: card, n: n, interrupt: cancel})
	if err = errors.Join(err, r.close()); !errors.Is(err, context.Canceled) || c.fail(err) != exitFailed {
		t.Fatalf("interrupted: %v", err)
	}
	out, _ := must(t, exitOK, s.with("snapshots", "--json")...)
	if list := decode[[]snapshotJSON](t, out); len(list) != 0 {
		t.Errorf("an interrupted backup is visible: %+v", list)
	}
	out, _ = must(t, exitOK, s.with("backup", "folder:"+dir, "--json")...)
	if res := decode[backupResult](t, out); res.Kept < n-8 || res.Kept+res.Stored != res.Listed {
		t.Errorf("the next run kept %d of the %d files stored before it", res.Kept, n-1)
	}
	must(t, exitOK, s.with("vault", "verify")...)
}

// TestAStoppedRestoreSaysHowItGoesOn: the folder holds something by then, which a second restore would refuse.
func TestAStoppedRestoreSaysHowItGoesOn(t *testing.T) {
	s, dir := newSite(t, 1, 0), t.TempDir()
	makePhone(t, dir)
	must(t, exitOK, s.with("backup", "folder:"+dir)...)
	f := vaultFlags{drives: s.drives, keyFile: s.key}
	r, err := f.open(t.Context(), reading)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := r.find(t.Context(), "latest")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}}
	err = restore(ctx, c, r, snap, "folder:"+t.TempDir(), false)
	var hint hintError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &hint) || !strings.Contains(hint.hint, "--into-existing") {
		t.Errorf("stopped: %v", err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}
