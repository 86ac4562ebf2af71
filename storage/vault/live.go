package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"phonebackupbox/storage"
)

// A census counts which blobs are needed: by snapshots that stay, and by runs that have not ended. It costs a bit for
// each place of the index.
type census struct {
	v    *Vault
	src  *source
	need []uint64 // by the number of the place that a blob is found at first
	lost int      // blobs that are needed and that no index names
}

func (v *Vault) newCensus() *census {
	return &census{v: v, src: v.newSource(), need: make([]uint64, (v.index.count()+63)/64)}
}

// mark says that a blob is needed. It reports whether that is news.
func (c *census) mark(typ blobType, id hash) bool {
	n, ok := c.v.index.first(typ, id)
	if !ok {
		c.lost++
		return false
	}
	if c.need[n/64]&(1<<(n%64)) != 0 {
		return false
	}
	c.need[n/64] |= 1 << (n % 64)
	return true
}

// needs reports whether the blob that is found at place n first is needed.
func (c *census) needs(n uint32) bool {
	return int(n/64) < len(c.need) && c.need[n/64]&(1<<(n%64)) != 0
}

// snapshot marks all that a snapshot needs. A tree that cannot be read is an error: nobody can tell what it needs.
func (c *census) snapshot(ctx context.Context, s Snapshot) error {
	if err := c.tree(ctx, s.tree, 0); err != nil {
		return fmt.Errorf("vault: snapshot %.8s: %w", s.ID, err)
	}
	return nil
}

func (c *census) tree(ctx context.Context, id hash, depth int) error {
	if depth > maxDepth+1 {
		return fmt.Errorf("%w: folders in folders", ErrTooBig)
	}
	if !c.mark(treeBlob, id) {
		if _, ok := c.v.index.first(treeBlob, id); !ok {
			return c.v.unnamed(treeBlob, id)
		}
		return nil
	}
	var subs []hash
	err := c.v.loadTree(ctx, c.src, id, func(n node) error {
		if n.mode.IsDir() {
			subs = append(subs, n.subtree)
		}
		for _, id := range n.content {
			c.mark(dataBlob, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, sub := range subs {
		if err := c.tree(ctx, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// resumes marks what the resume records of runs that have not ended name, and returns the records that are damaged.
func (c *census) resumes(ctx context.Context) (damaged []string, err error) {
	for info, err := range c.v.s.List(ctx, "resume/") {
		if err != nil {
			return nil, fmt.Errorf("vault: list resume records: %w", err)
		}
		p, err := c.v.readDocument(ctx, info.Name, maxTree)
		var r resumeRecord
		if err == nil {
			r, err = parseResume(p)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, ErrDamaged) && !errors.Is(err, storage.ErrUnavailable):
			damaged = append(damaged, info.Name)
			continue
		case err != nil:
			// What it names is stored again if need be: a record saves time, nothing else.
			c.v.o.Log.Warn("a resume record cannot be read", slog.Any("err", err))
			continue
		}
		for _, f := range r.Files {
			for _, id := range f.Content {
				if _, ok := c.v.index.first(dataBlob, id); ok {
					c.mark(dataBlob, id)
				}
			}
		}
	}
	return damaged, nil
}
