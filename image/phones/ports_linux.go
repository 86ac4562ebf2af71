package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/libusb"
	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
)

// ports are the machine's USB ports.
type ports struct {
	bus    *libusb.Bus
	mu     sync.Mutex // guards phones
	phones map[usbhost.ID]usbhost.Phone
}

// listen opens the ports until deaf.
func (p *ports) listen([]string) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	bus, err := libusb.Listen(context.Background(), func(ctx context.Context, i usbhost.Interface) (usbhost.Phone, error) {
		return mtp.Open(ctx, i, mtp.Options{Log: log})
	}, nil, log)
	if err != nil {
		return err
	}
	p.bus, p.phones = bus, make(map[usbhost.ID]usbhost.Phone)
	go func() {
		for {
			phone, err := bus.Accept(context.Background())
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil {
				say("BROKEN %s", oneLine(err))
				return
			}
			p.accept(phone)
		}
	}()
	return nil
}

func (p *ports) accept(phone usbhost.Phone) {
	info, err := phone.Info(context.Background())
	if err != nil {
		say("UNKNOWN %s", oneLine(err))
		return
	}
	p.mu.Lock()
	p.phones[info.ID] = phone
	p.mu.Unlock()
	say("ARRIVED %s %d %d %v %s", info.ID, info.Link.Speed, info.Link.Best, info.ChargeOnly, info.Name)
	go func() {
		<-phone.Gone()
		say("GONE %s", info.ID)
	}()
}

func (p *ports) phone(args []string) (usbhost.Phone, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(args) != 1 || p.phones[usbhost.ID(args[0])] == nil {
		return nil, fmt.Errorf("no phone %v", args)
	}
	return p.phones[usbhost.ID(args[0])], nil
}

// hashes is a Tree that keeps of each file what its hash is, since the memory is measured.
type hashes struct {
	*vphone.Tree
	mu sync.Mutex // guards of
	of map[string]hashed
}

type hashed struct {
	sum  []byte // SHA-256
	size int64  // bytes
}

func (t *hashes) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.of[name] = hashed{h.Sum(nil), n}
	t.mu.Unlock()
	return t.Tree.Create(name, 0, mtime, strings.NewReader(""))
}

// pull backs a phone up, and keeps nothing of it. MOVED tells how many bytes have come; ENDED, when it ended early, how long after the last.
func (p *ports) pull(args []string) error {
	phone, err := p.phone(args)
	if err != nil {
		return err
	}
	if err := forgetPeak(); err != nil {
		return err
	}
	tree, from := &hashes{Tree: vphone.NewTree(), of: make(map[string]hashed)}, time.Now()
	var moved int64
	var last time.Time
	report, err := phone.Backup(context.Background(), tree, func(w usbhost.Progress) {
		if w.Moved > moved {
			moved, last = w.Moved, time.Now()
			say("MOVED %d", moved)
		}
	})
	took := time.Since(from) // the lines that follow are slower than the phone
	if err != nil {
		say("ENDED unplugged=%v %d ms after bytes were seen last", errors.Is(err, usbhost.ErrUnplugged), time.Since(last).Milliseconds())
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(tree.Nodes)) {
		if n := tree.Nodes[name]; !n.Dir {
			say("FILE %x %d %d %s", tree.of[name].sum, tree.of[name].size, n.ModTime.Unix(), name)
		}
	}
	for _, problem := range report.Problems {
		say("PROBLEM %s: %s", problem.Name, problem.Reason)
	}
	if err := peak([]string{"init"}); err != nil {
		return err
	}
	say("REPORT listed=%d stored=%d problems=%d moved=%d in %d ms", report.Listed, report.Stored, len(report.Problems), report.Moved, took.Milliseconds())
	return nil
}

// deaf closes the ports. The phones that arrived stay open.
func (p *ports) deaf([]string) error { return p.bus.Close() }

func (p *ports) free(args []string) error {
	phone, err := p.phone(args)
	if err != nil {
		return err
	}
	p.mu.Lock()
	delete(p.phones, usbhost.ID(args[0]))
	p.mu.Unlock()
	return phone.Close()
}

// sum says what lies below a folder.
func sum(args []string) error {
	if len(args) != 1 {
		return errors.New("sum DIR")
	}
	return filepath.WalkDir(args[0], func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(args[0], path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err == nil {
			say("FILE %x %d %d %s", h.Sum(nil), info.Size(), info.ModTime().Unix(), name)
		}
		return err
	})
}
