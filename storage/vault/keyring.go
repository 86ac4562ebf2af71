package vault

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"phonebackupbox/storage"
)

// Errors of adding and removing keys.
var (
	// ErrWeak: a passphrase that somebody could guess who has a drive. The error says what it lacks.
	ErrWeak = errors.New("too easy to guess")
	// ErrTooManyKeys: the vault has as many keys as Open would try.
	ErrTooManyKeys = errors.New("there are 20 keys already")
	// ErrKeyInUse: the key that opened the vault is not removed.
	ErrKeyInUse = errors.New("this key opened the vault just now")
	// ErrNoKey: no key has that ID.
	ErrNoKey = errors.New("no such key")
)

// A Key is one of the passwords that open the vault, without the password. Stock restic makes and lists them, too.
type Key struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Made    string    `json:"made"`  // by whom: user@host
	Words   bool      `json:"words"` // for 24 words, as far as its cost tells; a passphrase otherwise
	InUse   bool      `json:"in_use"`
	Err     error     `json:"-"` // why it cannot be read; only ID is set then
}

// minPassphrase is how many characters a passphrase has at least. It is tried at some 10 guesses a second and core.
const minPassphrase = 12

// CheckPassphrase refuses, with ErrWeak, a passphrase that a thief of a drive might guess. 24 words always pass.
func CheckPassphrase(s string) error {
	if _, err := ParseWords(s); err == nil {
		return nil
	}
	n := utf8.RuneCountInString(s)
	kinds, distinct := map[string]bool{}, map[rune]bool{}
	for _, r := range s {
		distinct[unicode.ToLower(r)] = true
		switch {
		case unicode.IsDigit(r):
			kinds["digits"] = true
		case unicode.IsUpper(r):
			kinds["capitals"] = true
		case unicode.IsLetter(r):
			kinds["letters"] = true
		default:
			kinds["signs"] = true
		}
	}
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("vault: a passphrase is one line of text without control characters: %w", fs.ErrInvalid)
	case strings.TrimSpace(s) != s:
		// Stock restic trims a password file, too.
		return fmt.Errorf("vault: a passphrase neither begins nor ends with a space: %w", fs.ErrInvalid)
	case n < minPassphrase:
		return fmt.Errorf("vault: %d characters, at least %d are wanted: %w", n, minPassphrase, ErrWeak)
	case len(distinct) < 6:
		return fmt.Errorf("vault: the same few characters again and again: %w", ErrWeak)
	case len(kinds) < 2 && n < 2*minPassphrase:
		return fmt.Errorf("vault: all of one kind; mix letters, digits and spaces, or make it %d characters: %w", 2*minPassphrase, ErrWeak)
	}
	return nil
}

// Keys lists the vault's keys, the oldest first; those that cannot be read come last.
func (v *Vault) Keys(ctx context.Context) ([]Key, error) {
	var list []Key
	for info, err := range v.s.List(ctx, "keys/") {
		if err != nil {
			return nil, fmt.Errorf("vault: list keys: %w", err)
		}
		id, ok := strings.CutPrefix(info.Name, "keys/")
		if _, err := parseHash(id); !ok || err != nil {
			continue // not a key
		}
		key := Key{ID: id, InUse: id == v.keyID}
		switch k, err := readKeyFile(ctx, v.s, info.Name); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			key.Err = err
		default:
			key.Created, key.Made, key.Words = k.Created, quote(k.Username)+"@"+quote(k.Hostname), k.N == wordsN
		}
		list = append(list, key)
	}
	slices.SortStableFunc(list, func(a, b Key) int {
		return cmp.Or(cmp.Compare(b2i(a.Err != nil), b2i(b.Err != nil)), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// AddKey makes password, 24 words or a passphrase that CheckPassphrase lets pass, one more key of the vault and returns its
// ID. The key is durable, and was tried, when it returns nil.
func (v *Vault) AddKey(ctx context.Context, password string) (id string, err error) {
	if v.o.ReadOnly {
		return "", fmt.Errorf("vault: add a key: opened for reading only: %w", fs.ErrPermission)
	}
	if err := CheckPassphrase(password); err != nil {
		return "", err
	}
	list, err := v.Keys(ctx)
	if err != nil {
		return "", err
	}
	if len(list) >= maxKeys {
		return "", fmt.Errorf("vault: add a key: %w", ErrTooManyKeys)
	}
	kf, err := newKeyFile(v.key, password, v.o.Now())
	if err != nil {
		return "", fmt.Errorf("vault: add a key: %w", err)
	}
	id = sum(kf).String()
	if err := v.s.Put(ctx, "keys/"+id, kf); err != nil {
		return "", fmt.Errorf("vault: add a key: %w", err)
	}
	if err := v.s.Sync(ctx); err != nil {
		return "", fmt.Errorf("vault: add a key: %w", err)
	}
	return id, v.tryKey(ctx, id, password)
}

// tryKey reads a key back and opens it.
func (v *Vault) tryKey(ctx context.Context, id, password string) error {
	k, err := readKeyFile(ctx, v.s, "keys/"+id)
	if err != nil {
		return err
	}
	canonical, _ := canonicalPassword(password)
	got, err := k.open(canonical)
	if err != nil {
		return fmt.Errorf("vault: key %.8s: %w", id, err)
	}
	// The IV is random, so it is the plain text that is compared.
	const probe = "the same key opens what the other sealed"
	if p, err := got.open(v.key.sealed([]byte(probe))); err != nil || !bytes.Equal(p, []byte(probe)) {
		return fmt.Errorf("vault: key %.8s: %w: it holds another master key", id, ErrDamaged)
	}
	return nil
}

// RemoveKey removes a key for good, durably when it returns nil. The key that opened the vault stays, so that there is always
// one whose password somebody knows. Removing ends future use only: whoever knew the password and has a copy of a drive
// from before has the master key. away are the IDs of drives that are not there and may hold the key; RemovedKeys tells
// them later.
func (v *Vault) RemoveKey(ctx context.Context, id string, away ...string) error {
	name := "keys/" + id
	switch {
	case v.o.ReadOnly:
		return fmt.Errorf("vault: remove a key: opened for reading only: %w", fs.ErrPermission)
	case id == v.keyID:
		return fmt.Errorf("vault: remove key %.8s: %w", id, ErrKeyInUse)
	}
	if _, err := parseHash(id); err != nil {
		return fmt.Errorf("vault: remove key %.80q: %w", id, ErrNoKey)
	}
	// Somebody else may have removed ours meanwhile.
	if _, err := readKeyFile(ctx, v.s, "keys/"+v.keyID); err != nil {
		return fmt.Errorf("vault: remove key %.8s: the key in use: %w", id, err)
	}
	switch _, err := v.s.Stat(ctx, name); {
	case errors.Is(err, storage.ErrNotExist):
		return fmt.Errorf("vault: remove key %.8s: %w", id, ErrNoKey)
	case err != nil:
		return fmt.Errorf("vault: remove key %.8s: %w", id, err)
	}
	if err := v.noteRemoved(ctx, RemovedKey{Key: id, Away: away}); err != nil {
		return fmt.Errorf("vault: remove key %.8s: %w", id, err)
	}
	if err := v.s.Delete(ctx, name); err != nil {
		return fmt.Errorf("vault: remove key %.8s: %w", id, err)
	}
	if err := v.s.Sync(ctx); err != nil {
		return fmt.Errorf("vault: remove key %.8s: %w", id, err)
	}
	return nil
}
