package mtp

import (
	"math/rand/v2"

	"phonebackupbox/usbhost/vphone"
)

// item is one object of a listing.
type item struct {
	store *store
	vphone.Info
}

func (i item) format() uint16 { return formatOf(i.Name, i.Folder) }

// list collects objects as AOSP's storage manager does. parent 0 means everything below the root, FFFFFFFF the root's
// own entries; storage FFFFFFFF means all of them; format 0 any. A folder that cannot be listed makes the whole listing
// fail (ok false), and so do an unknown storage or parent.
func (s *server) list(storage, format, parent uint32) (items []item, ok bool) {
	recursive := parent == 0
	if parent == all {
		parent = 0
	}
	if parent != 0 {
		o, _, found := s.lookup(parent)
		if !found {
			return nil, false
		}
		return s.descend(nil, o.store, o.node, format, false)
	}
	if storage == all {
		ok = true
		for _, st := range s.shown() {
			var one bool
			items, one = s.descend(items, st, st.Root(), format, recursive)
			ok = ok && one
		}
		return items, ok
	}
	for _, st := range s.shown() {
		if st.id == storage {
			return s.descend(nil, st, st.Root(), format, recursive)
		}
	}
	return nil, false
}

func (s *server) descend(items []item, st *store, folder *vphone.Node, format uint32, recursive bool) ([]item, bool) {
	infos, err := st.Children(folder)
	if err != nil || s.failing(st, folder) {
		return items, false
	}
	if s.phone.cfg.Quirks.Shuffles {
		r := rand.New(rand.NewPCG(uint64(s.run), 0))
		r.Shuffle(len(infos), func(i, j int) { infos[i], infos[j] = infos[j], infos[i] })
	}
	for _, info := range infos {
		i := item{st, info}
		s.handleOf(st, info.Node)
		if format == 0 || uint32(i.format()) == format {
			items = append(items, i)
		}
	}
	ok := true
	if recursive {
		for _, info := range infos {
			if info.Folder {
				var one bool
				items, one = s.descend(items, st, info.Node, format, true)
				ok = ok && one
			}
		}
	}
	return items, ok
}

func (s *server) failing(st *store, folder *vphone.Node) bool {
	if !s.phone.faulty() {
		return false
	}
	f, _ := s.phone.look(st.Path(folder))
	return f.folder
}

// told returns an object as the phone describes it; ok is false where a fault makes it impossible.
func (s *server) told(i item) (info vphone.Info, date string, ok bool) {
	info, date = i.Info, formatDate(i.ModTime, s.phone.location())
	if s.phone.cfg.Quirks.PTP {
		date += ".0"
	}
	if !s.phone.faulty() {
		return info, date, true
	}
	f, found := s.phone.look(i.store.Path(i.Node))
	if !found {
		return info, date, true
	}
	if f.name != "" {
		info.Name = f.name
	}
	if f.date != "" {
		date = f.date
	}
	return info, date, !f.poison
}

// hasStorage reports whether an ID names a visible storage, or all of them where there is one.
func (s *server) hasStorage(id uint32) bool {
	shown := s.shown()
	for _, st := range shown {
		if st.id == id {
			return true
		}
	}
	return (id == 0 || id == all) && len(shown) > 0
}

func (s *server) find(c command) (items []item, code uint16) {
	if !s.hasStorage(c.params[0]) {
		return nil, respInvalidStorageID
	}
	if c.params[2] == 0 && s.phone.cfg.Quirks.RootZeroInvalid {
		return nil, respInvalidObjectHandle
	}
	items, ok := s.list(c.params[0], c.params[1], c.params[2])
	if !ok {
		return nil, respInvalidObjectHandle
	}
	return items, respOK
}

func (s *server) getNumObjects(c command) (response, error) {
	items, code := s.find(c)
	if code == respInvalidStorageID {
		return respond(code)
	}
	return respond(code, uint32(len(items)))
}

func (s *server) getObjectHandles(c command) (response, error) {
	items, code := s.find(c)
	if code != respOK {
		return respond(code)
	}
	handles := make([]uint32, len(items))
	for i, it := range items {
		handles[i] = s.handleOf(it.store, it.Node)
	}
	d := newDataset(4 + 4*len(handles))
	d.list32(handles)
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

// getObjectInfo answers with an ObjectInfo dataset (MTP 1.1, section 5.3.1).
func (s *server) getObjectInfo(c command) (response, error) {
	o, real, ok := s.lookup(c.params[0])
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	info, date, ok := s.told(item{o.store, real})
	if !ok {
		return respond(respGeneralError)
	}
	size := uint32(min(info.Size(), all))
	if f, _ := s.phone.look(o.store.Path(o.node)); f.sizeless {
		size = all
	}
	d := newDataset(128)
	d.u32(o.store.id)
	d.u16(formatOf(info.Name, info.Folder))
	d.u16(0) // protection: none
	d.u32(size)
	d.u16(0) // thumbnail: format, size, width, height
	d.u32(0)
	d.u32(0)
	d.u32(0)
	d.u32(0) // image: width, height, depth
	d.u32(0)
	d.u32(0)
	d.u32(s.handleOf(o.store, info.Parent))
	d.u16(0) // association: type, description
	d.u32(0)
	d.u32(0) // sequence number
	d.str(info.Name)
	d.str(date) // created: AOSP knows only one date
	d.str(date) // modified
	d.str("")   // keywords
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}
