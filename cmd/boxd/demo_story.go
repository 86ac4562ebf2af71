//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"phonebackupbox/firmware"
)

// patience is how long a step of the story may take before it counts as failed. The longest copies 4 GiB twice.
const patience = 4 * time.Minute

// story is what the demonstration plays, in order. Each chapter leaves its findings in d.found.
func (d *demo) story(ctx context.Context) error {
	chapters := []struct {
		title string
		play  func(context.Context) error
	}{
		{"The first night: a phone is plugged in, and the cable comes out", d.firstNight},
		{"A drive is stolen, another one rots", d.badWeek},
		{"A blank drive goes in, and the box heals", d.heal},
		{"A new, empty phone", d.newPhone},
		{"The proof", d.proof},
	}
	for i, c := range chapters {
		d.screen.title(i+1, c.title)
		if err := c.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.title, err)
		}
	}
	return nil
}

// until waits for a State that is as ok says. A box that stops, or takes longer than patience, is an error that tells
// what it was doing.
func (d *demo) until(ctx context.Context, what string, ok func(firmware.State) bool) (firmware.State, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	states, stop := d.box.Subscribe()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			s := d.box.State()
			return s, fmt.Errorf("waiting until %s, the box is %s%s: %w", what, s.Phase, faults(s), ctx.Err())
		case s, open := <-states:
			if !open {
				return s, fmt.Errorf("waiting until %s: the box stopped", what)
			}
			if ok(s) {
				return s, nil
			}
		}
	}
}

func faults(s firmware.State) string {
	if f, ok := s.Fault(); ok {
		return fmt.Sprintf(" (%s: %s)", f.Code, f.Sentence)
	}
	return ""
}

// press does what a finger does, and waits until the button is up again.
func (d *demo) press(ctx context.Context, what, how string) error {
	d.screen.say("  finger: %s", what)
	return presses[how](d.term, ctx)
}

// backupEnded tells that a run for the phone ended after since.
func backupEnded(s firmware.State, runs int) bool {
	return len(s.Backups) >= runs && s.Job.Kind != firmware.JobBackup && s.Phase != firmware.Copying && s.Phase != firmware.Verifying
}

// firstNight: enrol, back up, cut the cable in the middle of a file, plug in again, finish.
func (d *demo) firstNight(ctx context.Context) error {
	d.screen.say("  on it: %s", d.roll.describe())
	d.old.UnplugIn(d.roll.cut.Name, d.roll.cut.Size/2)
	d.plug(d.old)
	if _, err := d.until(ctx, "the box asks about the phone", func(s firmware.State) bool { return s.Phase == firmware.Asking }); err != nil {
		return err
	}
	if err := d.press(ctx, "a tap: this phone is ours", "tap"); err != nil {
		return err
	}
	start := time.Now()
	s, err := d.until(ctx, "the cable is out and what was copied is kept", func(s firmware.State) bool {
		p, ok := s.Phone(d.oldID)
		return ok && !p.Attached() && backupEnded(s, 1)
	})
	if err != nil {
		return err
	}
	part := s.Backups[0]
	before := d.old.Stats()
	d.screen.say("  the cable came out in the middle of %s; %s of %s are kept", filepath.Base(d.roll.cut.Name), count(part.Files), plural(d.roll.files, "file", "files"))
	d.found.add(!part.Complete && s.Phase != firmware.Done && s.Phase != firmware.Idle, "cable out in the middle of a file",
		"%s; %s kept as incomplete", s.Phase, plural(part.Files, "file", "files"))
	d.plug(d.old)
	s, err = d.until(ctx, "the backup is done", func(s firmware.State) bool { return s.Phase == firmware.Done })
	if err != nil {
		return err
	}
	d.tookFirst = time.Since(start)
	again := d.old.Stats().SentAgain()
	whole := s.Backups[0]
	d.found.add(whole.Complete && whole.Files == d.roll.files && whole.Bytes == d.roll.bytes, "first backup over MTP",
		"%s, %s, green after %.0f s", plural(whole.Files, "file", "files"), size(whole.Bytes), d.tookFirst.Seconds())
	d.found.add(again <= d.roll.cut.Size && before.Sent() > 0, "plugged in again: read twice",
		"%s, of the one file that was cut (%s)", size(again), size(d.roll.cut.Size))
	return nil
}

// badWeek: a drive is stolen, bits flip on another, a new file is on the phone; the backup must end amber.
func (d *demo) badWeek(ctx context.Context) error {
	stolen, rotten := d.dirs[2], d.dirs[1]
	if err := os.RemoveAll(stolen); err != nil {
		return err
	}
	d.screen.say("  %s is gone for good", filepath.Base(stolen))
	hit, err := rot(rotten, "shards", 3)
	if err != nil {
		return err
	}
	d.rotted = hit
	d.screen.say("  a bit flipped in %s on %s", plural(hit, "file", "files"), filepath.Base(rotten))
	if err := d.roll.photo("DCIM/Camera/IMG_20261122_081500.jpg", time.Date(2026, 11, 22, 8, 15, 0, 0, time.UTC)); err != nil {
		return err
	}
	d.screen.say("  a new photo is on the phone")
	d.old.ResetStats()
	runs := len(d.box.State().Backups)
	if err := d.press(ctx, "a double tap: back up now", "double"); err != nil {
		return err
	}
	s, err := d.until(ctx, "the second backup has ended", func(s firmware.State) bool { return backupEnded(s, runs+1) && s.Phase == firmware.Problem })
	if err != nil {
		return err
	}
	f, _ := s.Fault()
	d.screen.say("  amber %s: %s", f.Code, f.Sentence)
	sent := d.old.Stats()
	d.found.add(s.Phase == firmware.Problem && s.Backups[0].Complete && s.Health.Now < s.Health.Want, "backup with a drive stolen",
		"stored, but amber: %s, %d of %d drives may die", f.Code, max(s.Health.Now, 0), s.Health.Want)
	d.found.add(sent.Sent() == photoSize, "one new photo: read from the phone", "%s in %d transactions", size(sent.Sent()), sent.Transactions)
	return nil
}

// heal: the owner puts a blank drive in, in place of the stolen one.
func (d *demo) heal(ctx context.Context) error {
	blank := filepath.Join(d.base, "drive-d")
	if err := os.Mkdir(blank, 0o755); err != nil {
		return err
	}
	d.bays.plug(blank)
	d.screen.say("  %s is plugged in, blank", filepath.Base(blank))
	if err := d.box.Do(ctx, firmware.CheckDrives{}); err != nil {
		return err
	}
	if _, err := d.until(ctx, "the box asks about the drive", func(s firmware.State) bool { return s.Phase == firmware.AskingDrive }); err != nil {
		return err
	}
	if err := d.press(ctx, "a tap: this drive is ours", "tap"); err != nil {
		return err
	}
	if _, err := d.until(ctx, "the drive is adopted", func(s firmware.State) bool {
		return s.Phase != firmware.AskingDrive && s.Job.Kind == firmware.NoJob
	}); err != nil {
		return err
	}
	start := time.Now()
	if err := d.box.Do(ctx, firmware.CheckDrives{}); err != nil {
		return err
	}
	s, err := d.until(ctx, "everything is protected again", func(s firmware.State) bool {
		return s.Job.Kind == firmware.NoJob && s.Health.Protected() && s.Health.Unhealed == 0 && len(s.Faults) == 0
	})
	if err != nil {
		return err
	}
	rep := d.bays.healed()
	d.found.add(s.Health.Now == s.Health.Want, "blank drive in, healed", "%s rebuilt, %.0f s; %d of %d drives may die again",
		plural(rep.Rebuilt+rep.Spread, "piece", "pieces"), time.Since(start).Seconds(), s.Health.Now, s.Health.Want)
	d.found.add(rep.Mended >= d.rotted, "flipped bits", "%d flipped while another drive was gone, %d mended", d.rotted, rep.Mended)
	report, err := d.bays.verify(ctx)
	if err != nil {
		return err
	}
	d.found.add(report.OK(), "read back and decrypted everything", "%s in %s, %s, %s", size(report.Bytes), plural(report.Packs, "pack", "packs"),
		plural(report.Blobs, "chunk", "chunks"), plural(report.Snapshots, "snapshot", "snapshots"))
	return nil
}

// newPhone: the old phone goes, a new one comes, and the button's whole restore guard is passed.
func (d *demo) newPhone(ctx context.Context) error {
	d.old.Unplug()
	if _, err := d.until(ctx, "the old phone is gone", func(s firmware.State) bool { return len(s.Ports) == 0 }); err != nil {
		return err
	}
	d.plug(d.fresh)
	if _, err := d.until(ctx, "the box asks about the new phone", func(s firmware.State) bool { return s.Phase == firmware.Asking }); err != nil {
		return err
	}
	if err := d.press(ctx, "hold ten seconds, let go: restore", "restore"); err != nil {
		return err
	}
	if _, err := d.until(ctx, "the box is armed", func(s firmware.State) bool { return s.Phase == firmware.Confirming }); err != nil {
		return err
	}
	d.found.add(len(d.fresh.Storages()[0].Entries()) == 0, "armed, not confirmed", "nothing was written to the new phone")
	if err := d.press(ctx, "a double tap: yes", "double"); err != nil {
		return err
	}
	start := time.Now()
	s, err := d.until(ctx, "the restore has ended", func(s firmware.State) bool {
		return s.Phase == firmware.Restored || (s.Phase == firmware.Problem && s.Job.Kind != firmware.JobRestore)
	})
	if err != nil {
		return err
	}
	d.found.add(s.Phase == firmware.Restored, "restore by the button", "%s, sent and read back in %.0f s", s.Phase, time.Since(start).Seconds())
	return nil
}

// proof compares the phones, past every driver, and looks for what must not be on the drives.
func (d *demo) proof(ctx context.Context) error {
	d.screen.say("  hashing both phones")
	c, err := comparePhones(d.old.Storages()[0], d.fresh.Storages()[0])
	if err != nil {
		return err
	}
	d.found.add(c.same(), "old phone and new phone", "%s", c)
	where, err := leaks([]string{d.dirs[0], d.dirs[1], filepath.Join(d.base, "drive-d")}, []string{"DCIM/Camera", "IMG_20261122", "Google Pixel", d.words[:40]})
	if err != nil {
		return err
	}
	if where == "" {
		where = "none"
	}
	d.found.add(where == "none", "names or key words on the drives", "%s", where)
	if !d.found.ok() {
		return errors.New("not everything held")
	}
	return ctx.Err()
}
