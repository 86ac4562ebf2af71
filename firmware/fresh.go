package firmware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"phonebackupbox/usbhost"
)

// errNotFresh: the phone that a restore would go to holds files of a person.
var errNotFresh = errors.New("the phone is not empty")

// probe reports whether a phone is new: it holds no files of a person. A phone that does not know by itself is asked for
// its listing, as for a backup, into a tree that takes nothing and calls the listing off at the first such file.
func probe(ctx context.Context, phone usbhost.Phone) (fresh bool, why string, err error) {
	if p, ok := phone.(Prober); ok {
		return p.Fresh(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &blankTree{stop: cancel}
	report, err := phone.Backup(ctx, t, nil)
	if name := t.first(); name != "" {
		return false, "it holds files", nil
	}
	if err != nil {
		return false, "", err
	}
	for _, p := range report.Problems {
		if !theirs(p.Name) {
			return false, "", fmt.Errorf("firmware: not everything on the phone can be seen: %w", usbhost.ErrUnsupported)
		}
	}
	return true, "", nil
}

// blankTree is an empty Tree that takes nothing in and notes the first file of a person that it is offered.
type blankTree struct {
	stop context.CancelFunc

	mu   sync.Mutex // guards name
	name string
}

func (t *blankTree) first() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.name
}

// Create takes what phones make by themselves, and empty files; at anything else it calls the listing off. An error of a
// tree ends a driver's run, hence none for the former.
func (t *blankTree) Create(name string, size int64, _ time.Time, r io.Reader) error {
	if theirs(name) || size == 0 {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.name == "" {
		t.name = name
	}
	t.stop()
	return fmt.Errorf("firmware: %s: %w", name, errOnlyLooking)
}

var errOnlyLooking = errors.New("only looking")

func (t *blankTree) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (t *blankTree) Keep(name string, _ int64, _ time.Time) error {
	return fmt.Errorf("firmware: %s: %w", name, fs.ErrNotExist)
}

func (t *blankTree) Mkdir(string, time.Time) error { return nil }

func (t *blankTree) Rename(oldname, _ string) error {
	return fmt.Errorf("firmware: %s: %w", oldname, fs.ErrNotExist)
}

func (t *blankTree) Remove(name string) error {
	return fmt.Errorf("firmware: %s: %w", name, fs.ErrNotExist)
}

// theirs reports whether a file is one that phones make by themselves: hidden, or in a hidden folder or in Android/.
func theirs(name string) bool {
	for elem := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(elem, ".") || elem == "Android" {
			return true
		}
	}
	return false
}
