package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage"
)

// blobs is a Repository in memory. What is in dark cannot be read from that offset on.
type blobs struct {
	all  map[string][]byte
	dark map[string]int64
	cut  string // listing it ends with an error after one name
}

func (b blobs) Stat(_ context.Context, name string) (storage.Info, error) {
	p, ok := b.all[name]
	if !ok {
		return storage.Info{}, fmt.Errorf("%s: %w", name, storage.ErrNotExist)
	}
	return storage.Info{Name: name, Size: int64(len(p))}, nil
}

func (b blobs) Get(_ context.Context, name string, off int64, p []byte) (int, error) {
	if from, ok := b.dark[name]; ok && off+int64(len(p)) > from {
		return 0, fmt.Errorf("%s: %w", name, storage.ErrUnavailable)
	}
	return bytes.NewReader(b.all[name]).ReadAt(p, off)
}

func (b blobs) List(_ context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(b.all)) {
			if strings.HasPrefix(name, prefix) && !yield(storage.Info{Name: name, Size: int64(len(b.all[name]))}, nil) {
				return
			}
			if strings.HasPrefix(name, prefix) && prefix == b.cut {
				yield(storage.Info{}, storage.ErrUnavailable)
				return
			}
		}
	}
}

// put adds a blob under its hash and returns its ID.
func (b blobs) put(folder string, p []byte) string {
	h := sha256.Sum256(p)
	id := hex.EncodeToString(h[:])
	name := folder + "/" + id
	if folder == "data" {
		name = "data/" + id[:2] + "/" + id
	}
	b.all[name] = p
	return id
}

func newBlobs() blobs {
	return blobs{all: map[string][]byte{"config": []byte("sealed")}, dark: map[string]int64{}}
}

func start(t *testing.T, b blobs, o Options) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(New(b, o))
	t.Cleanup(s.Close)
	return s
}

// ask makes a request and reads the answer; err is that of reading it.
func ask(t *testing.T, method, url string, head map[string]string, send []byte) (r *http.Response, p []byte, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(send))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range head {
		req.Header.Set(k, v)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if r, err = http.DefaultClient.Do(req); err != nil {
		return &http.Response{}, nil, err
	}
	defer r.Body.Close()
	p, err = io.ReadAll(r.Body)
	return r, p, err
}

func status(t *testing.T, want int, method, url string, head map[string]string, send []byte) []byte {
	t.Helper()
	r, p, err := ask(t, method, url, head, send)
	if err != nil || r.StatusCode != want {
		t.Errorf("%s %s %v: status %d, %v; want %d\n%s", method, url, head, r.StatusCode, err, want, p)
	}
	return p
}

// TestRanges compares every answer with that of the standard library's file server.
func TestRanges(t *testing.T) {
	b := newBlobs()
	rnd := rand.New(rand.NewPCG(1, 2))
	var served []string
	for _, size := range []int{0, 1, 1000, pieceSize, 2*pieceSize + 77} {
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		served = append(served, b.put("data", p))
	}
	ours := start(t, b, Options{})
	std := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/data/")
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.all["data/"+id[:2]+"/"+id]))
	}))
	defer std.Close()
	ranges := []string{"", "bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-5000000", "bytes=1-", "bytes=999-1000", "bytes=1000-",
		"bytes=1048575-1048576", "bytes=5-4000000000000", "bytes= 0-3"}
	for range 200 {
		ranges = append(ranges, fmt.Sprintf("bytes=%d-%d", rnd.IntN(1100), rnd.IntN(1100)), fmt.Sprintf("bytes=%d-", rnd.IntN(3*pieceSize)))
	}
	for _, id := range served[1:] { // net/http answers as if there were bytes
		status(t, http.StatusRequestedRangeNotSatisfiable, "GET", ours.URL+"/data/"+id, map[string]string{"Range": "bytes=-0"}, nil)
	}
	for _, id := range served {
		for _, rng := range ranges {
			for _, method := range []string{"GET", "HEAD"} {
				head := map[string]string{"Range": rng}
				a, p, err := ask(t, method, ours.URL+"/data/"+id, head, nil)
				z, q, zerr := ask(t, method, std.URL+"/data/"+id, head, nil)
				if z.Header.Get("Content-Range") == "bytes 0--1/0" {
					continue // net/http's answer to the last byte of an empty file makes no sense
				}
				if z.StatusCode == http.StatusRequestedRangeNotSatisfiable && a.StatusCode == http.StatusOK {
					continue // what is no range (5-3) may be ignored or refused (RFC 9110, section 14.2)
				}
				if err != nil || zerr != nil || a.StatusCode != z.StatusCode || a.Header.Get("Content-Range") != z.Header.Get("Content-Range") ||
					a.StatusCode < 300 && (a.ContentLength != z.ContentLength || !bytes.Equal(p, q)) {
					t.Fatalf("%s %q of %.8s: %d %q %d bytes %v; net/http: %d %q %d bytes %v", method, rng, id,
						a.StatusCode, a.Header.Get("Content-Range"), len(p), err, z.StatusCode, z.Header.Get("Content-Range"), len(q), zerr)
				}
			}
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"", "bytes=0-", "bytes=-3", "bytes=1-2", "bytes=-", "bytes=9223372036854775807-", "bytes=0-18446744073709551615", "bytes=1-2,3-4"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		off, n, partial, ok := parseRange(header, size)
		if ok && (off < 0 || n < 0 || off > size-n || !partial && n != size || partial && n == 0) {
			t.Errorf("%q of %d: %d+%d partial %v", header, size, off, n, partial)
		}
	})
}

func TestListings(t *testing.T) {
	b := newBlobs()
	want := map[string]int64{}
	for i := range 2500 {
		p := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1+i%50)
		want[b.put("data", p)] = int64(len(p))
	}
	b.all["data/ab/not-an-id"] = nil
	s := start(t, b, Options{})
	r, p, err := ask(t, "GET", s.URL+"/data/", map[string]string{"Accept": typeV2}, nil)
	var v2 []struct {
		Name string
		Size int64
	}
	if err != nil || r.Header.Get("Content-Type") != typeV2 || json.Unmarshal(p, &v2) != nil || len(v2) != len(want) {
		t.Fatalf("version 2: %v, %d names, %v", r.Header, len(v2), err)
	}
	for _, e := range v2 {
		if want[e.Name] != e.Size {
			t.Errorf("%s has %d bytes, not %d", e.Name, want[e.Name], e.Size)
		}
	}
	r, p, err = ask(t, "GET", s.URL+"/data/", nil, nil)
	var v1 []string
	if err != nil || r.Header.Get("Content-Type") != typeV1 || json.Unmarshal(p, &v1) != nil || len(v1) != len(want) {
		t.Errorf("version 1: %v, %d names, %v", r.Header, len(v1), err)
	}
	if p := status(t, 200, "GET", s.URL+"/snapshots/", map[string]string{"Accept": typeV2}, nil); strings.TrimSpace(string(p)) != "[]" {
		t.Errorf("an empty folder is %q; clients want an array", p)
	}
}

// TestNoHalfListing: a listing that cannot be finished must not look like one that is.
func TestNoHalfListing(t *testing.T) {
	b := newBlobs()
	b.put("index", []byte("one"))
	b.put("index", []byte("two"))
	b.cut = "index/"
	s := start(t, b, Options{})
	if r, p, err := ask(t, "GET", s.URL+"/index/", map[string]string{"Accept": typeV2}, nil); err == nil && r.StatusCode == 200 {
		t.Errorf("half a listing looks whole: %s", p)
	}
}

// TestNoHalfBlob: a blob that breaks off in the middle breaks the connection, and is refused from the start the next time;
// the ranges of it that can be read are served still.
func TestNoHalfBlob(t *testing.T) {
	b := newBlobs()
	id := b.put("data", make([]byte, 3*pieceSize))
	b.dark["data/"+id[:2]+"/"+id] = 2*pieceSize + 5
	var told []string
	s := start(t, b, Options{Failed: func(name string, _ error) { told = append(told, name) }})
	url := s.URL + "/data/" + id
	if r, p, err := ask(t, "GET", url, nil, nil); err == nil {
		t.Errorf("status %d and %d bytes look like the whole", r.StatusCode, len(p))
	}
	status(t, 403, "GET", url, nil, nil)
	if p := status(t, 206, "GET", url, map[string]string{"Range": "bytes=0-2097151"}, nil); len(p) != 2*pieceSize {
		t.Errorf("%d bytes of what can be read", len(p))
	}
	if len(told) != 2 || !strings.HasSuffix(told[0], id) {
		t.Errorf("told of %q", told)
	}
}

// TestNothingElse asks for all that is none of a client's business.
func TestNothingElse(t *testing.T) {
	b := newBlobs()
	for _, folder := range []string{"resume", "removed"} {
		id := b.put(folder, []byte(folder))
		s := start(t, b, Options{})
		for _, path := range []string{"/" + folder + "/", "/" + folder + "/" + id, "/data/../" + folder + "/" + id, "//" + folder + "/" + id,
			"/data/" + strings.ToUpper(id), "/data", "/data/" + id[:2] + "/" + id, "/keys/config", "/config/", "/index/..%2f" + folder + "/" + id} {
			status(t, 404, "GET", s.URL+path, nil, nil)
		}
	}
}

func TestNothingIsWritten(t *testing.T) {
	b := newBlobs()
	id := b.put("snapshots", []byte("one"))
	before := maps.Clone(b.all)
	s := start(t, b, Options{})
	for _, path := range []string{"/", "/?create=true", "/config", "/data/" + id, "/keys/" + id, "/snapshots/" + id, "/index/" + id, "/snapshots/"} {
		status(t, 403, "POST", s.URL+path, nil, []byte("one"))
		status(t, 403, "DELETE", s.URL+path, nil, nil)
		status(t, 405, "PUT", s.URL+path, nil, []byte("one"))
	}
	if !maps.EqualFunc(before, b.all, bytes.Equal) {
		t.Error("a client changed the repository")
	}
}

func TestLocks(t *testing.T) {
	s := start(t, newBlobs(), Options{})
	lock := func(p []byte) string {
		h := sha256.Sum256(p)
		return s.URL + "/locks/" + hex.EncodeToString(h[:])
	}
	a := []byte("a lock")
	status(t, 404, "GET", lock(a), nil, nil)
	status(t, 400, "POST", lock(a), nil, []byte("another"))
	status(t, 200, "POST", lock(a), nil, a)
	status(t, 403, "POST", lock(a), nil, a)
	if p := status(t, 200, "GET", lock(a), nil, nil); !bytes.Equal(p, a) {
		t.Errorf("it came back as %q", p)
	}
	if p := status(t, 200, "GET", s.URL+"/locks/", map[string]string{"Accept": typeV2}, nil); !strings.Contains(string(p), `"size":6`) {
		t.Errorf("listed: %s", p)
	}
	big := make([]byte, maxLock+1)
	status(t, 413, "POST", lock(big), nil, big)
	status(t, 200, "DELETE", lock(a), nil, nil)
	status(t, 404, "DELETE", lock(a), nil, nil)
	for i := range maxLocks {
		p := []byte{byte(i)}
		status(t, 200, "POST", lock(p), nil, p)
	}
	status(t, 507, "POST", lock(a), nil, a)
}

func TestWhoMayRead(t *testing.T) {
	b := newBlobs()
	s := start(t, b, Options{User: "ann", Password: "a long password"})
	for user, want := range map[string]int{"ann:a long password": 200, "ann:a long passworD": 401, "ann:": 401, "bob:a long password": 401, "ann:a long password\x00": 401} {
		for _, path := range []string{"/config", "/"} {
			status(t, want, "GET", s.URL+path, map[string]string{"Authorization": basic(user)}, nil)
		}
	}
	status(t, 401, "GET", s.URL+"/config", nil, nil)
	status(t, 401, "POST", s.URL+"/locks/"+strings.Repeat("0", 64), nil, nil)
	local := start(t, b, Options{LocalOnly: true})
	for host, want := range map[string]int{"localhost:8000": 200, "127.0.0.1": 200, "[::1]:9": 200, "evil.example": 403, "192.168.1.2:8000": 403, "127.0.0.1.evil.example": 403} {
		status(t, want, "GET", local.URL+"/config", map[string]string{"Host": host}, nil)
	}
}

func basic(userPassword string) string {
	r := http.Request{Header: http.Header{}}
	user, password, _ := strings.Cut(userPassword, ":")
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// TestRefresh: whoever opens the repository gets it as it is now.
func TestRefresh(t *testing.T) {
	n := 0
	s := start(t, newBlobs(), Options{Refresh: func(context.Context) { n++ }})
	status(t, 200, "HEAD", s.URL+"/config", nil, nil)
	status(t, 200, "GET", s.URL+"/keys/", nil, nil)
	if p := status(t, 200, "GET", s.URL+"/config", nil, nil); string(p) != "sealed" || n != 2 {
		t.Errorf("config %q after %d refreshes", p, n)
	}
}
