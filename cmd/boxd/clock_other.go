//go:build !linux && !rescue

package main

// clockTrusted reports whether the clock is right: computers with macOS and Windows keep theirs by themselves.
func clockTrusted() bool { return true }
