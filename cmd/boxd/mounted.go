//go:build !rescue

package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/attach"
)

// mounts are the drives that the box mounts itself, as *attach.Mounts has them. On a PC the desktop mounts, and there are none.
type mounts interface {
	Drives() []attach.Drive
	Write(ctx context.Context, dir string) error
	Rest(dir string) error
	Settle() error
}

// driveOn is the folder of a box's drive on what is mounted at dir, "" if there is none.
func driveOn(dir string) string {
	for _, d := range []string{filepath.Join(dir, boxFolder), dir} {
		if isDrive(d) {
			return d
		}
	}
	return ""
}

// ofBox reports whether what is mounted at dir has to do with a box: of a disk's partitions, that one is the drive.
func ofBox(dir string) bool { return driveOn(dir) != "" || isStick(dir) }

// mountedNow takes in what is mounted now. The caller holds mu.
func (b *bays) mountedNow() {
	b.mounted, b.stuck = nil, nil
	if b.mounts == nil {
		return
	}
	for _, d := range b.mounts.Drives() {
		switch dir := driveOn(d.Dir); {
		case d.Dir == "":
			b.stuck = append(b.stuck, firmware.Drive{ID: d.Device, Label: d.Name, State: firmware.DriveForeign, Free: -1, Total: -1, Note: d.Problem.Error()})
		case dir == "":
			b.mounted = append(b.mounted, d.Dir)
		default:
			b.mounted = append(b.mounted, dir)
		}
	}
}

// makeWritable has the vault's drives checked and made writable. One that cannot be is no slot, and stuck tells why. The caller
// holds mu.
func (b *bays) makeWritable(ctx context.Context) error {
	b.arrivals = ""
	if b.mounts == nil {
		return nil
	}
	for _, d := range b.mounts.Drives() {
		dir := driveOn(d.Dir)
		if d.Dir == "" || dir == "" {
			continue
		}
		if id, ok := vaultOf(dir); !ok || id != b.home {
			continue
		}
		if err := b.mounts.Write(ctx, d.Dir); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			b.mounted = slices.DeleteFunc(b.mounted, func(o string) bool { return o == dir })
			b.stuck = append(b.stuck, firmware.Drive{ID: d.Device, Label: d.Name, State: firmware.DriveReadOnly, Free: -1, Total: -1, Note: oneLine(err)})
			continue
		}
		b.arrivals += fmt.Sprint(d.N, " ")
	}
	return nil
}

// places are all folders where drives may be. The caller holds mu.
func (b *bays) places() []string { return slices.Concat(b.slots, b.mounted) }

// give makes room for a drive at dir, which the owner gives to the box, and returns the folder that it is to be. The caller holds mu.
func (b *bays) give(ctx context.Context, dir string) (string, error) {
	if b.mounts == nil {
		return dir, nil
	}
	for _, d := range b.mounts.Drives() {
		if d.Dir != dir || dir == "" {
			continue
		}
		if err := notStick(dir); err != nil {
			return "", err
		}
		return filepath.Join(dir, boxFolder), b.mounts.Write(ctx, dir)
	}
	return dir, nil
}

// mountedDrives are drives that the box mounts itself, from its first moments on: they are looked at while the rest gets ready.
type mountedDrives struct {
	*attach.Mounts
	stop context.CancelFunc
	over chan struct{} // closed when nothing is watched any more
	err  error         // why; for who waited for over
}

// mountDrives mounts what is plugged in, in folders of dir, until Close.
func mountDrives(ctx context.Context, dir string, log *slog.Logger) (*mountedDrives, error) {
	m, err := attach.Open(attach.Options{Dir: dir, Ours: ofBox, Log: log})
	if err != nil {
		return nil, err
	}
	d := &mountedDrives{Mounts: m, over: make(chan struct{})}
	ctx, d.stop = context.WithCancel(ctx)
	go func() {
		defer close(d.over)
		d.err = ended(m.Watch(ctx))
	}()
	return d, nil
}

// Close unmounts them.
func (d *mountedDrives) Close() error {
	d.stop()
	<-d.over
	return d.Mounts.Close()
}

// early opens the vault while the box gets ready to ask for it. Once it has asked, nobody else may: what is being read would be
// closed where a drive has come or gone. What goes wrong is found again by the box.
func (b *bays) early(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.asked {
		_, _ = b.refresh(ctx)
	}
}

// follow has the box look at its drives whenever one comes or goes.
func (a *appliance) follow(ctx context.Context, g *errgroup.Group, m *mountedDrives) {
	g.Go(func() error {
		select {
		case <-m.over:
			return m.err
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-m.Changed():
			}
			a.bays.early(ctx)
			if err := a.box.Do(ctx, firmware.CheckDrives{}); ctx.Err() != nil {
				return nil
			} else if err != nil {
				a.screen.say("  a drive came or went: %s", oneLine(err)) // the box is shutting down
			}
		}
	})
}
