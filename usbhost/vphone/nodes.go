package vphone

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrReadOnly: the storage takes nothing from initiators.
var ErrReadOnly = errors.New("read-only")

// Info is what a storage knows about a node at one moment.
type Info struct {
	Node    *Node
	Parent  *Node // nil where the node is in the root
	Name    string
	Folder  bool
	ModTime time.Time
	Content Content // nil for a folder
}

// Size is the file's length in bytes, 0 for a folder.
func (i Info) Size() int64 {
	if i.Content == nil {
		return 0
	}
	return i.Content.Size()
}

// Root is the storage's top folder.
func (s *Storage) Root() *Node { return s.root }

// Stat describes a node; fs.ErrNotExist if it was removed.
func (s *Storage) Stat(n *Node) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.attached(n) {
		return Info{}, fmt.Errorf("vphone: stat: %w", fs.ErrNotExist)
	}
	return s.info(n), nil
}

func (s *Storage) info(n *Node) Info {
	i := Info{Node: n, Name: n.name, Folder: n.folder, ModTime: n.mod, Content: n.content}
	if n.parent != s.root {
		i.Parent = n.parent
	}
	return i
}

// attached reports whether n still hangs in the tree. The caller holds mu.
func (s *Storage) attached(n *Node) bool {
	for n != nil && n != s.root {
		n = n.parent
	}
	return n == s.root
}

// Children lists a folder in the order in which its entries came.
func (s *Storage) Children(n *Node) ([]Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.attached(n) {
		return nil, fmt.Errorf("vphone: list: %w", fs.ErrNotExist)
	}
	if !n.folder {
		return nil, fmt.Errorf("vphone: list %q: %w", n.name, ErrNotFolder)
	}
	infos := make([]Info, len(n.kids))
	for i, k := range n.kids {
		infos[i] = s.info(k)
	}
	return infos, nil
}

// Within reports whether n is folder or lies anywhere in it.
func (s *Storage) Within(n, folder *Node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return within(n, folder)
}

func within(n, folder *Node) bool {
	for ; n != nil; n = n.parent {
		if n == folder {
			return true
		}
	}
	return false
}

// Path is a node's path from the root; it ends where a removed node hung.
func (s *Storage) Path(n *Node) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.path(n)
}

func (s *Storage) path(n *Node) string {
	if n == s.root {
		return ""
	}
	path := n.name
	for p := n.parent; p != nil && p != s.root; p = p.parent {
		path = p.name + "/" + path
	}
	return path
}

// Find returns the node at path, or nil.
func (s *Storage) Find(path string) *Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(path)
}

// The methods from here on are what an initiator does to a storage: a read-only one refuses them, and watchers are not
// told, as Android does not report to an initiator what it did itself.

// MakeFolder makes one folder in parent.
func (s *Storage) MakeFolder(parent *Node, name string, mod time.Time) (*Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &Node{name: name, folder: true, mod: mod, byName: map[string]*Node{}}
	if err := s.mayAdd(parent); err != nil {
		return nil, err
	}
	return n, s.add(parent, n)
}

// MakeFile makes an empty file in parent; Fill gives it its content. See SetFoldCase for the file that it may empty.
func (s *Storage) MakeFile(parent *Node, name string, mod time.Time) (*Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayAdd(parent); err != nil {
		return nil, err
	}
	if old := s.folded(parent, name); old != nil && !old.folder {
		s.used -= old.content.Size()
		old.content, old.mod = Bytes(nil), mod
		return old, nil
	}
	n := &Node{name: name, mod: mod, content: Bytes(nil)}
	return n, s.add(parent, n)
}

func (s *Storage) mayAdd(parent *Node) error {
	switch {
	case s.readOnly:
		return fmt.Errorf("vphone: %s: %w", s.name, ErrReadOnly)
	case !s.attached(parent):
		return fmt.Errorf("vphone: parent: %w", fs.ErrNotExist)
	case !parent.folder:
		return fmt.Errorf("vphone: parent %q: %w", parent.name, ErrNotFolder)
	}
	return nil
}

// Fill replaces a file's content and time. ErrFull if it does not fit.
func (s *Storage) Fill(n *Node, c Content, mod time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.attached(n) || n.folder {
		return fmt.Errorf("vphone: fill: %w", fs.ErrNotExist)
	}
	grow := c.Size() - n.content.Size()
	if s.used+grow > s.capacity {
		return fmt.Errorf("vphone: fill %q: %w", n.name, ErrFull)
	}
	s.used += grow
	n.content, n.mod = c, mod
	return nil
}

// Delete removes a node with all that it holds.
func (s *Storage) Delete(n *Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readOnly {
		return fmt.Errorf("vphone: %s: %w", s.name, ErrReadOnly)
	}
	if !s.attached(n) || n == s.root {
		return fmt.Errorf("vphone: delete: %w", fs.ErrNotExist)
	}
	s.drop(n)
	return nil
}

// Move gives a node another name and parent in the same storage; fs.ErrExist if the name is taken there.
func (s *Storage) Move(n, parent *Node, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayAdd(parent); err != nil {
		return err
	}
	if !s.attached(n) || n == s.root {
		return fmt.Errorf("vphone: move: %w", fs.ErrNotExist)
	}
	if within(parent, n) {
		return fmt.Errorf("vphone: move %q into itself: %w", n.name, fs.ErrInvalid)
	}
	if !validName(name) {
		return fmt.Errorf("vphone: name %q: %w", name, fs.ErrInvalid)
	}
	if parent.byName[name] != nil || s.folded(parent, name) != nil {
		return fmt.Errorf("vphone: move to %q: %w", name, fs.ErrExist)
	}
	s.cutOff(n)
	n.name, n.parent = name, parent
	parent.kids = append(parent.kids, n)
	parent.byName[name] = n
	return nil
}

// Receive opens a sink for the content of a file that is being sent to the phone.
func (s *Storage) Receive() *Incoming { return &Incoming{spool: s.spool} }
