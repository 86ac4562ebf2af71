package mtp

// fault is what goes wrong with one path. A path holds on every storage of the phone.
type fault struct {
	folder   bool   // cannot be listed
	poison   bool   // any listing that holds it fails
	failAt   int64  // reading fails at this offset; < 0: never
	shortAt  int64  // its data end at this offset, with a response of OK; < 0: never
	unplugAt int64  // the cable is pulled when this offset has reached the host, once; < 0: never
	grows    int    // how many more reads make it grow; < 0: every one
	sizeless bool   // says FFFFFFFF wherever its size is asked for
	date     string // what is told for its dates; "": the truth
	name     string // what is told for its name; "": the truth
}

func (p *Phone) set(path string, change func(*fault)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.faults[path]
	if f == nil {
		f = &fault{failAt: -1, shortAt: -1, unplugAt: -1}
		p.faults[path] = f
	}
	change(f)
}

// look returns the fault of a path; a copy, since faults change while the phone runs.
func (p *Phone) look(path string) (fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.faults[path]; f != nil {
		return *f, true
	}
	return fault{failAt: -1, shortAt: -1, unplugAt: -1}, false
}

// faulty reports whether anything at all goes wrong: paths need not be made up when nothing does.
func (p *Phone) faulty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.faults) > 0
}

// Heal ends everything that goes wrong with path.
func (p *Phone) Heal(path string) {
	p.mu.Lock()
	delete(p.faults, path)
	p.mu.Unlock()
}

// FailingFolder makes the listing of a folder fail, and with it every listing of the whole phone.
func (p *Phone) FailingFolder(path string) { p.set(path, func(f *fault) { f.folder = true }) }

// FailingObject makes a file fail to read from its first byte: GeneralError without data.
func (p *Phone) FailingObject(path string) { p.FailingAt(path, 0) }

// FailingAt makes a file fail to read at an offset in bytes. AOSP then stalls both endpoints and sends no response.
func (p *Phone) FailingAt(path string, off int64) { p.set(path, func(f *fault) { f.failAt = off }) }

// PoisonObject makes every listing fail that would describe path.
func (p *Phone) PoisonObject(path string) { p.set(path, func(f *fault) { f.poison = true }) }

// ShortFile makes the data of a file end after n bytes, although the container's length and the response say that all
// went well.
func (p *Phone) ShortFile(path string, n int64) { p.set(path, func(f *fault) { f.shortAt = n }) }

// GrowsWhileRead makes a file longer and newer during each of its next times data phases; times < 0 means all.
func (p *Phone) GrowsWhileRead(path string, times int) {
	p.set(path, func(f *fault) { f.grows = times })
}

// SizelessFile makes the phone say FFFFFFFF for a file's size, in 32 bits, everywhere but in the container that carries it.
func (p *Phone) SizelessFile(path string) { p.set(path, func(f *fault) { f.sizeless = true }) }

// JunkDate makes the phone tell text for a path's dates, such as "20480000T000000".
func (p *Phone) JunkDate(path, text string) { p.set(path, func(f *fault) { f.date = text }) }

// ToldName makes the phone tell another name for a path, such as "../x": what no Linux folder can hold a hostile phone can
// still say.
func (p *Phone) ToldName(path, name string) { p.set(path, func(f *fault) { f.name = name }) }

// UnplugIn pulls the cable when the first off bytes of path have reached the host; once.
func (p *Phone) UnplugIn(path string, off int64) { p.set(path, func(f *fault) { f.unplugAt = off }) }

// spend counts down the faults that happen a number of times.
func (p *Phone) spend(path string, change func(*fault)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.faults[path]; f != nil {
		change(f)
	}
}
