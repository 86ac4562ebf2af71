//go:build pin

package vm

import _ "github.com/gokrazy/kernel.rpi" // keeps its version in go.mod; nothing links it, and only Kernel downloads it
