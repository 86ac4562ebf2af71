package plain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"syscall"
)

// staged is a file that is written and waits for its place.
type staged struct {
	temp string
	rec  record
	file *os.File
}

// How much is written before it is flushed and put in place: a power cut costs that much work.
const (
	maxStaged      = 64
	maxStagedBytes = 256 << 20
)

var (
	errNoRoom = errors.New("there is no room for it on this drive")
	errTooBig = errors.New("is larger than this drive's file system takes (FAT32: 4 GB); format the drive as exFAT to have it here")
)

// file brings one file up to date.
func (u *update) file(ctx context.Context, f *folder, src string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		u.problem(path.Join(src, e.Name()), err)
		return nil
	}
	version := u.o.Version(info) + "@" + strconv.FormatInt(info.ModTime().UnixNano(), 10)
	now, as, err := f.standing(e.Name())
	if err != nil {
		return err
	}
	if now != nil && now.Version == version {
		f.settleOn(*now)
		u.report.Kept++
		u.progress(info.Size())
		return nil
	}
	s, err := u.stage(ctx, path.Join(src, e.Name()), info)
	if problem := (sourceError{}); errors.As(err, &problem) || errors.Is(err, errNoRoom) || errors.Is(err, errTooBig) {
		u.problem(path.Join(src, e.Name()), err)
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	s.rec.From, s.rec.Version = []byte(e.Name()), version
	if as == "" {
		taken, err := u.adopt(f, s)
		if err != nil || taken {
			return err
		}
		as = unique(fit(e.Name()), f.taken)
	}
	s.rec.As = as
	u.staged = append(u.staged, *s)
	u.bytes += s.rec.Size
	if len(u.staged) == maxStaged || u.bytes >= maxStagedBytes {
		return u.place(f)
	}
	return nil
}

// standing tells what lies here for a file of the phone: its record, or nil, and the name that it has or had, "" if
// it is to get one.
func (f *folder) standing(from string) (now *record, as string, err error) {
	for _, r := range f.known[key{from, false}] {
		ours, err := f.ours(r)
		if err != nil {
			return nil, "", err
		}
		if ours {
			return &r, r.As, nil
		}
		if f.here[r.As] == nil {
			as = r.As // someone deleted it
		}
	}
	return nil, as, nil
}

// adopt takes over a file that lies where s should, is nobody's and holds the same: the list that knew it is lost.
func (u *update) adopt(f *folder, s *staged) (bool, error) {
	as := fit(string(s.rec.From))
	i := f.here[as]
	if i == nil || f.claimed(as) || !i.Mode().IsRegular() || i.Size() != s.rec.Size {
		return false, nil
	}
	sum, err := u.d.sum(path.Join(f.path, as))
	if err != nil || sum != s.rec.Sum {
		return false, err
	}
	s.rec.As, s.rec.MTime = as, i.ModTime().UnixNano()
	f.settleOn(s.rec)
	u.report.Kept++
	return true, errors.Join(s.file.Close(), u.d.root.Remove(s.temp))
}

// stage writes a file beside its place. Where there is no room, what was removed from phones longest ago makes some.
func (u *update) stage(ctx context.Context, src string, info fs.FileInfo) (*staged, error) {
	for {
		s, err := u.write(ctx, src, info)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, syscall.EFBIG), errors.Is(err, errTooBig):
			return nil, errTooBig
		case !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
			return nil, err
		}
		if dropped, err := u.d.dropOldest(); err != nil || !dropped {
			return nil, errors.Join(errNoRoom, err)
		}
	}
}

// sourceError is one of reading a snapshot, not of the drive.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// source marks errors of its reader, and ends with ctx.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = sourceError{fmt.Errorf("cannot be read from the vault: %w", err)}
	}
	return n, err
}

func (u *update) write(ctx context.Context, src string, info fs.FileInfo) (_ *staged, err error) {
	if u.o.MaxFile > 0 && info.Size() > u.o.MaxFile {
		return nil, errTooBig // without writing gigabytes to find out
	}
	in, err := u.from.Open(src)
	if err != nil {
		return nil, sourceError{err}
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	s := &staged{temp: path.Join(stageDir, strconv.Itoa(len(u.staged)))}
	if s.file, err = u.d.root.OpenFile(s.temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.file.Close(), u.d.root.Remove(s.temp))
		}
	}()
	h, before := sha256.New(), u.done
	s.rec.Size, err = io.Copy(io.MultiWriter(s.file, h, (*counter)(u)), source{ctx, in})
	if err != nil {
		u.done = before
		return nil, err
	}
	if s.rec.Size != info.Size() {
		return nil, sourceError{fmt.Errorf("the vault holds %d bytes of %d", s.rec.Size, info.Size())}
	}
	s.rec.Sum = hex.EncodeToString(h.Sum(nil))
	if t := info.ModTime(); !t.IsZero() {
		err = u.d.root.Chtimes(s.temp, t, t)
	}
	if errors.Is(err, syscall.EINVAL) {
		err = nil // the file system cannot tell such a date
	}
	return s, err
}

// counter counts what is written.
type counter update

func (c *counter) Write(p []byte) (int, error) {
	(*update)(c).progress(int64(len(p)))
	return len(p), nil
}

// place flushes what is staged for a folder, writes its list ahead, and puts the files in place.
func (u *update) place(f *folder) error {
	batch := u.staged
	u.staged, u.bytes = nil, 0
	if len(batch) == 0 {
		return nil
	}
	var recs []record
	var errs []error
	for i := range batch {
		s := &batch[i]
		errs = append(errs, s.file.Sync(), s.file.Close())
		info, err := u.d.root.Lstat(s.temp)
		if errs = append(errs, err); err == nil {
			s.rec.MTime = info.ModTime().UnixNano()
		}
		recs = append(recs, s.rec)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := u.d.appendList(f.path, recs); err != nil {
		return err
	}
	for _, s := range batch {
		if err := u.d.rename(s.temp, path.Join(f.path, s.rec.As)); err != nil {
			return err
		}
		f.settleOn(s.rec)
		u.report.Written++
		u.report.Bytes += s.rec.Size
	}
	u.dirty[f.path] = true
	return u.syncDirty()
}

// dropOldest deletes what was removed from phones longest ago: a day's folder.
func (d *Drive) dropOldest() (bool, error) {
	days, err := fs.ReadDir(d.root.FS(), removedDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(days) == 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	oldest := days[0] // in order of their names, which are dates
	return true, d.root.RemoveAll(path.Join(removedDir, oldest.Name()))
}
