package vault

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestResumes: files are found under their path, size and time only, and a later record counts more.
func TestResumes(t *testing.T) {
	x := newIndex()
	ids := []hash{{1}, {2}, {3}}
	x.addPack(hash{9}, 0, []packedBlob{{id: ids[0], length: overhead + 10}, {id: ids[1], off: overhead + 10, length: overhead + 5}, {id: ids[2], off: 2*overhead + 15, length: 70, plain: 900}})
	r := newResumes(x)
	at := time.Unix(1_700_000_000, 5).UTC()
	for _, f := range []resumeFile{
		{"a/one", 10, at, ids[:1]}, {"none", 0, at, nil}, {"many", 915, at, ids},
		{"size", 11, at, ids[:1]}, {"unknown", 10, at, []hash{{4}}}, // not to be had: the index knows no such content
		{"again", 915, at, ids}, {"again", 5, at.Add(1), ids[1:2]},
	} {
		r.add(f)
	}
	for _, tt := range []struct {
		path string
		size int64
		at   time.Time
		want []hash
		ok   bool
	}{
		{"a/one", 10, at, ids[:1], true}, {"none", 0, at, nil, true}, {"many", 915, at, ids, true}, {"again", 5, at.Add(1), ids[1:2], true},
		{"a/one", 9, at, nil, false}, {"a/one", 10, at.Add(1), nil, false}, {"one", 10, at, nil, false}, {"many", 914, at, nil, false},
		{"size", 11, at, nil, false}, {"size", 10, at, nil, false}, {"unknown", 10, at, nil, false}, {"again", 915, at, nil, false}, {"none", 0, at.Add(-1), nil, false},
	} {
		got, ok := r.find(tt.path, tt.size, tt.at)
		if ok != tt.ok || ok && !slices.Equal(got, tt.want) {
			t.Errorf("%s, %d bytes, %v: %v, %v", tt.path, tt.size, tt.at, got, ok)
		}
	}
}

// TestResumesMemory: a first backup of a million files may be cut near its end.
func TestResumesMemory(t *testing.T) {
	x := syntheticIndex(1, 1)
	b := x.blobs(0)[0]
	before := heap()
	r, n := newResumes(x), 0
	for i := range 100_000 {
		r.add(resumeFile{fmt.Sprintf("DCIM/folder-%03d/IMG_%08d.jpg", i/1000, i), b.size(), time.Unix(int64(i), 0), []hash{b.id}})
	}
	per := (heap() - before) / 100_000
	for i := range 100_000 {
		if _, ok := r.find(fmt.Sprintf("DCIM/folder-%03d/IMG_%08d.jpg", i/1000, i), b.size(), time.Unix(int64(i), 0)); ok {
			n++
		}
	}
	t.Logf("%.0f bytes a file", per)
	if n != 100_000 || per > 80 {
		t.Errorf("%.0f bytes a file, want at most 80; %d are found", per, n)
	}
}
