//go:build !rescue

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/image/update"
	"phonebackupbox/image/wifi"
)

// bootPart is the card's FAT partition, which the owner's computer reads and writes. On the box it is mounted only while it is
// used, so that the plug may be pulled at any other time; elsewhere it is a folder.
type bootPart struct {
	mu  sync.Mutex // held while it is used
	use func(write bool, f func(dir string) error) error
}

// onCard, in place of a folder, is the card that this system came from.
const onCard = "card"

// openBootPart opens the one that --boot names.
func openBootPart(name string) (*bootPart, error) {
	if name == onCard {
		return cardBootPart()
	}
	dir, err := filepath.Abs(name)
	return &bootPart{use: func(_ bool, f func(string) error) error { return f(dir) }}, err
}

// read runs f with the folder. f must not hold on to it.
func (p *bootPart) read(f func(dir string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.use(false, f)
}

// write runs f with the folder, which can be written meanwhile.
func (p *bootPart) write(f func(dir string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.use(true, f)
}

// put writes a file whole: a power cut leaves the old one or the new one.
func (p *bootPart) put(name string, text []byte) error {
	return p.write(func(dir string) error {
		temp := filepath.Join(dir, name+".new")
		f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return reason(err)
		}
		_, err = f.Write(text)
		if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
			err = os.Rename(temp, filepath.Join(dir, name))
		}
		if err != nil {
			return errors.Join(err, os.Remove(temp))
		}
		return syncDir(dir)
	})
}

// takeOver takes over what the owner wrote; see takeOverSettings.
func (p *bootPart) takeOver(state string) error {
	var text []byte
	err := p.read(func(dir string) (err error) {
		text, err = readSmall(filepath.Join(dir, configName), maxConfig)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", configName, err)
	}
	return takeOverSettings(state, text, func(bare []byte) error {
		return p.write(func(dir string) error { return writeInPlace(filepath.Join(dir, configName), bare) })
	})
}

// openBoot opens the card's FAT partition, if --boot names one. That it cannot be had keeps nobody from using the box.
func (a *appliance) openBoot(name string) {
	if name == "" {
		return
	}
	var err error
	if a.boot, err = openBootPart(name); err != nil {
		a.screen.say("  %s", printable(oneLine(err)))
	}
}

// takeOver takes over what the owner wrote on it. That it cannot be read, or is wrong, keeps nobody from using the box.
func (a *appliance) takeOver(state string) {
	if a.boot == nil {
		return
	}
	if a.ownerErr = a.boot.takeOver(state); a.ownerErr != nil {
		a.screen.say("  %s", printable(oneLine(a.ownerErr)))
	}
}

// network is the wireless one that a state folder holds, as it lies there; none is as good as one that cannot be read.
func network(state string) []byte {
	b, err := readSmall(filepath.Join(state, wifi.File), maxStateFile)
	if err != nil {
		return nil
	}
	return b
}

// startsAnew reports whether the machine is to be started anew since the state folder holds another network than before: the box's init
// read that, and loads the driver of a radio at its start or not at all. What an update that is being tried would lose by it can wait.
func (a *appliance) startsAnew(boot, state string, before []byte) bool {
	onTrial := a.updates != nil && a.updates.stand == update.OnTrial
	return boot == onCard && !onTrial && !bytes.Equal(before, network(state))
}

// tellOnCard keeps the status file up to date in g. A card that cannot be written is told once.
func (a *appliance) tellOnCard(g *errgroup.Group, addr string) {
	if a.boot == nil {
		return
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		port = ""
	}
	states, leave := a.box.Subscribe()
	g.Go(func() error {
		defer leave()
		if err := a.boot.follow(states, port, a.ownerErr); err != nil {
			a.screen.say("  %s is not written: %s", statusName, oneLine(err))
		}
		return nil
	})
}
