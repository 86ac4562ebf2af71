// Package vault keeps snapshots of phones in a restic repository, format version 2, over a storage.Store.
//
// The format is restic's (doc/design.rst of restic 0.18): what we write stock restic checks, lists and restores, and we
// read what it writes. The code is our own, for speed and for what a box needs: a Tree that starts as the phone's last
// snapshot and takes files as they come, order by generation instead of by clock, and resuming after a power cut.
//
// Names in the store are those of a repository folder: config, keys/HEX, data/ab/HEX, index/HEX, snapshots/HEX, and
// three kinds of our own, resume/HEX, removed/HEX and former/HEX, which stock restic does not look at.
//
// Order of writes: packs, Sync, indexes, Sync, snapshot, Sync, and only then is a snapshot acknowledged. Everything
// read from the store is taken for hostile: limits come before allocations, and bytes are used only after their
// Poly1305-AES tag and, for blobs, their SHA-256 were checked.
package vault

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Errors that this package returns, told apart with errors.Is. Those of the storage package pass through wrapped.
var (
	// ErrWrongKey: the password opens none of the vault's keys.
	ErrWrongKey = errors.New("these words do not open this vault")
	// ErrNotVault: the store holds no vault.
	ErrNotVault = errors.New("there is no vault here")
	// ErrDamaged: something of the vault was read, but it is not what was written. The error names it.
	ErrDamaged = errors.New("damaged")
	// ErrNewer: the vault's format is one that this program does not know.
	ErrNewer = errors.New("made by a newer program: unknown format version")
	// ErrNoSnapshot: no snapshot is meant by a reference.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrAmbiguous: several snapshots are meant by a reference.
	ErrAmbiguous = errors.New("more than one snapshot begins like that")
	// ErrBusy: another Tree of this vault is still open.
	ErrBusy = errors.New("another backup into this vault is still open")
	// ErrClosed: the Tree or the vault has been closed or committed.
	ErrClosed = errors.New("already closed")
	// ErrTooBig: a folder or a document passes a limit of the format.
	ErrTooBig = errors.New("too big")
)

// Options are the same for Create and Open; the zero value is right for a box.
type Options struct {
	// ReadOnly refuses Begin. Reading never writes anyway.
	ReadOnly bool
	// IgnoreDamagedIndex opens a vault some of whose index files are damaged: what they named is found again by
	// reading the headers of all packs that no other index names.
	IgnoreDamagedIndex bool
	// KeyHint is the Vault.KeyID of an earlier Open. It is tried first, which saves a scrypt for each other key.
	KeyHint string
	// Cache is a folder of this machine, made when it is needed, in which what index files say is kept between one Open and
	// the next; "" keeps nothing. It can be deleted at any time.
	Cache string
	// Log receives one event per state change and never a phone's name or a file's; nil logs nothing.
	Log *slog.Logger
	// Now is the clock that snapshots are dated by; nil is time.Now. No order depends on it.
	Now func() time.Time
	// ClockTrusted tells whether Now is to be believed: it comes from a network, a battery-backed clock or a phone. Nil
	// is yes. Snapshots taken otherwise are marked, and no dated retention applies to them.
	ClockTrusted func() bool
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// hash is a SHA-256: the name of a blob, of a pack and of every other file but config.
type hash [32]byte

func (h hash) String() string { return hex.EncodeToString(h[:]) }

// parseHash reads the 64 hexadecimal digits of a hash.
func parseHash(s string) (hash, error) {
	var h hash
	if len(s) != 2*len(h) {
		return h, fmt.Errorf("vault: %.80q is not a SHA-256: %w", s, ErrDamaged)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return h, fmt.Errorf("vault: %q is not a SHA-256: %w", s, ErrDamaged)
	}
	return h, nil
}

// MarshalText and UnmarshalText make a hash a string of hexadecimal digits in JSON.
func (h hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *hash) UnmarshalText(p []byte) error {
	v, err := parseHash(string(p))
	if err == nil {
		*h = v
	}
	return err
}

// packName is a pack's name in the store.
func packName(h hash) string {
	s := h.String()
	return "data/" + s[:2] + "/" + s
}
