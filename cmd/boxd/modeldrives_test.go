//go:build !rescue

package main

import "slices"

// repair finds and mends what is wrong with the drives attached.
func (w *world) repair(s session) {
	scrub, err := s.a.Scrub(s.ctx, nil)
	if err != nil {
		w.say("scrub: %v", err)
		return
	}
	report, err := s.a.Repair(s.ctx, nil)
	w.say("repair: %d damaged; %d mended, %d rebuilt, %d spread, %d orphans, %d lost: %v", len(scrub.Damaged), report.Mended, report.Rebuilt,
		report.Spread, report.Orphans, len(report.Lost), err)
	if err == nil && len(report.Lost) == 0 && !w.dark() {
		for _, id := range s.ids {
			delete(w.hurt, id)
		}
		w.believe(s, "")
	}
}

// rot damages a drive where that breaks no promise.
func (w *world) rot() {
	ids := w.all()
	id := ids[w.rng.IntN(len(ids))]
	if !w.safe(id) {
		return
	}
	w.hurt[id] = true
	w.sum.Rotten++
	for range 1 + w.rng.IntN(5) {
		w.say("rot on %s in %s", id[30:], w.drives[id].RotRandom())
	}
}

// full leaves a drive little room, or gives it room again.
func (w *world) full() {
	ids := w.all()
	d, free := w.drives[ids[w.rng.IntN(len(ids))]], int64(1e12)
	if w.rng.IntN(2) == 0 {
		free = w.rng.Int64N(1 << 20)
	}
	w.say("a drive has %d bytes of room", free)
	d.Full(free)
}

// replaceDead has a drive die where that breaks no promise, and a new one take its place.
func (w *world) replaceDead() {
	ids := w.all()
	id := ids[w.rng.IntN(len(ids))]
	if !w.safe(id) || len(ids) < 2 {
		return
	}
	w.say("%s dies", id[30:])
	w.sum.Died++
	delete(w.drives, id)
	for i, h := range w.heads {
		w.heads[i] = slices.DeleteFunc(slices.Clone(h), func(d string) bool { return d == id })
	}
	w.heads = slices.DeleteFunc(w.heads, func(h []string) bool { return len(h) == 0 }) // what it alone knew died with it
	w.session(w.all(), func(s session) {
		if err := s.a.Remove(s.ctx, id); err != nil {
			w.say("remove: %v", err)
			return
		}
		w.add(s)
		w.repair(s)
	})
}

// travel says of a drive, here or away, that it travels, or that it stays.
func (w *world) travel(s session) {
	ids := w.all()
	id, on := ids[w.rng.IntN(len(ids))], w.rng.IntN(3) > 0
	err := s.a.Travel(s.ctx, id, on)
	w.say("%s travels: %v: %v", id[30:], on, err)
	w.sum.Travelled++
	if err == nil && w.rng.IntN(2) == 0 {
		w.repair(s)
	}
}

// catchUp brings the drives attached up to date.
func (w *world) catchUp(s session) {
	report, err := s.a.CatchUp(s.ctx, nil)
	w.say("catch up: %d made anew, %d spread, %d lost: %v", report.Rebuilt, report.Spread, len(report.Lost), err)
	if err == nil && len(report.Lost) == 0 && !w.dark() {
		w.believe(s, "")
	}
}

// drain takes a good drive out: what is on it moves to the others first, so nothing that was promised may be the worse for it.
func (w *world) drain(s session) {
	id := s.ids[w.rng.IntN(len(s.ids))]
	if len(s.ids) < 2 || w.hurt[id] {
		return
	}
	report, err := s.a.Drain(s.ctx, id, nil)
	w.say("drain %s: %d made anew, %d spread, %d lost: %v", id[30:], report.Rebuilt, report.Spread, len(report.Lost), err)
	if err != nil {
		return
	}
	w.sum.Drained++
	delete(w.drives, id)
	s.ids = slices.DeleteFunc(slices.Clone(s.ids), func(d string) bool { return d == id })
	for i, h := range w.heads {
		w.heads[i] = slices.DeleteFunc(slices.Clone(h), func(d string) bool { return d == id })
	}
	w.heads = slices.DeleteFunc(w.heads, func(h []string) bool { return len(h) == 0 })
	w.believe(s, "")
	w.check(s)
}

// add takes a new drive in.
func (w *world) add(s session) {
	if len(w.drives) >= 6 {
		return
	}
	id := w.newDrive()
	err := s.a.Add(s.ctx, w.members([]string{id})[0])
	w.say("add %s: %v", id[30:], err)
	if err == nil && w.rng.IntN(2) == 0 {
		s.ids = append(slices.Clone(s.ids), id)
		w.repair(s)
	}
}
