//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/vboard"
	"phonebackupbox/ui/console"
	"phonebackupbox/usbhost/vphone/mtp"
)

// play gives the box to the visitor: a console with commands for the hands that plug, press and break things.
func (d *demo) play(ctx context.Context, c *call) error {
	d.screen.quiet.Store(true)
	d.screen.say("")
	d.screen.say("The box stays up. Type help for what you can ask and do; quit ends it.")
	con := console.New(d.box, console.Options{Prompt: "box> ", Commands: []console.Command{
		{Name: "plug", Args: "old|new", Help: "plug a phone in", Run: d.onPhone(d.plug)},
		{Name: "unplug", Args: "old|new", Help: "pull it out", Run: d.onPhone((*mtp.Phone).Unplug)},
		{Name: "press", Args: "tap|double|stop|restore", Help: "the button: a tap, two, 3 s, 10 s and let go", Run: d.pressWord},
		{Name: "lights", Help: "what the six lights show now", Run: d.lights},
		{Name: "photo", Help: "a new photo appears on the old phone", Run: d.photo},
		{Name: "kill", Args: "DRIVE", Help: "a drive is stolen", Run: d.kill},
		{Name: "rot", Args: "DRIVE", Help: "bits flip on a drive", Run: d.rotDrive},
		{Name: "drive", Args: "NAME", Help: "plug a blank drive in", Run: d.blankDrive},
	}})
	return con.Run(ctx, struct {
		io.Reader
		io.Writer
		deadliner
	}{c.in, c.out, deadline(c.in)})
}

// deadliner ends a read that waits for a person.
type deadliner interface{ SetReadDeadline(time.Time) error }

func deadline(r io.Reader) deadliner {
	if d, ok := r.(deadliner); ok {
		return d
	}
	return noDeadline{}
}

type noDeadline struct{}

func (noDeadline) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// one returns a command's single argument.
func one(args []string, want string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("one word is wanted: %s", want)
	}
	return args[0], nil
}

func (d *demo) onPhone(do func(*mtp.Phone)) func(context.Context, io.Writer, []string) error {
	return func(_ context.Context, _ io.Writer, args []string) error {
		which, err := one(args, "old or new")
		if err != nil {
			return err
		}
		p := map[string]*mtp.Phone{"old": d.old, "new": d.fresh}[which]
		if p == nil {
			return fmt.Errorf("there is an old phone and a new one, no %q", which)
		}
		do(p)
		return nil
	}
}

// presses are what a visitor can do to the button.
var presses = map[string]func(*vboard.Board, context.Context) error{
	"tap": (*vboard.Board).Tap, "double": (*vboard.Board).DoubleTap,
	"stop":    func(b *vboard.Board, ctx context.Context) error { return b.Hold(ctx, holdStop) },
	"restore": func(b *vboard.Board, ctx context.Context) error { return b.Hold(ctx, holdRestore) },
}

// How long a finger holds the button: a little longer than the box wants, as fingers do.
const (
	holdStop    = firmware.StopAfter + 400*time.Millisecond
	holdRestore = firmware.ArmAfter + 400*time.Millisecond
)

func (d *demo) pressWord(ctx context.Context, _ io.Writer, args []string) error {
	which, err := one(args, "tap, double, stop or restore")
	if err != nil {
		return err
	}
	press, ok := presses[which]
	if !ok {
		return fmt.Errorf("the button can be pressed with tap, double, stop or restore, not %q", which)
	}
	return press(d.term, ctx)
}

func (d *demo) lights(_ context.Context, w io.Writer, _ []string) error {
	_, err := fmt.Fprintln(w, strings.Join(vboard.Render(d.term.Frame(), false, d.depth), "\n"))
	return err
}

func (d *demo) photo(_ context.Context, w io.Writer, _ []string) error {
	name := fmt.Sprintf("DCIM/Camera/IMG_%s.jpg", time.Now().UTC().Format("20060102_150405.000"))
	_, err := fmt.Fprintln(w, name)
	return errors.Join(err, d.roll.photo(name, time.Now().UTC().Truncate(time.Second)))
}

// attached is the folder of a drive that is plugged in.
func (d *demo) attached(args []string) (string, error) {
	name, err := one(args, "a drive's name, as drives shows it")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(d.base, filepath.Base(name))
	if !strings.HasPrefix(filepath.Base(dir), "drive-") || !isDrive(dir) {
		return "", fmt.Errorf("no drive %q is plugged in", name)
	}
	return dir, nil
}

func (d *demo) kill(ctx context.Context, _ io.Writer, args []string) error {
	dir, err := d.attached(args)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(dir), d.box.Do(ctx, firmware.CheckDrives{}))
}

func (d *demo) rotDrive(_ context.Context, w io.Writer, args []string) error {
	dir, err := d.attached(args)
	if err != nil {
		return err
	}
	hit, err := rot(dir, "shards", 3)
	fmt.Fprintf(w, "a bit flipped in %s\n", plural(hit, "file", "files"))
	return err
}

func (d *demo) blankDrive(ctx context.Context, _ io.Writer, args []string) error {
	name, err := one(args, "a name for the drive")
	if err != nil {
		return err
	}
	dir := filepath.Join(d.base, "drive-"+strings.TrimPrefix(filepath.Base(name), "drive-"))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	d.bays.plug(dir)
	return d.box.Do(ctx, firmware.CheckDrives{})
}
