package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vault"
)

// usageError is a command line that makes no sense: exit 2.
type usageError struct{ msg, hint string }

func (e usageError) Error() string { return e.msg }

// incompleteError says that a command finished but not all of it is well: exit 3. Its output has been printed already.
type incompleteError struct{ msg string }

func (e incompleteError) Error() string { return e.msg }

// lostError says that a check finished and something cannot be read any more: exit 1. Its output has been printed already.
type lostError struct{ msg string }

func (e lostError) Error() string { return e.msg }

// hintError adds what to do about an error.
type hintError struct {
	error
	code, hint string
}

func (e hintError) Unwrap() error { return e.error }

// fail reports err and returns its exit code.
func (c *call) fail(err error) int {
	var (
		use  usageError
		inc  incompleteError
		lost lostError
		hint hintError
	)
	switch {
	case errors.As(err, &inc), errors.As(err, &lost):
		if !c.json {
			fmt.Fprintln(c.err, printable(err.Error()))
		}
		if errors.As(err, &lost) {
			return exitFailed
		}
		return exitIncomplete
	case errors.As(err, &use):
		c.failure("usage", use.msg, use.hint)
		return exitUsage
	case errors.As(err, &hint):
		c.failure(hint.code, oneLine(err), hint.hint)
	default:
		code, advice := advise(err)
		c.failure(code, oneLine(err), advice)
	}
	return exitFailed
}

// oneLine is err without its line breaks: of joined errors, those that say more than the first. That the owner stopped the
// command is one word, whatever it was that it stopped.
func oneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		if strings.HasSuffix(l, context.Canceled.Error()) {
			lines[i] = "stopped"
		}
	}
	said := lines[:1]
	for _, l := range lines[1:] {
		if !strings.Contains(l, lines[0]) && !slices.Contains(said, l) {
			said = append(said, l)
		}
	}
	return strings.Join(said, "; ")
}

// advise is what to do about errors that any command can meet.
func advise(err error) (code, advice string) {
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted", "nothing that was stored is lost; give the same command again"
	case errors.Is(err, storage.ErrFull):
		return "full", "make room on the drives or add one with boxd drive add; nothing that was stored is lost"
	case errors.Is(err, storage.ErrUnavailable):
		return "unavailable", "attach the drives that are missing"
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, vault.ErrDamaged):
		return "damaged", "attach every drive that you have and run boxd vault repair"
	case errors.Is(err, vault.ErrNotVault):
		return "no-vault", "boxd vault create makes one"
	}
	return "failed", ""
}

func (c *call) failure(code, msg, hint string) {
	if c.json {
		type body struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		}
		printJSON(c.out, map[string]body{"error": {code, printable(msg), printable(hint)}})
		return
	}
	fmt.Fprintln(c.err, printable(msg))
	if hint != "" {
		fmt.Fprintln(c.err, "  "+printable(hint))
	}
}

// print writes v as JSON where the owner asked for it, and calls text otherwise.
func (c *call) print(v any, text func(io.Writer)) error {
	if c.json {
		return printJSON(c.out, v)
	}
	var b strings.Builder
	text(&b)
	_, err := io.WriteString(c.out, b.String())
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// quoteName is restic's quoting of names: any bytes in, valid UTF-8 without control characters out, reversible.
func quoteName(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// printable makes s safe for a terminal: what is not printable (control characters, bidirectional overrides, bytes that
// are not UTF-8) is escaped, everything else, quotes and backslashes included, stays as a person wrote it.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// size writes a number of bytes in powers of ten, as drives and phones are sold.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, i := float64(n)/1000, 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	digits := 0
	if f < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(f, 'f', digits, 64) + " " + units[i:i+1] + "B"
}

// count writes n with thousands separated.
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes a count with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// terminal reports whether w is a terminal and how many columns it has.
func terminal(w io.Writer) (columns int, ok bool) {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < 20 {
		columns = 80
	}
	return columns, true
}
