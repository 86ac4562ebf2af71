//go:build !rescue

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

var everyStep = flag.Bool("every-step", false, "cut a rekey before each of its steps, not before some")

// TestRekeyCutAtEveryStep ends a rekey before each of its steps, the exchange of folders on each drive included. Each time
// the old words or the new ones open all that was stored, also on drives that nobody may write to, and the same command
// again finishes; or, where the new vault counts on all drives, whatever opens them next does.
func TestRekeyCutAtEveryStep(t *testing.T) {
	t.Parallel()
	base, _ := smallSite(t)
	facts := base.snapshotFacts(t)
	stride := 11
	if *everyStep {
		stride = 1
	}
	for n := 0; ; n += stride {
		s := base.copyOf(t)
		var steps []string
		cut := errors.New("cut")
		k := &rekeying{c: &call{stdio: stdio{strings.NewReader(""), io.Discard, io.Discard}}, f: &vaultFlags{drives: s.drives, keyFile: s.key}, path: s.key + ".new"}
		k.step = func(what string) error {
			if len(steps) == n {
				return cut
			}
			steps = append(steps, what)
			return nil
		}
		err := k.run(t.Context())
		if err != nil && !errors.Is(err, cut) {
			t.Fatalf("after %v: %v", steps, err)
		}
		r := s
		r.key += ".new"
		opened := ""
		for _, v := range []site{s, r} {
			if code, _, _ := boxd(t, v.with("key", "check")...); code == exitOK {
				opened = v.key
				if got := v.snapshotFacts(t); got != facts {
					t.Errorf("snapshots were\n%s\nand are\n%s", facts, got)
				}
				must(t, exitOK, v.with("vault", "verify")...)
			}
		}
		if opened == "" {
			t.Error("nobody opens this vault")
		}
		if opened == r.key && n%2 == 0 { // what comes next need not be another rekey
			if code, _, errs := boxd(t, r.with("vault", "repair")...); code != exitOK && !strings.Contains(errs, "run it again with the same drives") {
				t.Errorf("repair: %d %s", code, errs)
			}
		}
		must(t, exitOK, s.with("vault", "rekey")...)
		if got := r.snapshotFacts(t); got != facts {
			t.Errorf("snapshots were\n%s\nand are\n%s", facts, got)
		}
		must(t, exitOK, r.with("vault", "verify")...)
		if left, err := filepath.Glob(filepath.Join(s.dir, "drive*", ".phone-backup-box", "[nos]*")); err != nil || len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
		if t.Failed() {
			t.Fatalf("cut after %v", steps)
		}
		if err == nil {
			t.Logf("%d steps", len(steps))
			if len(steps) < 40 {
				t.Error("so few?")
			}
			return
		}
	}
}

// TestPowerCutWhileSealingAnew cuts the power of simulated drives at each write of making the new vault and copying into it,
// with what was not synced lost, torn or kept. The old words open all each time, and the next run finishes.
func TestPowerCutWhileSealingAnew(t *testing.T) {
	t.Parallel()
	step := 5
	if *everyStep {
		step = 1
	}
	oldWords, newWords := twoKeys(t)
	for n := 1; ; n += step {
		power := vdrive.NewPower()
		var outer, inner []array.Member
		for i := range 3 {
			id := fmt.Sprintf("0000000%d-0000-4000-8000-000000000000", i)
			for j, list := range []*[]array.Member{&outer, &inner} {
				d := vdrive.New(uint64(31*n + 10*i + j))
				power.Feed(d)
				*list = append(*list, array.Member{ID: id, Label: fmt.Sprint("d", i), Store: d})
			}
		}
		a, old, err := beginVault(t.Context(), outer, 1, oldWords)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := old.Begin(t.Context(), vault.Phone{ID: "mtp:1", Name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := tree.Create(fmt.Sprint("f", i), 300_000, time.Unix(1, 0), strings.NewReader(strings.Repeat(fmt.Sprint(i), 300_000))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tree.Commit(t.Context(), vault.Outcome{Complete: true}); err != nil {
			t.Fatal(err)
		}
		seal := func() error {
			b, nu, err := beginVault(t.Context(), inner, 1, newWords)
			if err != nil {
				return err
			}
			defer b.Close()
			list, err := old.Snapshots(t.Context())
			if err != nil {
				return err
			}
			report, err := nu.CopyFrom(t.Context(), old, list, nil)
			if err == nil && len(report.Copied)+report.There != 1 {
				err = fmt.Errorf("copied %+v", report)
			}
			if err != nil {
				return err
			}
			v, err := nu.Verify(t.Context(), nil)
			if err == nil && (!v.OK() || v.Snapshots != 1) {
				err = fmt.Errorf("verify: %+v", v)
			}
			return err
		}
		power.Cut(n)
		cutErr := seal()
		_ = a.Close() // without power it cannot flush
		power.Restore()
		if a, err = array.Open(t.Context(), outer, array.Options{}); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if old, err = vault.Open(t.Context(), a, oldWords, vault.Options{ReadOnly: true}); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if v, err := old.Verify(t.Context(), nil); err != nil || !v.OK() || v.Snapshots != 1 {
			t.Fatalf("cut at %d: the old vault: %+v, %v", n, v, err)
		}
		if err := seal(); err != nil {
			t.Fatalf("cut at %d: again: %v", n, err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if cutErr == nil {
			t.Logf("about %d writes", n)
			if n < 30 {
				t.Error("so few?")
			}
			return
		}
	}
}
