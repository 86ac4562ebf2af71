//go:build !linux

package drive

import (
	"path/filepath"
	"runtime"
)

// mountPoints are where this system shows drives that are plugged in.
func mountPoints() ([]string, error) {
	if runtime.GOOS == "windows" {
		var roots []string
		for letter := 'D'; letter <= 'Z'; letter++ { // C: is the system's own
			roots = append(roots, string(letter)+`:\`)
		}
		return roots, nil
	}
	return filepath.Glob("/Volumes/*")
}
