//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
)

// drillName, in the box's state folder, is where the drill goes on.
const drillName = "drill.json"

// keptDrill is how far the drill is, and which one it is.
type keptDrill struct {
	Began firmware.Stamp `json:"began"`
	Vault string         `json:"vault"` // ID
	vault.VerifyPass
}

func (d keptDrill) inWords() firmware.Drilled {
	return firmware.Drilled{Fraction: d.Fraction(), Bad: len(d.Bad)}
}

// Drill decrypts what the vault holds for about so long. Once all packs are read it goes on until every snapshot is looked into.
func (b *bays) Drill(ctx context.Context, began firmware.Stamp, span time.Duration) (firmware.Drilled, error) {
	r, err := b.use(ctx)
	if err != nil {
		return firmware.Drilled{}, err
	}
	d := b.drill(r.vault.ID(), began)
	part, stop := context.WithCancel(ctx)
	defer stop()
	over := time.AfterFunc(span, stop)
	defer over.Stop()
	if d.Done {
		over.Stop()
	}
	report, err := r.vault.VerifyFrom(part, vault.VerifyOptions{From: d.VerifyPass, Save: func(p vault.VerifyPass) error {
		if p.Done {
			over.Stop()
		}
		d.VerifyPass = p
		return nil
	}})
	kept := b.keepDrill(d)
	out := d.inWords()
	switch {
	case err != nil && part.Err() != nil && ctx.Err() == nil:
		return out, kept // the time is over
	case err != nil:
		return out, errors.Join(err, kept)
	}
	out.Done, out.Hit = true, len(report.Hit)+report.MoreHit
	for _, damage := range report.Damaged {
		if !strings.HasPrefix(damage.Name, "data/") { // those are packs, and counted
			out.Bad++
		}
	}
	return out, kept
}

// drill is the pass over a vault that began then, from its start if it is not known.
func (b *bays) drill(id string, began firmware.Stamp) keptDrill {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drilled.Vault == "" {
		if p, err := b.readState(drillName, maxScrub); err == nil && json.Unmarshal(p, &b.drilled) != nil {
			b.drilled = keptDrill{} // damaged: it only costs reading again
		}
	}
	if b.drilled.Vault != id || !b.drilled.Began.Is(began) {
		b.drilled = keptDrill{Began: began, Vault: id}
	}
	return b.drilled
}

func (b *bays) keepDrill(d keptDrill) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drilled = d
	return b.writeState(drillName, d)
}
