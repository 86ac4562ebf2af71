package array

// pendingRecord is a ledger record that no Sync has committed.
type pendingRecord struct {
	kind recordKind
	name string
	size int64

	facts   []pendingFact // that count together
	dropped bool          // deleted or replaced again before it was committed
	lost    bool          // dropped because its drives failed; a Sync has to tell
	old     []entry       // committed facts that it takes the place of

	id      string // of a drive
	drive   driveState
	survive int
}

// placed is one way in which a blob is on drives: where, and its checksums.
type placed struct {
	place placement
	table []byte
}

// pendingFact is a way in which a blob is on drives, and its entry in the index.
type pendingFact struct {
	placed
	entry uint32
}

// tableOf returns the checksums of one of the record's facts.
func (r *pendingRecord) tableOf(entry uint32) []byte {
	for _, f := range r.facts {
		if f.entry == entry {
			return f.table
		}
	}
	return nil
}

// insert makes a blob known that is on its drives in one or more ways, in place of what was known before. Files of the
// earlier facts that the new ones do not use are deleted after the next Sync.
func (a *Array) insert(name string, size int64, ways ...placed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &pendingRecord{kind: factRecord, name: name, size: size}
	stale := a.retire(name, r)
	a.hold(r, ways)
	a.pending = append(a.pending, r)
	used := make(map[holder]bool)
	for _, p := range r.facts {
		f := a.fact(name, p.entry)
		for _, b := range f.all() {
			used[b.h] = true
			delete(a.removals, b.h)
		}
	}
	for _, h := range stale {
		if !used[h] {
			a.removals[h] = name
			delete(a.damage, h)
		}
	}
}

// hold enters a pending record's facts in the index. The caller holds mu.
func (a *Array) hold(r *pendingRecord, ways []placed) {
	es := make([]entry, len(ways))
	for i, w := range ways {
		es[i] = entry{size: uint32(r.size), place: a.led.place(w.place), src: pendingSource, sum: a.coders.sum(w.table)}
	}
	r.facts = nil
	i := a.led.idx.set(r.name, es...)
	for _, w := range ways {
		r.facts = append(r.facts, pendingFact{w, i})
		a.held[i] = r
		i = a.led.idx.entries[i].next
	}
}

// retire forgets what is known of a blob and returns its files. Committed facts are remembered in r. The caller holds
// mu.
func (a *Array) retire(name string, r *pendingRecord) []holder {
	var files []holder
	for i := a.led.idx.get(name); i != 0; i = a.led.idx.entries[i].next {
		f := a.fact(name, i)
		for _, b := range f.all() {
			if b.h.m != nil {
				files = append(files, b.h)
			}
		}
		if p := a.held[i]; p != nil {
			if !p.dropped {
				p.dropped = true
				r.old = append(r.old, p.old...)
			}
			delete(a.held, i)
		} else {
			e := a.led.idx.entries[i]
			e.next = 0
			r.old = append(r.old, e)
		}
	}
	return files
}
