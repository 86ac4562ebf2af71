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

func commands() []command {
	return []command{
		{"demo", "", "a whole box in one process, nothing plugged in; ends with a proof", demoCommand},
		{"backup", "PHONE", "back a phone up into the vault (folder:PATH in this build)", backupCommand},
		{"snapshots", "", "list what the vault holds, newest first", snapshotsCommand},
		{"ls", "SNAPSHOT [PATH]", "list a folder of a snapshot", lsCommand},
		{"cat", "SNAPSHOT PATH", "write a file of a snapshot to standard output", catCommand},
		{"restore", "SNAPSHOT", "put a snapshot into a folder (--to) or onto a phone (--phone)", restoreCommand},
		{"vault create", "", "make a vault over the drives; prints its 24 words once", vaultCreateCommand},
		{"vault status", "", "is everything there, and how many drives may still die", vaultStatusCommand},
		{"vault verify", "", "read back and decrypt everything", vaultVerifyCommand},
		{"vault scrub", "", "read every copy and shard and check its checksums; changes nothing", vaultScrubCommand},
		{"vault repair", "", "mend damage and bring everything back to full protection", vaultRepairCommand},
		{"vault prune", "", "remove old snapshots, and all that none of the others needs", vaultPruneCommand},
		{"vault export", "[SNAPSHOT]", "write a plain restic repository, or one snapshot's files, into a folder", vaultExportCommand},
		{"drive add", "DIR", "take a new drive into the vault", driveAddCommand},
		{"drive remove", "DIR|ID", "give a drive up for good", driveRemoveCommand},
		{"drive replace", "OLD-ID NEW-DIR", "give a drive up and take a new one in its place", driveReplaceCommand},
		{"key words", "", "print the 24 words of a key file", keyWordsCommand},
		{"key check", "", "do these words open this vault?", keyCheckCommand},
		{"key add", "", "let a passphrase, or 24 more words, open this vault too", keyAddCommand},
		{"key remove", "ID", "let one of the keys open nothing any more; key check lists them", keyRemoveCommand},
		{"key rotate", "", "new 24 words in the place of the old ones", keyRotateCommand},
		{"key stick", "DIR", "put the words and the key onto a USB stick of their own", keyStickCommand},
		{"unlock", "", "make a blank card the same box: its key and state, from a key stick and the drives", unlockCommand},
		{"selftest", "", "try the drives out with a throw-away set of blobs", selftestCommand},
		{"version", "", "print the version", versionCommand},
	}
}

// later are the commands of the contract that this build does not have.
var later = []string{"run", "phones", "vault serve", "vault import", "cloud", "import"}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, std stdio) int {
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
PHONE is folder:PATH in this build. SNAPSHOT is an id, latest, or latest:PHONE.
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
