// Command boxd is the phone backup box: the appliance, its demonstration and its tools, in one program.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker for releases.
var version = "development"

func main() {
	frugal()
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
