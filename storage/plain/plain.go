// Package plain keeps the newest state of each phone on a drive as ordinary files, for people to open anywhere without
// the box. It is for convenience: not encrypted, one copy, no history but what was removed lately. The vault is the backup.
//
// A drive may hold other files of its owner's, before and after. None of them is changed or removed: a file that is not
// known to be as Update wrote it last is the owner's, whatever its name, and the phone's goes beside it.
//
// What Update wrote is known from lists, one for each folder, in a hidden folder. A list is written ahead of the files it
// speaks of, so that a power cut at any point leaves each file either as it was or as it is to be, and the next
// Update knows either. Lost lists cost time, not files: what is there already is recognised by its content.
package plain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

const (
	identityName = "phone-backup-plain.json"
	noteName     = "READ ME.txt"
	vaultDrive   = "phone-backup-box.json" // what a drive of a vault holds (storage/drive)
	privateDir   = ".phone-backup"
	stageDir     = privateDir + "/new"
	listsDir     = privateDir + "/lists"
	removedDir   = "Removed from phones"

	format      = 1
	maxIdentity = 4096 // bytes; ours has about 120
)

const note = `This drive holds ordinary copies of what is on your phones, kept up to date by the phone backup box.
Anyone who has the drive can read them: they are not encrypted.

What was removed from a phone is moved into "` + removedDir + `" here, and stays until its room is needed.
Your own files on this drive are left alone. If you change a copy, it is yours, and the phone's is put beside it.

The real backup, with older versions, is in the box's vault on its other drives.
`

var (
	// ErrNotPlain: the folder is not a plain drive.
	ErrNotPlain = errors.New("not a plain drive")
	// ErrTaken: the folder cannot become a plain drive since it is a drive of a vault.
	ErrTaken = errors.New("is a drive of a vault")
	// ErrBusy: another process is writing to the drive.
	ErrBusy = errors.New("in use by another process")
)

// identity is what phone-backup-plain.json says.
type identity struct {
	Format int    `json:"format"`
	Role   string `json:"role"`  // "plain"
	Vault  string `json:"vault"` // whose phones are here: the vault's ID
}

// A Drive is a plain drive, open for writing by this process alone.
type Drive struct {
	root  *os.Root
	lock  *os.File
	vault string

	crash func() error // asked before each rename; for tests
}

// Create makes the folder dir, which may hold files, a plain drive for the phones of a vault, and opens it. It returns
// ErrTaken for a drive of a vault. A folder that is a plain drive of the same vault already is opened as it is.
func Create(dir, vault string) (*Drive, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("plain: %w", err)
	}
	d := &Drive{}
	var err error
	if d.root, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("plain: %w", err)
	}
	if err := errors.Join(d.claim(vault), d.root.Close()); err != nil {
		return nil, fmt.Errorf("plain: %s: %w", dir, err)
	}
	d, err = Open(dir)
	if err == nil && d.vault != vault {
		err = fmt.Errorf("plain: %s holds the phones of another vault: %w", dir, errors.Join(ErrTaken, d.Close()))
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// claim writes the note and then, since it is what makes the folder a plain drive, the identity.
func (d *Drive) claim(vault string) error {
	if _, err := d.root.Lstat(vaultDrive); err == nil {
		return ErrTaken
	}
	p, err := json.Marshal(identity{format, "plain", vault})
	if err != nil {
		return err
	}
	if err := d.root.MkdirAll(stageDir, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{noteName, []byte(note)}, {identityName, append(p, '\n')}} {
		if _, err := d.root.Lstat(f.name); err == nil {
			continue
		}
		if err := d.replace(f.name, f.data); err != nil {
			return err
		}
	}
	return syncDir(d.root, ".")
}

// Open opens a plain drive and takes its lock. Errors: ErrNotPlain, ErrBusy.
func Open(dir string) (*Drive, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("plain: %w", err)
	}
	d := &Drive{root: root}
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("plain: %s: %w", dir, err), d.Close())
	}
	return d, nil
}

func (d *Drive) open() error {
	id, err := readIdentity(d.root)
	if err != nil {
		return err
	}
	d.vault = id.Vault
	if err := d.root.MkdirAll(privateDir, 0o755); err != nil {
		return err
	}
	if d.lock, err = d.root.OpenFile(privateDir+"/lock", os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	if err := lockFile(d.lock); err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	// What an update that was cut short had not put in place yet.
	return errors.Join(d.root.RemoveAll(stageDir), d.root.MkdirAll(stageDir, 0o755), d.root.MkdirAll(listsDir, 0o755))
}

func readIdentity(root *os.Root) (identity, error) {
	var id identity
	f, err := root.Open(identityName)
	if errors.Is(err, fs.ErrNotExist) {
		return id, ErrNotPlain
	}
	if err != nil {
		return id, err
	}
	p, err := io.ReadAll(io.LimitReader(f, maxIdentity))
	if err := errors.Join(err, f.Close()); err != nil {
		return id, err
	}
	return parseIdentity(p)
}

// parseIdentity reads phone-backup-plain.json. Every error is ErrNotPlain.
func parseIdentity(p []byte) (identity, error) {
	var id identity
	if err := json.Unmarshal(p, &id); err != nil || id.Role != "plain" || id.Vault == "" {
		return id, fmt.Errorf("%w: its %s is damaged", ErrNotPlain, identityName)
	}
	if id.Format != format {
		return id, fmt.Errorf("%w that this boxd knows: format %d is newer", ErrNotPlain, id.Format)
	}
	return id, nil
}

// Identify tells which vault the plain drive in dir is for. It changes nothing there. Error: ErrNotPlain.
func Identify(dir string) (vault string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("plain: %w", err)
	}
	id, err := readIdentity(root)
	if err := errors.Join(err, root.Close()); err != nil {
		return "", fmt.Errorf("plain: %s: %w", dir, err)
	}
	return id.Vault, nil
}

// Vault is the ID of the vault whose phones the drive holds.
func (d *Drive) Vault() string { return d.vault }

// Dir is the folder that the drive was opened at.
func (d *Drive) Dir() string { return d.root.Name() }

// Close gives the drive up.
func (d *Drive) Close() error {
	var err error
	if d.lock != nil {
		err = d.lock.Close()
	}
	return errors.Join(err, d.root.Close())
}

// replace puts a small file in the place of what has its name, durably but for its folder.
func (d *Drive) replace(name string, p []byte) error {
	temp := path.Join(stageDir, path.Base(name))
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, d.root.Remove(temp))
	}
	return d.rename(temp, name)
}

func (d *Drive) rename(from, to string) error {
	if d.crash != nil {
		if err := d.crash(); err != nil {
			return err
		}
	}
	return d.root.Rename(from, to)
}

// syncDir makes the names in a folder durable, where the file system can. On FAT a new name stands for an empty file until
// the file is flushed, too (docs/adr/016), so there it flushes all.
func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncJournalless(f), f.Sync(), f.Close())
}
