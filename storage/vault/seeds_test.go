package vault

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vdrive/old"
)

// oldVaults opens the first drive of each corpus of cmd/boxd that has one whole, as seeds for fuzzing: documents that were
// really written, by all versions that are kept.
func oldVaults(f *testing.F) []*Vault {
	f.Helper()
	var list []*Vault
	for _, name := range []string{"one-drive", "two-drives", "keys-and-state", "cut-short", "pruned-and-folded", "from-stock-restic", "rekeyed"} {
		files, err := old.Vaults(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			list = append(list, oldVault(f, file))
		}
	}
	return list
}

func oldVault(f *testing.F, file string) *Vault {
	f.Helper()
	all, err := old.Read(file, func(string) bool { return true })
	if err != nil {
		f.Fatal(err)
	}
	m := newMapStore()
	for name, p := range all {
		if name, ok := strings.CutPrefix(name, "drive0/vault/"); ok {
			m.blobs[name] = p
		}
	}
	var note struct{ Keys []string }
	if err := json.Unmarshal(all["note.json"], &note); err != nil {
		f.Fatal(err)
	}
	v, err := Open(f.Context(), m, strings.TrimSpace(string(all[note.Keys[0]])), Options{ReadOnly: true})
	if err != nil {
		f.Fatalf("%s: %v", file, err)
	}
	f.Cleanup(func() {
		if err := v.Close(); err != nil {
			f.Error(err)
		}
	})
	return v
}

// seedDocuments adds the documents of a kind.
func seedDocuments(f *testing.F, folder string) {
	f.Helper()
	n := 0
	for _, v := range oldVaults(f) {
		for info, err := range v.s.List(f.Context(), folder+"/") {
			if err != nil {
				f.Fatal(err)
			}
			if p, err := v.readDocument(f.Context(), info.Name, 1<<20); err == nil { // one corpus has a torn one
				f.Add(p)
				n++
			}
		}
	}
	if n == 0 {
		f.Errorf("no corpus has a document in %s", folder)
	}
}

// seedKeys adds configs and key files.
func seedKeys(f *testing.F) {
	f.Helper()
	for _, v := range oldVaults(f) {
		p, err := storage.ReadAll(f.Context(), v.s, "config", maxKeyFile)
		if err != nil {
			f.Fatal(err)
		}
		if p, err = v.openDocument(p, maxKeyFile); err != nil {
			f.Fatal(err)
		}
		f.Add(p)
		for info, err := range v.s.List(f.Context(), "keys/") {
			if err != nil {
				f.Fatal(err)
			}
			if p, err = storage.ReadAll(f.Context(), v.s, info.Name, maxKeyFile); err != nil {
				f.Fatal(err)
			}
			f.Add(p)
		}
	}
}

// seedPacks gives the packs' headers to header, and the trees that they hold to tree; both may be nil.
func seedPacks(f *testing.F, header func(p []byte, size int64), tree func(p []byte)) {
	f.Helper()
	for _, v := range oldVaults(f) {
		src := v.newSource()
		for info, err := range v.s.List(f.Context(), "data/") {
			if err != nil {
				f.Fatal(err)
			}
			id, err := parseHash(path.Base(info.Name))
			if err != nil {
				f.Fatal(err)
			}
			blobs, err := v.readHeader(f.Context(), id, info.Size)
			if err != nil {
				continue // one corpus has a torn one
			}
			size := int64(0)
			for _, b := range blobs {
				size += int64(b.length)
				if tree == nil || b.typ != treeBlob {
					continue
				}
				p, err := src.read(f.Context(), treeBlob, b.id, nil)
				if err != nil {
					f.Fatal(err)
				}
				if len(p) < 64<<10 {
					tree(p)
				}
			}
			if header != nil {
				header(appendHeader(nil, blobs), size)
			}
		}
	}
}
