//go:build !rescue

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage/vault"
)

// stockSeeds is how many lives of a vault stock restic looks into; make soak tries more.
var stockSeeds = flag.Int("stock-seeds", 1, "lives of a vault that stock restic checks after each step")

// TestStockResticFindsNothing leads vaults on folders through random lives: backups, with a drive missing too, and some that
// are cut off, prunes, keys, repairs, drives that come and go, the box's state, imports. After each step stock restic reads all
// data of an export, and of each complete drive as it is, and finds nothing. Then it writes into an export itself, and boxd
// reads what that has become.
func TestStockResticFindsNothing(t *testing.T) {
	for seed := range *stockSeeds {
		l := &stockLife{t: t, rng: rand.New(rand.NewPCG(uint64(*fromSeed+seed), 14))}
		l.site = newSite(t, 2+l.rng.IntN(2), 1)
		l.phone, l.state = filepath.Join(l.dir, "phone"), filepath.Join(l.dir, "state")
		for _, dir := range []string{l.phone, l.state} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		l.backup()
		steps := []func(){l.backup, l.backup, l.degraded, l.interrupted, l.prune, l.prune, l.keys, l.repair, l.drives, l.boxState, l.imported}
		l.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		for _, step := range steps {
			step()
			l.judge()
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", *fromSeed+seed, strings.Join(l.did, "\n"))
			}
		}
		l.backup()
		to := filepath.Join(t.TempDir(), "restored")
		must(t, exitOK, l.with("restore", "latest:folder:"+l.phone, "--to", to)...)
		same(t, contents(t, l.phone), contents(t, to))
		l.stockWrites(l.judge())
	}
}

// stockLife is one vault's life.
type stockLife struct {
	site
	t            *testing.T
	rng          *rand.Rand
	phone, state string
	clock        int
	did          []string
}

// run runs a command that may end with something incomplete.
func (l *stockLife) run(args ...string) {
	l.t.Helper()
	code, out, errs := boxd(l.t, args...)
	l.did = append(l.did, fmt.Sprintf("exit %d: %.100s", code, strings.Join(args, " ")))
	if code != exitOK && code != exitIncomplete {
		l.t.Errorf("boxd %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
}

// change changes the phone.
func (l *stockLife) change() {
	for range 1 + l.rng.IntN(5) {
		l.clock++
		p := filepath.Join(l.phone, fmt.Sprint("f", l.rng.IntN(9)))
		data := noise(l.clock, l.rng.IntN(300_000))
		if l.rng.IntN(2) == 0 {
			data = bytes.Repeat([]byte(fmt.Sprintln("line", l.clock)), l.rng.IntN(9000))
		}
		writeFile(l.t, p, data, time.Unix(1_790_000_000+int64(l.clock), 0))
	}
}

func (l *stockLife) backup() {
	l.change()
	l.run(l.with("backup", "folder:"+l.phone)...)
}

func (l *stockLife) degraded() {
	l.change()
	l.run(l.without(l.rng.IntN(len(l.site.drives)), "backup", "folder:"+l.phone)...)
	l.repair()
}

// interrupted begins a backup and does not commit it.
func (l *stockLife) interrupted() {
	r := l.rack(l.t, writing)
	tree, err := r.vault.Begin(l.t.Context(), vault.Phone{ID: "mtp:1", Name: "one"})
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range 3 {
		err = errors.Join(err, tree.Create(fmt.Sprint(i), 100_000, time.Unix(int64(i), 0), bytes.NewReader(noise(5000+i, 100_000))))
	}
	if err = errors.Join(err, tree.Close(), r.close()); err != nil {
		l.t.Fatal(err)
	}
	l.did = append(l.did, "a backup that was not committed")
}

func (l *stockLife) prune() {
	l.run(l.with("vault", "prune", "--keep-last", fmt.Sprint(1+l.rng.IntN(3)), "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0", "--keep-yearly", "0")...)
}

func (l *stockLife) keys() {
	l.clock++
	file := filepath.Join(l.dir, fmt.Sprint("more", l.clock))
	l.run(l.with("key", "add", "--new-key-file", file)...)
	if l.rng.IntN(2) == 0 {
		l.run(l.with("key", "remove", l.keyOf(l.t, file))...)
	} else {
		l.key = file
	}
}

func (l *stockLife) repair() { l.run(l.with("vault", "repair")...) }

// drives takes a drive in, or gives one up.
func (l *stockLife) drives() {
	if len(l.site.drives) > 2 && l.rng.IntN(2) == 0 {
		gone := l.site.drives[0]
		l.run(l.with("drive", "remove", gone)...)
		l.site.drives = l.site.drives[1:]
		return
	}
	l.clock++
	dir := filepath.Join(l.dir, fmt.Sprint("added", l.clock))
	l.run(l.with("drive", "add", dir)...)
	l.site.drives = append(l.site.drives, dir)
}

func (l *stockLife) boxState() {
	l.clock++
	writeFile(l.t, filepath.Join(l.state, enrolledName), []byte(fmt.Sprintf("[{\"id\":\"mtp:%d\"}]\n", l.clock)), time.Now())
	l.change()
	l.run(l.with("backup", "folder:"+l.phone, "--state", l.state)...)
}

// imported takes a repository of stock restic in.
func (l *stockLife) imported() {
	l.clock++
	repo := filepath.Join(l.dir, fmt.Sprint("stock", l.clock))
	restic := stockRepository(l.t, repo, cherry)
	restic("init")
	restic("backup", l.phone, "--host", "laptop", "--compression", []string{"off", "auto", "max"}[l.rng.IntN(3)])
	l.run(l.with("vault", "import", repo, "--password-file", repo+".password")...)
}

// judge has stock restic check everything, and returns the repository that was exported for it.
func (l *stockLife) judge() (repo string) {
	l.t.Helper()
	repo = filepath.Join(l.t.TempDir(), "repo")
	must(l.t, exitOK, l.with("vault", "export", "--format", "restic", "--to", repo)...)
	repos := []string{repo}
	r := l.rack(l.t, reading)
	h, err := r.array.Health(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, d := range h.Drives {
		if dir := r.dirOf(d.ID); dir != "" && d.Complete {
			repos = append(repos, filepath.Join(dir, "vault"))
		}
	}
	if err := r.close(); err != nil {
		l.t.Fatal(err)
	}
	if len(h.Drives) == 2 && len(repos) < 3 && h.Protected() {
		l.t.Errorf("two drives, and not both complete: %v", repos)
	}
	for _, dir := range repos {
		sh(l.t, findRestic(l.t), "-r", dir, "--password-file", l.key, "--no-cache", "--no-lock", "check", "--read-data")
	}
	return repo
}

// stockWrites has stock restic tag, rewrite, back up, forget, prune and add a key in a repository that was exported; boxd opens
// what that makes, by the new key, and reads each snapshot of a phone as it was.
func (l *stockLife) stockWrites(repo string) {
	want, _ := l.told(l.t)
	pass := filepath.Join(l.dir, "stock-pass")
	writeFile(l.t, pass, []byte(cherry+"\n"), time.Now())
	newest := want[slices.IndexFunc(want, func(c corpusSnapshot) bool { return c.Phone == "folder:"+l.phone })]
	for _, args := range [][]string{
		{"tag", "--add", "holiday"}, {"rewrite", "--exclude", "/no-such-file", "--forget"}, {"backup", "--host", "laptop", l.phone},
		{"forget", "--keep-last", "1", "--group-by", "host,paths,tags", "--prune"}, {"key", "add", "--new-password-file", pass}, {"check", "--read-data"},
	} {
		sh(l.t, findRestic(l.t), append([]string{"-r", repo, "--password-file", l.key, "--no-cache"}, args...)...)
	}
	v, err := vault.Open(l.t.Context(), repository(l.t, repo), cherry, vault.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	snap, err := v.Find(l.t.Context(), "latest:folder:"+l.phone)
	if err != nil {
		l.t.Fatal(err)
	}
	fsys, err := v.FS(l.t.Context(), snap)
	if err != nil {
		l.t.Fatal(err)
	}
	if lines, err := linesOf(fsys, true); err != nil || sumOf(lines) != newest.Sum || snap.Generation != newest.Generation || !slices.Contains(snap.Tags, "holiday") {
		l.t.Errorf("%+v holds (%v)\n%s\nwant\n%s", snap, err, strings.Join(lines, "\n"), strings.Join(newest.Lines, "\n"))
	}
	if r, err := v.Verify(l.t.Context(), nil); err != nil || !r.OK() {
		l.t.Errorf("%+v %v", r, err)
	}
	if err := v.Close(); err != nil {
		l.t.Error(err)
	}
}
