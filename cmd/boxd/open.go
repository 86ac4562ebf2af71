package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

// vaultFlags are the flags of every command that works on a vault.
type vaultFlags struct {
	drives             []string
	keyFile, wordsFile string

	flags *pflag.FlagSet // that they were registered in
}

func (f *vaultFlags) register(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringArrayVar(&f.drives, "drive", nil, "a drive's `folder`, once for each drive, missing ones left out; auto: all that are attached")
	flags.StringVar(&f.keyFile, "key-file", "", "the `file` that holds the vault's 24 words")
	flags.StringVar(&f.wordsFile, "words-file", "", "a `file` with the 24 words as a person typed them")
}

// password reads the key or words file.
func (f *vaultFlags) password() (string, error) {
	switch {
	case f.keyFile != "" && f.wordsFile != "":
		return "", usageError{"--key-file and --words-file: give one of them", ""}
	case f.keyFile != "":
		return readKey(f.keyFile)
	case f.wordsFile != "":
		return readWords(f.wordsFile)
	}
	return "", usageError{"the vault's key is missing", "give --key-file FILE or --words-file FILE"}
}

// access is what a command does to the drives.
type access bool

const (
	reading access = false // takes no lock; works on read-only drives
	writing access = true  // takes every drive's lock
)

// rack is the drives of one command, opened, with the array over them and perhaps the vault in it.
type rack struct {
	drives []*drive.Drive
	array  *array.Array
	vault  *vault.Vault // nil where a command needs no key
	writes access

	passphrase bool // opened the vault, and not the 24 words
}

// openDrives opens the named folders and checks that they belong together.
func openDrives(dirs []string, a access) ([]*drive.Drive, error) {
	if len(dirs) == 0 {
		return nil, usageError{"no drive was named", "give --drive DIR once for each drive, or --drive auto for all that are attached"}
	}
	dirs, err := resolveDrives(dirs)
	if err != nil {
		return nil, err
	}
	var drives []*drive.Drive
	for _, dir := range dirs {
		d, err := drive.Open(dir, drive.Options{ReadOnly: a == reading})
		if err != nil {
			return nil, errors.Join(driveError(dir, err), closeDrives(drives))
		}
		drives = append(drives, d)
	}
	if err := oneVault(drives, a); err != nil {
		return nil, errors.Join(err, closeDrives(drives))
	}
	return drives, nil
}

// oneVault checks that drives are of one vault. Where a vault rekey was cut short after some of them went over to the new
// vault, readers get that on all: it is whole inside the others.
func oneVault(drives []*drive.Drive, a access) error {
	for _, d := range drives {
		if d.Vault() == drives[0].Vault() {
			continue
		}
		for _, id := range []string{d.Vault(), drives[0].Vault()} {
			late := lateFor(drives, id)
			switch {
			case late == nil:
			case a == reading:
				return enterNext(drives, late)
			default:
				return cutRekey(late[0].Dir())
			}
		}
		return hintError{fmt.Errorf("%s belongs to another vault than %s", d.Dir(), drives[0].Dir()), "foreign",
			"name only the drives of one vault; one that was away during boxd vault rekey is brought over by running that again"}
	}
	return nil
}

func cutRekey(dir string) error {
	return hintError{fmt.Errorf("boxd vault rekey was cut short: %s holds the old vault still", dir), "rekey",
		"run it again with the same drives and key files; it goes on from there"}
}

// lateFor are the drives that are not of a vault, if all of them have a drive of it inside.
func lateFor(drives []*drive.Drive, id string) (late []*drive.Drive) {
	for _, d := range drives {
		if d.Vault() == id {
			continue
		}
		if next, err := d.NextVault(); err != nil || next != id {
			return nil
		}
		late = append(late, d)
	}
	return late
}

// enterNext puts the drives that are inside of late in their place.
func enterNext(drives, late []*drive.Drive) error {
	for i, d := range drives {
		if !slices.Contains(late, d) {
			continue
		}
		next, err := drive.OpenNext(d.Dir())
		if err != nil {
			return err
		}
		drives[i] = next
		if err := d.Close(); err != nil {
			return err
		}
	}
	return nil
}

// driveError adds what to do about an error of drive.Open.
func driveError(dir string, err error) error {
	switch {
	case errors.Is(err, drive.ErrNoIdentity):
		return hintError{err, "no-drive", "boxd vault create makes new drives, boxd drive add takes one into a vault; check the path " + dir}
	case errors.Is(err, drive.ErrBusy):
		return hintError{fmt.Errorf("%s is %w", dir, drive.ErrBusy), "busy", "wait until the other boxd has finished, or stop it; what only reads works meanwhile"}
	case errors.Is(err, storage.ErrReadOnly):
		return hintError{err, "read-only", "mount it writable, or leave it out"}
	}
	return err
}

func closeDrives(drives []*drive.Drive) error {
	var errs []error
	for _, d := range drives {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// members are the drives as an array knows them. They are called by the last part of their path, or by all of it where
// two would be called the same.
func members(drives []*drive.Drive) []array.Member {
	var out []array.Member
	for _, d := range drives {
		out = append(out, array.Member{ID: d.ID(), Label: label(d, drives), Store: d})
	}
	return out
}

func label(d *drive.Drive, among []*drive.Drive) string {
	base := driveName(d.Dir())
	for _, other := range among {
		if other != d && driveName(other.Dir()) == base {
			return d.Dir()
		}
	}
	return base
}

// boxFolder is the folder that is made on a drive which the owner gives to the box: what else lies there stays beside it.
const boxFolder = "phone-backup-box"

// driveName is what a drive in that folder is called: as the folder, or, if the box made it, as what it is on.
func driveName(dir string) string {
	if filepath.Base(dir) == boxFolder {
		dir = filepath.Dir(dir)
	}
	return filepath.Base(dir)
}

// openArray opens the drives and the array over them: all that a command without the key needs.
func openArray(ctx context.Context, dirs []string, a access) (*rack, error) {
	drives, err := openDrives(dirs, a)
	if err != nil {
		return nil, err
	}
	r, err := over(ctx, drives)
	if err == nil {
		r.writes = a
	}
	return r, err
}

// over opens the array over drives, and lets go of them where it cannot.
func over(ctx context.Context, drives []*drive.Drive) (*rack, error) {
	arr, err := array.Open(ctx, members(drives), array.Options{})
	if err != nil {
		return nil, errors.Join(err, closeDrives(drives))
	}
	return &rack{drives: drives, array: arr}, nil
}

// open opens everything. The key is read first, since a wrong file name is found without touching a drive.
func (f *vaultFlags) open(ctx context.Context, a access) (*rack, error) {
	password, err := f.password()
	if err != nil {
		return nil, err
	}
	r, err := openArray(ctx, f.drives, a)
	if err != nil {
		return nil, err
	}
	if err := f.openVault(ctx, r, password); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// openVault opens the vault on a rack.
func (f *vaultFlags) openVault(ctx context.Context, r *rack, password string) (err error) {
	hint := f.keyHint()
	r.vault, err = vault.Open(ctx, r.array, password, vault.Options{ReadOnly: r.writes == reading, KeyHint: hint, Cache: f.cacheDir()})
	if err != nil {
		return f.keyError(err)
	}
	makeRoom()
	if id := r.vault.KeyID(); id != hint {
		f.rememberKey(id)
	}
	_, err = vault.ParseWords(password)
	r.passphrase = err != nil
	return nil
}

// hintName, in a state folder, is the ID of the key that opened the vault the last time: trying it first saves a second or
// so for each passphrase that the vault has.
const hintName = "key-hint"

// stateDir is the folder that --state names, "" if none.
func (f *vaultFlags) stateDir() string {
	if f.flags == nil || f.flags.Lookup("state") == nil {
		return ""
	}
	return f.flags.Lookup("state").Value.String()
}

// cacheDir is where what index files say is kept for the next command: in the state folder, or else among the user's caches.
// The rescue program leaves nothing on a computer that is not the box; "" is nowhere.
func (f *vaultFlags) cacheDir() string {
	if dir := f.stateDir(); dir != "" {
		return filepath.Join(dir, "cache")
	}
	dir, err := os.UserCacheDir()
	if guides || err != nil {
		return ""
	}
	return filepath.Join(dir, "phonebackupbox")
}

func (f *vaultFlags) keyHint() string {
	dir := f.stateDir()
	if dir == "" {
		return ""
	}
	p, err := readSmall(filepath.Join(dir, hintName), 100)
	if err != nil {
		return "" // without a hint it only takes longer
	}
	return strings.TrimSpace(string(p))
}

// rememberKey keeps the hint for the next time, if there is a state folder to keep it in; it is only a cache.
func (f *vaultFlags) rememberKey(id string) {
	if dir := f.stateDir(); dir != "" {
		_ = putStateFile(dir, hintName, []byte(id+"\n"))
	}
}

// keyError is keyError of the key file that the flags name: beside one that was replaced lies a note.
func (f *vaultFlags) keyError(err error) error {
	if note := f.keyFile + noteSuffix; f.keyFile != "" && errors.Is(err, vault.ErrWrongKey) {
		if _, serr := os.Lstat(note); serr == nil {
			return hintError{err, "wrong-key", "these drives have a newer key: " + note + " tells where it is"}
		}
	}
	return keyError(err)
}

// keyError adds what to do about a key that does not fit.
func keyError(err error) error {
	if errors.Is(err, vault.ErrWrongKey) {
		return hintError{err, "wrong-key", "use the key file or words that were made with this vault"}
	}
	return err
}

// close flushes and lets go of everything.
func (r *rack) close() error {
	var errs []error
	if r.vault != nil {
		errs = append(errs, r.vault.Close())
	}
	if r.array != nil && r.writes == writing {
		r.showPages()
	}
	if r.array != nil {
		errs = append(errs, r.array.Close())
	}
	return errors.Join(append(errs, closeDrives(r.drives))...)
}

// dirOf is the folder of an attached drive, "" for others.
func (r *rack) dirOf(id string) string {
	for _, d := range r.drives {
		if d.ID() == id {
			return d.Dir()
		}
	}
	return ""
}

// job is what a command does once its drives are open.
type job func(ctx context.Context, c *call, r *rack, args []string) error

// on makes an action of do: it checks the arguments, opens the vault that the flags name, and lets go of it afterwards.
func (f *vaultFlags) on(a access, check func([]string) error, do job) action {
	return opened(check, do, func(ctx context.Context) (*rack, error) { return f.open(ctx, a) })
}

// onArray is on for what needs no key.
func onArray(dirs *[]string, a access, check func([]string) error, do job) action {
	return opened(check, do, func(ctx context.Context) (*rack, error) { return openArray(ctx, *dirs, a) })
}

func opened(check func([]string) error, do job, open func(context.Context) (*rack, error)) action {
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := check(args); err != nil {
			return err
		}
		r, err := open(ctx)
		if err != nil {
			return err
		}
		defer r.also(&err)
		return do(ctx, c, r, args)
	}
}

// want is a check for from to to arguments, with the question that is asked otherwise.
func want(from, to int, question, usage string) func([]string) error {
	return func(args []string) error {
		if len(args) < from || len(args) > to {
			return usageError{question, usage}
		}
		return nil
	}
}

// also adds the error of letting go to a command's own.
func (r *rack) also(err *error) { *err = errors.Join(*err, r.close()) }

// isDrive reports whether a drive of some vault is plugged in at dir, damaged or not.
func isDrive(dir string) bool {
	_, ok := vaultOf(dir)
	return ok
}

// vaultOf tells which vault the drive at dir belongs to, "" if its identity cannot be read; false if it is no drive.
func vaultOf(dir string) (string, bool) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", false
	}
	d, err := drive.Open(dir, drive.Options{ReadOnly: true})
	if err != nil {
		return "", !errors.Is(err, drive.ErrNoIdentity)
	}
	id := d.Vault()
	return id, d.Close() == nil
}
