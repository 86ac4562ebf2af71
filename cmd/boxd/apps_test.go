//go:build !rescue

package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode"

	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/apps"
	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// night is when the phones of these tests are backed up.
var night = time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)

// chatty puts what a well-used phone's chat apps leave into a listing; age is told in hours before night.
func chatty(put func(name string, hours int, size int)) {
	const wa, biz = "Android/media/com.whatsapp/WhatsApp/", "Android/media/com.whatsapp.w4b/WhatsApp Business/"
	put("DCIM/Camera/PXL_1.jpg", 9, 400_000)
	put("Alarms/wake.ogg", 900, 30_000)
	put("Android/.nomedia", 900, 3)
	put("Android/media/com.android.soundrecorder/1.m4a", 900, 7_000)
	put("loose.txt", 900, 3)
	put(wa+"Databases/msgstore.db.crypt15", 1, 90_000)
	put(wa+"Databases/msgstore-2026-11-24.1.db.crypt15", 25, 80_000)
	put(wa+"Backups/wa.db.crypt15", 1, 500)
	put(wa+"Media/WhatsApp Images/IMG-1.jpg", 30, 1_200_000)
	put(biz+"Databases/msgstore.db.crypt14", 300, 9_000)
	put("Signal/Stickers/a.webp", 90, 2_000)
	put("Android/media/org.telegram.messenger/Telegram/Telegram Images/1.jpg", 50, 300_000)
	put("Pictures/Instagram/IMG_2.jpg", 800, 250_000)
}

func TestAppsInWords(t *testing.T) {
	fsys := fstest.MapFS{}
	chatty(func(name string, hours, size int) {
		fsys["Internal shared storage/"+name] = &fstest.MapFile{Data: make([]byte, size), ModTime: night.Add(-time.Duration(hours) * time.Hour)}
	})
	found, err := apps.Look(fsys, night)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	printApps(&b, inWords(found, night))
	golden(t, "apps.golden", b.String())

	snap := vault.Snapshot{Phone: "mtp:A", Time: night, Complete: false, Outcome: &vault.Outcome{Problems: make([]vault.Problem, 2)}}
	r, err := newReceipt(fsys, snap, night)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.fill(fsys, []usbhost.Problem{{Name: "Internal shared storage/DCIM/Camera/PXL_1.jpg", Listed: true}}); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	r.text(&b)
	golden(t, "receipt.golden", b.String())
}

func TestWhen(t *testing.T) {
	tokyo := time.FixedZone("", 9*3600)
	for _, tt := range []struct {
		at, now time.Time
		want    string
	}{
		{night, night, "today 03:00"},
		{night.Add(-4 * time.Hour), night, "yesterday 23:00"},
		{night.Add(-28 * time.Hour), night, "2026-11-23 23:00"},
		{night, night.In(tokyo), "today 12:00"},
		{night.Add(-13 * time.Hour), night.In(tokyo), "yesterday 23:00"},
		{night.Add(24 * time.Hour), night, "2026-11-26 03:00"},
	} {
		if got := when(tt.at, tt.now); got != tt.want {
			t.Errorf("%v at %v: %q, want %q", tt.at, tt.now, got, tt.want)
		}
	}
}

// A card that holds nothing of the receipt's business gets none of its sections but what was put where.
func TestReceiptOfACard(t *testing.T) {
	fsys := fstest.MapFS{"DCIM/a.jpg": {Data: []byte("x")}}
	r, err := newReceipt(fsys, vault.Snapshot{Phone: "folder:/media/card", Time: night, Complete: true}, night)
	if err == nil {
		err = r.fill(fsys, nil)
	}
	var b strings.Builder
	r.text(&b)
	if want := "\nOn the phone now:\n        1 file       1 B  DCIM\n"; err != nil || b.String() != want {
		t.Errorf("%v %q", err, b.String())
	}
	if (*receipt)(nil).text(&b); len(r.Absent) != 0 {
		t.Errorf("%+v", r)
	}
}

// No name on a phone can do anything to the terminal, nor break a line in two.
func TestOddNamesInAReceipt(t *testing.T) {
	for _, odd := range []string{"\x1b[2J", "two\nlines", "\u202eevil", "\xed\xa0\x80", "\xff", "\u009b31m", "tab\t", "\x7f", "é 写 😀"} {
		fsys := vphone.NewTree() // takes any names, as the vault does
		at := night.Add(-time.Hour)
		for _, name := range []string{odd + "/WhatsApp/Databases/msgstore.db.crypt15", odd + "/Android/media/com.whatsapp/WhatsApp/Media/" + odd + "/" + odd,
			odd + "/Signal/" + odd, odd + "/" + odd + "/x", "x/Telegram/" + odd} {
			if err := fsys.Create(name, 1, at, strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := newReceipt(fsys, vault.Snapshot{Phone: "mtp:A", Time: night}, night)
		if err == nil {
			err = r.fill(fsys, nil)
		}
		if err != nil {
			t.Fatalf("%q: %v", odd, err)
		}
		var text, doc strings.Builder
		r.text(&text)
		found, err := apps.Look(fsys, night)
		if err != nil || len(found) != 3 {
			t.Fatalf("%q: %v, %+v", odd, err, found)
		}
		printApps(&text, inWords(found, night))
		if err := printJSON(&doc, r); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(text.String()+doc.String(), "\n") {
			if i := strings.IndexFunc(line, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }); i >= 0 {
				t.Fatalf("%q: a line with %q", odd, line[i:])
			}
		}
		if n := strings.Count(text.String(), "WhatsApp: last local backup"); n != 2 {
			t.Errorf("%q: WhatsApp is told of %d times in\n%s", odd, n, text.String())
		}
	}
}

// A whole life: a phone with chats is backed up, a new one gets everything, and its owner is told what to do.
func TestChatsReachANewPhone(t *testing.T) {
	storage := func() *vphone.Storage { return vphone.NewStorage("Internal shared storage", 1<<30, nil) }
	old := vmtp.NewPhone(vmtp.Config{Serial: "OLD", FriendlyName: "Anna", Storages: []*vphone.Storage{storage()}})
	last := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	chatty(func(name string, hours, size int) {
		if err := old.Storages()[0].Put(name, last.Add(-time.Duration(hours-1)*time.Hour), vphone.Generated(uint64(len(name)), int64(size))); err != nil {
			t.Fatal(err)
		}
	})
	s := newSite(t, 3, 1)
	out := s.phoneCommand(t, old, func(ctx context.Context, c *call, r *rack, p usbhost.Phone) error { return backUp(ctx, c, r, p) })
	for _, want := range []string{"  WhatsApp: last local backup " + when(last, time.Now()) + ", 1.2 MB of media\n", "Signal: no local backup", "Turn on backups"} {
		if !strings.Contains(out, want) {
			t.Errorf("the backup does not say %q:\n%s", want, out)
		}
	}

	s.listsApps(t, old, last)

	fresh := vmtp.NewPhone(vmtp.Config{Serial: "NEW", Storages: []*vphone.Storage{storage()}})
	out = s.phoneCommand(t, fresh, func(ctx context.Context, c *call, r *rack, p usbhost.Phone) error {
		snap, err := r.find(ctx, "latest")
		if err != nil {
			return err
		}
		return restoreOnto(ctx, c, r, snap, p, true)
	})
	for _, want := range []string{"Do not open WhatsApp", "On the phone now:", "64-digit key", "tap Restore", "Signal's Settings", "secret chats", "call history"} {
		if !strings.Contains(out, want) {
			t.Errorf("the receipt does not say %q:\n%s", want, out)
		}
	}
	if f := fresh.Storages()[0].Find("Android/media/com.whatsapp/WhatsApp/Databases/msgstore.db.crypt15"); f == nil {
		t.Error("WhatsApp's backup is not on the new phone")
	}
	// What leads to WhatsApp came first.
	for at, want := range map[string]string{"": "Android", "Android": "media", "Android/media": "com.whatsapp"} {
		kids, err := fresh.Storages()[0].Children(fresh.Storages()[0].Find(at))
		if err != nil || len(kids) == 0 || kids[0].Name != want {
			t.Errorf("in %q came first %+v, %v", at, kids, err)
		}
	}
}

// listsApps backs the phone up once more: the list of snapshots tells of the apps in the newest, once.
func (s site) listsApps(t *testing.T, phone *vmtp.Phone, last time.Time) {
	t.Helper()
	s.phoneCommand(t, phone, func(ctx context.Context, c *call, r *rack, p usbhost.Phone) error { return backUp(ctx, c, r, p) })
	out, _ := must(t, exitOK, s.with("snapshots")...)
	for _, want := range []string{"Chat and social apps on Google Pixel 9 (mtp:OLD), as of ", "  WhatsApp: last local backup " + when(last, time.Now()) + ", 1.2 MB of media\n", "Turn on backups"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("the snapshots do not say %q once:\n%s", want, out)
		}
	}
	out, _ = must(t, exitOK, s.with("snapshots", "--json")...)
	if list := decode[[]snapshotJSON](t, out); len(list) != 2 || len(list[0].Apps) != 5 || list[0].Apps[0].Name != "WhatsApp" || !list[0].Apps[0].Backup.Equal(last) || list[1].Apps != nil {
		t.Errorf("as JSON: %s", out)
	}
}

// phoneCommand runs do with a simulated phone and the site's vault, and returns all that it printed.
func (s site) phoneCommand(t *testing.T, phone *vmtp.Phone, do func(context.Context, *call, *rack, usbhost.Phone) error) string {
	t.Helper()
	p, err := mtp.Open(t.Context(), phone.Plug(), mtp.Options{Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	f := vaultFlags{drives: s.drives, keyFile: s.key}
	r, err := f.open(t.Context(), writing)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := &call{stdio: stdio{strings.NewReader(""), &out, &out}}
	if err := do(t.Context(), c, r, p); err != nil {
		t.Error(err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	phone.Unplug()
	if err := phone.Err(); err != nil {
		t.Error(err)
	}
	return out.String()
}
