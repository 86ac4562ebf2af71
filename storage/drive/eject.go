package drive

import (
	"errors"
	"fmt"

	"phonebackupbox/storage"
)

// Ejected tells what Eject did to a drive, which is safe to unplug then.
type Ejected struct {
	Device    string   `json:"device"`    // the whole disk, such as "/dev/sda"
	Unmounted []string `json:"unmounted"` // mount points
	Off       bool     `json:"off"`       // it was told to stop, too: platters stand still, most lamps go out
}

// Errors of Eject, which it wraps with the folder and what to do.
var (
	// ErrSystemDisk: the folder is on the disk that this system runs from, or on none.
	ErrSystemDisk = errors.New("not on a drive that can be unplugged")
	// ErrInUse: a program has files open on the drive, or its working folder there.
	ErrInUse = errors.New("still in use")
	// ErrNotRoot: only root may unmount.
	ErrNotRoot = errors.New("only root may do that")
)

// Eject makes the drive that the folder dir is on safe to unplug: it settles and closes the vault's drive in dir, if there is
// one, flushes the file system, unmounts every part of the disk and has it stop. It never forces anything: where another
// process uses the drive, nothing is unmounted. Errors: ErrBusy, ErrInUse, ErrNotRoot, ErrSystemDisk and those of flushing;
// the drive must not be unplugged then.
func Eject(dir string) (Ejected, error) {
	d, err := Open(dir, Options{})
	switch {
	case err == nil:
		err = d.Close()
	case errors.Is(err, ErrNoIdentity), errors.Is(err, storage.ErrReadOnly), errors.Is(err, errIdentity):
		err = nil // nothing of ours that could be half written
	}
	if err != nil {
		return Ejected{}, err
	}
	e, err := eject(dir)
	if err != nil {
		return e, fmt.Errorf("drive: eject %s: %w", dir, err)
	}
	return e, nil
}
