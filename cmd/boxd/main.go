// Command boxd is the phone backup box: the appliance, its demonstration and its tools, in one program.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker for releases.
var version = "development"

// garbage is the GC percentage: nearly all of boxd's memory is a few large buffers that are reused, so that letting
// garbage grow by as much again (the default of 100) costs a 1 GB board memory and saves no time.
const garbage = 50

func main() {
	debug.SetGCPercent(garbage)
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
