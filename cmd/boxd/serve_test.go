//go:build !rescue

package main

import (
	"bytes"
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// serving runs vault serve in this process until the test ends; stop interrupts it, as Ctrl-C does, and returns its exit
// code and what it printed as errors.
func serving(t *testing.T, args ...string) (at serveJSON, stop func() (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &lines{came: make(chan struct{})}, &lines{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"vault", "serve", "--json"}, args...), stdio{strings.NewReader(""), out, errs})
	}()
	select {
	case <-out.came:
	case c := <-code:
		cancel()
		t.Fatalf("exit %d: %s%s", c, out, errs)
	}
	ended := sync.OnceValues(func() (int, string) { cancel(); return <-code, errs.String() })
	t.Cleanup(func() { ended() })
	return decode[serveJSON](t, out.String()), ended
}

// lines are what a command printed so far; came is closed by its first write.
type lines struct {
	mu   sync.Mutex // guards b
	b    bytes.Buffer
	came chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() == 0 && l.came != nil {
		defer close(l.came)
	}
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestServe lets stock restic work on a served vault, one drive missing, a shard of another damaged, and a backup coming in
// meanwhile.
func TestServe(t *testing.T) {
	s := newSite(t, 3, 1)
	phone := filepath.Join(s.dir, "phone")
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	want := contents(t, phone)
	if n, err := rot(s.drives[0], "shards", 3); err != nil || n == 0 {
		t.Fatalf("%d shards rotten, %v", n, err)
	}
	at, stop := serving(t, "--drive", s.drives[0], "--drive", s.drives[1], "--drive", s.drives[2], "--listen", "127.0.0.1:0")
	restic := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), findRestic(t), append([]string{"-r", at.URL, "--password-file", s.key, "--no-cache", "--retry-lock", "0s"}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	fine := func(args ...string) string {
		t.Helper()
		out, err := restic(args...)
		if err != nil {
			t.Fatalf("restic %s: %v\n%s", args, err, out)
		}
		return out
	}
	if out := fine("check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Error(out)
	}
	fine("restore", "latest", "--target", filepath.Join(s.dir, "restored"))
	same(t, want, contents(t, filepath.Join(s.dir, "restored")))
	writeFile(t, filepath.Join(phone, "later.txt"), []byte("later"), time.Unix(1_700_000_000, 0))
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	if out := fine("ls", "latest"); !strings.Contains(out, "/later.txt") {
		t.Errorf("a backup made meanwhile is not seen:\n%s", out)
	}
	// Stock restic 0.18.1 hangs in backup once a server has refused it a pack, so that is not tried here.
	for _, writes := range [][]string{{"forget", "--keep-last", "1", "--prune"}, {"tag", "--add", "x", "latest"}} {
		if out, _ := restic(writes...); !strings.Contains(out, "403 Forbidden") {
			t.Errorf("restic %s:\n%s", writes, out)
		}
	}
	if code, errs := stop(); code != exitOK || errs != "" {
		t.Errorf("interrupted: exit %d, %s", code, errs)
	}
	must(t, exitOK, s.with("vault", "repair")...)

	at, _ = serving(t, "--drive", s.drives[0], "--drive", s.drives[2], "--listen", "127.0.0.1:0")
	fine("check", "--read-data")
	at, stop = serving(t, "--drive", s.drives[2], "--listen", "127.0.0.1:0")
	if out := fine("snapshots"); !strings.Contains(out, "2 snapshots") {
		t.Error(out)
	}
	if out, err := restic("restore", "latest", "--target", filepath.Join(s.dir, "partly")); err == nil {
		t.Errorf("restored from one drive of three: %s", out)
	}
	if _, errs := stop(); !strings.Contains(errs, "not all of it can be read") || !strings.Contains(errs, "cannot be read: array: ") {
		t.Errorf("with too few drives it says %q", errs)
	}
}

// TestServeAsksOthersForAPassword: who can come from another computer must know the password, and whoever has chosen a bad
// one is told.
func TestServeAsksOthersForAPassword(t *testing.T) {
	s := newSite(t, 2, 1)
	at, _ := serving(t, "--drive", s.drives[0], "--listen", "0.0.0.0:0")
	if len(at.Password) < 20 || at.User == "" {
		t.Errorf("open to all: %+v", at)
	}
	url := strings.TrimPrefix(at.URL, "rest:") + "config"
	get := func(user, password string) int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if a, b := get("", ""), get(at.User, at.Password); a != 401 || b != 200 {
		t.Errorf("without the password: %d; with it: %d", a, b)
	}
	auth := filepath.Join(s.dir, "auth")
	for line, code := range map[string]int{"ann:short\n": exitFailed, "no-colon-but-long-enough\n": exitFailed} {
		writeFile(t, auth, []byte(line), time.Now())
		if _, errs := must(t, code, "vault", "serve", "--drive", s.drives[0], "--auth-file", auth); !strings.Contains(errs, "USER:PASSWORD") || strings.Contains(errs, "short") {
			t.Errorf("%q: %s", line, errs)
		}
	}
	writeFile(t, auth, []byte("ann:correct horse battery\n"), time.Now())
	at, _ = serving(t, "--drive", s.drives[0], "--auth-file", auth, "--listen", "127.0.0.1:0")
	url = strings.TrimPrefix(at.URL, "rest:") + "config"
	if a, b := get("ann", "correct horse battery"), get("", ""); a != 200 || b != 401 {
		t.Errorf("with the password of the file: %d, without: %d", a, b)
	}
	taken := strings.TrimSuffix(strings.TrimPrefix(at.URL, "rest:http://"), "/")
	if _, errs := must(t, exitFailed, "vault", "serve", "--drive", s.drives[0], "--listen", taken); !strings.Contains(errs, "--listen") {
		t.Errorf("a port that is taken: %s", errs)
	}
}
