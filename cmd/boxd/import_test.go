//go:build !rescue

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stockRepository is a repository that stock restic makes; it runs restic on it.
func stockRepository(t *testing.T, dir, password string) func(args ...string) string {
	t.Helper()
	file := filepath.Join(filepath.Dir(dir), filepath.Base(dir)+".password")
	writeFile(t, file, []byte(password+"\n"), time.Now())
	return func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), findRestic(t), append([]string{"-r", dir, "--password-file", file, "--no-cache"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("restic %s: %v\n%s", args, err, out)
		}
		return string(out)
	}
}

// linksOf is a folder with links, modes and times, as find prints it.
func linksOf(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("find", ".", "-mindepth", "1", "-printf", `%p %y %l %m %n %T@ %s\n`)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.Sorted(strings.SplitSeq(string(out), "\n")), "\n")
}

// TestImport takes a stock repository in: a part of it, then the rest, nothing twice. A snapshot that is not whole stays
// out until it is, and stock restic finds in an export all that it had put in, links, modes and all.
func TestImport(t *testing.T) {
	s := newSite(t, 2, 1)
	home, repo := filepath.Join(s.dir, "home"), filepath.Join(s.dir, "repo")
	makePhone(t, home)
	for _, err := range []error{os.Link(filepath.Join(home, "case"), filepath.Join(home, "hard")), os.Symlink("plain.txt", filepath.Join(home, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	restic := stockRepository(t, repo, "not the words of the box")
	restic("init")
	restic("backup", home, "--host", "laptop", "--tag", "holiday", "--time", "2020-02-03 04:05:06")
	writeFile(t, filepath.Join(home, "DCIM", "new.mp4"), []byte(strings.Repeat("new", 2_000_000)), time.Unix(1_700_000_000, 0))
	restic("backup", filepath.Join(home, "DCIM"), "--host", "desk", "--compression", "off")
	imp := func(code int, more ...string) importJSON {
		t.Helper()
		out, _ := must(t, code, s.with(append([]string{"vault", "import", repo, "--password-file", repo + ".password", "--json"}, more...)...)...)
		return decode[importJSON](t, out)
	}
	if r := imp(exitOK, "--dry-run"); len(r.Imported) != 2 || r.Bytes < 9<<20 {
		t.Errorf("dry run: %d snapshots, %d bytes", len(r.Imported), r.Bytes)
	}
	if list := s.snapshots(t); len(list) != 0 {
		t.Errorf("a dry run imported %+v", list)
	}
	hidden := hideBiggestPack(t, repo)
	if r := imp(exitIncomplete); len(r.Failed) == 0 || len(r.Failed)+len(r.Imported) != 2 {
		t.Errorf("with a pack missing: %+v", r)
	}
	hidden()
	if r := imp(exitOK, "--host", "desk"); len(r.Imported)+r.There != 1 || len(r.Failed) > 0 {
		t.Errorf("one host: %+v", r)
	}
	if r := imp(exitOK); len(r.Failed) > 0 || len(r.Imported)+r.There != 2 {
		t.Errorf("all: %+v", r)
	}
	if r := imp(exitOK); r.There != 2 || len(r.Imported) > 0 || r.Bytes > 0 {
		t.Errorf("again: %+v", r)
	}
	list := s.snapshots(t)
	if len(list) != 2 || list[0].Host != "desk" || list[1].Host != "laptop" || list[1].Time.UTC().Year() != 2020 {
		t.Errorf("imported: %+v", list)
	}
	must(t, exitOK, s.with("vault", "verify")...)
	if out, _ := must(t, exitOK, s.with("ls", "latest:restic:laptop", home)...); !strings.Contains(out, "plain.txt") {
		t.Errorf("latest:restic:laptop:\n%s", out)
	}

	ours := stockRepository(t, filepath.Join(s.dir, "export"), strings.TrimSpace(readFile(t, s.key)))
	must(t, exitOK, s.with("vault", "export", "--format", "restic", "--to", filepath.Join(s.dir, "export"))...)
	ours("check", "--read-data")
	want, got := filepath.Join(s.dir, "want"), filepath.Join(s.dir, "got")
	restic("restore", "latest", "--host", "laptop", "--target", want)
	ours("restore", "latest", "--host", "laptop", "--target", got)
	same(t, contents(t, want), contents(t, got))
	if a, b := linksOf(t, want), linksOf(t, got); a != b {
		t.Errorf("restored\n%.2000s\nwant\n%.2000s", b, a)
	}
	if out := ours("snapshots", "--host", "laptop"); !strings.Contains(out, "holiday") || !strings.Contains(out, "2020-02-03") {
		t.Error(out)
	}
}

func (s site) snapshots(t *testing.T) []snapshotJSON {
	t.Helper()
	out, _ := must(t, exitOK, s.with("snapshots", "--json")...)
	return decode[[]snapshotJSON](t, out)
}

// hideBiggestPack takes a pack out of a repository; call what it returns to put it back.
func hideBiggestPack(t *testing.T, repo string) func() {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(repo, "data", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	biggest, most := "", int64(0)
	for _, p := range packs {
		if info, err := os.Stat(p); err == nil && info.Size() > most {
			biggest, most = p, info.Size()
		}
	}
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	away := filepath.Join(repo, "hidden")
	move(biggest, away)
	return func() { move(away, biggest) }
}

func TestImportRefuses(t *testing.T) {
	s := newSite(t, 2, 1)
	repo := filepath.Join(s.dir, "repo")
	restic := stockRepository(t, repo, "a password")
	restic("init")
	wrong, empty := filepath.Join(s.dir, "wrong"), t.TempDir()
	writeFile(t, wrong, []byte("another\n"), time.Now())
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{repo, "--password-file", wrong}, exitFailed, "opens no key of the repository"},
		{[]string{repo}, exitUsage, "--password-file"},
		{[]string{}, exitUsage, "which repository?"},
		{[]string{empty, "--password-file", wrong}, exitFailed, "holds config, data, index"},
		{[]string{filepath.Join(empty, "no"), "--password-file", wrong}, exitFailed, "no such file"},
		{[]string{wrong, "--password-file", wrong}, exitFailed, "it is a file"},
		{[]string{s.drives[0], "--password-file", s.key}, exitFailed, "is a drive of a box"},
		{[]string{filepath.Join(s.drives[0], "vault"), "--password-file", s.key}, exitFailed, "this very vault"},
		{[]string{repo, "--password-file", repo + ".password", "--snapshot", "12ab"}, exitFailed, "--snapshot 12ab means none"},
		{[]string{repo, "--password-file", repo + ".password", "--host", "nobody's"}, exitFailed, "no snapshot of nobody's"},
	} {
		_, errs := must(t, c.code, s.with(append([]string{"vault", "import"}, c.args...)...)...)
		if !strings.Contains(errs, c.says) {
			t.Errorf("import %s says %q, want %q", c.args, errs, c.says)
		}
	}
	index := filepath.Join(repo, "index", strings.Repeat("0", 64))
	writeFile(t, index, []byte("what is this?"), time.Now())
	if _, errs := must(t, exitFailed, s.with("vault", "import", repo, "--password-file", repo+".password")...); !strings.Contains(errs, "restic check") || strings.Contains(errs, "boxd vault repair") {
		t.Errorf("a damaged repository: %s", errs)
	}
}
