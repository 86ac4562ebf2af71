//go:build !rescue

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fails runs a command line that must fail with one clear line that holds each of the words.
func fails(t *testing.T, code int, words []string, args ...string) {
	t.Helper()
	_, errs := must(t, code, args...)
	for _, w := range words {
		if !strings.Contains(errs, w) {
			t.Errorf("boxd %s: no %q in its error:\n%s", strings.Join(args[:2], " "), w, errs)
		}
	}
	if first, _, _ := strings.Cut(errs, "\n"); len(first) > 300 || strings.Count(errs, "\n") > 3 {
		t.Errorf("boxd %s: not a short error:\n%s", strings.Join(args[:2], " "), errs)
	}
}

func TestErrorsAreClearAndHarmNothing(t *testing.T) {
	s, other, phone := newSite(t, 3, 1), newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, []byte("x"), time.Now())
	empty := t.TempDir()
	bad := filepath.Join(t.TempDir(), "words")
	writeFile(t, bad, []byte(strings.Repeat("zoo ", 24)), time.Now())

	d := s.drives
	for name, c := range map[string]struct {
		code  int
		words []string
		args  []string
	}{
		"wrong key":       {1, []string{"do not open this vault"}, []string{"snapshots", "--key-file", other.key, "--drive", d[0], "--drive", d[1]}},
		"foreign drive":   {1, []string{"another vault", other.drives[0]}, []string{"snapshots", "--key-file", s.key, "--drive", d[0], "--drive", other.drives[0]}},
		"a file":          {1, []string{file}, []string{"snapshots", "--key-file", s.key, "--drive", file}},
		"no identity":     {1, []string{empty}, []string{"snapshots", "--key-file", s.key, "--drive", empty}},
		"no such drive":   {1, []string{"/nowhere"}, []string{"snapshots", "--key-file", s.key, "--drive", "/nowhere"}},
		"no key":          {2, []string{"key"}, []string{"snapshots", "--drive", d[0]}},
		"no key file":     {1, []string{"/nokey"}, []string{"snapshots", "--drive", d[0], "--key-file", "/nokey"}},
		"bad words":       {1, []string{"checksum"}, []string{"snapshots", "--drive", d[0], "--words-file", bad}},
		"no drive":        {2, []string{"--drive"}, []string{"snapshots", "--key-file", s.key}},
		"one of three":    {3, []string{"not restored"}, []string{"restore", "latest", "--to", filepath.Join(empty, "r"), "--key-file", s.key, "--drive", d[0]}},
		"no snapshot":     {1, []string{"deadbeef"}, s.with("ls", "deadbeef")},
		"existing key":    {1, []string{"not overwritten", s.key}, []string{"vault", "create", "--key-file", s.key, "--drive", filepath.Join(empty, "d")}},
		"existing drive":  {1, []string{d[0]}, []string{"vault", "create", "--key-file", filepath.Join(empty, "k"), "--drive", d[0]}},
		"no such phone":   {1, []string{"/nophone"}, s.with("backup", "folder:/nophone")},
		"unknown phone":   {2, []string{"phone"}, s.with("backup", "tape:3")},
		"not yet":         {2, []string{"not in this build yet"}, []string{"cloud", "push"}},
		"unknown":         {2, []string{"frobnicate"}, []string{"frobnicate"}},
		"unknown flag":    {2, []string{"--frob"}, s.with("snapshots", "--frob")},
		"restore on full": {1, []string{"holds something"}, s.with("restore", "latest", "--to", phone)},
	} {
		t.Run(name, func(t *testing.T) { fails(t, c.code, c.words, c.args...) })
	}
	to := filepath.Join(t.TempDir(), "restored")
	must(t, exitOK, s.with("restore", "latest", "--to", to)...)
	same(t, contents(t, phone), contents(t, to))
	must(t, exitOK, s.with("vault", "verify")...)
}

func TestFailureAsJSON(t *testing.T) {
	out, _ := must(t, exitFailed, "snapshots", "--json", "--drive", "/nowhere", "--key-file", "/nokey")
	res := decode[map[string]map[string]string](t, out)
	if e := res["error"]; e["code"] == "" || e["message"] == "" || e["hint"] == "" {
		t.Errorf("%v", res)
	}
}

func TestDamageIsFoundAndMended(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	must(t, exitOK, s.with("vault", "status")...)
	must(t, exitOK, s.with("vault", "scrub")...)
	hit, err := rot(s.drives[1], "shards", 2)
	if err != nil || hit == 0 {
		t.Fatalf("rot: %d, %v", hit, err)
	}
	must(t, exitIncomplete, s.with("vault", "scrub")...)
	must(t, exitIncomplete, s.with("vault", "verify")...)
	to := filepath.Join(t.TempDir(), "restored")
	must(t, exitOK, s.with("restore", "latest", "--to", to)...)
	same(t, contents(t, phone), contents(t, to))
	must(t, exitOK, s.with("vault", "repair")...)
	must(t, exitOK, s.with("vault", "verify")...)
}

func TestLostDriveIsReplaced(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	if err := os.RemoveAll(s.drives[2]); err != nil {
		t.Fatal(err)
	}
	must(t, exitIncomplete, s.without(2, "vault", "status")...)
	writeFile(t, filepath.Join(phone, "new"), []byte("n"), time.Unix(1, 0))
	must(t, exitIncomplete, s.without(2, "backup", "folder:"+phone)...)
	fresh := filepath.Join(s.dir, "fresh")
	must(t, exitOK, s.without(2, "drive", "replace", "drive2", fresh)...)
	s.drives[2] = fresh
	must(t, exitOK, s.with("vault", "verify")...)
	for missing := range 3 {
		to := filepath.Join(t.TempDir(), "restored")
		must(t, exitOK, s.without(missing, "restore", "latest", "--to", to)...)
		same(t, contents(t, phone), contents(t, to))
	}
}

func TestTooManyDrivesLostIsToldByName(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	code, out, errs := boxd(t, "vault", "verify", "--key-file", s.key, "--drive", s.drives[0])
	if code != exitFailed || !strings.Contains(out+errs, "data/") {
		t.Errorf("exit %d; the blobs are not named:\n%s%s", code, out, errs)
	}
	must(t, exitOK, s.with("vault", "verify")...) // the drives are back, nothing was lost
}

// TestFileThatCannotBeReadKeepsItsFormerVersion: root may read anything, so a link in the place of a file stands in for
// one that cannot be read. (Files that end early or change while they are read: usbhost/folder and usbhost/mtp.)
func TestFileThatCannotBeReadKeepsItsFormerVersion(t *testing.T) {
	s, phone := newSite(t, 2, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	before, _ := must(t, exitOK, s.with("cat", "latest", "case")...)
	p := filepath.Join(phone, "case")
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", p); err != nil {
		t.Fatal(err)
	}
	out, _ := must(t, exitIncomplete, s.with("backup", "folder:"+phone, "--json")...)
	res := decode[backupResult](t, out)
	if res.Complete || len(res.Problems) != 1 || res.Problems[0].Name != "case" {
		t.Errorf("%+v", res)
	}
	after, _ := must(t, exitOK, s.with("cat", "latest", "case")...)
	if len(before) == 0 || before != after {
		t.Errorf("the former version had %d bytes, now %d", len(before), len(after))
	}
}

// TestKillAtAnyMoment kills boxd with SIGKILL at growing delays of a backup: the last snapshot must restore, the next
// backup succeed and read nothing again that was wholly stored.
func TestKillAtAnyMoment(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	makePhone(t, phone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	first := contents(t, phone)
	if err := os.Mkdir(filepath.Join(phone, "round"), 0o755); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for round := range 12 {
		for i := range 40 {
			b := make([]byte, 100_000)
			for j := range b {
				b[j] = byte((round*41+i*7+j)*j>>5 + j*j>>9)
			}
			writeFile(t, filepath.Join(phone, "round", string(rune('a'+round))+strings.Repeat("x", i)), b, time.Unix(int64(1_650_000_000+i), 0))
		}
		if killBackup(t, s, phone, time.Duration(round)*23*time.Millisecond) {
			killed++
		}
		list := decode[[]snapshotJSON](t, func() string { out, _ := must(t, exitOK, s.with("snapshots", "--json")...); return out }())
		oldest := list[len(list)-1].ID
		to := filepath.Join(t.TempDir(), "restored")
		must(t, exitOK, s.with("restore", oldest, "--to", to)...)
		same(t, first, contents(t, to))
	}
	if killed == 0 {
		t.Error("every backup ended before it was killed: the test proves nothing")
	}
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	must(t, exitOK, s.with("vault", "verify")...)
	to := filepath.Join(t.TempDir(), "restored")
	must(t, exitOK, s.with("restore", "latest", "--to", to)...)
	same(t, contents(t, phone), contents(t, to))
	if entries, err := os.ReadDir(filepath.Join(s.drives[0], ".phone-backup-box", "pending")); err != nil && !os.IsNotExist(err) || len(entries) > 0 {
		t.Errorf("left-overs of killed backups: %v, %v", entries, err)
	}
}

// killBackup starts a backup as its own process and kills it after the delay; it reports whether the backup was still
// running.
func killBackup(t *testing.T, s site, phone string, delay time.Duration) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{childMark}, s.with("backup", "folder:"+phone)...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() }) // an error means that it has ended
	for lines := bufio.NewScanner(out); lines.Scan(); {
	}
	err = cmd.Wait()
	timer.Stop()
	return err != nil
}
