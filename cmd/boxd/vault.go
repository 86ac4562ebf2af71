package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

func vaultCreateCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	rescue := rescueFlag(flags)
	survive := flags.Int("survive", array.DefaultSurvive, "how many drives may die without loss, 0 to 3")
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		switch {
		case *survive < 0 || *survive > array.MaxSurvive:
			return usageError{fmt.Sprintf("--survive %d: 0 to %d can be chosen", *survive, array.MaxSurvive), ""}
		case len(f.drives) == 0:
			return usageError{"no drive was named", "give --drive DIR once for each drive"}
		case f.keyFile == "" || f.wordsFile != "":
			return usageError{"where should the key go?", "give --key-file FILE; a new vault makes new words"}
		}
		if err := checkNewKey(f.keyFile, f.drives...); err != nil {
			return err
		}
		return createVault(ctx, c, f, *survive, *rescue)
	}
}

type createResult struct {
	Vault   string   `json:"vault"`
	Words   string   `json:"words"`
	KeyFile string   `json:"key_file"`
	Drives  []string `json:"drives"`
	Survive int      `json:"survive"`
}

// createVault makes the drives, then the key file, then the vault: a key that opens nothing does no harm, a vault whose
// key was never written would.
func createVault(ctx context.Context, c *call, f vaultFlags, survive int, rescue string) (err error) {
	words, err := vault.NewWords()
	if err != nil {
		return err
	}
	r := &rack{writes: writing}
	defer r.also(&err)
	if r.drives, err = createDrives(f.drives, newVaultID()); err != nil {
		return err
	}
	if err := writeKey(f.keyFile, words); err != nil {
		return err
	}
	if err := r.create(ctx, words, survive); err != nil {
		return err
	}
	r.carryRescue(ctx, c, rescue)
	res := createResult{r.vault.ID(), words, f.keyFile, f.drives, survive}
	return c.print(res, func(w io.Writer) {
		fmt.Fprintf(w, "A new vault over %s; any %s may die.\n\n", plural(len(res.Drives), "drive", "drives"), plural(survive, "drive", "drives"))
		printWords(w, words)
		fmt.Fprintf(w, "\nThese 24 words open it. They are shown this once: write them on paper.\nThe key file %s holds them too; keep it off these drives.\n", printable(f.keyFile))
		if len(res.Drives) <= survive {
			fmt.Fprintf(w, "\nNot enough drives yet to survive the loss of %s: add one with boxd drive add.\n", plural(survive, "drive", "drives"))
		}
	})
}

// createDrives makes every folder a drive of the vault id, checking all of them before it makes the first.
func createDrives(dirs []string, id string) ([]*drive.Drive, error) {
	for i, dir := range dirs {
		if slices.Contains(dirs[:i], dir) {
			return nil, usageError{fmt.Sprintf("--drive %s is named twice", printable(dir)), "every drive is a folder of its own"}
		}
		if err := mayCreate(dir); err != nil {
			return nil, err
		}
	}
	var drives []*drive.Drive
	for _, dir := range dirs {
		d, err := drive.Create(dir, id)
		if err != nil {
			return nil, errors.Join(err, closeDrives(drives))
		}
		drives = append(drives, d)
	}
	return drives, nil
}

// mayCreate finds out what would keep dir from becoming a drive, before any of its companions is made one.
func mayCreate(dir string) error {
	if dir == autoDrives {
		return usageError{"--drive auto finds drives that a vault has", "name the folders of the new ones; ./auto is a folder of that name"}
	}
	if isDrive(dir) {
		return hintError{fmt.Errorf("%s is a drive of a vault already", dir), "exists", "choose another folder; nothing was changed"}
	}
	if err := notStick(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return hintError{fmt.Errorf("%s: %w", dir, reason(err)), "drive", "name a folder that can be made and written to"}
	}
	if err := drive.CheckFormat(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".boxd-")
	if err != nil {
		return hintError{fmt.Errorf("%s: %w", dir, reason(err)), "drive", "name a folder that can be written to"}
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// newVaultID makes the UUID that a vault's drives know each other by (RFC 9562, section 5.4).
func newVaultID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// create makes the array and the vault over the rack's drives.
func (r *rack) create(ctx context.Context, password string, survive int) error {
	var err error
	if r.array, err = array.Create(ctx, members(r.drives), array.Options{Survive: survive}); err != nil {
		return err
	}
	r.vault, err = vault.Create(ctx, r.array, password, vault.Options{})
	return err
}

func vaultStatusCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	return f.on(reading, noArgs, func(ctx context.Context, c *call, r *rack, _ []string) error {
		h, err := r.array.Health(ctx)
		if err != nil {
			return err
		}
		snaps, err := r.snapshots(ctx, false)
		if err != nil {
			return err
		}
		out, err := r.wordsAreOut(ctx)
		if err != nil {
			return err
		}
		held, err := r.heldKeys(ctx, h)
		if err != nil {
			return err
		}
		left, err := r.leftDrives(ctx)
		if err != nil {
			return err
		}
		facts, err := r.facts()
		if err != nil {
			return err
		}
		res := statusResult{Vault: r.vault.ID(), Verdict: verdict(h), Survives: survives(h), Snapshots: len(snaps),
			WordsOut: out || r.passphrase, HeldKeys: held, LeftDrives: left, Bare: r.withoutRescue(), Attached: facts, Health: h}
		if err := c.print(res, res.text); err != nil {
			return err
		}
		return verdictError(h)
	})
}

type statusResult struct {
	Vault      string       `json:"vault"`
	Verdict    string       `json:"verdict"`  // "healthy", "degraded" or "lost"
	Survives   int          `json:"survives"` // drives that may die now without loss, those away counted as dead; -1: something cannot be read now
	Snapshots  int          `json:"snapshots"`
	WordsOut   bool         `json:"words_out"`      // the words are on a key stick or on paper: the box is not the only one to have them
	HeldKeys   []string     `json:"held_keys"`      // drives that hold, or may hold, a removed key, in words
	LeftDrives []string     `json:"left_drives"`    // drives that hold the vault from before a rekey, in words
	Bare       []string     `json:"without_rescue"` // attached drives that carry no rescue program
	Attached   []driveFacts `json:"attached"`       // what the attached drives tell of themselves
	Health     array.Health `json:"health"`
}

func (res statusResult) text(w io.Writer) {
	h := res.Health
	fmt.Fprintf(w, "vault %s: %s\n", short(res.Vault), res.Verdict)
	fmt.Fprintf(w, "  %s, %s in %s\n", plural(res.Snapshots, "snapshot", "snapshots"), size(h.Bytes), plural(h.Blobs, "blob", "blobs"))
	fmt.Fprintf(w, "  %s\n", protection(h))
	if h.Uneven > 0 {
		fmt.Fprintf(w, "  room is short on some drives only: boxd vault repair moves %s to the others, a box does so by itself\n", size(h.Uneven))
	}
	for _, d := range h.Drives {
		room := ""
		if d.Total > 0 {
			room = fmt.Sprintf("%s free of %s", size(d.Free), size(d.Total))
		}
		line := fmt.Sprintf("  %-16s %-9s %9s used  %-24s %s", printable(d.Label), d.State, size(d.Used), room, strings.Join(remarks(h, d, res.Attached), ", "))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	for _, name := range h.Lost {
		fmt.Fprintf(w, "  ! lost: %s\n", name)
	}
	driveWarnings(w, res.Attached)
	for _, held := range append(res.HeldKeys, res.LeftDrives...) {
		fmt.Fprintf(w, "  ! %s\n", printable(held))
	}
	if len(res.Bare) > 0 {
		fmt.Fprintf(w, "  no rescue programs on %s; boxd vault repair --rescue-dir DIR puts them there\n", printable(strings.Join(res.Bare, ", ")))
	}
	if !res.WordsOut {
		fmt.Fprint(w, "  ! the 24 words are not safe yet: without them and the key file, everything is lost.\n"+
			"    boxd key stick DIR puts them onto a USB stick; or write them down, then boxd key words --confirm\n")
	}
}
