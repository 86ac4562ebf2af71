//go:build !linux

package drive

import "errors"

func eject(string) (Ejected, error) {
	return Ejected{}, errors.New("this system has a way of its own to eject drives; nothing of ours is open on it now")
}
