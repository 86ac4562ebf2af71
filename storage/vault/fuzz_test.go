package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// damagedOrNil fails the test on an error that does not say that something is damaged or too new.
func damagedOrNil(t *testing.T, err error) bool {
	t.Helper()
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
		t.Errorf("an error of no kind: %v", err)
	}
	return err == nil
}

func FuzzPackHeader(f *testing.F) {
	blobs := []packedBlob{{id: hash{1}, length: 100}, {id: hash{2}, typ: treeBlob, off: 100, length: 50, plain: 900}}
	f.Add(appendHeader(nil, blobs), int64(150))
	f.Add([]byte{4}, int64(0))
	f.Add(bytes.Repeat([]byte{0xff}, 41), int64(1<<40))
	seedPacks(f, func(p []byte, size int64) { f.Add(p, size) }, nil)
	f.Fuzz(func(t *testing.T, p []byte, size int64) {
		blobs, err := parseHeader(p, size)
		if !damagedOrNil(t, err) {
			return
		}
		if again := appendHeader(nil, blobs); !bytes.Equal(again, p) {
			t.Errorf("%x is encoded as %x", p, again)
		}
		for _, b := range blobs {
			if !b.valid() || b.size() > maxTree {
				t.Errorf("impossible blob %+v", b)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	blobs := []packedBlob{{id: hash{1}, length: 100}, {id: hash{2}, typ: treeBlob, off: 100, length: 50, plain: 900}}
	f.Add(appendIndex(nil, []indexedPack{{hash{9}, blobs}, {hash{8}, blobs[:1]}}))
	f.Add(bytes.ReplaceAll(appendIndex(nil, []indexedPack{{hash{9}, blobs}, {hash{8}, blobs[:1]}}), []byte(`"type":"tree"`), []byte(`"type": "tree"`)))
	f.Add([]byte(`{"supersedes":["x"],"packs":null}`))
	f.Add([]byte(`{"packs":[{"id":"00","blobs":[{"offset":4294967295,"length":4294967295}]}]}`))
	f.Add([]byte(`{"packs":[` + strings.Repeat("[", 20000)))
	seedDocuments(f, "index")
	f.Fuzz(func(t *testing.T, p []byte) {
		var list []indexedPack
		err := parseIndex(p, func(id hash, blobs []packedBlob) { list = append(list, indexedPack{id, slices.Clone(blobs)}) })
		var slow []indexedPack
		if err2 := decodeIndex(p, 0, func(id hash, blobs []packedBlob) { slow = append(slow, indexedPack{id, blobs}) }); (err == nil) != (err2 == nil) ||
			!slices.EqualFunc(list, slow, func(a, b indexedPack) bool { return a.id == b.id && slices.Equal(a.blobs, b.blobs) }) {
			t.Errorf("the quick parser gives %+v, %v, the other %+v, %v", list, err, slow, err2)
		}
		if !damagedOrNil(t, err) {
			return
		}
		var again []indexedPack
		if err := parseIndex(appendIndex(nil, list), func(id hash, blobs []packedBlob) { again = append(again, indexedPack{id, slices.Clone(blobs)}) }); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(list, again, func(a, b indexedPack) bool { return a.id == b.id && slices.Equal(a.blobs, b.blobs) }) {
			t.Errorf("%+v is read back as %+v", list, again)
		}
	})
}

func FuzzTree(f *testing.F) {
	at := time.Date(2024, 5, 1, 10, 0, 0, 5, time.UTC)
	nodes := []node{{name: "a\xff\"<", mode: fileMode, mtime: at, size: 5, content: []hash{{1}}}, {name: "b", mode: dirMode, subtree: hash{2}},
		{name: "c", mode: fileMode}}
	f.Add(treeOf(nodes))
	f.Add(append([]byte(`{"nodes":[{"name":"!","type":"fifo"},`), treeOf(nodes)[len(`{"nodes":[`):]...))
	f.Add([]byte(`{"nodes":[{"name":"l","type":"symlink","mode":134218239,"linktarget":"x","linktarget_raw":"/w==","content":null}]}`))
	f.Add([]byte(`{"nodes":[{"name":"..","type":"dir","subtree":"` + strings.Repeat("0", 64) + `"}]}`))
	f.Add([]byte(`{"nodes":[{"name":"a\\x2fb","type":"file","size":18446744073709551615,"content":[]}]}`))
	seedPacks(f, nil, func(p []byte) { f.Add(p) })
	f.Fuzz(func(t *testing.T, p []byte) {
		var list, slow []node
		err := parseTree(p, func(n node) error { list = append(list, n); return nil })
		last := ""
		err2 := decodeTree(p, 0, func(n node) error {
			if n.name <= last {
				return ErrDamaged
			}
			last, slow = n.name, append(slow, n)
			return nil
		})
		if (err == nil) != (err2 == nil) || !slices.EqualFunc(list, slow, sameNode) {
			t.Errorf("the quick parser gives %+v, %v, the other %+v, %v", list, err, slow, err2)
		}
		if !damagedOrNil(t, err) {
			return
		}
		for i, n := range list {
			if !validElement(n.name) || n.size < 0 || i > 0 && n.name <= list[i-1].name {
				t.Errorf("node %+v", n)
			}
		}
		var again []node
		if err := parseTree(treeOf(list), func(n node) error { again = append(again, n); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(list, again, func(a, b node) bool { a.raw = b.raw; return sameNode(a, b) }) {
			t.Errorf("%+v is read back as %+v", list, again)
		}
	})
}

func sameNode(a, b node) bool {
	return a.name == b.name && a.mode == b.mode && a.mtime.Equal(b.mtime) && a.size == b.size && slices.Equal(a.content, b.content) &&
		a.subtree == b.subtree && a.link == b.link && bytes.Equal(a.raw, b.raw)
}

// treeOf is the JSON of a tree.
func treeOf(nodes []node) []byte {
	p := []byte(`{"nodes":[`)
	for i := range nodes {
		if i > 0 {
			p = append(p, ',')
		}
		p = nodes[i].append(p)
	}
	return append(p, "]}\n"...)
}

func FuzzSnapshot(f *testing.F) {
	tree := hash{5}
	doc, err := json.Marshal(snapshotFile{Time: time.Unix(1, 0).UTC(), Tree: &tree, Tags: []string{"phone:a", "gen:7", "complete", "x"},
		Summary: &summary{Files: 3, Bytes: 4}, Box: &boxDetails{Phone: "a", Name: "b", Generation: 7, Outcome: &Outcome{Problems: []Problem{{Name: `\xff`}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(`{"tree":"` + strings.Repeat("0", 64) + `","tags":["gen:99999999999999999999"]}`))
	seedDocuments(f, "snapshots")
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := parseSnapshot("id", p)
		if !damagedOrNil(t, err) {
			return
		}
		if s.Files < 0 || s.Bytes < 0 || s.Generation > math.MaxInt64 {
			t.Errorf("%+v", s)
		}
		// What stock restic's rewrite and ours write of it again says the same.
		var file snapshotFile
		if err := json.Unmarshal(p, &file); err != nil {
			t.Fatal(err)
		}
		q, err := json.Marshal(file)
		if err != nil {
			return // a date that JSON cannot hold
		}
		again, err := parseSnapshot("id", q)
		if err != nil || !s.Time.Equal(again.Time) {
			t.Fatalf("%s is written as %s: %v", p, q, err)
		}
		s.Time, again.Time = time.Time{}, time.Time{}
		if a, b := sayAll(s), sayAll(again); a != b {
			t.Errorf("%s\nbecame\n%s", a, b)
		}
	})
}

// sayAll is a snapshot with all that it points to.
func sayAll(s Snapshot) string {
	var o Outcome
	if s.Outcome != nil {
		o = *s.Outcome
		if len(o.Problems) == 0 {
			o.Problems = nil
		}
	}
	had := s.Outcome != nil
	s.Outcome = nil
	return fmt.Sprintf("%+v %v %+v", s, had, o)
}

func FuzzResume(f *testing.F) {
	f.Add([]byte(`{"phone":"mtp:1","files":[{"name":"a\\xff","size":5,"mtime":"2024-05-01T10:00:00Z","content":["` + strings.Repeat("0", 64) + `"]}]}`))
	f.Add([]byte(`{"files":[{"size":-1}]}`))
	seedDocuments(f, "resume")
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseResume(p)
		if !damagedOrNil(t, err) {
			return
		}
		w := resumeRecord{Phone: quote(r.Phone)}
		for _, file := range r.Files {
			if file.Size < 0 {
				t.Errorf("%+v", file)
			}
			file.Name = quote(file.Name)
			w.Files = append(w.Files, file)
		}
		q, err := json.Marshal(w)
		if err != nil {
			return // a date that JSON cannot hold
		}
		again, err := parseResume(q)
		same := func(a, b resumeFile) bool {
			return a.Name == b.Name && a.Size == b.Size && a.ModTime.Equal(b.ModTime) && slices.Equal(a.Content, b.Content)
		}
		if err != nil || again.Phone != r.Phone || !slices.EqualFunc(r.Files, again.Files, same) {
			t.Errorf("%+v became %+v (%v)", r, again, err)
		}
	})
}

func FuzzConfigAndKey(f *testing.F) {
	f.Add([]byte(`{"version":2,"id":"` + strings.Repeat("0", 64) + `","chunker_polynomial":"25b468838dcb75"}`))
	f.Add([]byte(`{"kdf":"scrypt","N":1024,"r":8,"p":1,"salt":"","data":""}`))
	f.Add([]byte(`{"kdf":"scrypt","N":9223372036854775807,"r":9223372036854775807,"p":2}`))
	seedKeys(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		if c, err := parseConfig(p); damagedOrNil(t, err) {
			q, err := json.Marshal(c)
			if again, perr := parseConfig(q); err != nil || perr != nil || again != c || c.Version < 1 || c.Version > 2 {
				t.Errorf("%+v became %+v (%v, %v)", c, again, err, perr)
			}
		}
		k, err := parseKeyFile(p)
		if !damagedOrNil(t, err) {
			return
		}
		// What scrypt would cost, in bytes and in blocks to mix.
		if cost := 128 * float64(k.N) * float64(k.R); cost > maxScryptM || cost*float64(k.P) > 2*maxScryptM {
			t.Errorf("%+v", k)
		}
		q, err := json.Marshal(k)
		if err != nil {
			return // a date that JSON cannot hold
		}
		again, err := parseKeyFile(q)
		if err != nil || again.N != k.N || again.R != k.R || again.P != k.P || !bytes.Equal(again.Salt, k.Salt) || !bytes.Equal(again.Data, k.Data) ||
			!again.Created.Equal(k.Created) || again.Username != k.Username || again.Hostname != k.Hostname {
			t.Errorf("%+v became %+v (%v)", k, again, err)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add(someWords)
	f.Add("1. abandon 2. art")
	f.Add("Abandon\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		w, err := ParseWords(s)
		if err != nil {
			if !errors.Is(err, ErrWords) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		if again, err := ParseWords(w); err != nil || again != w || strings.Count(w, " ") != wordCount-1 {
			t.Errorf("%q is not canonical: %q, %v", w, again, err)
		}
	})
}

// FuzzDocument feeds what is inside a sealed document: encoding byte and zstd frame.
func FuzzDocument(f *testing.F) {
	var z zipper
	if err := z.init(); err != nil {
		f.Fatal(err)
	}
	key, err := newSealer(new([64]byte))
	if err != nil {
		f.Fatal(err)
	}
	v := &Vault{key: key, zip: z}
	f.Add(z.document([]byte(`{"a":1}`)))
	f.Add(z.document(make([]byte, 1<<20)))
	f.Add([]byte{2, 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		out, err := v.openDocument(key.sealed(p), 1<<18)
		if damagedOrNil(t, err) && len(out) > max(1<<18, len(p)) {
			t.Error(fmt.Sprint(len(out), " bytes"))
		}
	})
}

func FuzzRemoved(f *testing.F) {
	f.Add([]byte(`{"key":"` + strings.Repeat("0a", 32) + `","away":["x"]}`))
	seedDocuments(f, "removed")
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseRemoved(p)
		if !damagedOrNil(t, err) {
			return
		}
		q, err := json.Marshal(r)
		if again, perr := parseRemoved(q); err != nil || perr != nil || again.Key != r.Key || len(r.Key) != 64 || !slices.Equal(again.Away, r.Away) {
			t.Errorf("%+v became %+v (%v, %v)", r, again, err, perr)
		}
	})
}
