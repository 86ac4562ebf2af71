//go:build !rescue && !linux

package main

// cardBootPart finds nothing: only Linux runs the box.
func cardBootPart() (*bootPart, error) { return nil, usageError{"--boot card is for the box", ""} }
