//go:build !rescue && linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
)

// runningBox is boxd run as a process of its own: what it says, and a finger on its button.
type runningBox struct {
	t     *testing.T
	cmd   *exec.Cmd
	keys  io.WriteCloser
	lines chan string
	said  []string
	out   bytes.Buffer // its standard output: the JSON at the end
}

// runSite starts boxd run --json on a site's drives, with phone as a folder phone.
func runSite(t *testing.T, s site, state, phone string, more ...string) *runningBox {
	t.Helper()
	args := append([]string{childMark, "run", "--json", "--web", anyPort, "--state", state, "--phone", "folder:" + phone}, more...)
	b := &runningBox{t: t, cmd: exec.Command(os.Args[0], append(args, s.flags(-1)...)...), lines: make(chan string)}
	b.begin()
	return b
}

// begin starts it.
func (b *runningBox) begin() {
	b.t.Helper()
	b.cmd.Stdout = &b.out
	var err error
	if b.keys, err = b.cmd.StdinPipe(); err != nil {
		b.t.Fatal(err)
	}
	screen, err := b.cmd.StderrPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(b.lines)
		for in := bufio.NewScanner(screen); in.Scan(); {
			b.lines <- in.Text()
		}
	}()
	b.t.Cleanup(func() {
		_ = b.cmd.Process.Kill() // an error means that it has ended
		for range b.lines {
		}
	})
}

// until waits for a line that holds text, and returns it.
func (b *runningBox) until(text string) string {
	b.t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case line, ok := <-b.lines:
			b.said = append(b.said, line)
			if !ok {
				b.t.Fatalf("it ended before it said %q:\n%s", text, strings.Join(b.said, "\n"))
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-late:
			b.t.Fatalf("it never said %q:\n%s", text, strings.Join(b.said, "\n"))
		}
	}
}

// tap presses its button.
func (b *runningBox) tap() {
	b.t.Helper()
	if _, err := io.WriteString(b.keys, " "); err != nil {
		b.t.Fatal(err)
	}
}

// stop sends a signal and returns how it ended.
func (b *runningBox) stop(sig os.Signal) error {
	b.t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
	for line := range b.lines {
		b.said = append(b.said, line)
	}
	return b.cmd.Wait()
}

// page is the page at the address in line.
func page(t *testing.T, line string) string {
	t.Helper()
	resp, err := http.Get(strings.TrimSpace(line[strings.Index(line, "http://"):]))
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("page: %s, %v", resp.Status, err)
	}
	return string(p)
}

const (
	asksPhone = "a new phone: tap to back it up from now on"
	allThere  = "are in the vault, read back and compared"
)

// TestRunIsTheBox: a phone is enrolled by a tap and backed up; the page and the end say so; SIGTERM is a clean end; the next run
// knows the phone, and finds it unchanged; one that is killed outright takes nothing with it.
func TestRunIsTheBox(t *testing.T) {
	s, phone := newSite(t, 3, 1), filepath.Join(t.TempDir(), "Anna's card")
	makePhone(t, phone)
	state := filepath.Join(s.dir, "state")

	b := runSite(t, s, state, phone)
	address := b.until("http://")
	b.until(asksPhone)
	code, _, errs := boxd(t, s.with("run", "--web", anyPort, "--state", filepath.Join(s.dir, "other state"))...)
	if code != exitFailed || !strings.Contains(errs, "in use by another boxd") || !strings.Contains(errs, "stop it") {
		t.Errorf("a second box on the same drives: exit %d\n%s", code, errs)
	}
	b.tap()
	b.until(allThere)
	if p := page(t, address); !strings.Contains(p, "Anna&#39;s card is backed up") {
		t.Errorf("the page does not say that the phone is backed up:\n%s", p)
	}
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, strings.Join(b.said, "\n"))
	}
	end := decode[runResult](t, b.out.String())
	if len(end.Backups) != 1 || !end.Backups[0].Complete || len(end.Phones) != 1 || !end.Phones[0].Enrolled || end.Phones[0].Outcome != firmware.Stored {
		t.Errorf("at the end: %+v", end)
	}

	b = runSite(t, s, state, phone)
	b.until(allThere)
	for _, line := range b.said {
		if strings.Contains(line, asksPhone) {
			t.Errorf("it has forgotten the phone: %s", line)
		}
	}
	if err := b.stop(os.Interrupt); err != nil {
		t.Fatalf("SIGINT: %v", err)
	}
	again := decode[runResult](t, b.out.String())
	if got, want := again.Backups[0], end.Backups[0]; got.Files != want.Files || got.Bytes != want.Bytes || len(again.Backups) != 2 {
		t.Errorf("unchanged, yet %+v after %+v", again.Backups, want)
	}

	b = runSite(t, s, state, phone)
	b.until(allThere)
	if err := b.stop(os.Kill); err == nil {
		t.Error("killed, yet it ended well")
	}
	list, err := roster{filepath.Join(state, enrolledName)}.Enrolled(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("killed: %v, %v", list, err)
	}
	b = runSite(t, s, state, phone)
	b.until(allThere)
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Errorf("after it was killed: %v", err)
	}
	must(t, exitOK, s.with("vault", "verify")...)
	to := filepath.Join(s.dir, "restored")
	must(t, exitOK, s.with("restore", "latest", "--to", to)...)
	same(t, contents(t, phone), contents(t, to))
}

// A folder that is no drive yet is asked about, and adopted by a tap; a phone that goes and comes back is seen.
func TestRunTakesDrivesAndCardsAsTheyCome(t *testing.T) {
	s, phone := newSite(t, 2, 1), filepath.Join(t.TempDir(), "card")
	makePhone(t, phone)
	blank := filepath.Join(s.dir, "blank")
	if err := os.Mkdir(blank, 0o755); err != nil {
		t.Fatal(err)
	}
	away := phone + " away"
	if err := os.Rename(phone, away); err != nil {
		t.Fatal(err)
	}
	b := runSite(t, s, filepath.Join(s.dir, "state"), phone, "--drive", blank)
	b.until("is not there now")
	b.until("a new drive: tap to use it")
	b.tap()
	b.until("blank is")
	if err := os.Rename(away, phone); err != nil {
		t.Fatal(err)
	}
	b.until(asksPhone)
	b.tap()
	b.until(allThere)
	if err := os.Rename(phone, away); err != nil {
		t.Fatal(err)
	}
	b.until("unplugged")
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if end := decode[runResult](t, b.out.String()); len(end.Health.Drives) != 3 || !end.Health.Protected() || end.Phones[0].Attached() {
		t.Errorf("at the end: %+v", end)
	}
	if !isDrive(blank) {
		t.Error("the tap made no drive of the folder")
	}
}

// What makes no sense is one line, and the same words say what to do.
func TestRunRefusesWhatMakesNoSense(t *testing.T) {
	s := newSite(t, 2, 1)
	bad, other := filepath.Join(s.dir, "bad.toml"), filepath.Join(s.dir, "other")
	writeFile(t, bad, []byte("survive = 1\nretentoin = 3\n"), time.Now())
	words, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, other, []byte(words), time.Now())
	for _, tt := range []struct {
		say  string
		code int
		args []string
	}{
		{"line 2: \"retentoin\" is no setting", exitFailed, s.with("run", "--config", bad)},
		{"no such file", exitFailed, s.with("run", "--config", bad+".none")},
		{"this box has no key", exitFailed, []string{"run", "--drive", s.drives[0]}},
		{"makes a vault on an empty drive", exitFailed, []string{"run", "--drive", s.drives[0]}},
		{"wrong", exitFailed, []string{"run", "--drive", s.drives[0], "--key-file", other}},
		{"only a folder needs to be named", exitUsage, s.with("run", "--phone", "mtp:1")},
		{"choose another --web", exitFailed, s.with("run", "--web", "256.0.0.1:1")},
	} {
		code, out, errs := boxd(t, append(tt.args, "--state", filepath.Join(s.dir, "state"))...)
		if code != tt.code || !strings.Contains(errs, tt.say) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s%s", tt.args, code, tt.code, tt.say, out, errs)
		}
	}
}

// TestRunKeepsWhatTheOwnerChose: box.toml in the state folder reaches the vault; the state is copied into it; what its index says
// is kept in the state folder for the next start.
func TestRunKeepsWhatTheOwnerChose(t *testing.T) {
	s, phone := newSite(t, 3, 1), t.TempDir()
	for i := range 2500 { // an index of more than 64 KiB
		writeFile(t, filepath.Join(phone, fmt.Sprint(i)), []byte(fmt.Sprint("file ", i)), time.Now())
	}
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	state := filepath.Join(s.dir, "state")
	if _, err := stateFolder(state); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(state, configName), []byte("survive = 2\n[retention]\nlast = 3\ndaily = 0\n"), time.Now())
	b, _, err := runOptions{vaultFlags: vaultFlags{drives: s.drives, keyFile: s.key}}.newBays(state)
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.Health(t.Context())
	if err != nil || h.Want != 2 || b.policy.Last != 3 || b.policy.Daily != 0 {
		t.Errorf("wanted to survive 2, keep the last 3: %+v, %+v, %v", h, b.policy, err)
	}
	if _, err := os.Stat(filepath.Join(state, "cache")); err != nil {
		t.Errorf("the index is not kept for the next start: %v", err)
	}
	if told, err := b.Refresh(t.Context()); err != nil || len(told) > 0 {
		t.Errorf("%q, %v", told, err)
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	card := filepath.Join(s.dir, "new card")
	must(t, exitOK, s.with("unlock", "--state", card)...)
	want, err := os.ReadFile(filepath.Join(state, configName))
	if got, gerr := os.ReadFile(filepath.Join(card, configName)); err != nil || gerr != nil || !bytes.Equal(got, want) {
		t.Errorf("taken out of the vault: %q, %v %v", got, gerr, err)
	}
}

// A folder whose drive is away is where that is mounted, and not a new drive.
func TestAMountPointIsNoNewDrive(t *testing.T) {
	b, drives, _ := newBays(t)
	if err := os.Rename(drives[2], drives[2]+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(drives[2], 0o755); err != nil {
		t.Fatal(err)
	}
	if got := states(t, b); got != "drive0:ok drive1:ok drive2:away" {
		t.Errorf("unmounted: %s", got)
	}
}

// A box that was never given a drive starts all the same. Taps take in the phone and two drives, and everything ends as it should;
// killed and started again, it knows its key, its vault and the phone.
func TestRunBeginsWithNothing(t *testing.T) {
	dir, phone := t.TempDir(), filepath.Join(t.TempDir(), "Anna's card")
	makePhone(t, phone)
	s := site{dir: dir, key: filepath.Join(dir, "state", cardKeyName), drives: []string{filepath.Join(dir, "one"), filepath.Join(dir, "two")}}
	for _, d := range s.drives {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *runningBox {
		b := &runningBox{t: t, lines: make(chan string), cmd: exec.Command(os.Args[0], childMark, "run", "--json", "--web", anyPort, "--state", filepath.Dir(s.key),
			"--phone", "folder:"+phone, "--drive", s.drives[0], "--drive", s.drives[1])}
		b.begin()
		return b
	}
	b := start()
	address := b.until("http://")
	b.until(asksPhone)
	if p := page(t, address); !strings.Contains(p, "the box has no drive") {
		t.Errorf("the page does not say that there is no drive:\n%s", p)
	}
	b.tap()
	b.until("a new drive: tap to use it")
	b.tap()
	b.until("the first of a new vault")
	b.until("a new drive: tap to use it")
	b.tap()
	b.until("done: every file stored")
	if err := b.stop(os.Kill); err == nil {
		t.Error("killed, yet it ended well")
	}
	b = start()
	b.until("done: every file stored")
	if err := b.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if end := decode[runResult](t, b.out.String()); len(end.Backups) != 2 || len(end.Health.Drives) != 2 || !end.Health.Protected() {
		t.Errorf("at the end: %+v", end)
	}
	must(t, exitOK, s.with("vault", "verify")...)
}
