//go:build !rescue

package main

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"phonebackupbox/firmware"
)

// statusEvery is the least time between two writes of the status file: cards wear, and nobody reads it while the card is in the box.
const statusEvery = 10 * time.Minute

// follow keeps the status file up to date until the States end, and once more then. trouble is what was wrong with the owner's file.
func (p *bootPart) follow(states <-chan firmware.State, port string, trouble error) error {
	var written []byte
	if err := p.read(func(dir string) error {
		written, _ = readSmall(filepath.Join(dir, statusName), maxConfig) // one that cannot be read is written anew
		return nil
	}); err != nil {
		return err
	}
	var next time.Time
	var s firmware.State
	known := false
	put := func() error {
		text := statusText(s, addresses(port), trouble)
		if !known || bytes.Equal(text, written) {
			return nil
		}
		written = text
		return p.put(statusName, text)
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case newest, ok := <-states:
			if !ok {
				return put()
			}
			s, known = newest, known || newest.Phase != firmware.Starting
		case <-tick.C:
		}
		if now := time.Now(); known && !now.Before(next) {
			next = now.Add(statusEvery)
			if err := put(); err != nil {
				return err
			}
		}
	}
}

// statusText tells a person who has put the card into a computer how the box is. Phones by name and drives by label, no file. It has
// no time of its own, so that a box to which nothing happens writes nothing.
func statusText(s firmware.State, at []string, trouble error) []byte {
	var b strings.Builder
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\r\n", a...) }
	line("Phone backup box, version %s", version)
	line("Written by the box. Its settings are in %s beside this file.", configName)
	line("")
	if trouble != nil {
		line("! %s", printable(oneLine(trouble)))
		line("  The settings from before stay until that is put right.")
		line("")
	}
	if len(at) == 0 {
		line("The box has no address in a network.")
	}
	for _, a := range at {
		line("Its page: %s", a)
	}
	line("")
	for _, f := range s.Faults {
		line("%s %s %s", f.Code, f.Sentence, f.Advice)
	}
	if len(s.Faults) == 0 {
		line("Nothing is the matter.")
	}
	line("")
	for _, p := range s.Phones {
		switch {
		case p.LastComplete != nil:
			line("%s: everything was backed up on %s", printable(p.Name), p.LastComplete.Time.UTC().Format("2 January 2006"))
		case p.Enrolled:
			line("%s: no complete backup yet", printable(p.Name))
		}
	}
	for _, d := range s.Health.Drives {
		line("Drive %s: %s", printable(d.Label), d.State)
	}
	return []byte(b.String())
}

// addresses are where the page is in the network, if it is served there.
func addresses(port string) (out []string) {
	if port == "" {
		return nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() || n.IP.To4() == nil {
			continue
		}
		if port == "80" {
			out = append(out, fmt.Sprintf("http://%s/", n.IP))
		} else {
			out = append(out, fmt.Sprintf("http://%s/", net.JoinHostPort(n.IP.String(), port)))
		}
	}
	slices.Sort(out)
	return out
}
