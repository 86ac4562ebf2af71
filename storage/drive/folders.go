package drive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"phonebackupbox/storage"
)

// On FAT and exFAT a power cut tears a folder that is being made or that grows by a cluster: its name, its clusters and what
// is in them are written in any order. A torn folder is an I/O error, or turns the drive read-only, until a file system check;
// one that was growing takes what it held out of reach until then. So on such a drive the folders are made once, as large as
// they will ever be, before the first blob, and are never removed (docs/adr/016-file-systems-without-a-journal.md).
const foldersName = ownDir + "/folders"

// foldersVersion is what foldersName holds once all folders of this version are durable.
const foldersVersion = "1\n"

// A fillName has as many bytes as a name can, so that few of them make a folder grow, and is no blob's name. It takes at least
// minEntry bytes in a folder: FAT has 21 slots of 32 bytes for it, exFAT 19.
const minEntry = 19 * 32

func fillName(n int) string { return fmt.Sprintf("%06d%s", n, strings.Repeat("~", 249)) }

// folder is one that a vault's drive may need, and how many bytes its names may take in it. One of a pack takes about 256.
type folder struct {
	name string
	room int64 // bytes; the first cluster is there anyhow
}

// folders are those of a drive that holds total bytes, parents first: but for those below heal/ that hold packs, which are
// needed only where one was found damaged, and stay then.
func folders(total int64) []folder {
	const few, many = 4 << 10, 64 << 10
	// Packs of 16 MiB in 256 folders, or up to 64 in each of what single nights are.
	leaf := max(total>>24, min(total>>21, 16<<10))
	list := []folder{{ownDir, few}, {pendingDir, many}, {"ledger", many}, {"ledger-copy", many}}
	list = append(list, folder{"heal", few})
	for _, top := range []string{"vault", "parity", "shards", "heal/vault", "heal/parity", "heal/shards"} {
		room := int64(many)
		if strings.HasPrefix(top, "heal/") {
			room = few
		}
		list = append(list, folder{top, few}, folder{top + "/keys", few}, folder{top + "/snapshots", room}, folder{top + "/index", room}, folder{top + "/data", few})
		for n := 0; n < 256 && room == many; n++ {
			list = append(list, folder{fmt.Sprintf("%s/data/%02x", top, n), leaf})
		}
	}
	return append(list, folder{asideDir, many}) // the last: see there
}

// prepare makes all folders that a fragile drive may need, durably, before anything is put into them. It belongs to Open, since
// it takes longer than a Put may. A drive that is too full for them goes on as it is.
func (d *Drive) prepare() error {
	if !d.format.Fragile {
		return nil
	}
	done, err := d.prepared()
	if done || err != nil {
		return err
	}
	s, err := d.space()
	if err != nil {
		return err
	}
	list := folders(s.Total)
	if s.Free-reserve(s.Total) < cost(list, d.format.cluster) {
		return nil
	}
	err = classify(errors.Join(d.touch(), d.makeAll(list)))
	if errors.Is(err, storage.ErrFull) {
		return nil
	}
	return err
}

func (d *Drive) makeAll(list []folder) error {
	cluster := d.format.cluster
	for _, f := range list {
		if err := d.grow(f, cluster); err != nil {
			return fmt.Errorf("make folder %s: %w", f.name, err)
		}
	}
	if err := d.syncTree(); err != nil {
		return err
	}
	for _, f := range list {
		for n := range f.fill(cluster) {
			if err := d.root.Remove(path.Join(f.name, fillName(n))); err != nil {
				return err
			}
		}
	}
	if err := d.syncTree(); err != nil {
		return err
	}
	return d.writeList(foldersName, []byte(foldersVersion))
}

func (d *Drive) prepared() (bool, error) {
	p, err := fs.ReadFile(d.root.FS(), foldersName)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(p) == foldersVersion, err
}

// cost is how much the folders take, in bytes.
func cost(list []folder, cluster int64) (total int64) {
	for _, f := range list {
		total += f.room + cluster
	}
	return total
}

// fill is how many names make the folder as large as it is to be.
func (f folder) fill(cluster int64) int {
	if f.room <= cluster {
		return 0
	}
	return int(f.room/minEntry) + 1
}

// grow makes a folder, and as many names in it as are needed for its size.
func (d *Drive) grow(f folder, cluster int64) error {
	if err := d.root.Mkdir(f.name, modeDir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for n := range f.fill(cluster) {
		file, err := d.root.OpenFile(path.Join(f.name, fillName(n)), os.O_WRONLY|os.O_CREATE, modeBlob)
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
