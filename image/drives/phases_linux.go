package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"phonebackupbox/storage"
	"phonebackupbox/storage/attach"
	"phonebackupbox/storage/drive"
)

// phases are what the machine can be asked to do, by the word for it in the kernel's command line.
var phases = map[string]func(*guest) error{
	"check":    check,
	"large":    large,
	"selftest": selftest,
	"create":   create,
	"after":    after,
	"restic":   restic,
	"cut":      cut,
	"eject":    eject,
	"smart":    smart,
	"attach":   attached,
	"syncs":    syncs,
	"held":     held,
}

// check runs the conformance suite of every Store on every disk.
func check(g *guest) error {
	for _, m := range g.media {
		dir := filepath.Join(m.dir, "check")
		d, err := drive.Create(dir, "0f8fad5b-d9cb-469f-a165-70867728950e")
		if err != nil {
			return err
		}
		if got := d.Format(); got.Type != m.fstype || got.Mount != m.dir || got.Device != m.device {
			return fmt.Errorf("%s takes itself for %+v", m.dir, got)
		}
		begin := time.Now()
		if err := errors.Join(storage.Check(context.Background(), d), d.Close()); err != nil {
			return fmt.Errorf("%s: %w", m.fstype, err)
		}
		say("CHECK %s ok in %.1f s", m.fstype, time.Since(begin).Seconds())
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// large looks at what a file of 4 GiB does: FAT has no such files, the others do.
func large(g *guest) error {
	for _, m := range g.media {
		f, err := os.Create(filepath.Join(m.dir, "large"))
		if err != nil {
			return err
		}
		limit := drive.Format{}
		if limit, err = drive.FormatOf(m.dir); err != nil {
			return err
		}
		if limit.MaxFile > 0 {
			if _, err = f.WriteAt([]byte{1}, limit.MaxFile); !errors.Is(err, unix.EFBIG) {
				return fmt.Errorf("%s takes byte %d of a file: %v", m.fstype, limit.MaxFile, err)
			}
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return err
		}
	}
	return nil
}

const (
	phone    = "/tmp/phone"
	restored = "/tmp/restored"
)

// box is the folder on a disk that is the vault's drive.
func (m medium) box() string { return filepath.Join(m.dir, "box") }

// key lies on a disk, outside of the drive there, to be there after a power cut.
func (g *guest) key() string {
	for _, m := range g.media { // two of one kind are found in any order
		if key := filepath.Join(m.dir, "key"); exists(key) {
			return key
		}
	}
	return filepath.Join(g.media[0].dir, "key")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run runs a program of the machine and returns what it printed and its exit code.
func run(program string, args ...string) (string, int, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"HOME=/tmp", "TMPDIR=/tmp", "GOMAXPROCS=2"}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: exit %d: %s %s", program, strings.Join(args, " "), exit.ExitCode(), out, complaint.String())
		return string(out), exit.ExitCode(), err
	}
	return string(out), 0, err
}

// boxd runs boxd on all drives that it finds.
func (g *guest) boxd(args ...string) (string, int, error) {
	return run("/boxd", append(args, "--drive", "auto", "--key-file", g.key())...)
}

// create makes a vault that puts everything on every disk, so that each is a restic repository of its own.
func create(g *guest) error {
	args := []string{"vault", "create", "--survive", fmt.Sprint(len(g.media) - 1), "--key-file", g.key()}
	for _, m := range g.media {
		args = append(args, "--drive", m.box())
	}
	if _, _, err := run("/boxd", args...); err != nil {
		return err
	}
	return g.backup(0)
}

// backup stores generation n of the phone and says that it is acknowledged.
func (g *guest) backup(n int) error {
	if err := grow(phone, n); err != nil {
		return err
	}
	say("BACKUP %d", n)
	out, _, err := g.boxd("backup", "folder:"+phone, "--json")
	if err != nil {
		return err
	}
	var res struct {
		Snapshot struct {
			ID string `json:"id"`
		} `json:"snapshot"`
	}
	if err := json.Unmarshal([]byte(out), &res); err != nil || res.Snapshot.ID == "" {
		return fmt.Errorf("backup says %q: %w", out, err)
	}
	g.acked = append(g.acked, fmt.Sprintf("%s:%d", res.Snapshot.ID, n))
	say("ACK %s:%d", res.Snapshot.ID, n)
	return nil
}

// cut backs up for ever: the test cuts the power somewhere in it.
func cut(g *guest) error {
	var n int
	if _, err := fmt.Sscan(g.args["from"], &n); err != nil {
		return fmt.Errorf("from=%q: %w", g.args["from"], err)
	}
	for ; ; n++ {
		if err := g.backup(n); err != nil {
			return err
		}
	}
}

// after proves, after a power cut, that everything acknowledged is there: on every disk, and it is restored and compared.
func after(g *guest) error {
	acked := append(strings.FieldsFunc(g.args["acks"], func(r rune) bool { return r == ',' }), g.acked...)
	if _, code, err := g.boxd("vault", "status"); err != nil && code != 3 {
		return err
	}
	out, _, err := g.boxd("snapshots", "--json")
	if err != nil {
		return err
	}
	for _, a := range acked {
		if id, _, _ := strings.Cut(a, ":"); !strings.Contains(out, id) {
			return fmt.Errorf("snapshot %s was acknowledged and is gone", id)
		}
	}
	for _, a := range acked[max(0, len(acked)-2):] {
		id, n, _ := strings.Cut(a, ":")
		if err := g.restore(id, n); err != nil {
			return err
		}
	}
	// Every disk has all of it: what was acknowledged was durable on each.
	if _, _, err := g.boxd("vault", "verify"); err != nil {
		return err
	}
	_, _, err = g.boxd("vault", "repair")
	return err
}

func (g *guest) restore(id, generation string) error {
	if err := os.RemoveAll(restored); err != nil {
		return err
	}
	if _, _, err := g.boxd("restore", id, "--to", restored); err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(generation, &n); err != nil {
		return err
	}
	if err := compare(restored, n); err != nil {
		return fmt.Errorf("snapshot %s, restored: %w", id, err)
	}
	say("RESTORED %s", id)
	return nil
}

// restic has stock restic read every disk by itself, once boxd says that it may.
func restic(g *guest) error {
	out, _, err := g.boxd("vault", "status", "--json")
	if err != nil {
		return err
	}
	var status struct {
		Attached []struct {
			Dir   string `json:"dir"`
			Clean bool   `json:"clean"`
		} `json:"attached"`
		Health struct {
			Drives []struct {
				Complete bool `json:"complete"`
			} `json:"drives"`
		} `json:"health"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return err
	}
	for _, d := range status.Health.Drives {
		if !d.Complete {
			return fmt.Errorf("a drive is not complete: %s", out)
		}
	}
	if len(status.Attached) != len(g.media) || slices.ContainsFunc(status.Attached, func(d struct {
		Dir   string `json:"dir"`
		Clean bool   `json:"clean"`
	}) bool {
		return !d.Clean
	}) {
		return fmt.Errorf("a drive is not clean: %s", out)
	}
	for _, m := range g.media {
		repository := filepath.Join(m.box(), "vault")
		if _, _, err := run("/restic", "-r", repository, "--password-file", g.key(), "--no-cache", "--no-lock", "check", "--read-data"); err != nil {
			return err
		}
		say("RESTIC %s ok", m.fstype)
	}
	return nil
}

// selftest tries all disks out, of which the test may have said that one is a fake.
func selftest(g *guest) error {
	for _, m := range g.media {
		begin := time.Now()
		out, code, err := run("/boxd", "selftest", "--drive", m.dir, "--most", "24", "--json")
		fake := m.fstype == g.args["fake"]
		if fake != (code == 1) {
			return fmt.Errorf("%s is a fake: %v; selftest says %s: %w", m.dir, fake, out, err)
		}
		say("SELFTEST %s fake: %v, in %.1f s: %s", m.fstype, fake, time.Since(begin).Seconds(), strings.Join(strings.Fields(out), " "))
	}
	return nil
}

// eject makes all disks safe to unplug, and looks whether they are gone.
func eject(g *guest) error {
	for _, m := range g.media {
		if _, _, err := run("/boxd", "drive", "eject", m.box()); err != nil {
			return err
		}
		if f, err := drive.FormatOf(m.dir); err != nil || f.Mount == m.dir {
			return fmt.Errorf("%s is mounted still: %v", m.dir, err)
		}
		if _, err := os.Stat("/sys/block/" + filepath.Base(m.device)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s was not stopped: %v", m.device, err)
		}
		say("EJECTED %s", m.fstype)
	}
	g.media = nil
	return nil
}

// smart asks the disks for their health: QEMU's NVMe disks answer, its USB sticks do not.
func smart(g *guest) error {
	for _, m := range g.media {
		d, err := drive.Create(filepath.Join(m.dir, "box"), "0f8fad5b-d9cb-469f-a165-70867728950e")
		if err != nil {
			return err
		}
		s, err := d.SMART()
		if cerr := d.Close(); cerr != nil {
			return cerr
		}
		if !strings.HasPrefix(m.device, "/dev/nvme") {
			if !errors.Is(err, drive.ErrNoSMART) {
				return fmt.Errorf("%s: %+v, %w", m.device, s, err)
			}
			say("SMART %s: %v", m.device, err)
			continue
		}
		const celsius = 50 // QEMU, hw/nvme/ctrl.c: 323 K
		if err != nil || s.Kind != "nvme" || s.Celsius == nil || *s.Celsius != celsius || len(s.Warnings()) > 0 {
			return fmt.Errorf("%s: %+v, %w", m.device, s, err)
		}
		say("SMART %s: %d °C, %d %% used", m.device, *s.Celsius, *s.Used)
	}
	return nil
}

// attached watches drives as the box does, and wants to write to each that is mounted: the test plugs them in and pulls them out.
// It says what it has at every change, until it has had so many drives pulled out as drives=N says.
func attached(g *guest) (err error) {
	var want int
	if _, err := fmt.Sscan(g.args["drives"], &want); err != nil {
		return fmt.Errorf("drives=%q: %w", g.args["drives"], err)
	}
	m, err := attach.Open(attach.Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	go func() { watched <- m.Watch(ctx) }()
	defer func() {
		cancel()
		if werr := <-watched; !errors.Is(werr, context.Canceled) {
			err = errors.Join(err, werr)
		}
		err = errors.Join(err, m.Close())
	}()
	say("WATCHING")
	had, gone := map[int]bool{}, 0
	for range m.Changed() {
		here := map[int]bool{}
		for _, d := range m.Drives() {
			here[d.N] = true
			if !had[d.N] {
				had[d.N] = true
				if err := greet(ctx, m, d); err != nil {
					return err
				}
			}
		}
		for n := range had {
			if !here[n] {
				delete(had, n)
				gone++
				say("GONE %d", n)
			}
		}
		if gone == want {
			return nil
		}
	}
	return nil
}

// greet tries what can be done with a drive that has just come.
func greet(ctx context.Context, m *attach.Mounts, d attach.Drive) error {
	if d.Dir == "" {
		say("REFUSED %s %v", d.Type, d.Problem)
		return nil
	}
	name := filepath.Join(d.Dir, "written by the box")
	if err := os.WriteFile(name, nil, 0o600); !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%s is not read-only at first: %v", d.Dir, err)
	}
	before, _ := os.ReadFile(name)
	if err := m.Write(ctx, d.Dir); err != nil {
		say("READONLY %s %v", d.Type, err)
		return nil
	}
	f, err := os.Create(name)
	if err == nil {
		_, err = f.WriteString("here")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return err
	}
	say("WRITTEN %s %s before: %q", d.Type, d.Dir, before)
	return nil
}
