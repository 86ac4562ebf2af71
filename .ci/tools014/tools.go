//go:build tools

// Package tools014 pins an old stock restic, whose repositories must open too.
package tools014

import _ "github.com/restic/restic/cmd/restic"
