package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
)

// A Former is what a vault remembers of one whose place it took, with all its snapshots and another key, in a document of its
// own (former/HEX, which stock restic does not look at). There is one for each time that drives went over.
type Former struct {
	Vault     string      `json:"vault"`     // its ID
	Snapshots []string    `json:"snapshots"` // IDs there of the snapshots that are in this vault, or were until they were pruned
	Over      []string    `json:"over"`      // IDs of the drives that went over
	Left      []LeftDrive `json:"left"`      // drives that were away, and hold the former vault still
}

// A LeftDrive is a drive that holds a former vault.
type LeftDrive struct {
	ID    string `json:"id"`
	Label string `json:"label"` // for people
}

// maxFormer bounds a document of former/HEX, in bytes: 60,000 snapshots.
const maxFormer = 4 << 20

// Formers tells the vaults whose place this one took, in no order.
func (v *Vault) Formers(ctx context.Context) ([]Former, error) {
	var list []Former
	for info, err := range v.s.List(ctx, "former/") {
		if err != nil {
			return nil, fmt.Errorf("vault: list former vaults: %w", err)
		}
		p, err := v.readDocument(ctx, info.Name, maxFormer)
		if err != nil {
			return nil, err
		}
		f, err := parseFormer(p)
		if err != nil {
			return nil, fmt.Errorf("vault: %s: %w", info.Name, err)
		}
		list = append(list, f)
	}
	return list, nil
}

// parseFormer reads a document of former/HEX.
func parseFormer(p []byte) (Former, error) {
	var f Former
	if err := json.Unmarshal(p, &f); err != nil {
		return Former{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for _, id := range slices.Concat(f.Snapshots, []string{f.Vault}) {
		if _, err := parseHash(id); err != nil {
			return Former{}, err
		}
	}
	return f, nil
}

// NoteFormer remembers f, durably when it returns nil.
func (v *Vault) NoteFormer(ctx context.Context, f Former) error {
	if v.o.ReadOnly {
		return fmt.Errorf("vault: note a former vault: opened for reading only: %w", fs.ErrPermission)
	}
	p, err := json.Marshal(f)
	if err == nil && len(p) > maxFormer {
		err = ErrTooBig
	}
	if err == nil {
		_, err = v.writeDocument(ctx, "former", p)
	}
	if err == nil {
		err = v.s.Sync(ctx)
	}
	if err != nil {
		return fmt.Errorf("vault: note a former vault: %w", err)
	}
	return nil
}
