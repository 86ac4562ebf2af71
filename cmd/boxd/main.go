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

func main() { os.Exit(process(os.Args[1:])) }

// process is this process as boxd, with the command line args: it ends cleanly when it is asked to: by Ctrl-C, by SIGTERM,
// or by SIGHUP since its terminal is gone, unless it was started to outlive that (nohup).
func process(args []string) int {
	frugal()
	if err := noCore(); err != nil {
		fmt.Fprintln(os.Stderr, "note: if boxd crashes, the keys may be written to a core file:", err)
	}
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	return run(ctx, args, stdio{os.Stdin, os.Stdout, os.Stderr})
}

// stdio is where a command reads and writes; tests give their own.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}
