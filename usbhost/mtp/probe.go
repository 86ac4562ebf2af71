package mtp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The probe is a file that is on the phone for a moment only: what it is called, and what it says.
const (
	probeName = "phonebackupbox-clock.tmp"
	probeText = "phonebackupbox looks at the time zone"
)

// probeZone sends a small file twice, dated in winter and in summer, and looks which times the phone tells of it.
func (p *Phone) probeZone(ctx context.Context, storages []storageInfo) (*time.Location, error) {
	i := slices.IndexFunc(storages, func(s storageInfo) bool { return s.access == 0 && s.free > 1<<20 })
	if i < 0 || !p.s.info.supports(opSendObjectInfo) || !p.s.info.supports(opDeleteObject) {
		return nil, nil
	}
	var clocks []instant
	year := time.Now().UTC().Year() - 1
	for _, month := range []time.Month{time.January, time.July} {
		at := time.Date(year, month, 10, 12, 0, 0, 0, time.UTC)
		told, err := p.probeClock(ctx, storages[i].id, at)
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		offset := told.Sub(at)
		if told.IsZero() || offset.Abs() > 26*time.Hour || offset%(15*time.Minute) != 0 {
			return nil, fmt.Errorf("probe: %w: a file of %v got %v", errMalformed, at, told)
		}
		clocks = append(clocks, instant{at, int(offset / time.Second)})
	}
	return zoneOf(p.local, clocks), nil
}

// probeClock is what the phone's clock showed at an instant, as if it were UTC. The file is removed again, come what may.
func (p *Phone) probeClock(ctx context.Context, storage uint32, at time.Time) (told time.Time, err error) {
	info, _ := appendObjectInfo(nil, formatUndefined, int64(len(probeText)), probeName, at)
	handle, err := p.s.sendInfo(ctx, storage, handleAll, info)
	if code := Code(0); errors.As(err, &code) { // it may be there, left over from when the cable came out: Android does not replace it
		if cleared := p.s.clearRoot(ctx, storage); cleared != nil {
			return time.Time{}, errors.Join(err, cleared)
		}
		handle, err = p.s.sendInfo(ctx, storage, handleAll, info)
	}
	if err != nil {
		return time.Time{}, err
	}
	defer func() { err = errors.Join(err, p.s.remove(ctx, handle)) }()
	if err := p.s.sendData(ctx, int64(len(probeText)), strings.NewReader(probeText)); err != nil {
		return time.Time{}, err
	}
	o, err := p.s.objectInfo(ctx, handle)
	if err != nil {
		return time.Time{}, err
	}
	return parseTime(o.modified, time.UTC), nil
}

// maxRoot is how many objects of a root are looked at for a probe that was left over. Phones have about twenty there.
const maxRoot = 500

// clearRoot removes a probe from a storage's root.
func (s *session) clearRoot(ctx context.Context, storage uint32) error {
	handles, err := s.handles(ctx, storage, handleAll)
	if err != nil {
		return err
	}
	for _, h := range handles[:min(len(handles), maxRoot)] {
		info, err := s.objectInfo(ctx, h)
		if err != nil && fatal(ctx, err) {
			return err
		}
		if err != nil || info.name != probeName || int64(info.size) > int64(len(probeText)) {
			continue
		}
		if _, err := s.clearProbe(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// clearListed removes probes that were listed: those that a cable left behind when it came out, on phones that take several
// files of one name. Only an error that ends the run is returned.
func (p *Phone) clearListed(ctx context.Context, x *index) error {
	for i := range x.objects {
		o := &x.objects[i]
		if o.dead || o.name != probeName || o.size < 0 || o.size > int64(len(probeText)) || o.isFolder() || !x.isRoot(o) {
			continue
		}
		gone, err := p.s.clearProbe(ctx, o.handle)
		if err != nil && fatal(ctx, err) {
			return err
		}
		if err != nil {
			p.s.log.Info("mtp: a probe that was left on the phone cannot be removed", "err", err)
		}
		o.dead = gone
	}
	return nil
}

// clearProbe removes an object if its content is the probe's, or the beginning of it: what is called as it is, is not it yet.
func (s *session) clearProbe(ctx context.Context, handle uint32) (gone bool, err error) {
	b, err := s.dataset(ctx, request{op: opGetObject, params: []uint32{handle}}, len(probeText))
	if err != nil || !strings.HasPrefix(probeText, string(b)) {
		return false, err
	}
	err = s.deleteObject(ctx, handle)
	return err == nil, err
}
