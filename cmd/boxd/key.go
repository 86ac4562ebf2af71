package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

func keyWordsCommand(flags *pflag.FlagSet) action {
	keyFile := flags.String("key-file", "", "the `file` that holds the words")
	return func(_ context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if *keyFile == "" {
			return usageError{"which key file?", "give --key-file FILE"}
		}
		words, err := readWords(*keyFile)
		if err != nil {
			return err
		}
		return c.print(map[string]string{"words": words}, func(w io.Writer) { printWords(w, words) })
	}
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
	return f.on(reading, noArgs, func(_ context.Context, c *call, r *rack, _ []string) error {
		return c.print(map[string]any{"opens": true, "vault": r.vault.ID()}, func(w io.Writer) {
			fmt.Fprintln(w, "these words open this vault")
		})
	})
}
