//go:build !rescue

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/vboard"
	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/folder"
	initiator "phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

type demoOptions struct {
	web, photos, dir string
	once             bool
}

func demoCommand(flags *pflag.FlagSet) action {
	var o demoOptions
	flags.StringVar(&o.web, "web", "", "serve the status page at this `address`; default 127.0.0.1 and a free port, none with --once")
	flags.StringVar(&o.photos, "photos", "", "use the photos of this `folder` instead of samples")
	flags.StringVar(&o.dir, "dir", "", "keep the demonstration's drives in this new `folder`; default: a temporary one, removed at the end")
	flags.BoolVar(&o.once, "once", false, "exit after the proof")
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		return runDemo(ctx, c, o)
	}
}

// demo is a whole box with everything around it: phones, cables, drives and a finger.
type demo struct {
	appliance
	start time.Time
	bus   *vphone.Bus
	base  string
	dirs  []string // of the first three drives
	words string

	roll       *roll
	old, fresh *mtp.Phone
	spool      *vphone.Spool // where the new phone keeps what it receives
	oldID      usbhost.ID
	found      findings
	rotted     int
	tookFirst  time.Duration
}

// plug plugs a phone into the box's USB port.
func (d *demo) plug(p *mtp.Phone) { d.bus.Arrive(p.Plug()) }

func runDemo(ctx context.Context, c *call, o demoOptions) (err error) {
	base, done, err := demoDir(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	out := c.out
	if c.json {
		out = c.err
	}
	d := &demo{appliance: onTerminal(out), base: base, start: time.Now()}
	d.screen.title(0, "A phone backup box, all of it in this one process; nothing is plugged in")
	if err := d.build(ctx, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.tidy()) }()
	return d.live(ctx, c, out, o)
}

// demoDir makes the folder that the drives lie in, and tells how to clear it away.
func demoDir(dir string) (string, func() error, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", nil, fmt.Errorf("demo: %s: %w", dir, reason(err))
		}
		return dir, func() error { return nil }, makeTarget(dir, false)
	}
	base, err := os.MkdirTemp("", "boxd-demo-")
	return base, func() error { return os.RemoveAll(base) }, err
}

// smallVideo is the size of the big video on a machine without room for it, in bytes.
const smallVideo = 200 << 20

// freeSpace is the room on the disk that holds dir, in bytes; -1 if nobody can tell.
func freeSpace(ctx context.Context, dir string) (int64, error) {
	p, err := folder.Open(dir)
	if err != nil {
		return -1, err
	}
	info, err := p.Info(ctx)
	return info.Free, errors.Join(err, p.Close())
}

// build makes the phones, the drives, the vault and the box.
func (d *demo) build(ctx context.Context, o demoOptions) (err error) {
	video := int64(bigVideoSize)
	room, err := freeSpace(ctx, d.base)
	if err != nil {
		return err
	}
	if room >= 0 && room < 2*bigVideoSize {
		video = smallVideo
		d.screen.say("  only %s free in %s: the big video is %s instead of %s", size(room), d.base, size(video), size(bigVideoSize))
	}
	if o.photos == "" {
		d.screen.say("  gathering photos that real cameras took; the first time this downloads about 85 MB")
	}
	if d.roll, err = fill(ctx, samplesDir(d.base), o.photos, video); err != nil {
		return err
	}
	d.screen.say("  pictures: %s", d.roll.set.Reason)
	d.old = oldPhone(d.roll)
	d.fresh, d.spool = newPhone(d.roll, d.base)
	d.oldID = "mtp:DEMO0001"
	if d.words, err = vault.NewWords(); err != nil {
		return err
	}
	d.bays = &bays{password: d.words, policy: vault.DefaultPolicy, state: d.base}
	for _, name := range []string{"drive-a", "drive-b", "drive-c"} {
		dir := filepath.Join(d.base, name)
		d.dirs = append(d.dirs, dir)
		d.bays.plug(dir)
	}
	if err := createOn(ctx, d.dirs, d.words, 1); err != nil {
		return err
	}
	d.screen.say("  a vault over three drives, two for data and one for parity; its 24 words begin “%s …”", strings.Join(strings.Fields(d.words)[:3], " "))
	d.bus = vphone.NewBus(func(ctx context.Context, dev usbhost.Interface) (usbhost.Phone, error) {
		// No samples of unchanged files: the story counts every byte that is read.
		return initiator.Open(ctx, dev, initiator.Options{Location: time.UTC, Sampling: initiator.Sampling{Every: -1}})
	}, nil)
	d.box = firmware.New(firmware.Config{Bus: d.bus, Vault: d.bays, Roster: roster{filepath.Join(d.base, enrolledName)}, Drives: d.bays,
		Keeper: d.bays, Diary: diary{d.base}})
	return nil
}

// createOn makes a new vault on folders and lets go of it again.
func createOn(ctx context.Context, dirs []string, password string, survive int) (err error) {
	r := &rack{}
	defer r.also(&err)
	if r.drives, err = createDrives(dirs, newVaultID()); err != nil {
		return err
	}
	return r.create(ctx, password, survive)
}

// tidy pulls the phones out and lets go of the drives.
func (d *demo) tidy() error {
	d.old.Unplug()
	d.fresh.Unplug()
	return errors.Join(d.bays.Eject(context.Background()), d.spool.Close())
}

// live runs the box, its lights and its page while the story plays, and then, unless once, while the visitor does.
func (d *demo) live(ctx context.Context, c *call, out io.Writer, o demoOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	d.run(ctx, g)
	if !o.once || o.web != "" {
		serve, err := d.page(cmp.Or(o.web, anyPort))
		if err != nil {
			stop()
			return errors.Join(err, ended(g.Wait()))
		}
		g.Go(func() error { return serve(ctx) })
	}
	err := d.story(ctx)
	// From here on a person may type: nothing is redrawn in place any more.
	err = d.report(c, out, errors.Join(err, d.screen.face.Close()))
	if err == nil && !o.once {
		err = d.play(ctx, c)
	}
	stop()
	return errors.Join(err, ended(g.Wait()))
}

// report prints the table and turns it into the exit code.
func (d *demo) report(c *call, out io.Writer, err error) error {
	took := time.Since(d.start)
	if err != nil {
		d.found.add(false, "the demonstration", "%v", err)
	} else {
		d.found.add(true, "all of it", "%.0f s", took.Seconds()) // a slow disk is no broken promise
	}
	fmt.Fprintln(out)
	d.found.table(out, d.depth != vboard.ASCII)
	if c.json {
		if perr := printJSON(c.out, d.found); perr != nil {
			return perr
		}
	}
	if !d.found.ok() {
		return lostError{"the demonstration did not hold what it promises"}
	}
	return nil
}
