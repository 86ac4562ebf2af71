//go:build !rescue

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/ui/web"
)

// Who may use the box from elsewhere is in claimName, in the state folder; it never goes into the vault, so a new card has a new code
// (docs/adr/047-claim.md). Until somebody was let in with it the code is in codeName, too, on the card's FAT partition.
const (
	claimName = "claim.json"
	codeName  = "claim.txt"
	maxClaim  = 64 << 10 // bytes
)

// claimStore is claimName in a state folder.
type claimStore struct{ dir string }

func (s claimStore) Load() ([]byte, error) {
	b, err := readSmall(filepath.Join(s.dir, claimName), maxClaim)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", claimName, err)
	}
	return b, err
}

func (s claimStore) Save(p []byte) error { return putStateFile(s.dir, claimName, p) }

// openClaim reads who may use the box. A state folder that cannot be written lets in nobody, and the box works.
func (a *appliance) openClaim(state string) {
	clock := func() (time.Time, bool) { return time.Now(), clockTrusted() }
	claim, err := web.OpenClaim(claimStore{state}, clock)
	if err != nil {
		a.screen.say("  no device can be let in: %s", oneLine(err))
		return
	}
	a.claim = claim
}

// unlock is for a console; see console.Options.
func (a *appliance) unlock() func(context.Context, string) error {
	if a.claim == nil {
		return nil
	}
	return a.claim.Unlock
}

// tellCode tells the code of a box that nobody was let into yet: on the card, and on the console where the page, or that console, is
// of any use to somebody elsewhere. It sees to it in g that the card does not hold it any longer than that.
func (a *appliance) tellCode(ctx context.Context, g *errgroup.Group, console bool) {
	if a.claim == nil {
		return
	}
	if a.boot != nil {
		a.codeOnCard(ctx, g)
	}
	if code := a.claim.Code(); code != "" && (console || !onlyHere(a.address)) {
		a.screen.say("  the box's code is %s: with it and a press of the button its page lets a device in; write it on the label", code)
	}
}

// codeOnCard has the code on the card, in g, for as long as a.claim gives it.
func (a *appliance) codeOnCard(ctx context.Context, g *errgroup.Group) {
	put := func() {
		if err := a.boot.keepCode(a.claim.Code()); err != nil {
			a.screen.say("  %s on the card: %s", codeName, oneLine(err))
		}
	}
	put()
	g.Go(func() error {
		select {
		case <-a.claim.Claimed():
		case <-ctx.Done(): // both may be so
		}
		put()
		return nil
	})
}

// onlyHere reports whether only this computer reaches an address.
func onlyHere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// codeText is codeName for a person with the card in a computer.
func codeText(code string) []byte {
	return fmt.Appendf(nil, "The code of this phone backup box: %s\r\n\r\nWrite it on the box's label. Who opens the box's page (its address is in %s) and is to\r\n"+
		"see more than the lights gives this code there and presses the button.\r\nThe box erases this file when it was used.\r\n", code, statusName)
}

// keepCode has the code, and no other, in codeName; "" erases it.
func (p *bootPart) keepCode(code string) error {
	var old []byte
	err := p.read(func(dir string) (err error) {
		old, err = readSmall(filepath.Join(dir, codeName), maxConfig)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist) && code == "":
		return err
	case code != "" && err == nil && bytes.Equal(old, codeText(code)), code == "" && err != nil:
		return nil
	case code != "":
		return p.put(codeName, codeText(code))
	}
	return p.write(func(dir string) error {
		path := filepath.Join(dir, codeName)
		if err := writeInPlace(path, bytes.Repeat([]byte(" "), len(old))); err != nil { // so that no free sector holds it
			return err
		}
		return errors.Join(os.Remove(path), syncDir(dir))
	})
}
