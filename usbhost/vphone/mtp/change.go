package mtp

import (
	"strings"
	"time"

	"phonebackupbox/usbhost/vphone"
)

func (s *server) deleteObject(c command) (response, error) {
	o, _, ok := s.lookup(c.params[0])
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	if err := o.store.Delete(o.node); err != nil {
		return respond(refusal(err))
	}
	return respond(respOK)
}

// setObjectPropValue renames: the file name is the only property that AOSP lets an initiator set.
func (s *server) setObjectPropValue(c command) (response, error) {
	data, err := s.readData(c)
	if err != nil {
		return badData(err)
	}
	prop := uint16(c.params[1])
	if propType(prop) == typeUndefined {
		return respond(respObjectPropNotSupported)
	}
	f := fields{b: data}
	if propType(prop) != typeString {
		return respond(respObjectPropNotSupported)
	}
	name := f.str()
	if f.err != nil {
		return respond(respInvalidObjectPropFormat)
	}
	if prop != propFileName {
		return respond(respObjectPropNotSupported)
	}
	o, info, ok := s.lookup(c.params[0])
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	if strings.Contains(name, "/") {
		return respond(respGeneralError)
	}
	parent := info.Parent
	if parent == nil {
		parent = o.store.Root()
	}
	if err := o.store.Move(o.node, parent, name); err != nil {
		return respond(refusal(err))
	}
	return respond(respOK)
}

// target finds where MoveObject and CopyObject are to put something: here, unlike in SendObjectInfo, a root is 0.
func (s *server) target(c command) (object, vphone.Info, *store, *vphone.Node, uint16) {
	st := s.storeBy(c.params[1])
	if st == nil {
		return object{}, vphone.Info{}, nil, nil, respInvalidStorageID
	}
	o, info, ok := s.lookup(c.params[0])
	if !ok {
		return object{}, vphone.Info{}, nil, nil, respInvalidObjectHandle
	}
	if c.params[2] == 0 {
		return o, info, st, st.Root(), respOK
	}
	p, parent, ok := s.lookup(c.params[2])
	switch {
	case !ok:
		return object{}, vphone.Info{}, nil, nil, respInvalidObjectHandle
	case !parent.Folder:
		return object{}, vphone.Info{}, nil, nil, respInvalidParentObject
	}
	return o, info, p.store, p.node, respOK
}

func (s *server) moveObject(c command) (response, error) {
	o, info, st, parent, code := s.target(c)
	if code != respOK {
		return respond(code)
	}
	if st == o.store {
		if err := st.Move(o.node, parent, info.Name); err != nil {
			return respond(refusal(err))
		}
		return respond(respOK)
	}
	n, err := copyTree(o.store, st, info, parent)
	if err != nil {
		return respond(refusal(err))
	}
	if err := o.store.Delete(o.node); err != nil {
		return respond(refusal(err))
	}
	s.mu.Lock()
	delete(s.handles, o.node)
	s.handles[n], s.objects[c.params[0]] = c.params[0], object{st, n}
	s.mu.Unlock()
	return respond(respOK)
}

func (s *server) copyObject(c command) (response, error) {
	o, info, st, parent, code := s.target(c)
	if code != respOK {
		return respond(code)
	}
	if info.Size() > st.Free() {
		return respond(respStoreFull)
	}
	if st.Within(parent, o.node) {
		return respond(respGeneralError) // a folder into itself would never end
	}
	n, err := copyTree(o.store, st, info, parent)
	if err != nil {
		return respond(refusal(err))
	}
	return respond(respOK, s.handleOf(st, n))
}

// copyTree copies a node with all that it holds; the copies are new files, so their time is now.
func copyTree(from, to *store, info vphone.Info, parent *vphone.Node) (*vphone.Node, error) {
	now := time.Now().Truncate(time.Second)
	if !info.Folder {
		n, err := to.MakeFile(parent, info.Name, now)
		if err != nil {
			return nil, err
		}
		return n, to.Fill(n, info.Content, now)
	}
	kids, err := from.Children(info.Node)
	if err != nil {
		return nil, err
	}
	n, err := to.MakeFolder(parent, info.Name, now)
	if err != nil {
		return nil, err
	}
	for _, k := range kids {
		if _, err := copyTree(from, to, k, n); err != nil {
			return nil, err
		}
	}
	return n, nil
}
