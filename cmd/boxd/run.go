//go:build !rescue

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/hal/vboard"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
	"phonebackupbox/usbhost/mtp"
)

// runOptions are the flags of boxd run.
type runOptions struct {
	vaultFlags
	config, web, rescue, log string
	boot                     string // the card's FAT partition: a folder, or onCard; "": none
	board                    string // terminal or rpi
	console                  string // serial port; "" for none
	update                   string // folder where updates are remembered; "": none are taken
	mount                    string // folder that drives are mounted in; "": somebody else mounts them
	phones                   []string
}

// The boards that boxd runs on.
const (
	boardTerminal = "terminal" // lights and button are a terminal
	boardRPi      = "rpi"      // a Raspberry Pi, whose process 1 is image/init
)

// usualPage is where the page is unless --web says otherwise; only this computer reaches it.
const usualPage = "127.0.0.1:8080"

func runCommand(flags *pflag.FlagSet) action {
	var o runOptions
	o.register(flags)
	flags.Lookup("drive").Usage = "a drive's `folder`, once for each; one that is no drive yet is asked about; default auto: all that are attached"
	flags.Lookup("key-file").Usage = "the `file` that holds the vault's 24 words; default " + cardKeyName + " in the state folder, made with the first drive"
	flags.StringVar(&o.config, "config", "", "the settings' `file`; default "+configName+" in the state folder")
	flags.StringVar(&o.web, "web", "", "serve the page at this `address`; default "+usualPage+", or another port where that is taken")
	flags.StringArrayVar(&o.phones, "phone", nil, "`folder:DIR` counts as a phone that is plugged in while DIR is there; once for each")
	flags.StringVar(&o.mount, "mount", "", "mount drives that are plugged in, in folders of `DIR`: on the box, where nobody else does")
	flags.StringVar(&o.board, "board", boardTerminal, "what the box runs on: `terminal`, or rpi: a Raspberry Pi with its watchdog, started by image/init")
	flags.StringVar(&o.console, "console", "", "speak with people on this serial `port`, such as /dev/ttyAMA0; auto: where the kernel's messages go")
	flags.StringVar(&o.update, "update", "", "take signed updates in: on the box, with --board rpi; what became of them is kept in `DIR`")
	flags.StringVar(&o.boot, "boot", "", "the card's FAT partition: `DIR`, or card; settings are taken from it, and how the box is told there")
	flags.StringVar(&o.log, "log", "", "add to this `file` what the box does and its faults, without names; at most 1 MiB, and as much in FILE.1")
	rescue := rescueFlag(flags)
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		if o.board != boardTerminal && o.board != boardRPi {
			return usageError{fmt.Sprintf("--board %s: there is no such board", printable(o.board)), "terminal, or rpi"}
		}
		if o.update != "" && o.board != boardRPi {
			return usageError{"--update is for a box that starts from its own card", "leave it out, or give --board rpi"}
		}
		o.rescue = *rescue
		if c.state, err = stateFolder(c.state); err != nil {
			return err
		}
		return runBox(ctx, c, o)
	}
}

// stateFolder makes the box's state folder, by default the user's own.
func stateFolder(dir string) (string, error) {
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", usageError{"where should the box's state go?", "give --state DIR"}
		}
		dir = filepath.Join(home, ".local", "state", "phonebackupbox")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", hintError{fmt.Errorf("state folder %s: %w", printable(dir), reason(err)), "state", "give --state DIR, a folder that can be written to"}
	}
	return dir, nil
}

// settings reads the file that --config names, or else the one in the state folder, which may be absent.
func (o runOptions) settings(state string) (config, error) {
	if o.config == "" {
		return readConfig(state)
	}
	b, err := readSmall(o.config, maxConfig)
	if err != nil {
		return config{}, hintError{fmt.Errorf("--config %s: %w", printable(o.config), err), "config", "name the owner's settings, a TOML file"}
	}
	return parseConfig(o.config, b)
}

// key is what opens the vault: the file that the flags name, or the card's own; "" stands for a key stick. Where the owner wants no
// key on the card, one that is there is there until it has been elsewhere: see bays.leaveCard.
func (o runOptions) key(state string) (string, error) {
	if o.keyFile != "" || o.wordsFile != "" {
		return o.password()
	}
	key, _ := readKey(filepath.Join(state, cardKeyName)) // one that is damaged is no key, and the box waits for the stick: firstState tells the two apart
	return key, nil
}

// newBays makes the places for drives that the flags name.
func (o runOptions) newBays(state string) (*bays, config, error) {
	s, err := o.settings(state)
	if err != nil {
		return nil, s, err
	}
	key, err := o.key(state)
	if err != nil {
		return nil, s, err
	}
	b := &bays{password: key, policy: vault.Policy(s.Retention), survive: s.Survive, state: state, card: state,
		reborn: make(chan struct{}), cache: filepath.Join(state, "cache"), clock: clockTrusted, rescue: o.rescue, auto: len(o.drives) == 0 || slices.Contains(o.drives, autoDrives)}
	if o.keyFile == "" && o.wordsFile == "" {
		b.offCard = !s.KeyOnCard()
		if err := b.firstState(); err != nil {
			return nil, s, err
		}
	}
	for _, dir := range o.drives {
		if dir == autoDrives {
			continue
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, s, err
		}
		b.plug(abs)
	}
	return b, s, nil
}

// begin opens the vault for the first time. That its drives are not here yet, or are not well, is for the box to tell; that
// they are another box's, or in use, is for whoever gave the command. Where the box mounts its drives nobody did, and a check of
// one may take hours: the box does it all itself, with its lights on.
func (b *bays) begin(ctx context.Context) error {
	if b.mounts != nil {
		return nil
	}
	_, err := b.use(ctx)
	if errors.Is(err, drive.ErrBusy) || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, firmware.ErrWrongKey) && b.password != "" {
		return keyError(err)
	}
	if errors.Is(err, firmware.ErrOtherBox) {
		return hintError{errors.New("these drives have a vault, and this box has no key"), "key",
			"--key-file FILE; a box without a key makes a vault on an empty drive, by a tap"}
	}
	return nil
}

// folders are the paths of the phones that the flags name.
func (o runOptions) folders() ([]string, error) {
	var dirs []string
	for _, p := range o.phones {
		dir, ok := strings.CutPrefix(p, "folder:")
		if !ok || dir == "" {
			return nil, usageError{fmt.Sprintf("--phone %s: only a folder needs to be named", printable(p)), "folder:DIR; phones on USB are found by themselves"}
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, abs)
	}
	return dirs, nil
}

func runBox(ctx context.Context, c *call, o runOptions) (err error) {
	dirs, err := o.folders()
	if err != nil {
		return err
	}
	release, err := lockState(c.state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	out := c.out
	if c.json {
		out = c.err
	}
	a := onTerminal(out)
	if o.board == boardRPi {
		a = onBoard(out)
		letGo := a.guard(ctx)
		defer func() { err = errors.Join(err, a.release(letGo, err)) }() // when all is flushed, and the drives are let go
	}
	defer func() { err = errors.Join(err, a.screen.face.Close()) }()
	return runOn(ctx, c, o, &a, dirs)
}

// runOn runs the box on its board, from the first look at its drives until they are let go.
func runOn(ctx context.Context, c *call, o runOptions, a *appliance, dirs []string) (err error) {
	log := slog.New(slog.DiscardHandler)
	if o.log != "" {
		f, ferr := openLog(o.log)
		if ferr != nil {
			return ferr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		log = f.logger()
	}
	a.openBoot(o.boot)
	reset, before := error(nil), network(c.state)
	if o.board == boardRPi {
		if reset = finishReset(c.state, a.boot, append(o.drives, o.mount, o.update)...); reset != nil {
			a.screen.say("  the settings were to be erased, and are not all: %s", oneLine(reset)) // the box works with what is left
		}
	}
	a.life = beginLife(c.state, bootID(), log)
	defer func() {
		if err != nil {
			log.Error("life", "ends with", err)
		}
		err = errors.Join(err, a.life.end())
	}()
	if o.mount != "" {
		if a.mounts, err = mountDrives(ctx, o.mount, log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.mounts.Close()) }() // after the vault has let go of the drives
	}
	if again := a.openUpdates(o.update, log); again {
		return nil
	}
	defer func() { err = errors.Join(err, a.updates.Close()) }()
	if reset == nil {
		a.takeOver(c.state)
	}
	if a.reboot = a.startsAnew(o.boot, c.state, before); a.reboot {
		a.screen.say("  the box knows of another wireless network now, and is started anew")
		return nil
	}
	a.openClaim(c.state)
	a.openSettings(c.state, o.config)
	b, settings, err := o.newBays(c.state)
	if err != nil {
		return err
	}
	if o.board == boardRPi { // how it is wired may have come with the card just now
		a.quiet = settings.Quiet.lights
		dark := a.light(ctx, settings.Board)
		defer func() { err = errors.Join(err, dark()) }()
	}
	if a.updates != nil {
		a.updates.fetch = settings.Update
	}
	if a.mounts != nil {
		b.mounts, b.auto = a.mounts, false
	}
	defer func() { err = errors.Join(err, b.Eject(context.WithoutCancel(ctx))) }()
	if err := b.begin(ctx); err != nil {
		return err
	}
	a.bays, a.probe = b, settings.PhoneClock.probes(time.Local)
	ports := sockets{make(chan usbhost.Phone)}
	wiring := firmware.Config{Bus: ports, Vault: b, Roster: roster{filepath.Join(c.state, enrolledName)}, Drives: b,
		Policy: settings.Policy, Keeper: b, Diary: diary{c.state}, Clerk: clerk{c.state}, ClockTrusted: clockTrusted, Log: log, Updater: a.updater()}
	if o.board == boardRPi {
		wiring.Resetter, wiring.PowerOn = resetter{c.state, b}, a.life.powerOn
	}
	a.box = firmware.New(wiring)
	if a.updates != nil {
		a.updates.box = a.box
	}
	a.log = log
	a.texts = a.textsOf(c.state, cmp.Or(o.log, filepath.Join(c.state, boxLog)))
	err = errors.Join(a.serve(ctx, c, o, ports, dirs), a.screen.face.Close())
	if err != nil {
		return err
	}
	// What was stored is safe only when the drives were let go.
	if err := b.Eject(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return c.print(newRunResult(a.box.State()), func(w io.Writer) { fmt.Fprintln(w, "stopped; the drives are flushed and let go") })
}

// serve runs the box and all that belongs to it until it is told to stop, by ctx or by its button.
func (a *appliance) serve(ctx context.Context, c *call, o runOptions, ports sockets, dirs []string) (err error) {
	a.screen.title(0, "Phone backup box")
	page, err := a.runPage(o.web)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	if a.mounts != nil {
		a.follow(ctx, g, a.mounts)
	}
	g.Go(func() error { return page(ctx) })
	if err := errors.Join(a.control(ctx, g, c.state), a.usb(ctx, g, ports)); err != nil {
		stop()
		return errors.Join(err, ended(g.Wait()))
	}
	if len(o.drives) == 0 && o.mount == "" && a.bays.password == "" { // a PC mounts drives by itself, and most are not for backups
		a.screen.say("  no drive is named: --drive DIR, once for each, offers a mounted drive or an empty folder; a tap takes it in")
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			a.screen.say("  %s is not there now; it counts as plugged in once it is", printable(dir))
		}
		g.Go(func() error { return ports.follow(ctx, dir) })
	}
	told := context.AfterFunc(ctx, func() { a.screen.say("  stopping: what was copied is made safe") })
	defer told()
	g.Go(func() error { a.startAnew(ctx, stop); return nil })
	g.Go(func() error {
		select {
		case <-a.bays.reborn:
			a.screen.say("  this is the box that the vault knows now; it is to be started again") // which init does
			stop()
		case <-ctx.Done():
		}
		return nil
	})
	if a.term != nil {
		g.Go(func() error { return a.keys(ctx, c.in) })
	} else if s := supply(); s != nil {
		g.Go(func() error { return followSupply(ctx, s, a.box.Do, a.screen.say) })
	}
	calm, wake := a.box.Subscribe()
	g.Go(func() error { defer wake(); a.bays.rest(calm); return nil })
	off, leave := a.box.Subscribe()
	g.Go(func() error { defer leave(); a.off, a.restart = untilOff(off); stop(); return nil })
	g.Go(func() error { return a.update(ctx, stop) })
	if o.console != "" {
		g.Go(func() error { return a.console(ctx, o.console, c.state, cmp.Or(o.log, filepath.Join(c.state, boxLog))) })
	}
	if words := a.life.words(); words != "" {
		g.Go(func() error { return ended(a.box.Do(ctx, firmware.Tell{Text: words})) })
	}
	a.tellOnCard(g, o.web)
	a.tellCode(ctx, g, o.console != "")
	a.watch(ctx, g)
	a.run(ctx, g)
	return ended(g.Wait())
}

// untilOff returns when the box has let go of all: off when it was shut down by its button, why when it is to be started anew;
// neither when its States end without.
func untilOff(states <-chan firmware.State) (off bool, why firmware.Restart) {
	for s := range states {
		if s.Phase == firmware.Off {
			return true, firmware.NoRestart
		}
		if s.Restart != firmware.NoRestart && s.LetGo {
			return false, s.Restart
		}
	}
	return false, firmware.NoRestart
}

// runPage is page at the usual address, unless another is wanted.
func (a *appliance) runPage(addr string) (func(context.Context) error, error) {
	if addr != "" {
		return a.page(addr)
	}
	if serve, err := a.page(usualPage); err == nil {
		return serve, nil
	}
	return a.page(anyPort)
}

// usb opens the USB ports in g, and says where there are none.
func (a *appliance) usb(ctx context.Context, g *errgroup.Group, ports sockets) error {
	if !libusb.Built {
		a.screen.say("  this boxd has no USB, only --phone folder:DIR; make build-usb builds one that has")
		return nil
	}
	if _, err := libusb.Attached(); errors.Is(err, fs.ErrNotExist) {
		a.screen.say("  this computer has no USB; --phone folder:DIR stands for a phone")
		return nil
	}
	refused, listings := newRefusals(), new(mtp.Listings)
	bus, err := libusb.Listen(ctx, func(ctx context.Context, i usbhost.Interface) (usbhost.Phone, error) {
		return mtp.Open(ctx, i, mtp.Options{Probe: a.probe, Log: a.log, Listings: listings})
	}, refused, a.log)
	if err != nil {
		return err
	}
	a.screen.say("  plug a phone into any USB port, unlock it, and choose file transfer on its screen")
	g.Go(func() error { return watchUSB(ctx, a.pulse, bus.Answer) })
	g.Go(func() error { return refused.settle(ctx, a.screen) })
	g.Go(func() error { return errors.Join(ended(ports.forward(ctx, bus)), bus.Close()) })
	return nil
}

// keys lets keys press the button; see vboard.KeysHelp.
func (a *appliance) keys(ctx context.Context, in io.Reader) (err error) {
	k, err := openKeyboard(in)
	if k == nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err != nil {
		return err
	}
	a.screen.say("  the button: %s   Ctrl-C: end", vboard.KeysHelp)
	defer context.AfterFunc(ctx, func() { _ = k.SetReadDeadline(time.Unix(1, 0)) })()
	r := bufio.NewReader(k)
	for {
		key, _, err := r.ReadRune()
		if err != nil { // a terminal that is gone takes only the button with it
			return nil
		}
		if _, err := a.term.Key(ctx, key); err != nil {
			return ended(err)
		}
	}
}

// runResult is what boxd run --json prints when it ends: how the box was at last.
type runResult struct {
	Phones  []firmware.Phone  `json:"phones"`
	Health  firmware.Health   `json:"health"`
	Backups []firmware.Backup `json:"backups"` // newest first
	Faults  []firmware.Fault  `json:"faults"`  // gravest first
}

func newRunResult(s firmware.State) runResult {
	return runResult{s.Phones, s.Health, s.Backups, s.Faults}
}
