package drive

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"phonebackupbox/storage"
)

// FAT and exFAT keep no journal, and their rename is two writes (Linux 6.12, fs/fat/namei_vfat.c, vfat_rename, and
// fs/exfat/namei.c, exfat_move_file). A power cut between them leaves a file with both names, or with none. On FAT the new
// name stands for an empty file until the file itself is flushed once more: flushing the folder is not enough.
//
// So on such a drive a list of what is about to get its name is made durable first, and after the renames everything is
// flushed. The list is there from the first change until the drive is closed: with it, the drive is not clean.
const placingName = ownDir + "/placing"

// asideDir takes pending files that a power cut left and that must not be removed: one that shares its bytes with a file that
// has its name already, since those would be freed, and one that was never flushed, of which FAT may know less than its
// folder does: Linux makes the whole drive read-only when it finds such a file while removing it (fs/fat/fatent.c,
// fat_free_clusters). They cost room until a file system check; nobody reads them.
//
// Blobs written later may take clusters that such a file has and FAT calls free. A check gives them to the file that it
// meets first and cuts the other one off, so this folder lies at the top and is made after those of the blobs. Its name is no
// blob's.
const asideDir = ownDir + " leftovers"

// maxPlacing bounds the list, in bytes. A file takes about 150 of them.
const maxPlacing = 64 << 20

// placed is a pending file on its way to its name.
type placed struct {
	Temp string `json:"temp"` // its name in pendingDir
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
}

// encodePlacing writes the list: a line with the CRC-32C of the rest, then one line of JSON for each file.
func encodePlacing(list []placed) ([]byte, error) {
	var body strings.Builder
	e := json.NewEncoder(&body)
	for _, p := range list {
		if err := e.Encode(p); err != nil {
			return nil, err
		}
	}
	return fmt.Appendf(nil, "%08x\n%s", crc32.Checksum([]byte(body.String()), crc32.MakeTable(crc32.Castagnoli)), body.String()), nil
}

// parsePlacing reads the list. One that a power cut tore is no error and names nothing: the renames had not begun.
func parsePlacing(p []byte) []placed {
	sum, body, _ := strings.Cut(string(p), "\n")
	if sum != fmt.Sprintf("%08x", crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli))) {
		return nil
	}
	var list []placed
	for d := json.NewDecoder(strings.NewReader(body)); ; {
		var f placed
		if d.Decode(&f) != nil {
			return list
		}
		if checkName("place", f.Name) == nil && f.Temp != "" && !strings.ContainsAny(f.Temp, `/\`) && f.Temp != ".." && f.Temp != "." {
			list = append(list, f)
		}
	}
}

// writePlacing makes the list durable.
func (d *Drive) writePlacing(list []placed) error {
	p, err := encodePlacing(list)
	if err != nil {
		return err
	}
	return d.writeList(placingName, p)
}

// writeList writes one of the small files of ownDir, durably, but not in one step.
func (d *Drive) writeList(name string, p []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, modeBlob)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(d.root, ownDir))
}

// touch notes durably, before the first change on a fragile file system, that the drive is being written.
func (d *Drive) touch() error {
	if !d.format.Fragile {
		return nil
	}
	d.touchMu.Lock()
	defer d.touchMu.Unlock()
	if d.touched {
		return nil
	}
	if err := d.writePlacing(nil); err != nil {
		return err
	}
	d.touched = true
	return nil
}

// announce makes durable which files are about to get their names.
func (d *Drive) announce(batch map[string]pendingFile) error {
	if !d.format.Fragile || len(batch) == 0 {
		return nil
	}
	var list []placed
	for name, p := range batch {
		list = append(list, placed{path.Base(p.temp), name, p.size})
	}
	return d.writePlacing(list)
}

// settle puts right what a power cut left of renames, and then of pending files. Nothing that a Sync acknowledged is
// touched: the list names what the last one had not.
func (d *Drive) settle() error {
	p, err := d.readPlacing()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.touched = true
	flushed := make(map[string]bool) // by their names in pendingDir
	for _, f := range parsePlacing(p) {
		flushed[f.Temp] = true
		if err := d.settleOne(f); err != nil {
			return err
		}
	}
	left, err := fs.ReadDir(d.root.FS(), pendingDir)
	if err != nil {
		return err
	}
	for _, e := range left {
		if d.format.Fragile && !flushed[e.Name()] {
			if err := d.putAside(e.Name()); err != nil {
				return err
			}
		}
	}
	// From here on what is on the list counts as any other file, and what takes the drive's place may use the same names.
	return errors.Join(d.syncTree(), d.writePlacing(nil))
}

func (d *Drive) readPlacing() ([]byte, error) {
	f, err := d.root.OpenFile(placingName, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.LimitReader(f, maxPlacing))
	return p, errors.Join(err, f.Close())
}

func (d *Drive) settleOne(f placed) error {
	info, err := d.root.Lstat(f.Name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() != f.Size {
		return d.root.Remove(f.Name) // torn; its bytes are not lost with it, since they were never acknowledged
	}
	temp := path.Join(pendingDir, f.Temp)
	if _, err := d.root.Lstat(temp); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if f.Size == 0 {
		return nil // no bytes to share
	}
	return d.putAside(f.Temp)
}

// putAside moves a pending file where nobody looks: a rename leaves its bytes alone.
func (d *Drive) putAside(temp string) error {
	if err := d.root.MkdirAll(asideDir, modeDir); err != nil {
		return err
	}
	return d.root.Rename(path.Join(pendingDir, temp), path.Join(asideDir, newUUID()))
}

// syncTree flushes everything on a fragile file system: contents, names and the drive's own cache.
func (d *Drive) syncTree() error {
	return errors.Join(syncAll(d.whole), syncDir(d.root, "."))
}

// finish takes the mark away once all is durable.
func (d *Drive) finish() error {
	if !d.touched || d.broken != nil {
		return nil
	}
	if err := d.syncTree(); err != nil {
		return err
	}
	if err := d.root.Remove(placingName); err != nil {
		return err
	}
	d.touched = false
	return d.syncTree()
}

// Clean reports whether stock restic may rely on the drive as it lies there: always on file systems with a journal; on
// FAT and exFAT, if whoever wrote to it last closed it.
func (d *Drive) Clean() (bool, error) {
	if !d.format.Fragile {
		return true, nil
	}
	_, err := d.root.Lstat(placingName)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("drive: %s: %w", d.dir, classify(err))
	}
	return false, nil
}

// Format tells what file system the drive is on.
func (d *Drive) Format() Format { return d.format }

var _ storage.Store = (*Drive)(nil)
