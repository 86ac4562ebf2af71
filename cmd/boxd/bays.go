//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/plain"
	"phonebackupbox/storage/vault"
	"phonebackupbox/usbhost"
)

// bays are the places where the box's drives are plugged in, as folders. It is the box's Vault and its Drives: before
// every job it looks which bays hold a drive of the vault now, and opens the vault anew where that has changed.
type bays struct {
	password string       // "" is what a key stick in one of the bays says
	policy   vault.Policy // which snapshots stay; guarded by mu once the box runs
	survive  *int         // drives that may die, as the owner wishes; nil is as the vault says
	state    string       // folder in which passes over the drives are kept; "" for nowhere
	card     string       // the same, if the vault is to keep a copy of what makes this box this box; "" if not
	cache    string       // folder in which what index files say is kept; "" for nowhere
	auto     bool         // mounted drives of the vault count as plugged in, wherever they are
	clock    func() bool  // whether the clock is right; nil: it is
	mounts   mounts       // drives that the box mounts itself; nil on a PC
	rescue   string       // folder with the programs that drives are to carry; "" for none
	carried  []string     // drives that carry them by now; used by Refresh alone

	onStep func(string) error // of a test: see step
	reborn chan struct{}      // closed when a blank box has become one that a vault knows: what it read at its start is out of date; nil: nobody asks

	mu       sync.Mutex          // guards what follows, and is held while a method opens or closes drives
	slots    []string            // folders, present or not
	mounted  []string            // folders on what mounts has: a drive of some vault, a key stick, or what could be adopted
	stuck    []firmware.Drive    // what mounts cannot mount or write
	arrivals string              // which arrivals the vault's drives among mounted are
	known    string              // arrivals when rack was opened
	home     string              // the vault that the drives must be of; "" until it was found
	blank    bool                // there is no vault yet, nor, unless first says which is being made, a key
	first    string              // see firstName
	wordsOut string              // the key whose words are known to be elsewhere, too; "" while none is
	offCard  bool                // the owner wants the key on a stick: the card has it until the words are elsewhere
	notKept  bool                // what is written to card is gone when the box is switched off
	open     []string            // those that rack was opened over
	rack     *rack               // nil while no drive of the vault is here
	drawn    bool                // ejected: nothing is opened any more
	asked    bool                // see early
	passes   map[string]keptPass // by drive; nil until they were read
	drilled  keptDrill           // how far the drill is; zero until it was read
	sum      array.RepairReport  // of all heals
}

var (
	_ firmware.Vault   = (*bays)(nil)
	_ firmware.Drives  = (*bays)(nil)
	_ firmware.Draft   = draft{}
	_ usbhost.Resumer  = draft{}
	_ usbhost.Numbered = draft{}
	_ usbhost.Retimer  = draft{}
)

// plug tells that a bay exists from now on; the folder may be empty or absent.
func (b *bays) plug(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.slots, dir) {
		b.slots = append(b.slots, dir)
	}
}

// refresh opens the vault over the drives that are plugged in now. The caller holds mu.
func (b *bays) refresh(ctx context.Context) (*rack, error) {
	if b.drawn {
		return nil, fmt.Errorf("the drives were let go: %w", firmware.ErrDrivesAway)
	}
	b.mountedNow()
	if b.blank && b.rack == nil {
		b.home = "" // found, perhaps, and not opened: its drives may be gone again
	}
	if b.home == "" {
		if err := b.findHome(ctx); err != nil {
			return nil, err
		}
		if b.home == "" && b.blank {
			return nil, firmware.ErrNoVault
		}
	}
	if err := b.makeWritable(ctx); err != nil {
		return nil, err
	}
	present, err := b.present(ctx)
	if err != nil {
		return nil, err
	}
	if b.rack != nil && slices.Equal(present, b.open) && b.arrivals == b.known {
		return b.rack, nil
	}
	if b.rack != nil {
		err := b.rack.close()
		pulled := b.arrivals != b.known || slices.ContainsFunc(b.open, func(dir string) bool { return !slices.Contains(present, dir) })
		b.rack, b.open = nil, nil
		// A drive that was pulled out cannot be flushed; what the array acknowledged is on the others.
		if err != nil && !pulled {
			return nil, err
		}
	}
	if len(present) == 0 {
		return nil, firmware.ErrDrivesAway
	}
	keys, err := b.keys()
	if err != nil {
		return nil, err
	}
	r, err := openArray(ctx, present, writing)
	if err != nil {
		return nil, err
	}
	if err := b.unlock(ctx, r, keys); err != nil {
		if errors.Is(err, firmware.ErrWrongKey) {
			b.home = "" // see lastHome: others may come
		}
		return nil, errors.Join(err, r.close())
	}
	if b.blank {
		if err := b.takeOver(ctx, r); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	if err := b.leaveCard(ctx, r); err != nil {
		return nil, errors.Join(err, r.close())
	}
	makeRoom()
	if b.survive != nil {
		// A wish that cannot be written down now keeps nobody from using the vault: it is tried when the drives change.
		if err := r.array.SetSurvive(ctx, *b.survive); err != nil && ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), r.close())
		}
	}
	b.rack, b.open, b.home, b.known = r, present, r.drives[0].Vault(), b.arrivals
	b.keepHome()
	return r, nil
}

// present are the folders where a drive of the vault is now: those of the bays, then others that are mounted. The caller
// holds mu.
func (b *bays) present(ctx context.Context) ([]string, error) {
	var present []string
	for _, dir := range b.places() {
		if id, ok := vaultOf(dir); ok && (b.home == "" || id == b.home) {
			present = append(present, dir)
		}
	}
	if !b.auto {
		return present, nil
	}
	found, err := drive.Find(ctx, present...)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(f drive.Found) bool { return b.home != "" && f.Vault != b.home })
	if len(found) == 0 {
		return present, nil
	}
	return chooseDrives(present, found)
}

// keys are what the vault may be opened with. The caller holds mu.
func (b *bays) keys() ([]string, error) {
	if b.password != "" && !b.blank {
		return []string{b.password}, nil
	}
	keys, err := b.stickKeys()
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("no key stick is plugged in: %w", firmware.ErrVaultLocked)
	}
	return keys, err
}

// stickKeys are what the key sticks here hold, and the owner's file held. The caller holds mu.
func (b *bays) stickKeys() ([]string, error) {
	keys, err := keysOn(slices.DeleteFunc(b.places(), func(dir string) bool { return !isStick(dir) }))
	if b.card != "" {
		if words, werr := readWords(filepath.Join(b.card, wordsName)); werr == nil && !slices.Contains(keys, words) {
			keys = append(keys, words)
		}
	}
	return keys, err
}

// unlock opens the vault with the first key that fits, and keeps that. The caller holds mu.
func (b *bays) unlock(ctx context.Context, r *rack, keys []string) (err error) {
	for _, key := range keys {
		if r.vault, err = vault.Open(ctx, r.array, key, vault.Options{Cache: b.cache, ClockTrusted: b.clock}); err == nil {
			b.password = key
			return nil
		}
		if !errors.Is(err, vault.ErrWrongKey) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", firmware.ErrWrongKey, err)
}

func (b *bays) use(ctx context.Context) (*rack, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = true
	return b.refresh(ctx)
}

// Begin opens the snapshot to be written for a phone.
func (b *bays) Begin(ctx context.Context, phone usbhost.Info) (firmware.Draft, error) {
	r, err := b.use(ctx)
	if err != nil {
		return nil, err
	}
	t, err := r.vault.Begin(ctx, vault.Phone{ID: string(phone.ID), Name: phone.Name})
	if err != nil {
		return nil, err
	}
	return draft{t, r}, nil
}

// draft is a vault's Tree in the firmware's words.
type draft struct {
	*vault.Tree
	rack *rack
}

// Commit makes the snapshot visible and durable.
func (d draft) Commit(ctx context.Context, report usbhost.Report, complete bool) (firmware.Backup, error) {
	s, err := d.Tree.Commit(ctx, outcome(report, complete))
	b := asBackup(s)
	if err != nil {
		return b, err
	}
	b.Apps = d.rack.appsOf(ctx, s)
	return b, nil
}

// appsOf tells of the apps that a snapshot holds, as far as they can be looked at: telling of them is no part of a backup, and that
// the vault has a folder that cannot be read is for the read-back and the checks to find.
func (r *rack) appsOf(ctx context.Context, s vault.Snapshot) (out []firmware.App) {
	found, _ := r.appsIn(ctx, s)
	for _, a := range found {
		out = append(out, firmware.App{Name: a.Name, Backup: a.Backup, Media: a.Media, Chats: a.Chats(), Hint: a.Hint()})
	}
	return out
}

func asBackup(s vault.Snapshot) firmware.Backup {
	b := firmware.Backup{
		ID: s.ID, Phone: usbhost.ID(s.Phone), Name: s.Name, Generation: s.Generation, Time: s.Time,
		Files: s.Files, Bytes: s.Bytes, Complete: s.Complete,
	}
	if s.Outcome != nil {
		b.Problems = len(s.Outcome.Problems) + s.Outcome.More
	}
	return b
}

// Latest opens the newest complete snapshot of a phone, or the newest of all if none is.
func (b *bays) Latest(ctx context.Context, phone usbhost.ID) (fs.FS, firmware.Backup, error) {
	r, err := b.use(ctx)
	if err != nil {
		return nil, firmware.Backup{}, err
	}
	list, err := r.snapshots(ctx, false)
	if err != nil {
		return nil, firmware.Backup{}, err
	}
	list = slices.DeleteFunc(list, func(s vault.Snapshot) bool { return s.Phone != string(phone) || s.Err != nil })
	if len(list) == 0 {
		return nil, firmware.Backup{}, fmt.Errorf("a snapshot of this phone: %w", fs.ErrNotExist)
	}
	best := list[0]
	if i := slices.IndexFunc(list, func(s vault.Snapshot) bool { return s.Complete }); i >= 0 {
		best = list[i]
	}
	fsys, err := r.vault.FS(ctx, best)
	return fsys, asBackup(best), err
}

// History tells the snapshots of all phones, newest first.
func (b *bays) History(ctx context.Context) ([]firmware.Backup, error) {
	out := []firmware.Backup{}
	r, err := b.use(ctx)
	if errors.Is(err, firmware.ErrNoVault) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := r.snapshots(ctx, false)
	told := map[string]bool{}
	for _, s := range list {
		b := asBackup(s)
		if !told[s.Phone] && s.Err == nil { // the newest of each phone tells of its apps
			told[s.Phone], b.Apps = true, r.appsOf(ctx, s)
		}
		out = append(out, b)
	}
	return out, err
}

// Health tells how the drives are, and sees those that came or went.
func (b *bays) Health(ctx context.Context) (firmware.Health, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = true
	r, err := b.refresh(ctx)
	if errors.Is(err, firmware.ErrNoVault) {
		return b.blankHealth(), nil
	}
	if err != nil {
		return firmware.Health{}, err
	}
	h, err := r.array.Health(ctx)
	if err != nil {
		return firmware.Health{}, err
	}
	snaps, err := r.snapshots(ctx, false)
	if err != nil {
		return firmware.Health{}, err
	}
	out := b.inWords(h, len(snaps))
	out.WordsIn = b.wordsIn(ctx, r)
	return out, nil
}

// unhealed is how much a heal has to do, in pieces: nobody has weighed them.
func unhealed(h array.Health) int64 {
	n := h.Damaged
	for _, blobs := range h.Here[:h.Survive] {
		n += blobs
	}
	return int64(n + behind(h))
}

// healable reports whether the drives that are here are enough to protect everything as wanted.
func healable(h array.Health) bool {
	n := 0
	for _, d := range h.Drives {
		if d.State == array.Attached {
			n++
		}
	}
	return n > h.Survive
}

// driveStates are an array's states in the firmware's words. Removed drives are not shown, blank ones are asked about.
var driveStates = map[array.State]firmware.DriveState{
	array.Attached: firmware.DriveOK, array.Failing: firmware.DriveFailing, array.Away: firmware.DriveAway,
	array.Blank: firmware.DriveUnknown, array.Twin: firmware.DriveForeign,
}

// inWords is an array's health for people. The caller holds mu.
func (b *bays) inWords(h array.Health, snapshots int) firmware.Health {
	out := firmware.Health{
		Known: true, Want: h.Survive, Now: survives(h), Snapshots: snapshots, Bytes: h.Bytes, Lost: len(h.Lost),
		Unhealed: unhealed(h), Healable: healable(h), Uneven: h.Uneven, Hurt: !h.Protected(),
	}
	for _, d := range h.Drives {
		state, shown := driveStates[d.State]
		if !shown {
			continue
		}
		if d.State == array.Attached && d.Total > 0 && d.Free < nearlyFull {
			state = firmware.DriveFull
		}
		note := ""
		if d.Travels {
			d.Complete = false // that is for people with a computer
			note = strings.Join(remarks(h, d, nil), ", ")
		}
		out.Drives = append(out.Drives, firmware.Drive{ID: d.ID, Label: d.Label, State: state, Free: d.Free, Total: d.Total, Note: note})
	}
	out.Drives = append(out.Drives, b.stuck...)
	for _, dir := range b.places() {
		if isStick(dir) { // never a drive; of this vault if its key is
			keys, err := keysOn([]string{dir})
			out.KeyStick = out.KeyStick || err == nil && slices.Contains(keys, b.password)
			continue
		}
		id, ok := vaultOf(dir)
		state := firmware.DriveForeign
		if of, err := plain.Identify(dir); err == nil {
			if of == b.home {
				state = firmware.DrivePlain
			}
		} else if info, err := os.Stat(dir); err == nil && info.IsDir() && !ok {
			if lacks(h, dir) {
				continue
			}
			state = firmware.DriveUnknown
		} else if !ok || id == b.home {
			continue
		} else if id != "" {
			state = firmware.DriveOther
		}
		out.Drives = append(out.Drives, firmware.Drive{ID: dir, Label: driveName(dir), State: state, Free: -1, Total: -1})
	}
	slices.SortStableFunc(out.Drives, func(x, y firmware.Drive) int { return strings.Compare(x.Label, y.Label) })
	return out
}

// lacks reports whether a drive that used to be at the folder dir is away: what is there now is where it is mounted, and
// that must not be taken for a new drive.
func lacks(h array.Health, dir string) bool {
	return slices.ContainsFunc(h.Drives, func(d array.DriveHealth) bool {
		return d.State == array.Away && (d.Label == dir || d.Label == filepath.Base(dir))
	})
}

// Heal makes the drives whole, as far as is known what they lack: Scrub finds out more.
func (b *bays) Heal(ctx context.Context, watch func(done, total int64)) (firmware.Health, error) {
	r, err := b.use(ctx)
	if err != nil {
		return firmware.Health{}, err
	}
	progress := func(p array.Progress) { watch(p.Done, p.Total) }
	if err := b.repair(ctx, r, progress); err != nil {
		return firmware.Health{}, err
	}
	if err := b.giveUp(ctx, r, progress); err != nil {
		return firmware.Health{}, err
	}
	r.showPages()
	return b.Health(ctx)
}

// repair makes anew what is known to be damaged or missing.
func (b *bays) repair(ctx context.Context, r *rack, watch array.Watch) error {
	report, err := r.array.Repair(ctx, watch)
	b.count(report)
	return err
}

func (b *bays) count(r array.RepairReport) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum.Mended, b.sum.Rebuilt, b.sum.Spread = b.sum.Mended+r.Mended, b.sum.Rebuilt+r.Rebuilt, b.sum.Spread+r.Spread
}

// healed is what all heals so far did.
func (b *bays) healed() array.RepairReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sum
}

// verify reads back and decrypts everything.
func (b *bays) verify(ctx context.Context) (vault.VerifyReport, error) {
	r, err := b.use(ctx)
	if err != nil {
		return vault.VerifyReport{}, err
	}
	return r.vault.Verify(ctx, nil)
}

// Adopt makes the drive at the folder dir part of the vault.
func (b *bays) Adopt(ctx context.Context, dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.refresh(ctx)
	if errors.Is(err, firmware.ErrNoVault) {
		return b.adoptFirst(ctx, dir)
	}
	if err != nil {
		return err
	}
	if dir, err = b.give(ctx, dir); err != nil {
		return err
	}
	if err := r.add(ctx, dir); err != nil {
		return err
	}
	r.showPages()
	b.mountedNow()
	if err := b.makeWritable(ctx); err != nil {
		return err
	}
	b.open, b.known = append(b.open, dir), b.arrivals
	places := b.places()
	slices.SortFunc(b.open, func(x, y string) int { return slices.Index(places, x) - slices.Index(places, y) })
	return b.noteStandIn(ctx, r)
}

// Eject flushes every drive and lets go of it. Nothing is opened again, unless it fails: then the box goes on with what it has.
func (b *bays) Eject(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if r := b.rack; r != nil {
		b.rack, b.open = nil, nil
		err = r.close()
	}
	if b.mounts != nil {
		err = errors.Join(err, b.mounts.Settle())
	}
	b.drawn = err == nil
	return err
}
