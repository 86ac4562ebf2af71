package mtp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// TestMoreObjectsThanFit: where a phone names more than memory has room for, some of them are listed, and every folder that is
// not listed to its end says so: nothing in it may be taken for deleted.
func TestMoreObjectsThanFit(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"at once": {}, "folders": {PerFolderOnly: true}, "object by object": {NoBulkList: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := vphone.NewStorage("S", 1<<30, nil)
				for i := range 400 {
					if err := store.Put(fmt.Sprintf("%d/%d.jpg", i%20, i), time.Unix(1e9, 0), vphone.Text("x")); err != nil {
						t.Fatal(err)
					}
				}
				phone := vmtp.NewPhone(vmtp.Config{Storages: []*vphone.Storage{store}, Quirks: q})
				defer phone.Unplug()
				p, err := Open(t.Context(), phone.Plug(), Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close() // nothing is under way
				storages, err := p.s.storages(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				x := newIndex(storages, time.UTC)
				x.most = 110
				if err := p.s.list(t.Context(), x); err != nil {
					t.Fatal(err)
				}
				dirs, _ := x.dirs()
				listed, cut := 0, 0
				for _, d := range dirs {
					listed += len(d.files)
					if d.why == "" && d.handle != handleAll && len(d.files) < 20 {
						t.Errorf("%s holds %d of 20 files and does not say why", d.path, len(d.files))
					}
					if strings.Contains(d.why, "more than") {
						cut++
					}
				}
				if listed > 110 || listed == 0 || cut < 10 {
					t.Errorf("%d files are listed, %d folders are not", listed, cut)
				}
			})
		})
	}
}

// TestAPhoneOnWhichEverythingTimesOutIsWedged: listing a hundred thousand objects one by one, each of which times out, has
// no end.
func TestAPhoneOnWhichEverythingTimesOutIsWedged(t *testing.T) {
	w := walk{}
	for n := range maxTimeouts + 1 {
		err := w.judge(fmt.Errorf("object: %w", errTimeout))
		if wedged := errors.Is(err, errWedged); wedged != (n == maxTimeouts) || fatal(context.Background(), err) != wedged {
			t.Errorf("time-out %d: %v", n+1, err)
		}
	}
	if w.judge(nil) != nil || w.mute != 0 {
		t.Error("an answer does not count")
	}
}
