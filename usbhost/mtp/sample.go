package mtp

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"io"

	"phonebackupbox/usbhost"
)

// Sampling says how many unchanged files are read anew in each run, so that one whose content changed while its size and
// date did not is found: every file has its turn once in Every runs, and where those of one turn have more than Bytes, a part
// of them is read each time round. It needs a tree that counts its phone's runs (usbhost.Numbered).
type Sampling struct {
	Every int   // 0: 64; negative: none
	Bytes int64 // a run, unless one file alone is larger; 0: 1 GiB
}

func (s Sampling) withDefaults() Sampling {
	if s.Every == 0 {
		s.Every = 64
	}
	if s.Bytes <= 0 {
		s.Bytes = 1 << 30
	}
	return s
}

// A sampler chooses them. Which files a run reads follows from their paths and the run's number, and from nothing else.
type sampler struct {
	run, turns uint64 // turns is how many runs go round; 0: nothing is chosen
	most       int64  // bytes
	chosen     []kept
}

// kept is an unchanged file.
type kept struct {
	pending
	item *usbhost.Item
}

func newSampler(s Sampling, into usbhost.Tree) sampler {
	tree, ok := into.(usbhost.Numbered)
	if s = s.withDefaults(); !ok || s.Every < 0 {
		return sampler{}
	}
	return sampler{run: tree.Run(), turns: uint64(s.Every), most: s.Bytes}
}

// due reports whether it is the turn of the file at path.
func (s *sampler) due(path string) bool {
	if s.turns == 0 {
		return false
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, path) // a hash never fails
	return h.Sum64()%s.turns == s.run%s.turns
}

// first is which of the chosen files to begin with: if not all can be read, another part of them each time round.
func (s *sampler) first() int {
	var bytes int64
	for i := range s.chosen {
		bytes += s.chosen[i].size
	}
	parts := int(bytes/s.most) + 1
	step := (len(s.chosen) + parts - 1) / parts
	return int(s.run / s.turns % uint64(len(s.chosen)) * uint64(step) % uint64(len(s.chosen)))
}

// resample reads the chosen files anew, compares them with the tree's, and stores those that changed. It begins with
// another one each time round, so that none is always behind the bytes that a run may read.
func (b *backup) resample(ctx context.Context, f *fetcher) (changed []pending, err error) {
	s := &b.sampler
	if len(s.chosen) == 0 {
		return nil, nil
	}
	done := 0
	first := s.first()
	at := func(i int) *kept { return &s.chosen[(first+i)%len(s.chosen)] }
	defer func() {
		for i := done; i < len(s.chosen); i++ { // not read, and in the tree all the same
			at(i).item.Kept()
		}
	}()
	for left := s.most; done < len(s.chosen); done++ {
		k := at(done)
		if left -= k.size; left < 0 && done > 0 {
			return changed, nil
		}
		here, moved, err := b.pin(ctx, k.entry)
		if err != nil {
			return changed, err
		}
		if moved { // it was taken over as it had been earlier in the night
			changed = append(changed, k.pending)
			k.item.Gone()
			b.tally.List(1, k.size)
			continue
		}
		if !here {
			k.item.Kept()
			continue
		}
		same, err := b.sameAsStored(ctx, f, k)
		if err != nil && fatal(ctx, err) {
			return changed, err
		}
		if err != nil {
			b.p.s.log.Info("mtp: an unchanged file cannot be read anew", "err", err)
		}
		if err != nil || same {
			k.item.Kept()
			continue
		}
		b.tally.Remark(k.dir+"/"+k.name, "its content changed, though its size and date did not: by an app, or because the phone's "+
			"memory fails. It was stored anew; the former version is in the snapshots before", false)
		changed = append(changed, k.pending)
		k.item.Gone() // it is counted once more when it is stored
		b.tally.List(1, k.size)
	}
	return changed, nil
}

// sameAsStored reads a file from the phone and from the tree, both at once. A file that is changing right now counts as the
// same: it has another date by the next run.
func (b *backup) sameAsStored(ctx context.Context, f *fetcher, k *kept) (bool, error) {
	stored := make(chan error, 1)
	want, got := sha256.New(), sha256.New()
	go func() {
		file, err := b.into.Open(k.dir + "/" + k.name)
		if err == nil {
			_, err = io.Copy(want, file)
			_ = file.Close() // it was only read
		}
		stored <- err
	}()
	b.tally.Moved(k.size)
	err := f.readAll(ctx, k.handle, k.size, got)
	unread := <-stored
	switch {
	case err != nil:
		return false, fmt.Errorf("read %q: %w", k.name, err)
	case unread != nil: // what the drives cannot give is stored anew
		b.p.s.log.Info("mtp: an unchanged file cannot be read from the drives", "err", unread)
		return false, nil
	case [32]byte(want.Sum(nil)) == [32]byte(got.Sum(nil)):
		return true, nil
	}
	return false, f.unchanged(ctx, k.object)
}
