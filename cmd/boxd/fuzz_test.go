//go:build !rescue

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

// FuzzHostileDrive changes bytes of whole drives as old boxds left them, then opens, lists, reads and verifies the vault. Whatever is
// read is what was stored, as the note beside the drive tells, and nothing panics.
func FuzzHostileDrive(f *testing.F) {
	type old struct {
		files []storage.Info
		data  map[string][]byte
		id    string
		words string
		note  corpusNote
	}
	var corpora []old
	for _, name := range []string{"one-drive", "from-stock-restic", "used-apart-merged", "pruned-and-folded"} {
		s, note := unzip(f, "testdata/vaults/2026-11/"+name+".zip")
		o := old{data: map[string][]byte{}, words: strings.TrimSpace(readFile(f, s.key)), note: note}
		var ident struct{ Drive string }
		if err := json.Unmarshal([]byte(readFile(f, filepath.Join(s.drives[0], "phone-backup-box.json"))), &ident); err != nil {
			f.Fatal(err)
		}
		o.id = ident.Drive
		for _, dir := range []string{"vault", "shards", "parity", "ledger", "ledger-copy"} {
			files, err := filepath.Glob(filepath.Join(s.drives[0], dir, "*"))
			for err == nil && len(files) > 0 {
				p := files[0]
				files = files[1:]
				if info, serr := os.Stat(p); serr == nil && info.IsDir() {
					var more []string
					more, err = filepath.Glob(filepath.Join(p, "*"))
					files = append(files, more...)
					continue
				}
				rel, rerr := filepath.Rel(s.drives[0], p)
				o.data[filepath.ToSlash(rel)], err = []byte(readFile(f, p)), rerr
			}
			if err != nil {
				f.Fatal(err)
			}
		}
		for name, p := range o.data {
			o.files = append(o.files, storage.Info{Name: name, Size: int64(len(p))})
		}
		slices.SortFunc(o.files, func(a, b storage.Info) int { return strings.Compare(a.Name, b.Name) })
		corpora = append(corpora, o)
	}
	for i := range corpora {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{byte(7 * i), 0, 50, 1, 33, 0, 80, 3})
	}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		o := corpora[int(which)%len(corpora)]
		d := vdrive.New(1)
		for _, file := range o.files {
			if err := d.Put(t.Context(), file.Name, o.data[file.Name]); err != nil {
				t.Fatal(err)
			}
		}
		for ; len(script) >= 4; script = script[4:] {
			file := o.files[int(binary.LittleEndian.Uint16(script))%len(o.files)]
			switch script[3] % 8 {
			case 0:
				d.Lose(file.Name)
			case 1:
				d.Truncate(file.Name, int(script[2])*int(file.Size)/256)
			default:
				d.Rot(file.Name, int64(script[2])*file.Size/32+int64(script[3]))
			}
		}
		a, err := array.Open(t.Context(), []array.Member{{ID: o.id, Store: d}}, array.Options{})
		if err != nil {
			return
		}
		v, err := vault.Open(t.Context(), a, o.words, vault.Options{ReadOnly: true, IgnoreDamagedIndex: true})
		if err != nil {
			return
		}
		defer func() {
			if err := errors.Join(v.Close(), a.Close()); err != nil {
				t.Error(err)
			}
		}()
		list, err := v.Snapshots(t.Context())
		if err != nil {
			return
		}
		for _, snap := range list {
			if snap.Err != nil {
				continue
			}
			i := slices.IndexFunc(o.note.Snapshots, func(c corpusSnapshot) bool { return c.ID == snap.ID })
			if i < 0 {
				t.Fatalf("a snapshot %.8s from nowhere", snap.ID)
			}
			fsys, err := v.FS(t.Context(), snap)
			if err != nil {
				continue
			}
			if lines, err := linesOf(fsys, true); err == nil && sumOf(lines) != o.note.Snapshots[i].Sum {
				t.Errorf("snapshot %.8s is read as\n%s", snap.ID, strings.Join(lines, "\n"))
			}
		}
		if _, err := v.Verify(t.Context(), nil); err != nil && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, vault.ErrDamaged) {
			t.Errorf("verify: an error of no kind: %v", err)
		}
	})
}

// FuzzKeyFile reads key and words files: what comes out is what stock restic would take, and no error shows what was in them.
func FuzzKeyFile(f *testing.F) {
	words, err := vault.NewWords()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(words + "\n"))
	f.Add([]byte("1. " + strings.ReplaceAll(words, " ", "\n")))
	f.Add([]byte(cherry + "\n"))
	f.Add([]byte(strings.Repeat("zoo ", 24)))
	f.Add(bytes.Repeat([]byte{' '}, maxKeyFile+1))
	f.Fuzz(func(t *testing.T, p []byte) {
		file := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
		for i, read := range []func(string) (string, error){readKey, readWords} { // in order, lest coverage changes from run to run
			what := []string{"key", "words"}[i]
			key, err := read(file)
			if err != nil {
				if text := string(bytes.TrimSpace(p)); len(text) > 40 && strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s file: %q", what, err)
				}
				continue
			}
			if key == "" || key != strings.TrimSpace(key) || len(p) > maxKeyFile {
				t.Errorf("%s file of %d bytes: %q", what, len(p), key)
			}
			if err := os.WriteFile(file+what, []byte(key+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if again, err := read(file + what); err != nil || again != key {
				t.Errorf("%s file: %q became %q (%v)", what, key, again, err)
			}
		}
	})
}

// FuzzStateFiles reads the small files of a state folder: they are as they would be written again, or refused.
func FuzzStateFiles(f *testing.F) {
	f.Add([]byte(`[{"key":"ab","how":"stick"}]`))
	f.Add([]byte(`[{"id":"mtp:1","name":"Ann's"}]`))
	f.Add([]byte(`{"x":{"done":true}}`))
	f.Add([]byte("vault-id\n"))
	for _, name := range []string{"keys-and-state"} {
		s, _ := unzip(f, "testdata/vaults/2026-11/"+name+".zip")
		r, err := (&vaultFlags{drives: s.drives, keyFile: s.key}).open(f.Context(), reading)
		if err != nil {
			f.Fatal(err)
		}
		state, err := r.newestState(f.Context())
		if err := errors.Join(err, r.close()); err != nil {
			f.Fatal(err)
		}
		for _, p := range state {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if list, err := parseWordsOut(vault.State{wordsOutName: p}); err == nil {
			again(t, list, func(q []byte) ([]wordsOut, error) { return parseWordsOut(vault.State{wordsOutName: q}) })
		}
		dir := t.TempDir()
		for _, name := range []string{enrolledName, scrubName, verifyName, homeName, hintName} {
			if err := os.WriteFile(filepath.Join(dir, name), p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		enrolled := roster{filepath.Join(dir, enrolledName)}
		if list, err := enrolled.Enrolled(t.Context()); err == nil {
			again(t, list, func(q []byte) ([]firmware.Enrolment, error) {
				if err := os.WriteFile(enrolled.path, q, 0o600); err != nil {
					return nil, err
				}
				return enrolled.Enrolled(t.Context())
			})
		}
		if places, err := readPlaces[scrubPlace](dir, scrubName); err == nil {
			again(t, places, func(q []byte) (map[string]scrubPlace, error) {
				if err := os.WriteFile(filepath.Join(dir, scrubName), q, 0o600); err != nil {
					return nil, err
				}
				return readPlaces[scrubPlace](dir, scrubName)
			})
		}
		if places, err := readPlaces[verifyPlace](dir, verifyName); err == nil {
			again(t, places, func(q []byte) (map[string]verifyPlace, error) {
				if err := os.WriteFile(filepath.Join(dir, verifyName), q, 0o600); err != nil {
					return nil, err
				}
				return readPlaces[verifyPlace](dir, verifyName)
			})
		}
		if home, err := readHome(dir); err == nil && (len(home) > 100 || home != strings.TrimSpace(home)) {
			t.Errorf("home %q", home)
		}
	})
}

// again writes what was read and reads it once more.
func again[T any](t *testing.T, v T, read func(p []byte) (T, error)) {
	t.Helper()
	p, err := json.Marshal(v)
	if err != nil {
		return // a date that JSON cannot hold
	}
	w, err := read(p)
	if err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	if q, err := json.Marshal(w); err != nil || !bytes.Equal(p, q) {
		t.Errorf("%s became %s (%v)", p, q, err)
	}
}
