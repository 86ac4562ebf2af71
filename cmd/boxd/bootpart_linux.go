//go:build !rescue

package main

import (
	"fmt"

	"phonebackupbox/image/card"
)

// cardBootPart is the boot partition of the card that this system came from.
func cardBootPart() (*bootPart, error) {
	c, err := card.Find()
	if err != nil {
		return nil, hintError{fmt.Errorf("--boot card is for a box that runs from its own card: %w", err), "boot", "give the folder where the partition is mounted, or leave it out"}
	}
	return &bootPart{use: func(write bool, f func(string) error) error { return c.Boot("/run/boxd-boot", write, f) }}, nil
}
