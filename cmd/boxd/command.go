package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Exit codes: the contract of the command line.
const (
	exitOK         = 0 // all of it done and verified
	exitFailed     = 1
	exitUsage      = 2
	exitIncomplete = 3 // finished, but something is incomplete, which the output lists
)

// A command is one row of the command line. Its flags are registered on a fresh set for every call.
type command struct {
	name  string // "vault create"
	args  string // shown after the name in help
	help  string // one line
	setup func(*pflag.FlagSet) action
}

// action runs a command with its positional arguments. A nil error means exit 0; see exitCode for the others.
type action func(ctx context.Context, c *call, args []string) error

// call is one run of a command: where it prints and how.
type call struct {
	stdio
	json  bool
	state string // folder for pairings and caches; "" is the user's own
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, std stdio) int {
	if len(args) == 0 && guides {
		return guided(ctx, std)
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		usage(std.out)
		if len(args) == 0 {
			return exitUsage
		}
		return exitOK
	}
	cmd, rest, err := lookup(args)
	c := &call{stdio: std, json: hasJSON(args)}
	if err != nil {
		return c.fail(err)
	}
	flags := pflag.NewFlagSet("boxd "+cmd.name, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	act := cmd.setup(flags)
	flags.BoolVar(&c.json, "json", false, "one JSON document on standard output")
	flags.StringVar(&c.state, "state", "", "folder for pairings and caches")
	switch err := flags.Parse(rest); {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprintf(std.out, "boxd %s %s\n    %s\n\n%s", cmd.name, cmd.args, cmd.help, flags.FlagUsages())
		return exitOK
	case err != nil:
		return c.fail(usageError{err.Error(), "see boxd " + cmd.name + " --help"})
	}
	if err := act(ctx, c, flags.Args()); err != nil {
		return c.fail(err)
	}
	return exitOK
}

// lookup finds the command that args begin with: one word or two.
func lookup(args []string) (command, []string, error) {
	one, two := args[0], ""
	if len(args) > 1 {
		two = args[0] + " " + args[1]
	}
	for _, cmd := range commands() {
		switch cmd.name {
		case one:
			return cmd, args[1:], nil
		case two:
			return cmd, args[2:], nil
		}
	}
	for _, name := range later {
		if name == one || name == two {
			return command{}, nil, usageError{"boxd " + name + ": not in this build yet", "see boxd help for what is"}
		}
	}
	if one == "vault" || one == "drive" || one == "key" {
		return command{}, nil, usageError{fmt.Sprintf("boxd %s: which of its commands?", one), "see boxd help"}
	}
	return command{}, nil, usageError{fmt.Sprintf("boxd: no command %q", printable(one)), "see boxd help"}
}

// hasJSON tells how to report an error that comes before the flags are parsed.
func hasJSON(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "--json" || a == "--json=true" {
			return true
		}
	}
	return false
}

func usage(w io.Writer) {
	fmt.Fprint(w, "boxd: the phone backup box\n\n")
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  boxd %-32s %s\n", strings.TrimSpace(cmd.name+" "+cmd.args), cmd.help)
	}
	fmt.Fprint(w, `
Most commands take --drive DIR (once for each drive) and --key-file FILE or --words-file FILE.
PHONE is any (the only one attached), mtp:SERIAL or folder:PATH. SNAPSHOT is an id, latest, or latest:PHONE.
Every command takes --json. Exit codes: 0 done and verified, 1 failed, 2 usage, 3 something is incomplete.
`)
}

func versionCommand(*pflag.FlagSet) action {
	return func(_ context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		return c.print(map[string]string{"version": version}, func(w io.Writer) { fmt.Fprintln(w, "boxd", version) })
	}
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("%q was not expected", printable(args[0])), "quote names that hold spaces"}
	}
	return nil
}
