package main

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"phonebackupbox/storage/drive"
)

// driveFacts is what an attached drive tells about itself, beside what the vault knows of it.
type driveFacts struct {
	ID     string       `json:"id"`
	Label  string       `json:"label"`
	Dir    string       `json:"dir"`
	Format drive.Format `json:"format"`
	// Clean: whoever wrote to it last closed it. Without that, FAT and exFAT drives are not sure to open in stock restic.
	Clean bool `json:"clean"`
	// SMART is what its electronics say; NoSMART why they say nothing.
	SMART   *drive.SMART `json:"smart,omitempty"`
	NoSMART string       `json:"no_smart,omitempty"`
}

// facts asks the attached drives, all at once: one that hangs keeps SMART waiting for seconds.
func (r *rack) facts() ([]driveFacts, error) {
	out, errs := make([]driveFacts, len(r.drives)), make([]error, len(r.drives))
	var wg sync.WaitGroup
	for i, d := range r.drives {
		out[i] = driveFacts{ID: d.ID(), Label: label(d, r.drives), Dir: d.Dir(), Format: d.Format()}
		wg.Go(func() { errs[i] = out[i].ask(d) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

func (f *driveFacts) ask(d *drive.Drive) (err error) {
	if f.Clean, err = d.Clean(); err != nil {
		return err
	}
	smart, err := d.SMART()
	if err != nil {
		f.NoSMART = printable(err.Error())
		return nil
	}
	f.SMART = &smart
	return nil
}

// onceEjected is what a drive still needs before stock restic may rely on it.
func onceEjected(facts []driveFacts, id string) string {
	for _, f := range facts {
		if f.ID == id && !f.Clean {
			return " once ejected"
		}
	}
	return ""
}

// driveWarnings are lines on what is bad about drives.
func driveWarnings(w io.Writer, facts []driveFacts) {
	for _, f := range facts {
		if bad := f.Format.Warning + f.Format.Refusal; bad != "" {
			fmt.Fprintf(w, "  ! %s %s\n", printable(f.Label), bad)
		}
		if f.SMART != nil {
			for _, warning := range f.SMART.Warnings() {
				fmt.Fprintf(w, "  ! %s %s\n", printable(f.Label), warning)
			}
		}
	}
}
