package array_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// strokes reads a script of changes to files: a drive, a file of it, a place in that, and what comes there.
func strokes(script []byte, do func(drive, file int, at int64, how byte)) {
	for ; len(script) >= 6; script = script[6:] {
		do(int(script[0]), int(script[1]), int64(binary.LittleEndian.Uint32(script[2:])>>8), script[2])
	}
}

// harm does one stroke to a drive's file: a bit, a cut, or all of it.
func harm(t *testing.T, d *vdrive.Drive, prefix string, file int, at int64, how byte) {
	t.Helper()
	var names []string
	for info, err := range d.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if len(names) == 0 {
		return
	}
	name := names[file%len(names)]
	switch how % 8 {
	case 0:
		d.Lose(name)
	case 1:
		d.Truncate(name, int(at))
	default:
		d.Rot(name, at)
	}
}

// FuzzDamagedFiles changes any bytes of copies, shards, side parity and ledgers of up to four drives: what is read is what was
// put, or an error that says why not; and repairing makes nothing worse.
func FuzzDamagedFiles(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 9, 1, 2, 3, 0, 1, 0, 0, 0, 0})
	f.Add(uint8(5), []byte{0, 3, 10, 0, 0, 1, 1, 4, 9, 9, 9, 0, 2, 2, 1, 0, 0, 0})
	f.Add(uint8(14), []byte{3, 200, 3, 0, 0, 128, 3, 201, 3, 0, 0, 129, 2, 7, 1, 50, 0, 0, 1, 7, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, layout uint8, script []byte) {
		n := 1 + int(layout)%4
		r := newRig(t, 1, n, min(int(layout)/4%4, n-1))
		puts := map[string][]byte{"config": pack(50, 1), packName(2): pack(70_000, 2), packName(3): pack(300_000, 3), packName(4): {}}
		for name, p := range puts {
			mustPut(t, r.a, name, p)
		}
		mustSync(t, r.a)
		strokes(script[:min(len(script), 120)], func(drive, file int, at int64, how byte) { harm(t, r.drives[drive%n], "", file, at, how) })
		a, err := array.Open(t.Context(), r.members(), array.Options{})
		if err != nil {
			if !errors.Is(err, array.ErrNoLedger) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		read := func() (readable int) {
			for name, want := range puts {
				got, err := storage.ReadAll(t.Context(), a, name, 1<<20)
				if err == nil && !bytes.Equal(got, want) {
					t.Errorf("%s: other bytes than were put", name)
				}
				if err == nil {
					readable++
				} else if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrNotExist) {
					t.Errorf("%s: an error of no kind: %v", name, err)
				}
			}
			return readable
		}
		before := read()
		if _, err := a.Scrub(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if _, err := a.Repair(t.Context(), nil); err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("repair: %v", err)
		}
		if after := read(); after < before {
			t.Errorf("%d blobs could be read, after the repair %d", before, after)
		}
	})
}
