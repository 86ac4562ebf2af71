package drive

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A drive can be given to another vault without another drive: the vault that is to come is built as a whole drive in
// nextDir, Switch marks it as the one that counts, and the next Open for writing puts it in the place of what was there.
// FORMAT.md, "Change of vault", has the order; each step can be the last before the power goes.
const (
	nextDir  = ownDir + "/next"        // a drive inside this one, which will take its place
	oldDir   = ownDir + "/old"         // what was here before, about to be deleted
	markName = ownDir + "/switch.json" // the identity of the drive that counts from now on
)

// blobDirs are the folders at the top that hold blobs, in the order in which a switch exchanges them.
var blobDirs = []string{"heal", "parity", "shards", "vault", "ledger-copy", "ledger"}

// Next opens the drive that may take d's place, for writing, and makes it if there is none: a drive of the vault vaultID
// with d's UUID, on the same medium. d stays what it is until Switch. A drive begun for another vault is ErrExists.
func (d *Drive) Next(vaultID string) (*Drive, error) {
	if err := d.writable(); err != nil {
		return nil, fmt.Errorf("drive: next of %s: %w", d.dir, classify(err))
	}
	if err := d.root.MkdirAll(nextDir, modeDir); err != nil {
		return nil, dirError(d.dir, err)
	}
	root, err := d.root.OpenRoot(nextDir)
	if err != nil {
		return nil, dirError(d.dir, err)
	}
	ident, err := readIdentity(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		ident = newIdentity(vaultID)
		ident.Drive = d.ident.Drive
		ident.Check = ident.sum()
		err = errors.Join(writeIdentity(root, ident), syncDir(d.root, ownDir), syncDir(d.root, "."))
	case err == nil && ident.Vault != vaultID:
		err = fmt.Errorf("it was begun for another vault: %w", ErrExists)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("drive: next of %s: %w", d.dir, classify(err)), root.Close())
	}
	return open(root, filepath.Join(d.dir, nextDir), ident, Options{})
}

// OpenNext opens the drive that may take the place of the one in dir, for reading.
func OpenNext(dir string) (*Drive, error) {
	return Open(filepath.Join(dir, nextDir), Options{ReadOnly: true})
}

// NextVault tells which vault the drive inside belongs to that may take d's place, "" if there is none.
func (d *Drive) NextVault() (string, error) {
	ident, err := readIdentityIn(d.root, path.Join(nextDir, identityName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("drive: next of %s: %w", d.dir, classify(err))
	}
	return ident.Vault, nil
}

// DropNext removes the drive inside that Next made, which must be closed.
func (d *Drive) DropNext() error {
	err := d.writable()
	if err == nil {
		// The identity goes first, so that what is left of a removal that is cut short is no drive.
		err = d.root.Remove(path.Join(nextDir, identityName))
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		err = errors.Join(d.root.RemoveAll(nextDir), syncDir(d.root, ownDir))
	}
	if err != nil {
		return fmt.Errorf("drive: next of %s: %w", d.dir, classify(err))
	}
	return nil
}

// Switch makes the drive inside the one that counts, durably when it returns nil: whoever opens this folder from now on gets
// it. Everything that it is to hold must be durable in it. d itself stays as it is, and its lock held, until it is closed.
func (d *Drive) Switch() error {
	err := d.writable()
	var next Identity
	if err == nil {
		next, err = readIdentityIn(d.root, path.Join(nextDir, identityName))
	}
	if err == nil && next.Drive != d.ident.Drive {
		err = fmt.Errorf("%w: the drive inside is another one", errIdentity)
	}
	if err == nil {
		err = d.mark(next)
	}
	if err != nil {
		return fmt.Errorf("drive: switch %s: %w", d.dir, classify(err))
	}
	return nil
}

func (d *Drive) mark(next Identity) error {
	// A folder that is not in next any more is one that was exchanged: all must be there at the beginning.
	for _, dir := range blobDirs {
		if err := d.root.MkdirAll(path.Join(nextDir, dir), modeDir); err != nil {
			return err
		}
	}
	if err := errors.Join(d.touch(), d.flush(nextDir)); err != nil {
		return err
	}
	p, err := next.encode()
	if err != nil {
		return err
	}
	if err := writeDurably(d.root, markName, p); err != nil {
		return err
	}
	return d.flush(ownDir)
}

// switching tells which drive the one at root is about to become, false if none.
func switching(root *os.Root) (Identity, bool, error) {
	next, err := readIdentityIn(root, markName)
	switch {
	case err == nil:
		return next, true, nil
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir):
		return Identity{}, false, nil
	case !errors.Is(err, errIdentity):
		return Identity{}, false, err
	}
	// The mark is damaged. If it never was whole, nothing was done about it; otherwise the identity tells the same.
	if ok, err := exists(root, oldDir); err != nil || !ok {
		return Identity{}, false, err
	}
	next, err = readIdentityIn(root, path.Join(nextDir, identityName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		next, err = readIdentity(root)
	}
	return next, err == nil, err
}

// A switcher carries a switch out, or the rest of one.
type switcher struct {
	d    *Drive
	root *os.Root                // d's
	step func(what string) error // nil, or asked before each step
}

// errHalfMoved is what a power cut can leave on FAT and exFAT in the moment of a rename.
var errHalfMoved = errors.New("the power failed while a folder was moved, and the file system has it twice; " +
	"leave this drive out, erase it and add it again: the others hold everything")

// finishSwitch does what is left of a switch, and of deleting what was here before. The caller holds the lock.
func (d *Drive) finishSwitch(step func(what string) error) error {
	s := switcher{d, d.root, step}
	_, ok, err := switching(d.root)
	if err == nil && ok {
		if err = d.touch(); err == nil {
			err = s.exchange()
		}
	}
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, step string }{{markName, "remove the mark"}, {oldDir, "delete what was here"}} {
		ok, err := exists(d.root, f.name)
		if err == nil && ok {
			err = s.do(f.step, func() error { return errors.Join(d.root.RemoveAll(f.name), d.flush(ownDir)) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exchange puts the drive inside in the place of this one, its identity last.
func (s switcher) exchange() error {
	err := s.do("make the folder for what was here", func() error {
		if err := s.root.Remove(foldersName); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // the folders to come may be fewer
		}
		return errors.Join(s.root.MkdirAll(oldDir, modeDir), s.d.flush(ownDir))
	})
	if err != nil {
		return err
	}
	for _, dir := range blobDirs {
		next := path.Join(nextDir, dir)
		there, err := exists(s.root, next)
		if err != nil {
			return err
		}
		if !there {
			continue // exchanged before
		}
		if err := s.rename(dir, path.Join(oldDir, dir)); err != nil {
			return err
		}
		if err := s.rename(next, dir); err != nil {
			return err
		}
	}
	if err := s.rename(path.Join(nextDir, identityName), identityName); err != nil {
		return err
	}
	return s.do("remove the rest of the drive inside", func() error {
		for _, dir := range blobDirs {
			_ = s.root.Remove(dir) // only if it is empty
		}
		return errors.Join(s.root.RemoveAll(nextDir), s.d.flush(ownDir, "."))
	})
}

// rename moves what is called from, if it is there, durably before the next step: what a power cut leaves is then one of few
// states.
func (s switcher) rename(from, to string) error {
	if there, err := exists(s.root, from); err != nil || !there {
		return err
	}
	if there, err := exists(s.root, to); err != nil || there && to != identityName {
		return cmp.Or(err, errHalfMoved)
	}
	return s.do("rename "+from, func() error {
		if err := s.root.Rename(from, to); err != nil {
			return err
		}
		return s.d.flush(path.Dir(to), path.Dir(from))
	})
}

// flush makes the names in folders durable.
func (d *Drive) flush(dirs ...string) error {
	if d.format.Fragile {
		return d.syncTree() // what was renamed needs it, too
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, syncDir(d.root, dir))
	}
	return errors.Join(errs...)
}

func (s switcher) do(what string, f func() error) error {
	if s.step != nil {
		if err := s.step(what); err != nil {
			return err
		}
	}
	return f()
}

// exists does not take an error for "no": what seems to be gone might be deleted.
func exists(root *os.Root, name string) (bool, error) {
	_, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return false, nil
	}
	return err == nil, err
}

// at is where a blob's file, or a folder of blobs, lies: inside, on a drive that is opened for reading in the middle of a
// switch, until its folder has been exchanged.
func (d *Drive) at(name string) string {
	if !d.switching {
		return name
	}
	top, _, _ := strings.Cut(name, "/")
	if there, err := exists(d.root, path.Join(nextDir, top)); err == nil && !there {
		return name
	}
	return path.Join(nextDir, name)
}

// switching walks the folders at the top, each where it lies now.
func (w *walk) switching() (more bool, err error) {
	for _, dir := range slices.SortedFunc(slices.Values(blobDirs), func(a, b string) int { return strings.Compare(a+"/", b+"/") }) {
		if !strings.HasPrefix(dir+"/", w.prefix) && !strings.HasPrefix(w.prefix, dir+"/") {
			continue
		}
		if more, err := w.dir(dir); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}
