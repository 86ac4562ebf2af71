package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"phonebackupbox/storage"
)

// A RemovedKey is what the vault remembers of a key for ever, in a document of its own (removed/HEX, which stock restic
// does not look at): a drive that was away, or used apart, brings the key back, and it is removed again.
type RemovedKey struct {
	Key  string   `json:"key"`  // its ID
	Away []string `json:"away"` // IDs of the drives that were not there when it was removed, and may hold it still
}

// maxRemoved bounds a document of removed/HEX, in bytes.
const maxRemoved = 64 << 10

// RemovedKeys tells which keys were removed, one entry for each removal.
func (v *Vault) RemovedKeys(ctx context.Context) ([]RemovedKey, error) {
	var list []RemovedKey
	for info, err := range v.s.List(ctx, "removed/") {
		if err != nil {
			return nil, fmt.Errorf("vault: list removed keys: %w", err)
		}
		p, err := v.readDocument(ctx, info.Name, maxRemoved)
		if err != nil {
			return nil, err
		}
		r, err := parseRemoved(p)
		if err != nil {
			return nil, fmt.Errorf("vault: %s: %w", info.Name, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// parseRemoved reads a document of removed/HEX.
func parseRemoved(p []byte) (RemovedKey, error) {
	var r RemovedKey
	if err := json.Unmarshal(p, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	_, err := parseHash(r.Key)
	return r, err
}

// noteRemoved remembers durably that a key is about to be removed.
func (v *Vault) noteRemoved(ctx context.Context, r RemovedKey) error {
	p, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("vault: %w", err)
	}
	if _, err := v.writeDocument(ctx, "removed", p); err != nil {
		return err
	}
	return v.s.Sync(ctx)
}

// dropReturned removes again what came back of keys that were removed; the caller is the only writer, and syncs later. The
// key in use stays, even if another box that used some of the drives removed it: two boxes that removed each other's keys
// must not leave a vault that nobody opens. Where it fails, the next run tries again: a backup does not wait for it.
func (v *Vault) dropReturned(ctx context.Context) {
	list, err := v.RemovedKeys(ctx)
	if err != nil {
		v.o.Log.Warn("the list of removed keys cannot be read", slog.Any("err", err))
		return
	}
	for _, r := range list {
		if r.Key == v.keyID {
			continue
		}
		switch err := v.s.Delete(ctx, "keys/"+r.Key); {
		case err == nil:
			v.o.Log.Info("a removed key came back and was removed again", "key", r.Key)
		case !errors.Is(err, storage.ErrNotExist):
			v.o.Log.Warn("a removed key that came back cannot be removed", "key", r.Key, slog.Any("err", err))
		}
	}
}

// checkNotRemoved is ErrWrongKey if the key that fits was removed, unless it is the last one left.
func (v *Vault) checkNotRemoved(ctx context.Context) error {
	list, err := v.RemovedKeys(ctx)
	if err != nil {
		// Nobody is locked out by a document that cannot be read.
		v.o.Log.Warn("the list of removed keys cannot be read", slog.Any("err", err))
		return ctx.Err()
	}
	removed := map[string]bool{}
	for _, r := range list {
		removed[r.Key] = true
	}
	if !removed[v.keyID] {
		return nil
	}
	for info, err := range v.s.List(ctx, "keys/") {
		if err != nil {
			return fmt.Errorf("vault: list keys: %w", err)
		}
		if id := strings.TrimPrefix(info.Name, "keys/"); !removed[id] {
			if _, err := readKeyFile(ctx, v.s, info.Name); err == nil {
				return fmt.Errorf("vault: key %.8s was removed: %w", v.keyID, ErrWrongKey)
			}
		}
	}
	return nil
}
