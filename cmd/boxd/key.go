package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/vault"
)

func keyWordsCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	confirm := flags.Bool("confirm", false, "you wrote them down: three are asked for, and the vault remembers it; needs --drive")
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		words, err := f.words()
		if err != nil {
			return err
		}
		if *confirm {
			return f.confirm(ctx, c, words)
		}
		return c.print(map[string]string{"words": words}, func(w io.Writer) { printWords(w, words) })
	}
}

// confirm asks for three of the words from the paper, and remembers in the vault that they are on one.
func (f *vaultFlags) confirm(ctx context.Context, c *call, words string) (err error) {
	r, err := f.open(ctx, writing)
	if err != nil {
		return err
	}
	defer r.also(&err)
	fmt.Fprintln(c.err, "Take the paper with your 24 words and type the three that are asked for.")
	list, in := strings.Fields(words), bufio.NewScanner(io.LimitReader(c.in, maxKeyFile))
	positions := rand.Perm(len(list))[:3]
	slices.Sort(positions)
	for _, i := range positions {
		fmt.Fprintf(c.err, "word %d: ", i+1)
		if !in.Scan() || strings.ToLower(strings.TrimSpace(in.Text())) != list[i] {
			return hintError{fmt.Errorf("that is not word %d", i+1), "key", "boxd key words --key-file FILE shows them; compare each with the paper, then try again"}
		}
	}
	if err := r.noteWordsOut(ctx, "paper"); err != nil {
		return err
	}
	return c.print(map[string]bool{"words_out": true}, func(w io.Writer) { fmt.Fprintln(w, "good: the words are safe on paper") })
}

// printWords writes the 24 words as the sheet has them: numbered, four to a line.
func printWords(w io.Writer, words string) {
	list := strings.Fields(words)
	for row := range 6 {
		for col := range 4 {
			i := row + 6*col
			fmt.Fprintf(w, "  %2d %-10s", i+1, list[i])
		}
		fmt.Fprintln(w)
	}
}

func keyCheckCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	return f.on(reading, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		keys, err := r.vault.Keys(ctx)
		if err != nil {
			return err
		}
		return c.print(map[string]any{"opens": true, "vault": r.vault.ID(), "keys": keys}, func(w io.Writer) {
			fmt.Fprintln(w, "these words open this vault")
			for _, k := range keys {
				printKey(w, k)
			}
			if f.keyFile != "" && othersRead(f.keyFile) {
				fmt.Fprintf(w, "! other users of this computer can read %s: chmod 600 it\n", printable(f.keyFile))
			}
		})
	})
}

// printKey is one line of the list of keys.
func printKey(w io.Writer, k vault.Key) {
	if k.Err != nil {
		fmt.Fprintf(w, "  key %s  ! cannot be read\n", short(k.ID))
		return
	}
	what, which := "passphrase", ""
	if k.Words {
		what = "24 words"
	}
	if k.InUse {
		which = "  (this one)"
	}
	fmt.Fprintf(w, "  key %s  %-10s  made %s by %s%s\n", short(k.ID), what, k.Created.Local().Format("2006-01-02"), printable(k.Made), which)
}

// othersRead reports whether a file may be read by more than its owner. On FAT, which knows no owners, all may
// be, and Windows tells otherwise.
func othersRead(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}
