package vphone

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors that a Storage returns besides fs.ErrExist, fs.ErrNotExist and fs.ErrInvalid.
var (
	ErrNotFolder = errors.New("not a folder")
	ErrFull      = errors.New("no space left")
)

// Storage is one memory of a phone: the built-in one or a card. Its methods are safe for concurrent use; paths are
// slash-separated names (see Name) without a leading slash, "" is the root.
type Storage struct {
	name     string
	capacity int64 // bytes
	spool    *Spool

	mu       sync.Mutex // guards what follows and all Nodes
	root     *Node
	used     int64 // bytes
	readOnly bool
	foldCase bool
	watchers map[int]func(Change)
	nextID   int
}

// Node is one file or folder. Ask its Storage about it.
type Node struct {
	name    string
	folder  bool
	mod     time.Time
	content Content // nil for a folder
	parent  *Node   // nil for the root and for what was removed
	kids    []*Node // in the order they came
	byName  map[string]*Node
}

// Change tells a watcher what happened to a storage.
type Change struct {
	Kind ChangeKind
	Node *Node
}

// ChangeKind is what happened to a node.
type ChangeKind int

const (
	Added ChangeKind = iota
	Removed
	Changed
)

// NewStorage makes an empty storage of capacity bytes. Received files go to spool; nil keeps them in memory.
func NewStorage(name string, capacity int64, spool *Spool) *Storage {
	if spool == nil {
		spool = &Spool{}
	}
	return &Storage{
		name: name, capacity: capacity, spool: spool,
		root: &Node{folder: true, byName: map[string]*Node{}}, watchers: map[int]func(Change){},
	}
}

// Name is what the phone calls the storage ("Internal shared storage").
func (s *Storage) Name() string { return s.name }

// Capacity is the size of the storage in bytes.
func (s *Storage) Capacity() int64 { return s.capacity }

// Free is the room left in bytes.
func (s *Storage) Free() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.capacity-s.used, 0)
}

// SetReadOnly makes the storage refuse, or accept again, what an initiator sends. Put and the like still work.
func (s *Storage) SetReadOnly(on bool) {
	s.mu.Lock()
	s.readOnly = on
	s.mu.Unlock()
}

// ReadOnly reports whether initiators may not write.
func (s *Storage) ReadOnly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readOnly
}

// SetFoldCase makes the storage take names that differ only in case for one and the same, as Android's do. An initiator
// that sends such a name then overwrites the older file, without a word: MTP's server sees two names, the file system one.
func (s *Storage) SetFoldCase(on bool) {
	s.mu.Lock()
	s.foldCase = on
	s.mu.Unlock()
}

// Watch calls f after every change, outside any lock, until stop is called.
func (s *Storage) Watch(f func(Change)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.nextID
	s.nextID++
	s.watchers[id] = f
	return func() {
		s.mu.Lock()
		delete(s.watchers, id)
		s.mu.Unlock()
	}
}

func (s *Storage) tell(changes ...Change) {
	s.mu.Lock()
	var fs []func(Change)
	for _, f := range s.watchers {
		fs = append(fs, f)
	}
	s.mu.Unlock()
	for _, f := range fs {
		for _, c := range changes {
			f(c)
		}
	}
}

// Put makes or replaces a file, and its missing parents, as an app on the phone would.
func (s *Storage) Put(path string, mod time.Time, c Content) error {
	s.mu.Lock()
	changes, err := s.put(path, mod, c)
	s.mu.Unlock()
	s.tell(changes...)
	return err
}

func (s *Storage) put(path string, mod time.Time, c Content) ([]Change, error) {
	dir, name := split(path)
	parent, changes, err := s.folders(dir, mod)
	if err != nil {
		return changes, err
	}
	if old := parent.byName[name]; old != nil {
		if old.folder {
			return changes, fmt.Errorf("vphone: put %q: %w", path, fs.ErrExist)
		}
		s.used += c.Size() - old.content.Size()
		old.content, old.mod = c, mod
		return append(changes, Change{Changed, old}), nil
	}
	n := &Node{name: name, mod: mod, content: c}
	if err := s.add(parent, n); err != nil {
		return changes, err
	}
	return append(changes, Change{Added, n}), nil
}

// Mkdir makes a folder and its missing parents, or sets an existing folder's time.
func (s *Storage) Mkdir(path string, mod time.Time) error {
	s.mu.Lock()
	n, changes, err := s.folders(path, mod)
	if err == nil {
		n.mod = mod
	}
	s.mu.Unlock()
	s.tell(changes...)
	return err
}

// folders finds the folder path, making what is missing. The caller holds mu.
func (s *Storage) folders(path string, mod time.Time) (*Node, []Change, error) {
	n := s.root
	var changes []Change
	if path == "" {
		return n, nil, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		next := n.byName[name]
		if next == nil {
			next = &Node{name: name, folder: true, mod: mod, byName: map[string]*Node{}}
			if err := s.add(n, next); err != nil {
				return nil, changes, err
			}
			changes = append(changes, Change{Added, next})
		}
		if !next.folder {
			return nil, changes, fmt.Errorf("vphone: %q in %q: %w", name, path, ErrNotFolder)
		}
		n = next
	}
	return n, changes, nil
}

// add hangs n into parent. The caller holds mu.
func (s *Storage) add(parent, n *Node) error {
	if !validName(n.name) {
		return fmt.Errorf("vphone: name %q: %w", n.name, fs.ErrInvalid)
	}
	if parent.byName[n.name] != nil || s.folded(parent, n.name) != nil {
		return fmt.Errorf("vphone: %q: %w", n.name, fs.ErrExist)
	}
	if n.content != nil {
		s.used += n.content.Size()
	}
	n.parent = parent
	parent.kids = append(parent.kids, n)
	parent.byName[n.name] = n
	return nil
}

// folded finds another name that the file system takes for name. The caller holds mu.
func (s *Storage) folded(parent *Node, name string) *Node {
	if !s.foldCase {
		return nil
	}
	for _, k := range parent.kids {
		if k.name != name && strings.EqualFold(k.name, name) {
			return k
		}
	}
	return nil
}

// cutOff takes n out of its parent. The caller holds mu.
func (s *Storage) cutOff(n *Node) {
	p := n.parent
	delete(p.byName, n.name)
	if i := slices.Index(p.kids, n); i >= 0 {
		p.kids = slices.Delete(p.kids, i, i+1)
	}
	n.parent = nil
}

// Remove removes a file, or a folder with all that it holds.
func (s *Storage) Remove(path string) error {
	s.mu.Lock()
	n := s.find(path)
	if n == nil || n == s.root {
		s.mu.Unlock()
		return fmt.Errorf("vphone: remove %q: %w", path, fs.ErrNotExist)
	}
	s.drop(n)
	s.mu.Unlock()
	s.tell(Change{Removed, n})
	return nil
}

func (s *Storage) drop(n *Node) {
	s.cutOff(n)
	s.used -= total(n)
}

func total(n *Node) (bytes int64) {
	if n.content != nil {
		bytes = n.content.Size()
	}
	for _, k := range n.kids {
		bytes += total(k)
	}
	return bytes
}

// find returns the node at path, or nil. The caller holds mu.
func (s *Storage) find(path string) *Node {
	n := s.root
	if path == "" {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		if n = n.byName[name]; n == nil {
			return nil
		}
	}
	return n
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// maxName is the longest name in bytes that Linux's file systems take (NAME_MAX).
const maxName = 255

// validName refuses what no Linux folder can hold.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
