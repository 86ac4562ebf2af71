package mtp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"phonebackupbox/usbhost"
)

// learnZone finds out in which time zone the phone lives, once a plug-in: by its clock, if that tells its offset from UTC, or
// by two small files with known dates, if that is allowed. Where neither works, times are taken to be in Options.Location. Only
// an error that ends the run is returned.
func (p *Phone) learnZone(ctx context.Context, storages []storageInfo) error {
	if p.zoneKnown {
		return nil
	}
	zone, err := p.clockZone(ctx)
	if zone == nil && err == nil && p.probe {
		zone, err = p.probeZone(ctx, storages)
	}
	switch {
	case err != nil && fatal(ctx, err):
		return err
	case err != nil:
		p.s.log.Info("mtp: the phone's time zone cannot be found out", "err", err)
	case zone != nil:
		p.s.log.Info("mtp: the phone's time zone", "zone", zone.String())
		p.local, p.zoneKnown = zone, true
	}
	return nil
}

// clockZone asks for the device property DateTime (MTP 1.1, appendix C.2.18); nil if it tells no offset.
func (p *Phone) clockZone(ctx context.Context) (*time.Location, error) {
	if !slices.Contains(p.s.info.properties, uint16(propDateTime)) || !p.s.info.supports(opGetDevicePropValue) {
		return nil, nil
	}
	b, err := p.s.dataset(ctx, request{op: opGetDevicePropValue, params: []uint32{propDateTime}}, maxDataset)
	if err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	c := cursor{b: b}
	now := parseTime(c.str(), nowhere)
	if c.err != nil || now.IsZero() || now.Location() == nowhere {
		return nil, c.err
	}
	_, offset := now.Zone()
	return zoneOf(p.local, []instant{{now, offset}}), nil
}

// nowhere stands for a zone that was not told.
var nowhere = time.FixedZone("nowhere", 0)

// An instant is what the phone's clock shows at one time: seconds east of UTC.
type instant struct {
	at     time.Time
	offset int
}

// zoneOf is the zone that a phone with these clocks lives in: the box's own if it fits, else a known one that does, else one
// without daylight saving. Two instants half a year apart tell zones with daylight saving; one alone does not.
func zoneOf(box *time.Location, clocks []instant) *time.Location {
	fits := func(zone *time.Location) bool {
		return !slices.ContainsFunc(clocks, func(c instant) bool {
			_, offset := c.at.In(zone).Zone()
			return offset != c.offset
		})
	}
	if fits(box) {
		return box
	}
	if len(clocks) > 1 && clocks[0].offset != clocks[1].offset {
		for _, name := range zonesWithSummer {
			if zone, err := time.LoadLocation(name); err == nil && fits(zone) {
				return zone
			}
		}
	}
	return time.FixedZone("the phone's", clocks[0].offset)
}

// zonesWithSummer has one zone for each rule of daylight saving and offset that is in use (IANA tz database 2025b). Those
// that share their offsets change their clocks within weeks of one another.
var zonesWithSummer = strings.Fields(`Europe/Berlin Europe/London Europe/Athens Europe/Chisinau Atlantic/Azores America/Nuuk
	America/New_York America/Chicago America/Denver America/Los_Angeles America/Anchorage America/Adak America/Halifax
	America/St_Johns America/Havana Africa/Casablanca Asia/Jerusalem Asia/Beirut Africa/Cairo America/Santiago Pacific/Easter
	America/Asuncion Australia/Sydney Australia/Adelaide Australia/Lord_Howe Pacific/Auckland Pacific/Chatham Pacific/Norfolk`)

// How a shift of all times is told from files that changed.
const (
	shiftSample = 256 // files that are looked at, from all over the phone
	shiftFew    = 3   // so many must agree
)

// A shift is by how much the phone's times differ from the tree's although nothing changed: it travelled, and tells the same
// instants in another zone.
type shift struct {
	by     time.Duration
	votes  int
	newest time.Time // of the files that tell it
}

// shifts looks for files that are in the tree with the same size and a time that differs by whole quarters of an hour. Where
// nearly all of the files differ so, by the same amount or, since zones have daylight saving at different times, by an hour more
// or less, the phone travelled. Most files agree first.
func (b *backup) shifts(dirs []dir) ([]shift, error) {
	files := 0
	for i := range dirs {
		files += len(dirs[i].files)
	}
	every := max(files/shiftSample, 1)
	votes, same, n := map[time.Duration]*shift{}, 0, 0
	for i := range dirs {
		for _, f := range dirs[i].files {
			if n++; n%every != 0 || f.size < 0 || f.mtime == unknownTime {
				continue
			}
			info, err := fs.Stat(b.into, dirs[i].path+"/"+f.name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look at %q in the snapshot: %w", f.name, err)
			}
			if info.IsDir() || info.Size() != f.size || info.ModTime().IsZero() {
				continue
			}
			same++
			by := f.time().Sub(info.ModTime())
			if by%(15*time.Minute) != 0 || by.Abs() > 26*time.Hour {
				continue
			}
			v := votes[by]
			if v == nil {
				v = &shift{by: by}
				votes[by] = v
			}
			v.votes++
			if f.time().After(v.newest) {
				v.newest = f.time()
			}
		}
	}
	return agreed(votes, same), nil
}

// agreed picks the shifts that same files, of the same size as before, agree on; nil if they do not, or if it is none.
func agreed(votes map[time.Duration]*shift, same int) (all []shift) {
	var best *shift
	for _, v := range votes {
		if best == nil || v.votes > best.votes || v.votes == best.votes && v.by < best.by {
			best = v
		}
	}
	if best == nil || best.by == 0 || best.votes < shiftFew {
		return nil
	}
	sum := 0
	for _, v := range votes {
		if (v.by-best.by).Abs() <= time.Hour && v.by != 0 {
			all = append(all, *v)
			sum += v.votes
		}
	}
	if sum*10 < same*9 {
		return nil
	}
	slices.SortFunc(all, func(a, b shift) int { return b.votes - a.votes })
	return all
}

// keepShifted keeps a file whose time is told in another zone than when it was stored. Where the zone is known now, the tree
// gets the right time.
func (b *backup) keepShifted(path string, size int64, f entry) error {
	if f.mtime != unknownTime {
		for _, s := range b.shift {
			err := b.into.Keep(path, size, f.time().Add(-s.by))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if tree, ok := b.into.(usbhost.Retimer); err == nil && ok && b.p.zoneKnown {
				return tree.Retime(path, f.time())
			}
			return err
		}
	}
	return fs.ErrNotExist
}

// correct gives new and changed files of a phone in an unknown zone times that fit those it had before.
func (b *backup) correct(f entry) {
	if f.mtime != unknownTime {
		f.mtime -= int64(b.back)
	}
}
