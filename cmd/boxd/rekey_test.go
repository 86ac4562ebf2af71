//go:build !rescue

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// snapshotFacts are the snapshots of a site as they are listed, but for their IDs.
func (s site) snapshotFacts(t *testing.T) string {
	t.Helper()
	out, _ := must(t, exitOK, s.with("snapshots", "--all", "--json")...)
	list := decode[[]snapshotJSON](t, out)
	for i := range list {
		list[i].ID = ""
	}
	return fmt.Sprintf("%+v", list)
}

// blobNames are the names of all files on the drives that are named after their content.
func (s site) blobNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	driveFiles(t, s, func(path string, _ []byte) {
		if base := filepath.Base(path); len(base) >= 64 {
			names[base[:64]] = true
		}
	})
	return names
}

// rekey runs vault rekey, which is to exit with code, and returns the site with its new key.
func (s site) rekey(t *testing.T, code int, more ...string) (site, rekeyResult) {
	t.Helper()
	out, _ := must(t, code, append(s.with("vault", "rekey", "--json"), more...)...)
	r := s
	r.key = s.key + ".new"
	return r, decode[rekeyResult](t, out)
}

func TestRekey(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 1) // two drives: each is complete
	state, phone, card := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "phone"), filepath.Join(s.dir, "card")
	for _, dir := range []string{state, card} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	makePhone(t, phone)
	writeFile(t, filepath.Join(card, "a"), []byte("a"), time.Unix(1, 0))
	writeFile(t, filepath.Join(state, enrolledName), []byte("[1]"), time.Now())
	must(t, exitOK, s.with("backup", "folder:"+phone, "--state", state)...)
	must(t, exitOK, s.with("unlock", "--state", state)...) // the key is on the card
	must(t, exitOK, s.with("backup", "folder:"+card, "--state", state)...)
	abandon(t, s, "folder:"+phone)
	pass := s.addPassphrase(t)
	old, facts, blobs := readFile(t, s.key), s.snapshotFacts(t), s.blobNames(t)
	if len(blobs) < 8 {
		t.Fatalf("only %d blobs", len(blobs))
	}

	r, res := s.rekey(t, exitOK, "--state", state)
	if readFile(t, r.key) != res.Words+"\n" || res.KeyFile != r.key || readFile(t, s.key) != old || res.Words+"\n" == old {
		t.Errorf("key files: %+v", res)
	}
	if info, err := os.Stat(r.key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new key file: %v %v", info.Mode(), err)
	}
	if note := readFile(t, s.key+".opens-nothing.txt"); !strings.Contains(note, "opens nothing") || strings.Contains(note, strings.Fields(old)[0]+" ") {
		t.Errorf("the note says %q", note)
	}
	if res.Snapshots != 2 || res.OtherKeys != 1 || len(res.Drives) != 2 || len(res.Left)+len(res.LeftOut) > 0 {
		t.Errorf("%+v", res)
	}
	for _, key := range []string{s.key, pass} {
		must(t, exitFailed, append([]string{"key", "check", "--key-file", key}, s.flags(-1)[2:]...)...)
	}
	if got := r.snapshotFacts(t); got != facts {
		t.Errorf("snapshots were\n%s\nand are\n%s", facts, got)
	}
	for name := range r.blobNames(t) {
		if blobs[name] {
			t.Errorf("%s is there still", name)
		}
	}
	must(t, exitOK, r.with("vault", "verify")...)
	for ref, dir := range map[string]string{"latest:folder:" + phone: phone, "latest:folder:" + card: card} {
		to := filepath.Join(t.TempDir(), "to")
		must(t, exitOK, r.with("restore", ref, "--to", to)...)
		same(t, contents(t, dir), contents(t, to))
	}
	restic := findRestic(t)
	for _, d := range s.drives {
		sh(t, restic, "-r", filepath.Join(d, "vault"), "--password-file", r.key, "--no-cache", "check", "--read-data")
	}
	if wordsSafe(t, r) {
		t.Error("the new words are called safe")
	}
	// The box goes on: its state belongs to the new vault, and its card has the new key.
	if got := readFile(t, filepath.Join(state, cardKeyName)); got != res.Words+"\n" {
		t.Error("the card has another key")
	}
	if got := readFile(t, filepath.Join(state, formerKeyName+".txt")); got != old {
		t.Error("the old key was thrown away")
	}
	writeFile(t, filepath.Join(card, "b"), []byte("b"), time.Unix(1, 0))
	out, _ := must(t, exitOK, r.with("backup", "folder:"+card, "--state", state, "--json")...)
	if b := decode[backupResult](t, out); b.Kept != 1 || b.Stored != 1 || b.Snapshot.Generation != 4 {
		t.Errorf("the next backup: %+v", b)
	}
	// Again there is nothing to do; and no key file is overwritten.
	text, _ := must(t, exitOK, s.with("vault", "rekey")...)
	if !strings.Contains(text, "nothing is left to do") {
		t.Error(text)
	}
	_, errs := must(t, exitFailed, r.with("vault", "rekey", "--new-key-file", s.key)...)
	if !strings.Contains(errs, "is there already") || readFile(t, s.key) != old {
		t.Error(errs)
	}
}

// TestRekeyOfAnotherBoxsVault rekeys without the state folder at hand: the box takes the new key from a stick.
func TestRekeyOfAnotherBoxsVault(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("backup first=%v", early), func(t *testing.T) { rekeyOfAnotherBoxsVault(t, early) })
	}
}

func rekeyOfAnotherBoxsVault(t *testing.T, early bool) {
	s := newSite(t, 1, 0)
	state, phone, stick := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "phone"), t.TempDir()
	for _, dir := range []string{state, phone} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(phone, "a"), []byte("a"), time.Unix(1, 0))
	writeFile(t, filepath.Join(state, enrolledName), []byte("[1]"), time.Now())
	must(t, exitOK, s.with("backup", "folder:"+phone, "--state", state)...)
	must(t, exitOK, s.with("unlock", "--state", state)...)
	r, res := s.rekey(t, exitOK)
	if early {
		must(t, exitOK, r.with("backup", "folder:"+phone, "--state", state)...)
	}
	must(t, exitOK, r.with("key", "stick", stick)...)
	must(t, exitOK, "unlock", "--stick", stick, "--state", state, "--drive", s.drives[0])
	if readFile(t, filepath.Join(state, cardKeyName)) != res.Words+"\n" || readFile(t, filepath.Join(state, formerKeyName+".txt")) != readFile(t, s.key) {
		t.Error("the card's keys are others")
	}
	must(t, exitOK, r.with("backup", "folder:"+phone, "--state", state)...)
	if home := readFile(t, filepath.Join(state, homeName)); strings.TrimSpace(home) != res.Vault {
		t.Errorf("the state belongs to %s", home)
	}
}

// smallSite is a vault over three drives with two snapshots.
func smallSite(t *testing.T) (s site, phone string) {
	t.Helper()
	s = newSite(t, 3, 1)
	phone = filepath.Join(s.dir, "phone")
	if err := os.Mkdir(phone, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(phone, "a"), []byte("a"), time.Unix(1, 0))
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	b := make([]byte, 400_000)
	rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	writeFile(t, filepath.Join(phone, "b"), b, time.Unix(1, 0))
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	return s, phone
}

// copyOf copies a site's folders.
func (s site) copyOf(t *testing.T) site {
	t.Helper()
	c := site{dir: t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	c.key = filepath.Join(c.dir, filepath.Base(s.key))
	for _, d := range s.drives {
		c.drives = append(c.drives, filepath.Join(c.dir, filepath.Base(d)))
	}
	return c
}

// TestRekeyWhileADriveIsAway leaves a drive with the old vault behind; a backup is made on it alone meanwhile, as another
// box would. Status names it, and it is brought over with what only it held when it comes back, but not by itself.
func TestRekeyWhileADriveIsAway(t *testing.T) {
	t.Parallel()
	s, phone := smallSite(t)
	out, _ := must(t, exitIncomplete, s.without(2, "vault", "rekey", "--json")...)
	res := decode[rekeyResult](t, out)
	if len(res.Left) != 1 || res.Left[0].Label != "drive2" || len(res.Drives) != 2 {
		t.Fatalf("%+v", res)
	}
	r := s
	r.key += ".new"
	status := func() string {
		t.Helper()
		_, out, _ := boxd(t, r.without(2, "vault", "status")...)
		return out
	}
	if out := status(); !strings.Contains(out, "drive drive2 holds the vault from before the rekey") || !strings.Contains(out, "healthy") {
		t.Errorf("status says\n%s", out)
	}
	for _, args := range [][]string{{"drive", "remove", "drive2"}, {"drive", "remove", "drive7", "--lost"}} {
		if _, errs := must(t, exitFailed, r.without(2, args...)...); !strings.Contains(errs, "no drive") {
			t.Errorf("%v: %s", args, errs)
		}
	}
	must(t, exitOK, r.without(2, "vault", "prune", "--keep-last", "1", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0", "--keep-yearly", "0")...)
	writeFile(t, filepath.Join(phone, "c"), []byte("c"), time.Unix(2, 0))
	code, out, errs := boxd(t, "backup", "folder:"+phone, "--key-file", s.key, "--drive", s.drives[2])
	if code != exitOK && code != exitIncomplete {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	before := contents(t, s.drives[2])
	for _, args := range [][]string{{"vault", "status"}, {"vault", "repair"}, {"backup", "folder:" + phone}} {
		if _, errs := must(t, exitFailed, r.with(args...)...); !strings.Contains(errs, "running that again") {
			t.Errorf("%v: %s", args, errs)
		}
	}
	if after := contents(t, s.drives[2]); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("the drive that came back was changed")
	}
	// Meanwhile the new vault got other words.
	out, _ = must(t, exitOK, r.without(2, "key", "rotate", "--json")...)
	if _, errs := must(t, exitFailed, s.with("vault", "rekey")...); !strings.Contains(errs, "the key file that it has now") {
		t.Error(errs)
	}
	r.key = decode[keyResult](t, out).KeyFile
	out, _ = must(t, exitOK, s.with("vault", "rekey", "--json", "--new-key-file", r.key)...)
	again := decode[rekeyResult](t, out)
	if again.Vault != res.Vault || len(again.Drives) != 1 || len(again.Left) != 0 || again.Snapshots != 2 || !again.Joined || again.Words != "" { // what was pruned stays away
		t.Errorf("%+v", again)
	}
	if out := status(); strings.Contains(out, "rekey") {
		t.Errorf("status says\n%s", out)
	}
	must(t, exitOK, r.with("vault", "verify")...)
	must(t, exitFailed, "key", "check", "--key-file", s.key, "--drive", s.drives[2])
	to := filepath.Join(t.TempDir(), "to")
	must(t, exitOK, r.with("restore", "latest", "--to", to)...)
	same(t, contents(t, phone), contents(t, to))
}

// TestADriveThatWasLeftBehindIsForgotten: its owner destroyed it, and says so.
func TestADriveThatWasLeftBehindIsForgotten(t *testing.T) {
	t.Parallel()
	s, _ := smallSite(t)
	out, _ := must(t, exitIncomplete, s.without(2, "vault", "rekey", "--json")...)
	res := decode[rekeyResult](t, out)
	s.key += ".new"
	if _, out, _ := boxd(t, s.without(2, "vault", "status")...); !strings.Contains(out, "boxd drive remove "+res.Left[0].ID+" --lost") {
		t.Errorf("status says\n%s", out)
	}
	must(t, exitOK, s.without(2, "drive", "remove", res.Left[0].ID, "--lost")...)
	if _, out, _ := boxd(t, s.without(2, "vault", "status")...); strings.Contains(out, "rekey") {
		t.Errorf("status says\n%s", out)
	}
}

// TestRekeyKeepsTravellers: a drive that travels does so in the new vault too, and gets all of it before it may leave.
func TestRekeyKeepsTravellers(t *testing.T) {
	t.Parallel()
	s, phone, last := travels(t, 3, 1)
	r, _ := s.rekey(t, exitOK)
	out, _ := must(t, exitOK, r.with("vault", "status")...)
	if !strings.Contains(out, "opens with stock restic, travels, may leave") {
		t.Errorf("status says\n%s", out)
	}
	restores(t, phone, "--key-file", r.key, "--drive", s.drives[last])
}

// TestRekeyGoesOn: an interrupted rekey stores nothing twice, takes over what the old vault got since, and wants the key file
// that it made; --abandon throws away what it copied.
func TestRekeyGoesOn(t *testing.T) {
	t.Parallel()
	s, phone := smallSite(t)
	s.beginRekey(t)
	lost := readFile(t, s.key+".new")
	writeFile(t, filepath.Join(phone, "c"), []byte("c"), time.Unix(2, 0))
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	facts := s.snapshotFacts(t)
	for path, want := range map[string]string{"other": "a rekey was begun with another one", filepath.Base(s.key): "open the old vault"} {
		if _, errs := must(t, exitFailed, s.with("vault", "rekey", "--new-key-file", filepath.Join(s.dir, path))...); !strings.Contains(errs, want) {
			t.Errorf("%s: %s", path, errs)
		}
	}
	writeFile(t, filepath.Join(s.dir, "third"), []byte(strings.Join(slices.Repeat([]string{"abandon"}, 23), " ")+" art\n"), time.Now())
	if _, errs := must(t, exitFailed, s.with("vault", "rekey", "--new-key-file", filepath.Join(s.dir, "third"))...); !strings.Contains(errs, "not those that this rekey was begun with") {
		t.Error(errs)
	}
	c := s.copyOf(t)
	r, res := s.rekey(t, exitOK)
	if res.Bytes > 2000 || readFile(t, r.key) != lost {
		t.Errorf("stored again: %+v", res)
	}
	if got := r.snapshotFacts(t); got != facts {
		t.Errorf("snapshots were\n%s\nand are\n%s", facts, got)
	}
	// The key file is lost.
	if err := os.Remove(c.key + ".new"); err != nil {
		t.Fatal(err)
	}
	must(t, exitFailed, c.with("vault", "rekey")...)
	begun := func() bool {
		t.Helper()
		out, _ := must(t, exitOK, c.with("vault", "status")...)
		return strings.Contains(out, "a rekey was begun and not finished")
	}
	if !begun() {
		t.Error("status does not say that a rekey was begun")
	}
	must(t, exitOK, c.with("vault", "rekey", "--abandon")...)
	if begun() {
		t.Error("status says that a rekey was begun")
	}
	r, res = c.rekey(t, exitOK)
	if got := r.snapshotFacts(t); got != facts || res.Bytes < 400_000 || readFile(t, r.key) == lost {
		t.Errorf("snapshots were\n%s\nand are\n%s: %+v", facts, got, res)
	}
}

// TestRekeyLosesNothingSilently rekeys a vault of which a pack is lost: nothing is changed, the snapshot is named, and only
// --leave-out goes on without it.
func TestRekeyLosesNothingSilently(t *testing.T) {
	t.Parallel()
	s, _ := smallSite(t)
	s.loseShards(t, "shards")
	_, errs := must(t, exitFailed, s.with("vault", "rekey")...)
	if !strings.Contains(errs, "1 snapshot cannot be read whole") || !strings.Contains(errs, "! snapshots/") {
		t.Errorf("it says\n%s", errs)
	}
	must(t, exitOK, s.with("key", "check")...)
	r, res := s.rekey(t, exitIncomplete, "--leave-out")
	if res.Snapshots != 1 || len(res.LeftOut) != 1 {
		t.Errorf("%+v", res)
	}
	must(t, exitOK, r.with("vault", "verify")...)
}

// TestRekeyJoinsNoTwoVaults names drives of two vaults that one passphrase opens.
func TestRekeyJoinsNoTwoVaults(t *testing.T) {
	t.Parallel()
	a, b := newSite(t, 1, 0), newSite(t, 1, 0)
	pass := a.addPassphrase(t)
	must(t, exitOK, b.with("key", "add", "--passphrase-file", pass)...)
	before := fmt.Sprint(contents(t, a.drives[0]), contents(t, b.drives[0]))
	for _, key := range []string{pass, a.key, b.key} {
		for _, fresh := range []string{a.key, b.key, filepath.Join(a.dir, "new")} {
			must(t, exitFailed, "vault", "rekey", "--key-file", key, "--new-key-file", fresh, "--drive", a.drives[0], "--drive", b.drives[0])
		}
	}
	if fmt.Sprint(contents(t, a.drives[0]), contents(t, b.drives[0])) != before {
		t.Error("the drives were changed")
	}
	if _, err := os.Stat(filepath.Join(a.dir, "new")); err == nil {
		t.Error("a key file was made")
	}
}

// loseShards removes the shards below a folder of two drives.
func (s site) loseShards(t *testing.T, below string) {
	t.Helper()
	n := 0
	for _, d := range s.drives[:2] {
		err := filepath.WalkDir(filepath.Join(d, below), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				n, err = n+1, os.Remove(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatal("there are no shards")
	}
}

// TestRekeyReadsBackWhatItFinds: what an earlier run copied is read before the old vault goes.
func TestRekeyReadsBackWhatItFinds(t *testing.T) {
	t.Parallel()
	s, _ := smallSite(t)
	facts := s.snapshotFacts(t)
	s.beginRekey(t)
	s.loseShards(t, ".phone-backup-box/next/shards")
	if _, errs := must(t, exitFailed, s.with("vault", "rekey")...); !strings.Contains(errs, "so the old vault stays as it is") {
		t.Error(errs)
	}
	if got := s.snapshotFacts(t); got != facts {
		t.Errorf("snapshots were\n%s\nand are\n%s", facts, got)
	}
}

// beginRekey runs a rekey until everything is copied.
func (s site) beginRekey(t *testing.T) {
	t.Helper()
	k := &rekeying{c: &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}}, f: &vaultFlags{drives: s.drives, keyFile: s.key}, path: s.key + ".new"}
	k.step = func(what string) error {
		if what == "copied" {
			return errors.New("cut")
		}
		return nil
	}
	if err := k.run(t.Context()); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Fatal(err)
	}
}

func TestShortOf(t *testing.T) {
	for _, tt := range []struct {
		name    string
		need    int64
		free    []int64
		survive int
		short   int64
	}{
		{"one drive", 100, []int64{110}, 1, 0},
		{"one drive, too small", 100, []int64{100}, 1, 10},
		{"two copies", 100, []int64{110, 110}, 1, 0},
		{"two copies, one too small", 100, []int64{1000, 60}, 1, 100},
		{"three drives share", 200, []int64{110, 110, 110}, 1, 0},
		{"a small drive among large ones", 200, []int64{10, 300, 300}, 1, 0},
		{"a small drive among too small ones", 200, []int64{10, 100, 100}, 1, 220},
		{"no protection", 300, []int64{110, 110, 110}, 0, 0},
		{"all is there already", -5, []int64{0, 0}, 1, 0},
		{"full", 10, []int64{0, 0, 0}, 1, 22},
	} {
		if got := shortOf(tt.need, tt.free, tt.survive); got != tt.short {
			t.Errorf("%s: %d short, not %d", tt.name, got, tt.short)
		}
	}
}
