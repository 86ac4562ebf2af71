package vault

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/storage"
)

// indexPack is one pack in an index file (design.rst, "Indexing").
type indexPack struct {
	ID    hash        `json:"id"`
	Blobs []indexBlob `json:"blobs"`
}

type indexBlob struct {
	ID     hash   `json:"id"`
	Type   string `json:"type"`
	Offset uint32 `json:"offset"`
	Length uint32 `json:"length"`
	Plain  uint32 `json:"uncompressed_length"`
}

// parseIndex calls add for each pack that an index document lists; blobs are valid until it returns. One pack at a time is
// in memory.
func parseIndex(p []byte, add func(pack hash, blobs []packedBlob)) error {
	seen := 0
	if scanIndex(p, func(pack hash, blobs []packedBlob) { seen++; add(pack, blobs) }) {
		return nil
	}
	return decodeIndex(p, seen, add)
}

// decodeIndex is parseIndex for any JSON, without the first skip packs.
func decodeIndex(p []byte, skip int, add func(pack hash, blobs []packedBlob)) error {
	d := json.NewDecoder(bytes.NewReader(p))
	found, err := seekArray(d, "packs")
	if err != nil || !found {
		return err
	}
	for d.More() {
		var ip indexPack
		if err := d.Decode(&ip); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if skip > 0 {
			skip--
			continue
		}
		blobs := make([]packedBlob, len(ip.Blobs))
		for i, b := range ip.Blobs {
			blobs[i] = packedBlob{id: b.ID, off: b.Offset, length: b.Length, plain: b.Plain}
			switch b.Type {
			case "data":
			case "tree":
				blobs[i].typ = treeBlob
			default:
				return fmt.Errorf("%w: blob type %.20q", ErrDamaged, b.Type)
			}
			if !blobs[i].valid() {
				return fmt.Errorf("%w: blob %s has an impossible length", ErrDamaged, b.ID)
			}
		}
		add(ip.ID, blobs)
	}
	return endArray(d)
}

// seekArray reads the beginning of an object up to the elements of its array called key, skipping other fields.
// An array that is null or absent is not found.
func seekArray(d *json.Decoder, key string) (found bool, err error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false, fmt.Errorf("%w: not an object: %w", ErrDamaged, cmp.Or(err, errShape))
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return false, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if name == key {
			t, err := d.Token()
			if err == nil && t == nil {
				return false, nil
			}
			if err != nil || t != json.Delim('[') {
				return false, fmt.Errorf("%w: %s: %w", ErrDamaged, key, cmp.Or(err, errShape))
			}
			return true, nil
		}
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return false, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return false, nil
}

// errShape: JSON, but not of the kind that belongs there.
var errShape = errors.New("unexpected JSON")

// endArray reads what follows the elements: the array's end, further fields and the object's end.
func endArray(d *json.Decoder) error {
	for {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if t == json.Delim('}') && !d.More() {
			return nil
		}
		if t == json.Delim('{') || t == json.Delim('[') {
			return fmt.Errorf("%w: %w", ErrDamaged, errShape)
		}
	}
}

// appendIndex appends an index document that lists packs.
func appendIndex(p []byte, packs []indexedPack) []byte {
	p = append(p, `{"packs":[`...)
	for i, ip := range packs {
		if i > 0 {
			p = append(p, ',')
		}
		p = append(append(append(p, `{"id":"`...), ip.id.String()...), `","blobs":[`...)
		for j, b := range ip.blobs {
			if j > 0 {
				p = append(p, ',')
			}
			p = append(appendHex(append(p, `{"id":"`...), b.id), `","type":"`...)
			p = append(append(p, b.typ.String()...), `","offset":`...)
			p = strconv.AppendUint(p, uint64(b.off), 10)
			p = strconv.AppendUint(append(p, `,"length":`...), uint64(b.length), 10)
			if b.plain != 0 {
				p = strconv.AppendUint(append(p, `,"uncompressed_length":`...), uint64(b.plain), 10)
			}
			p = append(p, '}')
		}
		p = append(p, `]}`...)
	}
	return append(p, "]}\n"...)
}

type indexedPack struct {
	id    hash
	blobs []packedBlob
}

// loadIndexes reads all index files, several at a time, from the cache where it has them.
func (v *Vault) loadIndexes(ctx context.Context) error {
	cache, err := v.openCache(v.o.Cache)
	if err != nil {
		return err
	}
	var ignored, away atomic.Int64
	names := map[string]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(max(runtime.GOMAXPROCS(0), 2), 4))
	for info, err := range v.s.List(ctx, "index/") {
		if err != nil {
			return errors.Join(fmt.Errorf("vault: list indexes: %w", err), g.Wait())
		}
		names[strings.TrimPrefix(info.Name, "index/")] = true
		g.Go(func() error {
			err := v.loadIndex(gctx, info, cache)
			if errors.Is(err, ErrDamaged) && v.o.IgnoreDamagedIndex {
				v.o.Log.Warn("ignoring a damaged index", "name", info.Name, slog.Any("err", err))
				ignored.Add(1)
				return nil
			}
			if errors.Is(err, storage.ErrUnavailable) && gctx.Err() == nil {
				v.o.Log.Warn("an index is out of reach, and what it names", "name", info.Name, slog.Any("err", err))
				away.Add(1)
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	cache.tidy(names)
	if v.indexAway = away.Load() > 0; v.indexAway {
		v.scanned = true // nobody knows which packs no index names
		return nil
	}
	if ignored.Load() == 0 {
		return nil
	}
	v.scanned = true
	return v.scanPacks(ctx, false)
}

// unnamed is why a blob cannot be had that no index names.
func (v *Vault) unnamed(typ blobType, id hash) error {
	if v.indexAway {
		return fmt.Errorf("%s blob %s: %w: none of the indexes that are here names it", typ, id, storage.ErrUnavailable)
	}
	return fmt.Errorf("%s blob %s: %w: no index names it", typ, id, ErrDamaged)
}

// loadIndex reads one index file.
func (v *Vault) loadIndex(ctx context.Context, info storage.Info, cache *indexCache) error {
	id, err := parseHash(strings.TrimPrefix(info.Name, "index/"))
	if err != nil || info.Size < cachedFrom {
		cache = nil
	}
	add := func(pack hash, blobs []packedBlob) { v.index.addPack(pack, 0, blobs) }
	if cache.load(id, add) {
		return nil
	}
	p, err := v.readDocument(ctx, info.Name, maxTree)
	if err != nil {
		return err
	}
	var said []byte
	err = parseIndex(p, func(pack hash, blobs []packedBlob) {
		if cache != nil {
			said = appendCached(said, pack, blobs)
		}
		add(pack, blobs)
	})
	if err != nil {
		return fmt.Errorf("vault: %s: %w", info.Name, err)
	}
	cache.save(id, said)
	return nil
}

// maxIndexBlobs is how many blobs we list in one index file at most: about 8 MB of JSON.
const maxIndexBlobs = 50_000

// writeIndexes puts index files that list the given stored packs.
func (v *Vault) writeIndexes(ctx context.Context, nums []uint32) error {
	var list []indexedPack
	count := 0
	put := func() error {
		if len(list) == 0 {
			return nil
		}
		_, err := v.writeDocument(ctx, "index", appendIndex(nil, list))
		list, count = list[:0], 0
		return err
	}
	for _, n := range nums {
		b := v.index.blobs(n)
		if count > 0 && count+len(b) > maxIndexBlobs {
			if err := put(); err != nil {
				return err
			}
		}
		list = append(list, indexedPack{v.index.pack(n).id, b})
		count += len(b)
	}
	return put()
}

// findUnindexed does scanPacks once. The caller is the only writer.
func (v *Vault) findUnindexed(ctx context.Context) error {
	v.mu.Lock()
	scanned := v.scanned
	v.mu.Unlock()
	if scanned {
		return nil
	}
	if err := v.scanPacks(ctx, true); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scanned = true
	return nil
}

// scanPacks looks for packs that no index names: a power cut came before their index, or an index was damaged.
// Their headers are read into the index in memory, and the next index file will name them. A pack that is not whole is left alone.
// whole says that a pack is to be read and checked from beginning to end; otherwise its header must do.
func (v *Vault) scanPacks(ctx context.Context, whole bool) error {
	for info, err := range v.s.List(ctx, "data/") {
		if err != nil {
			return fmt.Errorf("vault: list packs: %w", err)
		}
		id, err := parseHash(info.Name[strings.LastIndexByte(info.Name, '/')+1:])
		if err != nil || packName(id) != info.Name {
			continue // not a pack
		}
		if _, known := v.index.storedPack(id); known {
			continue
		}
		if whole {
			err = v.checkPackHash(ctx, id, info.Size)
		}
		var blobs []packedBlob
		if err == nil {
			blobs, err = v.readHeader(ctx, id, info.Size)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.o.Log.Warn("a pack that no index names cannot be used", slog.Any("err", err))
			continue
		}
		v.unindexed = append(v.unindexed, v.index.addPack(id, info.Size, blobs))
	}
	return nil
}
