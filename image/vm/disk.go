package vm

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

// sector is what a disk writes wholly or not at all, in bytes.
const sector = 512

// maxVolatile is how many sectors a disk's cache takes; when it is full, some of them are written, in no order.
const maxVolatile = 16 << 20 / sector

// Disk is one that QEMU uses over NBD (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). What is written
// lies in a cache until the guest flushes it; a power cut keeps any sectors of the cache and loses the others.
type Disk struct {
	Path string // the image: what survives. Its size is the disk's

	// Attach is QEMU's device, with DRIVE for the drive's name: such as "usb-storage,bus=usb.0,drive=DRIVE".
	Attach string
	// Real, if not 0, is how many bytes there really are: further on, addresses begin again from 0, as on fake sticks.
	Real int64
	// Fuse, if not nil, is where the disk has its power from.
	Fuse *Fuse

	socket   string
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex // guards what follows
	file     *os.File
	size     int64
	rng      *rand.Rand
	volatile map[int64][]byte // sector → content
	flushes  int
	lost     int // sectors, at the last power cut
}

// NewDisk describes a disk with the image at path. seed decides what a power cut keeps.
func NewDisk(path, attach string, seed uint64) *Disk {
	return &Disk{Path: path, Attach: attach, rng: rand.New(rand.NewPCG(seed, 0))}
}

// serve begins to listen on a socket beside the image.
func (d *Disk) serve() error {
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("vm: disk: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("vm: disk: %w", err), f.Close())
	}
	d.file, d.size, d.volatile, d.socket = f, info.Size(), make(map[int64][]byte), d.Path+".sock"
	if err := os.Remove(d.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("vm: disk: %w", err), f.Close())
	}
	if d.listener, err = net.Listen("unix", d.socket); err != nil {
		return errors.Join(fmt.Errorf("vm: disk: %w", err), f.Close())
	}
	d.wg.Go(func() {
		for {
			conn, err := d.listener.Accept()
			if err != nil {
				return // stop closed it
			}
			d.wg.Go(func() {
				defer conn.Close()
				_ = (&nbd{conn, d}).talk() // ends with QEMU, in any way
			})
		}
	})
	return nil
}

// stop is the end of power for the disk: what is in its cache is kept or lost.
func (d *Disk) stop() error {
	err := d.listener.Close()
	d.wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = 0
	for s, p := range d.volatile {
		if d.rng.IntN(2) == 0 {
			d.lost++
			continue
		}
		_, werr := d.file.WriteAt(p, s*sector)
		err = errors.Join(err, werr)
	}
	d.volatile = nil
	return errors.Join(err, d.file.Close())
}

// Flushes is how often the guest flushed the disk, and Lost how many sectors the last power cut took.
func (d *Disk) Flushes() int { d.mu.Lock(); defer d.mu.Unlock(); return d.flushes }

// Lost is how many sectors that were written and not flushed the last power cut took.
func (d *Disk) Lost() int { d.mu.Lock(); defer d.mu.Unlock(); return d.lost }

// place is where a sector of the disk really lies.
func (d *Disk) place(s int64) int64 {
	if d.Real > 0 {
		return s % (d.Real / sector)
	}
	return s
}

func (d *Disk) readAt(p []byte, off int64) error {
	if off%sector != 0 || len(p)%sector != 0 || off+int64(len(p)) > d.size {
		return errors.New("not whole sectors of the disk")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(p); i += sector {
		s := d.place((off + int64(i)) / sector)
		if c, ok := d.volatile[s]; ok {
			copy(p[i:], c)
		} else if _, err := d.file.ReadAt(p[i:i+sector], s*sector); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func (d *Disk) writeAt(p []byte, off int64) error {
	if off%sector != 0 || len(p)%sector != 0 || off+int64(len(p)) > d.size {
		return errors.New("not whole sectors of the disk")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(p); i += sector {
		s := d.place((off + int64(i)) / sector)
		c := d.volatile[s]
		if c == nil {
			c = make([]byte, sector)
			d.volatile[s] = c
		}
		copy(c, p[i:])
	}
	return d.drain(maxVolatile)
}

// drain writes sectors, in the order of a map, which is none, until most lie in the cache. The caller holds mu.
func (d *Disk) drain(most int) error {
	for s, p := range d.volatile {
		if len(d.volatile) <= most {
			return nil
		}
		if _, err := d.file.WriteAt(p, s*sector); err != nil {
			return err
		}
		delete(d.volatile, s)
	}
	return nil
}

func (d *Disk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes++
	return d.drain(0)
}
