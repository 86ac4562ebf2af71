package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guest is the test machine from inside.
type guest struct {
	media []medium
	args  map[string]string // of the kernel's command line
	acked []string          // snapshots that were acknowledged since the machine was switched on, as ID:generation
}

// medium is a mounted disk.
type medium struct{ device, fstype, dir string }

func main() {
	g := guest{}
	err := g.start()
	for _, phase := range strings.Split(g.args["do"], ",") {
		if err != nil {
			break
		}
		begin := time.Now()
		do := phases[phase]
		if do == nil {
			err = errors.New("no such phase")
		} else {
			err = do(&g)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", phase, err)
		} else {
			say("PASS %s in %.1f s", phase, time.Since(begin).Seconds())
		}
	}
	if err == nil {
		err = g.unmount()
	}
	if err != nil {
		say("VERDICT failed: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	} else {
		say("VERDICT ok")
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		say("power off: %v", err)
	}
	select {}
}

// say writes a line to the console, where the test reads it.
func say(format string, args ...any) { fmt.Printf("vm: "+format+"\n", args...) }

// start makes a usable system of what the kernel leaves, and mounts the disks.
func (g *guest) start() error {
	for _, m := range []medium{{"proc", "proc", "/proc"}, {"sysfs", "sysfs", "/sys"}, {"dev", "devtmpfs", "/dev"}, {"tmp", "tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.device, m.dir, m.fstype, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	g.args = make(map[string]string)
	for field := range strings.FieldsSeq(string(line)) {
		k, v, _ := strings.Cut(field, "=")
		g.args[k] = v
	}
	var want int
	if _, err := fmt.Sscan(g.args["disks"], &want); err != nil {
		return fmt.Errorf("disks=%q: %w", g.args["disks"], err)
	}
	return g.mountAll(want)
}

// diskTime is how long USB disks may take to be found; under emulation seconds are normal.
const diskTime = 90 * time.Second

// mountAll waits for so many disks and mounts each as what it turns out to be.
func (g *guest) mountAll(want int) error {
	mounted := make(map[string]bool)
	for begin := time.Now(); len(mounted) < want; {
		blocks, err := filepath.Glob("/sys/block/*")
		if err != nil {
			return err
		}
		for _, b := range blocks {
			device := "/dev/" + filepath.Base(b)
			if size, err := os.ReadFile(b + "/size"); err != nil || mounted[device] || strings.TrimSpace(string(size)) == "0" || strings.HasPrefix(device, "/dev/ram") || strings.HasPrefix(device, "/dev/loop") {
				continue
			}
			if err := g.mount(device); err != nil {
				return err
			}
			mounted[device] = true
		}
		if time.Since(begin) > diskTime {
			return fmt.Errorf("found %d disks of %d", len(mounted), want)
		}
		time.Sleep(50 * time.Millisecond)
	}
	// Disks are found in any order.
	slices.SortFunc(g.media, func(a, b medium) int { return strings.Compare(a.dir, b.dir) })
	say("READY")
	return nil
}

func (g *guest) mount(device string) error {
	var errs []error
	for _, fs := range []struct{ name, options string }{{"ext4", ""}, {"exfat", ""}, {"vfat", "utf8=1"}} {
		dir := "/media/" + fs.name
		for n := 2; g.at(dir) != nil; n++ {
			dir = fmt.Sprintf("/media/%s-%d", fs.name, n)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		err := unix.Mount(device, dir, fs.name, unix.MS_NOATIME|unix.MS_NOSUID|unix.MS_NODEV, fs.options)
		if err == nil {
			g.media = append(g.media, medium{device, fs.name, dir})
			say("%s is %s", device, dir)
			return nil
		}
		errs = append(errs, fmt.Errorf("mount %s as %s: %w", device, fs.name, err))
	}
	return errors.Join(errs...)
}

func (g *guest) at(dir string) *medium {
	for i := range g.media {
		if g.media[i].dir == dir {
			return &g.media[i]
		}
	}
	return nil
}

func (g *guest) unmount() error {
	var errs []error
	for _, m := range g.media {
		if err := unix.Unmount(m.dir, 0); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.dir, err))
		}
	}
	g.media = nil
	return errors.Join(errs...)
}
