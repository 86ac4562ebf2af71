//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/attach"
	"phonebackupbox/usbhost"
)

// blankBays is a box that was never given a drive, with folders as what is mounted.
func blankBays(t *testing.T, card string, mounted ...string) (*bays, *desk) {
	t.Helper()
	if _, err := stateFolder(card); err != nil {
		t.Fatal(err)
	}
	b, _, err := runOptions{}.newBays(card)
	if err != nil {
		t.Fatal(err)
	}
	table := &desk{}
	for i, dir := range mounted {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		table.drives = append(table.drives, attach.Drive{N: i + 1, Dir: dir, Name: filepath.Base(dir)})
	}
	b.mounts, b.auto = table, false
	t.Cleanup(func() {
		if err := b.Eject(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return b, table
}

// A box that was never given a drive makes the key and the vault with the first; the second is added to it. The owner's files on
// them stay.
func TestTheFirstDriveMakesTheVault(t *testing.T) {
	dir := t.TempDir()
	card, one, two := filepath.Join(dir, "card"), filepath.Join(dir, "one"), filepath.Join(dir, "two")
	b, _ := blankBays(t, card, one, two)
	if err := os.WriteFile(filepath.Join(one, "holiday.jpg"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := b.Health(t.Context())
	if err != nil || !h.NoVault || h.Protected() || states(t, b) != "one:unknown two:unknown" {
		t.Fatalf("at first: %+v, %v", h, err)
	}
	if _, err := b.Begin(t.Context(), usbhost.Info{ID: "mtp:A"}); !errors.Is(err, firmware.ErrNoVault) {
		t.Errorf("a backup begins: %v", err)
	}
	if list, err := b.History(t.Context()); err != nil || list == nil {
		t.Errorf("its history: %v, %v", list, err)
	}
	for _, drive := range []string{one, two} {
		if err := b.Adopt(t.Context(), drive); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Heal(t.Context(), func(int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	if h, err = b.Health(t.Context()); err != nil || h.NoVault || !h.Protected() || h.Want != 1 || len(h.Drives) != 2 || states(t, b) != "one:ok two:ok" {
		t.Errorf("then: %+v, %v", h, err)
	}
	key := filepath.Join(card, cardKeyName)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(card, firstName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is not through: %v", err)
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, exitOK, "vault", "verify", "--key-file", key, "--drive", filepath.Join(one, boxFolder), "--drive", filepath.Join(two, boxFolder))
	if got, err := os.ReadFile(filepath.Join(one, "holiday.jpg")); err != nil || string(got) != "mine" {
		t.Errorf("the owner's file: %q, %v", got, err)
	}

	again, _ := blankBays(t, card, one, two)
	if h, err := again.Health(t.Context()); err != nil || h.NoVault || states(t, again) != "one:ok two:ok" {
		t.Errorf("started again: %+v, %v", h, err)
	}
}

// firstMark as the first argument makes the test binary take in a first drive and die at a step.
const firstMark = "adopt-and-die"

// adoptAndDie takes in the drive args[1] for the box args[0] and kills itself before step args[2], counted from 0. It returns the
// exit code where that many steps do not come.
func adoptAndDie(args []string) int {
	die, err := strconv.Atoi(args[2])
	if err == nil {
		var b *bays
		if b, _, err = (runOptions{}).newBays(args[0]); err == nil {
			var n atomic.Int64 // the array's members are written side by side
			b.auto, b.mounts = false, &desk{drives: []attach.Drive{{N: 1, Dir: args[1]}}}
			b.onStep = func(string) error {
				if n.Add(1) > int64(die) {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {}
				}
				return nil
			}
			if err = b.Adopt(context.Background(), args[1]); err == nil {
				err = b.Eject(context.Background())
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

// The power fails before each step of taking in the first drive. The box starts again, and takes in that drive, or another in its
// place; no vault is there that the card's key does not open.
func TestPowerFailsWhileTheFirstDriveIsTakenIn(t *testing.T) {
	words := map[string]bool{}
	for die, died := 0, true; died; die++ {
		dir := t.TempDir()
		card, one, two := filepath.Join(dir, "card"), filepath.Join(dir, "one"), filepath.Join(dir, "two")
		for _, d := range []string{card, one, two} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], firstMark, card, one, fmt.Sprint(die))
		out, err := cmd.CombinedOutput()
		if died = err != nil; died && cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("step %d: %v\n%s", die, err, out)
		}
		key := filepath.Join(card, cardKeyName)
		if _, err := os.Lstat(filepath.Join(one, boxFolder, "phone-backup-box.json")); err == nil {
			if _, err := readKey(key); err != nil {
				t.Fatalf("step %d: the drive is one, and there is no key: %v", die, err)
			}
		}
		first, other := one, two
		_, begun := os.Lstat(filepath.Join(card, firstName))
		if made := begun != nil && readable(key); die%2 == 1 && !made { // the one that was begun does not come back before the other is taken in
			first, other = two, one
		}
		before, _ := os.ReadFile(key)
		b, table := blankBays(t, card, first)
		if _, err := b.Health(t.Context()); err != nil {
			t.Fatalf("step %d: started again: %v", die, err)
		}
		if h, _ := b.Health(t.Context()); h.NoVault {
			if err := b.Adopt(t.Context(), first); err != nil {
				t.Fatalf("step %d: taken in again: %v", die, err)
			}
		}
		table.drives = append(table.drives, attach.Drive{N: 2, Dir: other, Name: filepath.Base(other)})
		h, err := b.Health(t.Context())
		if err != nil || h.NoVault {
			t.Fatalf("step %d: in the end %+v, %v", die, h, err)
		}
		if slices.ContainsFunc(h.Drives, func(d firmware.Drive) bool { return d.ID == other }) {
			if err := b.Adopt(t.Context(), other); err != nil {
				t.Fatalf("step %d: the second: %v", die, err)
			}
		}
		if err := b.Eject(t.Context()); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(key)
		if err != nil || len(before) > 0 && string(before) != string(after) {
			t.Errorf("step %d: the key was another before: %v", die, err)
		}
		words[string(after)] = true
		at := map[string][]string{}
		for _, d := range []string{filepath.Join(one, boxFolder), filepath.Join(two, boxFolder)} {
			if id, ok := vaultOf(d); ok {
				at[id] = append(at[id], "--drive", d)
			}
		}
		for id, drives := range at { // whatever vault there is, the key opens it; what was given up is none
			code, _, errs := boxd(t, append([]string{"snapshots", "--key-file", key}, drives...)...)
			none := []string{"there is no vault here", "keys but no config", "no ledger"}
			if code != exitOK && (id == b.home || !slices.ContainsFunc(none, func(s string) bool { return strings.Contains(errs, s) })) {
				t.Errorf("step %d: %q: exit %d\n%s", die, drives, code, errs)
			}
		}
	}
	if len(words) < 10 {
		t.Errorf("only %d steps", len(words))
	}
}

func readable(key string) bool { _, err := readKey(key); return err == nil }

// tree tells everything in a folder, times and all.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Size(), info.ModTime(), info.Mode())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A blank box leaves the drives of another as they are, and so does one at home elsewhere; without a key stick it takes in nothing
// while they are there.
func TestABlankBoxTouchesNoOtherBoxesDrives(t *testing.T) {
	s := newSite(t, 2, 1)
	card, spare := filepath.Join(s.dir, "card"), filepath.Join(s.dir, "spare")
	var before []string
	for _, d := range s.drives {
		before = append(before, tree(t, d))
	}
	b, table := blankBays(t, card, s.drives[0], s.drives[1], spare)
	if _, err := b.Health(t.Context()); !errors.Is(err, firmware.ErrOtherBox) {
		t.Errorf("its health: %v", err)
	}
	if err := b.Adopt(t.Context(), spare); !errors.Is(err, firmware.ErrOtherBox) {
		t.Errorf("a new drive beside them: %v", err)
	}
	all := table.drives
	table.drives = all[2:]
	if err := b.Adopt(t.Context(), spare); err != nil {
		t.Fatal(err)
	}
	table.drives = all
	h, err := b.Health(t.Context())
	if err != nil || h.NoVault || states(t, b) != "drive0:other-box drive1:other-box spare:ok" {
		t.Errorf("at home on the new one: %+v, %v", h, err)
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, table2 := blankBays(t, card, s.drives[0], s.drives[1], spare) // the strangers are there before it knows its own
	if got := states(t, again); got != "drive0:other-box drive1:other-box spare:ok" {
		t.Errorf("started again beside them: %s", got)
	}
	if wrote := append(table.wrote, table2.wrote...); slices.Contains(wrote, s.drives[0]) || slices.Contains(wrote, s.drives[1]) {
		t.Errorf("made writable: %q", wrote)
	}
	for i, d := range s.drives {
		if now := tree(t, d); now != before[i] {
			t.Errorf("%s was changed:\n%s\n%s", d, before[i], now)
		}
	}
}

// A blank card with the key stick and the drives is the box that it was: key, settings, phones; phones that were enrolled meanwhile
// stay.
func TestABlankCardWithTheKeyStickIsTheSameBox(t *testing.T) {
	s := newSite(t, 3, 1)
	old, card, stick := filepath.Join(s.dir, "old"), filepath.Join(s.dir, "card"), filepath.Join(s.dir, "stick")
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stateFolder(old); err != nil {
		t.Fatal(err)
	}
	enrol := func(dir, id string, order int) {
		if err := (roster{filepath.Join(dir, enrolledName)}).Enrol(t.Context(), firmware.Enrolment{ID: usbhost.ID(id), Name: id, Order: order}); err != nil {
			t.Fatal(err)
		}
	}
	enrol(old, "mtp:ANNA", 1)
	err = errors.Join(putStateFile(old, configName, []byte("survive = 2\n")), putStateFile(old, cardKeyName, []byte(key)))
	if err != nil {
		t.Fatal(err)
	}
	was, _ := blankBays(t, old, s.drives...)
	if told, err := was.Refresh(t.Context()); err != nil || len(told) > 0 {
		t.Fatalf("%q, %v", told, err)
	}
	if err := was.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}

	b, table := blankBays(t, card, s.drives[0], s.drives[2])
	enrol(card, "mtp:BEN", 1)
	if _, err := b.Health(t.Context()); !errors.Is(err, firmware.ErrOtherBox) {
		t.Errorf("without the stick: %v", err)
	}
	if err := errors.Join(os.Mkdir(stick, 0o755), os.WriteFile(filepath.Join(stick, stickKey+".txt"), []byte(key), 0o600)); err != nil {
		t.Fatal(err)
	}
	all := append(table.drives, attach.Drive{N: 7, Dir: stick, Name: "stick"})
	table.drives = all[2:]
	if _, err := b.Health(t.Context()); !errors.Is(err, firmware.ErrStickAlone) {
		t.Errorf("the stick alone: %v", err)
	}
	table.drives = all
	h, err := b.Health(t.Context())
	if err != nil || h.NoVault || !h.KeyStick || len(h.Drives) != 3 {
		t.Fatalf("with the stick: %+v, %v", h, err)
	}
	select {
	case <-b.reborn:
	default:
		t.Error("nobody is told that what was read at its start is out of date")
	}
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	table.drives = all[:2]
	again, _ := blankBays(t, card, s.drives...)
	if again.survive == nil || *again.survive != 2 {
		t.Error("the settings are not the old box's")
	}
	list, err := roster{filepath.Join(card, enrolledName)}.Enrolled(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "mtp:ANNA" || list[1].Name != "mtp:BEN" || list[1].Order != 2 {
		t.Errorf("phones: %+v, %v", list, err)
	}
	if h, err := again.Health(t.Context()); err != nil || h.KeyStick || states(t, again) != "drive0:ok drive1:ok drive2:ok" {
		t.Errorf("without the stick from now on: %+v, %v", h, err)
	}
}

// A box whose card forgets everything makes no key, and one whose key is damaged writes over nothing.
func TestABoxThatCannotKeepAKeyMakesNone(t *testing.T) {
	dir := t.TempDir()
	card, spare := filepath.Join(dir, "card"), filepath.Join(dir, "spare")
	if err := errors.Join(os.Mkdir(card, 0o700), os.WriteFile(filepath.Join(card, notKeptName), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	b, _ := blankBays(t, card, spare)
	if err := b.Adopt(t.Context(), spare); !errors.Is(err, firmware.ErrCardLost) {
		t.Errorf("forgetful: %v", err)
	}
	card = filepath.Join(dir, "damaged")
	if err := errors.Join(os.Mkdir(card, 0o700), os.WriteFile(filepath.Join(card, cardKeyName), []byte("  "), 0o600)); err != nil {
		t.Fatal(err)
	}
	b, _ = blankBays(t, card, spare)
	if err := b.Adopt(t.Context(), spare); !errors.Is(err, firmware.ErrVaultLocked) {
		t.Errorf("damaged: %v", err)
	}
	if isDrive(filepath.Join(spare, boxFolder)) {
		t.Error("a drive was made")
	}
}
