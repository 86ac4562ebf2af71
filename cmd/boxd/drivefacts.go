package main

import (
	"fmt"
	"io"

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
}

// facts asks the attached drives.
func (r *rack) facts() ([]driveFacts, error) {
	out := []driveFacts{}
	for _, d := range r.drives {
		clean, err := d.Clean()
		if err != nil {
			return nil, err
		}
		out = append(out, driveFacts{ID: d.ID(), Label: label(d, r.drives), Dir: d.Dir(), Format: d.Format(), Clean: clean})
	}
	return out, nil
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
	}
}
