//go:build !rescue

package main

import (
	"context"
	"path/filepath"
	"time"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
)

// pagesTime is how long a drive may take to say how it is while a command ends.
const pagesTime = 10 * time.Second

// showPages brings the README.html of each attached drive up to date, which usually means to leave it alone. A page that
// cannot be written now is written the next time: it is for people who have no box, and holds nothing up.
func (r *rack) showPages() {
	ctx, cancel := context.WithTimeout(context.Background(), pagesTime) // a command that was interrupted leaves true pages, too
	defer cancel()
	h, err := r.array.Health(ctx)
	if err != nil || h.LedgerIncomplete {
		return
	}
	for _, d := range r.drives {
		if page, ok := pageFor(h, d.ID()); ok {
			if programs, err := filesIn(filepath.Join(d.Dir(), rescueFolder)); err == nil {
				for _, p := range programs {
					page.Programs = append(page.Programs, p.Name())
				}
			}
			_, _ = d.ShowPage(page, time.Now())
		}
	}
}

// pageFor is what the page on a drive is to say; false of a drive that is not in use.
func pageFor(h array.Health, id string) (p drive.Page, ok bool) {
	for _, d := range h.Drives {
		switch d.State {
		case array.Attached, array.Away, array.Failing:
			p.Drives++
		}
		if d.ID == id && d.State == array.Attached {
			p.Complete, ok = d.Complete, true
		}
	}
	p.Needed = p.Drives - min(spare(h), p.Drives-1)
	return p, ok
}

// spare is how many drives, whichever, may be lost with everything still there on the others, away ones too.
func spare(h array.Health) int {
	for i, blobs := range h.Spare {
		if blobs > 0 {
			return i
		}
	}
	return h.Survive
}
