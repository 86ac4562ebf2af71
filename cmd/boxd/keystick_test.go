//go:build !rescue

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func readFile(t testing.TB, p string) string {
	t.Helper()
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wordsSafe(t *testing.T, s site) bool {
	t.Helper()
	out, _ := must(t, exitOK, s.with("vault", "status", "--json")...)
	safe := decode[statusResult](t, out).WordsOut
	if text, _ := must(t, exitOK, s.with("vault", "status")...); strings.Contains(text, "words are not safe yet") == safe {
		t.Errorf("words_out is %v, but the text says:\n%s", safe, text)
	}
	return safe
}

// TestBlankCard loses the box's card and one drive: a key stick and the other drives make the same box again.
func TestBlankCard(t *testing.T) {
	s := newSite(t, 3, 1)
	state, phone, stick := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "phone"), t.TempDir()
	mine := map[string]string{configName: "restore_by_button = \"no\"\n", enrolledName: "[]\n", "pairings/ios/ab.plist": "pair", "journal/1": "one\n"}
	for name, text := range mine {
		p := filepath.Join(state, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, p, []byte(text), time.Now())
	}
	writeFile(t, filepath.Join(state, cardKeyName), []byte("never stored"), time.Now())
	writeFile(t, filepath.Join(state, "cache"), []byte("never stored"), time.Now())
	makePhone(t, phone)
	backup := s.with("backup", "folder:"+phone, "--state", state)
	must(t, exitOK, backup...)
	must(t, exitOK, backup...)
	if wordsSafe(t, s) {
		t.Error("words that nobody has are called safe")
	}
	must(t, exitOK, s.with("key", "stick", stick)...)
	if !wordsSafe(t, s) {
		t.Error("words on a stick are not called safe")
	}
	must(t, exitOK, backup...) // saving the state again must not forget it
	if !wordsSafe(t, s) {
		t.Error("a backup forgot that the words are safe")
	}
	out, _ := must(t, exitOK, s.with("snapshots", "--json")...)
	if list := decode[[]snapshotJSON](t, out); len(list) != 3 {
		t.Errorf("%d snapshots are listed, not 3:\n%s", len(list), out)
	}
	out, _ = must(t, exitOK, s.with("snapshots", "--all", "--json")...)
	if list := decode[[]snapshotJSON](t, out); len(list) != 5 || !list[1].State { // once at first, once with the stick
		t.Errorf("with the box's own there are not 5:\n%s", out)
	}

	fresh := filepath.Join(s.dir, "fresh")
	unlock := []string{"unlock", "--stick", stick, "--state", fresh, "--drive", s.drives[0], "--drive", s.drives[2]}
	must(t, exitOK, unlock...)
	must(t, exitOK, unlock...) // again does no harm
	for name, text := range mine {
		if got := readFile(t, filepath.Join(fresh, name)); got != text {
			t.Errorf("%s is %q, not %q", name, got, text)
		}
	}
	if got := readFile(t, filepath.Join(fresh, cardKeyName)); got != readFile(t, s.key) {
		t.Error("the card's key is another")
	}
	if info, err := os.Stat(filepath.Join(fresh, cardKeyName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the card's key: %v %v", info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(fresh, "cache")); err == nil {
		t.Error("a cache came along")
	}
	s.key = filepath.Join(fresh, cardKeyName)
	must(t, exitOK, s.with("backup", "folder:"+phone, "--state", fresh)...)
}

// TestBlankCardIsNotSaved backs up with a state folder that is not this vault's box's: the vault keeps what it has.
func TestBlankCardIsNotSaved(t *testing.T) {
	s := newSite(t, 1, 0)
	state, blank, phone := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "blank"), filepath.Join(s.dir, "phone")
	for _, dir := range []string{state, blank, phone} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(phone, "a"), []byte("a"), time.Now())
	writeFile(t, filepath.Join(state, enrolledName), []byte("[1]"), time.Now())
	writeFile(t, filepath.Join(blank, enrolledName), []byte("[]"), time.Now())
	must(t, exitOK, s.with("backup", "folder:"+phone, "--state", state)...)
	_, errs := must(t, exitFailed, s.with("backup", "folder:"+phone, "--state", blank)...)
	if !strings.Contains(errs, "the snapshot is safe") || !strings.Contains(errs, "boxd unlock") {
		t.Errorf("it says %s", errs)
	}
	fresh := filepath.Join(s.dir, "fresh")
	must(t, exitOK, s.with("unlock", "--state", fresh)...)
	if got := readFile(t, filepath.Join(fresh, enrolledName)); got != "[1]" {
		t.Errorf("the box's state is %q now", got)
	}
	// Another state is in the way, and stays.
	_, errs = must(t, exitFailed, s.with("unlock", "--state", blank)...)
	if !strings.Contains(errs, "holds another enrolled.json") || readFile(t, filepath.Join(blank, enrolledName)) != "[]" {
		t.Errorf("it says %s", errs)
	}
	// Settings that nobody could read back are not saved.
	writeFile(t, filepath.Join(state, configName), []byte("\nunlok = 'card'\n"), time.Now())
	_, errs = must(t, exitFailed, s.with("backup", "folder:"+phone, "--state", state)...)
	if !strings.Contains(errs, `line 2: "unlok" is no setting`) {
		t.Errorf("it says %s", errs)
	}
}

// TestUnlockKeyStick takes a box's state whose owner wants the stick at each start: the key stays off the card.
func TestUnlockKeyStick(t *testing.T) {
	s := newSite(t, 1, 0)
	state, fresh, phone := filepath.Join(s.dir, "state"), filepath.Join(s.dir, "fresh"), filepath.Join(s.dir, "phone")
	for _, dir := range []string{state, phone} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(phone, "a"), []byte("a"), time.Now())
	writeFile(t, filepath.Join(state, configName), []byte("unlock = \"keystick\"\n"), time.Now())
	must(t, exitOK, s.with("backup", "folder:"+phone, "--state", state)...)
	out, _ := must(t, exitOK, s.with("unlock", "--state", fresh, "--json")...)
	if res := decode[unlockResult](t, out); res.KeyFile != "" {
		t.Errorf("the key was put into %s", res.KeyFile)
	}
	if _, err := os.Stat(filepath.Join(fresh, cardKeyName)); err == nil {
		t.Error("the key is on the card")
	}
}

func TestKeyStickIsNoDriveAndOverwritesNothing(t *testing.T) {
	s, other := newSite(t, 1, 0), newSite(t, 1, 0)
	below := filepath.Join(s.drives[0], "photos")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{s.drives[0]: "is a backup drive", other.drives[0]: "is a backup drive", below: "is a backup drive", s.key: "is no folder", filepath.Join(s.dir, "absent"): "is no folder"} {
		if _, errs := must(t, exitFailed, s.with("key", "stick", dir)...); !strings.Contains(errs, want) {
			t.Errorf("%s: %s", dir, errs)
		}
	}
	if wordsSafe(t, s) {
		t.Error("a refused stick made the words safe")
	}
	stick := t.TempDir()
	must(t, exitOK, s.with("key", "stick", stick)...)
	first := contents(t, stick)
	must(t, exitOK, s.with("key", "stick", stick)...)
	if len(first) != 3 || len(contents(t, stick)) != 3 { // with "."
		t.Errorf("a stick holds %v", first)
	}
	must(t, exitOK, other.with("key", "stick", stick)...)
	both := contents(t, stick)
	for name, what := range first {
		if name != "." && both[name] != what {
			t.Errorf("%s was overwritten", name)
		}
	}
	if len(both) != 5 {
		t.Errorf("a stick for two vaults holds %d files", len(both)-1)
	}
	for _, v := range []site{s, other} {
		must(t, exitOK, "unlock", "--stick", stick, "--state", filepath.Join(v.dir, "fresh"), "--drive", v.drives[0])
	}
	// The sheet has the words in order; no file of the stick is anybody else's to read.
	words := strings.Fields(readFile(t, s.key))
	item := regexp.MustCompile(`<li>(\w+)</li>`).FindAllStringSubmatch(readFile(t, filepath.Join(stick, stickSheet+".html")), -1)
	if len(item) != 24 {
		t.Fatalf("the sheet has %d words", len(item))
	}
	for i := range item {
		if item[i][1] != words[i] {
			t.Errorf("word %d of the sheet is %s", i+1, item[i][1])
		}
	}
	_, errs := must(t, exitFailed, "unlock", "--stick", t.TempDir(), "--state", t.TempDir(), "--drive", s.drives[0])
	if !strings.Contains(errs, "no key on") {
		t.Error(errs)
	}
}

func TestConfirmWords(t *testing.T) {
	s := newSite(t, 1, 0)
	words := strings.Fields(readFile(t, s.key))
	must(t, exitFailed, s.with("key", "words", "--confirm")...) // nothing is typed
	if wordsSafe(t, s) {
		t.Error("unconfirmed words are called safe")
	}
	in, type_ := newTypist(words)
	var out bytes.Buffer
	if code := run(t.Context(), s.with("key", "words", "--confirm"), stdio{in, &out, type_}); code != exitOK {
		t.Fatalf("exit %d: %s%s", code, out.String(), type_)
	}
	if !wordsSafe(t, s) {
		t.Error("confirmed words are not called safe")
	}
	// Some of what is always said is among the 2,048 words itself.
	said := strings.NewReplacer("Take the paper with your 24 words and type the three that are asked for.", "",
		"good: the words are safe on paper", "", "word ", "").Replace(type_.String() + out.String())
	if strings.ContainsAny(said, "abcdefghijklmnopqrstuvwxyz") {
		t.Errorf("the prompt shows %q", said)
	}
}

// typist is a person who reads prompts and answers from the paper.
type typist struct {
	words   []string
	seen    bytes.Buffer
	pending bytes.Buffer
}

func newTypist(words []string) (*typistIn, *typist) {
	p := &typist{words: words}
	return &typistIn{p}, p
}

var asked = regexp.MustCompile(`word (\d+): $`)

func (p *typist) String() string { return p.seen.String() }

func (p *typist) Write(b []byte) (int, error) {
	if m := asked.FindSubmatch(b); m != nil {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return 0, err
		}
		p.pending.WriteString(strings.ToUpper(p.words[n-1]) + "\r\n")
	}
	return p.seen.Write(b)
}

type typistIn struct{ p *typist }

func (in *typistIn) Read(b []byte) (int, error) { return in.p.pending.Read(b) }
