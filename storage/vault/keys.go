package vault

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/scrypt"

	"phonebackupbox/storage"
)

const (
	maxKeys     = 20       // key files tried by Open
	maxKeyFile  = 64 << 10 // bytes
	maxScryptM  = 128 << 20
	wordsN      = 1 << 10 // scrypt's N for 24 words, whose 256 bits nobody guesses
	passphraseN = 1 << 15 // and for whatever else people choose
	saltSize    = 64      // bytes
)

// keyFile is the JSON document of keys/HEX (design.rst, "Keys, Encryption and MAC").
type keyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"` // the masterKey, sealed with what scrypt makes of the password
}

// masterKey is the JSON document inside a key file.
type masterKey struct {
	MAC struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"`
}

// Format writes no key, as a sealer's does.
func (m masterKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// parseKeyFile reads a key file and refuses parameters that would cost more than 128 MiB of memory or about a second.
func parseKeyFile(p []byte) (keyFile, error) {
	var k keyFile
	if err := json.Unmarshal(p, &k); err != nil {
		return k, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	n, r, q := int64(k.N), int64(k.R), int64(k.P)
	switch {
	case k.KDF != "scrypt":
		return k, fmt.Errorf("%w: key derivation %.20q is unknown", ErrDamaged, k.KDF)
	case n < 2 || n > maxScryptM || n&(n-1) != 0 || r < 1 || r > 64 || q < 1 || q > 16:
		return k, fmt.Errorf("%w: scrypt parameters %d, %d, %d are out of bounds", ErrDamaged, n, r, q)
	case 128*n*r > maxScryptM || 128*n*r*q > 2*maxScryptM:
		return k, fmt.Errorf("%w: scrypt parameters %d, %d, %d cost too much", ErrDamaged, n, r, q)
	case len(k.Salt) != saltSize || len(k.Data) < overhead:
		return k, fmt.Errorf("%w: salt or data is too short", ErrDamaged)
	}
	return k, nil
}

// user derives the key that seals the master key.
func (k keyFile) user(password string) (*sealer, error) {
	p, err := scrypt.Key([]byte(password), k.Salt, k.N, k.R, k.P, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return newSealer((*[64]byte)(p))
}

// open returns the master key, or ErrWrongKey.
func (k keyFile) open(password string) (*sealer, error) {
	user, err := k.user(password)
	if err != nil {
		return nil, err
	}
	p, err := user.open(slices.Clone(k.Data))
	if err != nil {
		return nil, ErrWrongKey
	}
	var m masterKey
	if err := json.Unmarshal(p, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(m.Encrypt) != 32 || len(m.MAC.K) != 16 || len(m.MAC.R) != 16 {
		return nil, fmt.Errorf("%w: master key of a wrong length", ErrDamaged)
	}
	return newSealer((*[64]byte)(slices.Concat(m.Encrypt, m.MAC.K, m.MAC.R)))
}

// canonicalPassword is the password as scrypt gets it: words in their canonical form, anything else as it is.
func canonicalPassword(s string) (password string, n int) {
	if w, err := ParseWords(s); err == nil {
		return w, wordsN
	}
	return s, passphraseN
}

// newKeyFile seals master with password.
func newKeyFile(master *sealer, password string, now time.Time) ([]byte, error) {
	password, n := canonicalPassword(password)
	k := keyFile{Created: now, Username: userName, Hostname: hostName, KDF: "scrypt", N: n, R: 8, P: 1, Salt: make([]byte, saltSize)}
	rand.Read(k.Salt) // never fails (Go 1.24)
	user, err := k.user(password)
	if err != nil {
		return nil, err
	}
	own := master.keys()
	m := masterKey{Encrypt: own.encrypt[:]}
	m.MAC.K, m.MAC.R = own.k[:], own.r[:]
	p, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	k.Data = user.sealed(p)
	return json.Marshal(k)
}

// findKey tries the vault's keys, the hinted one first and then cheap ones before dear ones.
func findKey(ctx context.Context, s storage.Store, password, hint string) (master *sealer, id string, err error) {
	password, _ = canonicalPassword(password)
	type candidate struct {
		id string
		keyFile
	}
	var keys []candidate
	var damaged error
	for info, err := range s.List(ctx, "keys/") {
		if err != nil {
			return nil, "", fmt.Errorf("vault: list keys: %w", err)
		}
		if len(keys) >= maxKeys {
			break
		}
		id := strings.TrimPrefix(info.Name, "keys/")
		k, err := readKeyFile(ctx, s, info.Name)
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if err != nil {
			damaged = cmp.Or(damaged, err)
			continue
		}
		keys = append(keys, candidate{id, k})
	}
	slices.SortStableFunc(keys, func(a, b candidate) int {
		if a.id == hint || b.id == hint {
			return cmp.Compare(b2i(b.id == hint), b2i(a.id == hint))
		}
		return cmp.Compare(a.N*a.R*a.P, b.N*b.R*b.P)
	})
	for _, k := range keys {
		master, err := k.open(password)
		if err == nil {
			return master, k.id, nil
		}
		if !errors.Is(err, ErrWrongKey) {
			damaged = cmp.Or(damaged, fmt.Errorf("vault: key %.8s: %w", k.id, err))
		}
	}
	if len(keys) > 0 && damaged == nil {
		return nil, "", fmt.Errorf("vault: %w", ErrWrongKey)
	}
	if damaged != nil && len(keys) > 0 {
		return nil, "", fmt.Errorf("vault: %w (but another key could not be tried: %w)", ErrWrongKey, damaged)
	}
	return nil, "", damaged
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// readKeyFile reads keys/HEX and checks that it is what was written under that name.
func readKeyFile(ctx context.Context, s storage.Store, name string) (keyFile, error) {
	p, err := storage.ReadAll(ctx, s, name, maxKeyFile)
	if err != nil {
		return keyFile{}, fmt.Errorf("vault: read %s: %w", name, err)
	}
	if hash(sha256.Sum256(p)).String() != strings.TrimPrefix(name, "keys/") {
		return keyFile{}, fmt.Errorf("vault: %s: %w: content does not fit the name", name, ErrDamaged)
	}
	k, err := parseKeyFile(p)
	if err != nil {
		return keyFile{}, fmt.Errorf("vault: %s: %w", name, err)
	}
	return k, nil
}
