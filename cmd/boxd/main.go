// Command boxd is the phone backup box: the appliance, its demonstration and its tools, in one program.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker for releases.
var version = "development"

// garbage is the GC percentage: nearly all of boxd's memory is a few large buffers that are reused and hold no pointers, so
// that collecting often costs next to nothing, and letting garbage grow by as much again (the default of 100) costs a 1 GB
// board memory and saves no time. A first backup's peak was 165 MB with 50 and 135 MB with 20, its processor time the same.
const garbage = 20

func main() {
	debug.SetGCPercent(garbage)
	if err := noCore(); err != nil {
		fmt.Fprintln(os.Stderr, "note: if boxd crashes, the keys may be written to a core file:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// stdio is where a command reads and writes; tests give their own.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}
