package vault

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

func TestFormers(t *testing.T) {
	m := newMapStore()
	v, words := newVault(t, m)
	id := strings.Repeat("ab", 32)
	want := []Former{{Vault: id, Snapshots: []string{id}, Over: []string{"u1"}, Left: []LeftDrive{{"u2", "attic"}}}}
	if err := v.NoteFormer(t.Context(), want[0]); err != nil {
		t.Fatal(err)
	}
	if got, err := openVault(t, m, words).Formers(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	r, err := Open(t.Context(), m, words, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.NoteFormer(t.Context(), want[0]); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read only: %v", err)
	}
	if err := v.NoteFormer(t.Context(), Former{Vault: id, Snapshots: make([]string, maxFormer)}); !errors.Is(err, ErrTooBig) {
		t.Errorf("a huge one: %v", err)
	}
	dir := t.TempDir()
	m.save(t, dir)
	stock(t, dir, words)("check", "--read-data")
}

// FuzzFormer: what is read can be written and read again; anything else is ErrDamaged.
func FuzzFormer(f *testing.F) {
	f.Add([]byte(`{"vault":"` + strings.Repeat("ab", 32) + `","snapshots":["` + strings.Repeat("01", 32) + `"],"over":["x"],"left":[{"id":"y","label":"z"}]}`))
	f.Add([]byte(`{"vault":"x"}`))
	seedDocuments(f, "former")
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, err := parseFormer(p)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		q, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := parseFormer(q); err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%+v became %+v, %v", a, b, err)
		}
	})
}
