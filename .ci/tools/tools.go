//go:build tools

// Package tools pins stock restic: the oracle of the vault's tests and the owners' way out.
package tools

import _ "github.com/restic/restic/cmd/restic"
