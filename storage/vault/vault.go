package vault

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"phonebackupbox/storage"
)

// What stock restic shows as the maker of a snapshot or a key.
const (
	hostName       = "phonebackupbox"
	userName       = "box"
	programVersion = "phonebackupbox"
)

// A Vault is an opened repository. It is safe for concurrent use; at most one Tree is open at a time.
type Vault struct {
	s     storage.Store
	key   *sealer
	cfg   config
	keyID string
	o     Options
	zip   zipper
	index *index
	pace  rhythm
	// indexAway: an index file is on a drive that is not here. What it names is out of reach, whatever else is; set by Open.
	indexAway bool

	mu        sync.Mutex // guards what follows
	tree      *Tree      // the one that is open, nil if none
	held      bool       // by something else that writes: a prune
	scanned   bool       // packs that no index names have been looked for
	unindexed []uint32   // stored packs that no index file names yet
	snapshots map[hash]Snapshot
	closed    bool
}

// config is the JSON document of the file config.
type config struct {
	Version    int    `json:"version"`
	ID         string `json:"id"`
	Polynomial string `json:"chunker_polynomial"`
}

// parseConfig reads the decrypted config. Versions 1 and 2 can be read; only version 2 can be written to.
func parseConfig(p []byte) (config, error) {
	var c config
	if err := json.Unmarshal(p, &c); err != nil {
		return c, fmt.Errorf("vault: config: %w: %w", ErrDamaged, err)
	}
	if c.Version > 2 {
		return c, fmt.Errorf("vault: format version %d: %w", c.Version, ErrNewer)
	}
	if _, err := parseHash(c.ID); err != nil || c.Version < 1 {
		return c, fmt.Errorf("vault: config: %w", ErrDamaged)
	}
	return c, nil
}

// Create makes a vault in s, which has none, and opens it. password is a vault's 24 words or a passphrase.
func Create(ctx context.Context, s storage.Store, password string, o Options) (*Vault, error) {
	if password == "" {
		return nil, errors.New("vault: create: the password is empty")
	}
	switch _, err := s.Stat(ctx, "config"); {
	case err == nil:
		return nil, fmt.Errorf("vault: create: there is a vault already: %w", fs.ErrExist)
	case !errors.Is(err, storage.ErrNotExist):
		return nil, fmt.Errorf("vault: create: %w", err)
	}
	v := &Vault{s: s, o: o.withDefaults(), index: newIndex(), pace: usual, snapshots: map[hash]Snapshot{}}
	var random [64]byte
	rand.Read(random[:]) // never fails (Go 1.24)
	var err error
	if v.key, err = newSealer(&random); err != nil {
		return nil, err
	}
	if err := v.zip.init(); err != nil {
		return nil, err
	}
	kf, err := newKeyFile(v.key, password, v.o.Now())
	if err != nil {
		return nil, fmt.Errorf("vault: create: %w", err)
	}
	var id hash
	rand.Read(id[:])
	v.cfg = config{Version: 2, ID: id.String(), Polynomial: strconv.FormatUint(uint64(newPolynomial()), 16)}
	p, err := json.Marshal(v.cfg)
	if err != nil {
		return nil, fmt.Errorf("vault: create: %w", err)
	}
	// The config comes last and durable only after the key: a vault without a key would be a vault that nobody opens.
	v.keyID = sum(kf).String()
	if err := s.Put(ctx, "keys/"+v.keyID, kf); err != nil {
		return nil, fmt.Errorf("vault: create: key: %w", err)
	}
	if err := s.Sync(ctx); err != nil {
		return nil, fmt.Errorf("vault: create: key: %w", err)
	}
	// Restic reads the config before it knows the version, so it is never compressed.
	if err := s.Put(ctx, "config", v.key.sealed(p)); err != nil {
		return nil, fmt.Errorf("vault: create: config: %w", err)
	}
	if err := s.Sync(ctx); err != nil {
		return nil, fmt.Errorf("vault: create: config: %w", err)
	}
	return v, nil
}

// Open opens the vault in s and reads its index. It lists no data and writes nothing.
func Open(ctx context.Context, s storage.Store, password string, o Options) (*Vault, error) {
	_, confErr := s.Stat(ctx, "config")
	if confErr != nil && !errors.Is(confErr, storage.ErrNotExist) {
		return nil, fmt.Errorf("vault: open: config: %w", confErr)
	}
	v := &Vault{s: s, o: o.withDefaults(), index: newIndex(), pace: usual, snapshots: map[hash]Snapshot{}}
	if err := v.zip.init(); err != nil {
		return nil, err
	}
	var err error
	v.key, v.keyID, err = findKey(ctx, s, password, o.KeyHint)
	switch {
	case err != nil:
		return nil, err
	case v.key == nil && confErr != nil:
		return nil, fmt.Errorf("vault: open: %w", ErrNotVault)
	case v.key == nil:
		return nil, fmt.Errorf("vault: open: %w: the vault has no key file", ErrDamaged)
	case confErr != nil:
		return nil, fmt.Errorf("vault: open: %w: the vault has keys but no config", ErrDamaged)
	}
	p, err := storage.ReadAll(ctx, s, "config", maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("vault: open: config: %w", err)
	}
	if p, err = v.openDocument(p, maxKeyFile); err != nil {
		return nil, fmt.Errorf("vault: open: config: %w", err)
	}
	if v.cfg, err = parseConfig(p); err != nil {
		return nil, err
	}
	if err := v.checkNotRemoved(ctx); err != nil {
		return nil, err
	}
	if err := v.loadIndexes(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// ID is the vault's identity: 64 hexadecimal digits made at random when it was created.
func (v *Vault) ID() string { return v.cfg.ID }

// KeyID names the key file that the password opened; Options.KeyHint takes it.
func (v *Vault) KeyID() string { return v.keyID }

// Close ends the use of the vault. An open Tree is closed first.
func (v *Vault) Close() error {
	v.mu.Lock()
	t := v.tree
	v.closed = true
	v.mu.Unlock()
	var err error
	if t != nil {
		err = t.Close()
	}
	v.zip.close()
	return err
}

// readDocument reads and decrypts one of the files that are not packs, and checks that it is what was written under
// that name. limit is in bytes, of the file and of the document in it.
func (v *Vault) readDocument(ctx context.Context, name string, limit int64) ([]byte, error) {
	p, err := storage.ReadAll(ctx, v.s, name, limit)
	if err != nil {
		return nil, fmt.Errorf("vault: %s: %w", name, err)
	}
	if !strings.HasSuffix(name, sum(p).String()) {
		return nil, fmt.Errorf("vault: %s: %w: content does not fit the name", name, ErrDamaged)
	}
	if p, err = v.openDocument(p, limit); err != nil {
		return nil, fmt.Errorf("vault: %s: %w", name, err)
	}
	return p, nil
}

// openDocument decrypts p in place and decompresses it (design.rst, "Unpacked Data Format").
func (v *Vault) openDocument(p []byte, limit int64) ([]byte, error) {
	p, err := v.key.open(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	switch {
	case len(p) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	case p[0] == '{' || p[0] == '[':
		return p, nil
	case p[0] != 2:
		return nil, fmt.Errorf("document encoding %d: %w", p[0], ErrNewer)
	}
	return v.zip.decompress(p[1:], -1, limit, nil)
}

// writeDocument compresses, encrypts and puts a document under its hash in folder, and returns that.
func (v *Vault) writeDocument(ctx context.Context, folder string, doc []byte) (hash, error) {
	p := v.key.sealed(v.zip.document(doc))
	h := sum(p)
	if len(p) > storage.MaxBlob {
		return h, fmt.Errorf("vault: %s: %d bytes: %w", folder, len(p), ErrTooBig)
	}
	if err := v.s.Put(ctx, folder+"/"+h.String(), p); err != nil {
		return h, fmt.Errorf("vault: put %s: %w", folder, err)
	}
	return h, nil
}
