package array

import (
	"context"
	"errors"
	"slices"
	"strings"

	"phonebackupbox/storage"
)

// orphans removes files that no fact names, but only when nothing is missing: every known drive that does not travel present
// and in order, every blob repaired, and the ledger beyond doubt. A drive that is away may know of a blob that these do
// not: but not of one that these hold a file of, unless their ledgers are damaged, since each drive gets every record of a
// session that it is in.
func (r *repairer) orphans(ctx context.Context) error {
	a := r.a
	h, err := a.Health(ctx)
	if err != nil {
		return err
	}
	missing := slices.ContainsFunc(h.Drives, func(d DriveHealth) bool {
		return d.State == Away && !d.Travels || d.State == Failing || d.State == Twin
	})
	if missing || len(r.report.Lost) > 0 || len(h.Lost) > 0 || h.Damaged > 0 || h.LedgerIncomplete {
		return nil
	}
	all := !slices.ContainsFunc(h.Drives, func(d DriveHealth) bool { return d.State == Away })
	if !r.residue(ctx, all) {
		return nil
	}
	for m, files := range r.files {
		for path := range files {
			file := strings.TrimPrefix(path, healDir)
			name, ok := blobOf(file)
			if !ok {
				continue // not ours
			}
			if err := r.orphan(ctx, holder{m, path}, name); err != nil {
				if ctx.Err() != nil {
					return err
				}
				a.log.Warn("left-over file stays", "drive", m.label(), "err", err)
			}
		}
	}
	return nil
}

// residue removes ledger segments that a power cut tore and that nothing was written after: never acknowledged. While a
// drive is away, that is sure only of what is torn on more drives than are allowed to die: it may as well have rotted, and
// be good on the one that is away. It returns whether none is left.
func (r *repairer) residue(ctx context.Context, all bool) bool {
	a := r.a
	a.mu.Lock()
	var torn []holder
	clean := true
	for name, f := range a.led.files {
		switch {
		case len(f.holders) > 0 || f.needed:
		case all || len(f.bad) > a.led.survive:
			torn = append(torn, f.bad...)
			delete(a.led.files, name)
		default:
			clean = false
		}
	}
	a.mu.Unlock()
	for _, h := range torn {
		if err := h.m.Store.Delete(ctx, h.path); err != nil {
			a.log.Debug("torn ledger segment stays", "drive", h.m.label(), "err", err)
		}
	}
	return clean
}

func (r *repairer) orphan(ctx context.Context, h holder, name string) error {
	if err := r.a.names.acquire(ctx, name); err != nil {
		return err
	}
	defer r.a.names.release(name)
	if r.a.claimed(name)[h] {
		return nil
	}
	err := h.m.Store.Delete(ctx, h.path)
	if errors.Is(err, storage.ErrNotExist) {
		return nil // by the Sync before
	}
	if err == nil {
		r.report.Orphans++
	}
	return err
}

// blobOf tells which blob a file on a drive belongs to.
func blobOf(file string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(file, "vault/"); ok {
		return name, checkName("repair", name) == nil
	}
	if name, ok = strings.CutPrefix(file, "parity/"); ok {
		return name, checkName("repair", name) == nil
	}
	name, ok = strings.CutPrefix(strings.TrimSuffix(file, ".p"), "shards/")
	for range 3 {
		i := strings.LastIndexByte(name, '.')
		if !ok || i < 0 || strings.Trim(name[i+1:], "0123456789") != "" {
			return "", false
		}
		name = name[:i]
	}
	return name, checkName("repair", name) == nil
}
