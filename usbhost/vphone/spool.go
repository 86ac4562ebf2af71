package vphone

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
)

// smallFile is the largest received file in bytes that is kept in memory where a directory is given to spool into.
const smallFile = 1 << 20

// compared is how many bytes a received file is compared in at a time.
const compared = 256 << 10

// Spool is where a phone keeps what it receives. The zero Spool keeps everything in memory.
type Spool struct {
	Dir    string // files over 1 MiB, and all once Memory is used up, go to one unnamed file here; "": to memory
	Memory int64  // bytes; 0: 256 MiB

	// Known are contents that may come back: a received file that turns out to equal one byte for byte is kept as that
	// and costs nothing. So a generated video of many gigabytes can be restored without a disk that holds it.
	Known []Content

	mu   sync.Mutex // guards what follows
	used int64      // bytes in memory
	file *os.File   // made for the first large file
	end  int64      // of what has been given out in file
}

// Close gives up the file in Dir; what was received into it cannot be read any more.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// extent is a run of bytes in the spool's file.
type extent struct{ from, off, size int64 } // from: in the received file; off: in the spool's file

// grow gives out n bytes of the file. It has no name any more, so that nothing is left behind however the process ends.
func (s *Spool) grow(n int64) (*os.File, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		f, err := os.CreateTemp(s.Dir, "vphone-*")
		if err != nil {
			return nil, 0, err
		}
		if err := os.Remove(f.Name()); err != nil {
			return nil, 0, err
		}
		s.file = f
	}
	off := s.end
	s.end += n
	return s.file, off, nil
}

// shrink takes an extent back where it is the last one: a cancelled transfer usually is.
func (s *Spool) shrink(x extent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || x.off+x.size != s.end {
		return nil
	}
	s.end = x.off
	return s.file.Truncate(s.end)
}

func (s *Spool) reserve(n int64) bool {
	limit := s.Memory
	if limit == 0 {
		limit = 256 << 20
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > limit {
		return false
	}
	s.used += n
	return true
}

// Incoming is a file's content while it arrives. It ends with Content or Discard.
type Incoming struct {
	spool *Spool
	size  int64

	known   []Content // still equal to all that came, and not shorter
	matched bool      // known was set up; while it is not empty nothing is stored

	mem     []byte
	spilled bool
	file    *os.File
	extents []extent
}

// Size is the number of bytes written.
func (in *Incoming) Size() int64 { return in.size }

// Write appends p. It fails with ErrFull when there is nowhere to put it.
func (in *Incoming) Write(p []byte) (int, error) {
	if !in.matched {
		in.known, in.matched = in.spool.Known, true
	}
	if len(in.known) > 0 {
		kept, err := in.stillKnown(p)
		if err != nil {
			return 0, err
		}
		if len(kept) > 0 {
			in.known = kept
			in.size += int64(len(p))
			return len(p), nil
		}
		if err := in.materialize(); err != nil {
			return 0, err
		}
	}
	if err := in.store(p); err != nil {
		return 0, err
	}
	in.size += int64(len(p))
	return len(p), nil
}

// stillKnown returns the candidates that go on as p does.
func (in *Incoming) stillKnown(p []byte) (kept []Content, err error) {
	for _, c := range in.known {
		same, err := equalAt(c, in.size, p)
		if err != nil {
			return nil, err
		}
		if same {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

func equalAt(c Content, off int64, p []byte) (bool, error) {
	if c.Size()-off < int64(len(p)) {
		return false, nil
	}
	buf := make([]byte, min(len(p), compared))
	for len(p) > 0 {
		n := min(len(p), len(buf))
		if m, err := c.ReadAt(buf[:n], off); m < n {
			return false, fmt.Errorf("vphone: compare with known content: %w", err)
		}
		if !bytes.Equal(buf[:n], p[:n]) {
			return false, nil
		}
		p, off = p[n:], off+int64(n)
	}
	return true, nil
}

// materialize stores what has only been compared so far: the last candidate agrees with all of it.
func (in *Incoming) materialize() error {
	c := in.known[0]
	in.known = nil
	buf := make([]byte, compared)
	for off := int64(0); off < in.size; {
		n := min(int64(len(buf)), in.size-off)
		if m, err := c.ReadAt(buf[:n], off); int64(m) < n {
			return fmt.Errorf("vphone: take back known content: %w", err)
		}
		if err := in.store(buf[:n]); err != nil {
			return err
		}
		off += n
	}
	return nil
}

func (in *Incoming) store(p []byte) error {
	if !in.spilled {
		small := len(in.mem)+len(p) <= smallFile || in.spool.Dir == ""
		if small && in.spool.reserve(int64(len(p))) {
			in.mem = append(in.mem, p...)
			return nil
		}
		if in.spool.Dir == "" {
			return fmt.Errorf("vphone: spool: %w", ErrFull)
		}
		in.spilled = true
		if err := in.spill(in.mem); err != nil {
			return err
		}
		in.release()
	}
	return in.spill(p)
}

func (in *Incoming) spill(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	f, off, err := in.spool.grow(int64(len(p)))
	if err != nil {
		return fmt.Errorf("vphone: spool: %w", err)
	}
	if _, err := f.WriteAt(p, off); err != nil {
		return fmt.Errorf("vphone: spool: %w", err)
	}
	in.file = f
	size := int64(len(p))
	if k := len(in.extents) - 1; k >= 0 && in.extents[k].off+in.extents[k].size == off {
		in.extents[k].size += size
		return nil
	}
	var from int64
	if k := len(in.extents) - 1; k >= 0 {
		from = in.extents[k].from + in.extents[k].size
	}
	in.extents = append(in.extents, extent{from, off, size})
	return nil
}

func (in *Incoming) release() {
	in.spool.mu.Lock()
	in.spool.used -= int64(len(in.mem))
	in.spool.mu.Unlock()
	in.mem = nil
}

// Content ends the arrival and returns what came.
func (in *Incoming) Content() (Content, error) {
	for _, c := range in.known {
		if c.Size() == in.size {
			return c, nil
		}
	}
	if len(in.known) > 0 { // a beginning of something known
		if err := in.materialize(); err != nil {
			return nil, err
		}
	}
	if in.spilled {
		return spooled{in.file, in.extents, in.size}, nil
	}
	return Bytes(in.mem), nil
}

// Discard throws away what came, where Content was not called.
func (in *Incoming) Discard() error {
	in.release()
	for i := len(in.extents) - 1; i >= 0; i-- {
		if err := in.spool.shrink(in.extents[i]); err != nil {
			return fmt.Errorf("vphone: spool: %w", err)
		}
	}
	in.extents = nil
	return nil
}

// spooled is a received file in the spool's file.
type spooled struct {
	file    *os.File
	extents []extent
	size    int64
}

func (s spooled) Size() int64 { return s.size }

func (s spooled) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, os.ErrInvalid
	}
	i := sort.Search(len(s.extents), func(i int) bool { return s.extents[i].from+s.extents[i].size > off })
	for ; i < len(s.extents) && n < len(p); i++ {
		x := s.extents[i]
		skip := off + int64(n) - x.from
		want := min(int64(len(p)-n), x.size-skip)
		m, err := s.file.ReadAt(p[n:n+int(want)], x.off+skip)
		n += m
		if int64(m) < want {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
