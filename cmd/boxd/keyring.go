package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/drive"
	"phonebackupbox/storage/vault"
)

// onlyFuture is what removing a key does not do.
const onlyFuture = `This stops future use. Whoever had the old words or passphrase, and a copy of a drive from before, can still
read that, and later copies too: the key beneath the words is the same. After a leak, boxd vault rekey makes a new one.
`

type keyResult struct {
	Added    string   `json:"added,omitempty"`
	Removed  string   `json:"removed,omitempty"`
	KeyFile  string   `json:"key_file,omitempty"`
	Words    string   `json:"words,omitempty"`     // new ones, shown this once
	HeldKeys []string `json:"held_keys,omitempty"` // drives that hold a removed key still, in words

	vault string // its ID
}

func keyAddCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	passFile := flags.String("passphrase-file", "", "a `file` that holds the new passphrase; asked for without")
	newFile := flags.String("new-key-file", "", "make 24 new words in place of a passphrase, and this `file` for them")
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		if *passFile != "" && *newFile != "" {
			return usageError{"--passphrase-file and --new-key-file: give one of them", ""}
		}
		res, password := keyResult{KeyFile: *newFile}, ""
		switch {
		case *newFile != "":
			if err := checkNewKey(*newFile); err != nil {
				return err
			}
			password, err = vault.NewWords()
			res.Words = password
		case *passFile != "":
			password, err = readKey(*passFile)
		default:
			password, err = askPassphrase(c)
		}
		if err == nil {
			err = vault.CheckPassphrase(password)
		}
		if err != nil {
			return keyringError(err)
		}
		r, err := f.open(ctx, writing)
		if err != nil {
			return err
		}
		defer r.also(&err)
		if *newFile != "" {
			if err := writeKey(*newFile, password); err != nil {
				return err
			}
		}
		if res.Added, err = r.vault.AddKey(ctx, password); err != nil {
			return keyringError(err)
		}
		return c.print(res, func(w io.Writer) {
			fmt.Fprintf(w, "key %s opens this vault now, too\n", short(res.Added))
			res.showWords(w)
		})
	}
}

// showHeld names the drives that hold a removed key still.
func (res keyResult) showHeld(w io.Writer) {
	for _, held := range res.HeldKeys {
		fmt.Fprintf(w, "! %s\n", printable(held))
	}
}

// showWords prints new words, this once.
func (res keyResult) showWords(w io.Writer) {
	if res.Words == "" {
		return
	}
	fmt.Fprintln(w)
	printWords(w, res.Words)
	fmt.Fprintf(w, "\nThese are the new 24 words: write them on paper. The key file %s holds them too.\n", printable(res.KeyFile))
}

// keyringError adds what to do about an error of the vault's keys.
func keyringError(err error) error {
	switch {
	case errors.Is(err, vault.ErrWeak):
		return hintError{err, "weak", "several words with something of your own between them are easy to keep and hard to guess"}
	case errors.Is(err, vault.ErrTooManyKeys):
		return hintError{err, "too-many", "boxd key check lists them, boxd key remove ID removes one"}
	case errors.Is(err, vault.ErrKeyInUse):
		return hintError{err, "in-use", "open the vault with another of its keys to remove this one"}
	case errors.Is(err, vault.ErrNoKey):
		return hintError{err, "no-key", "boxd key check lists them"}
	}
	return err
}

// askPassphrase asks for a new passphrase on the terminal, twice and without echo.
func askPassphrase(c *call) (string, error) {
	in, ok := c.in.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", usageError{"there is no terminal to ask for a passphrase", "give --passphrase-file FILE, or --new-key-file FILE for 24 new words"}
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(c.err, prompt)
		p, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.err)
		return strings.TrimSpace(string(p)), err
	}
	first, err := ask("new passphrase: ")
	if err != nil {
		return "", err
	}
	// Said before it is typed a second time.
	if err := vault.CheckPassphrase(first); err != nil {
		return "", err
	}
	second, err := ask("once more: ")
	if err == nil && first != second {
		err = hintError{errors.New("these were two different passphrases"), "key", "nothing was changed; try again"}
	}
	return first, err
}

func keyRemoveCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	check := want(1, 1, "which key?", "boxd key remove ID; boxd key check lists them")
	return f.on(writing, check, func(ctx context.Context, c *call, r *rack, args []string) error {
		id, err := r.findKey(ctx, args[0])
		if err == nil {
			err = r.removeKey(ctx, id)
		}
		if err != nil {
			return keyringError(err)
		}
		res := keyResult{Removed: id}
		if res.HeldKeys, err = r.heldNow(ctx); err != nil {
			return err
		}
		return c.print(res, func(w io.Writer) {
			fmt.Fprintf(w, "key %s is removed\n%s", short(id), onlyFuture)
			res.showHeld(w)
		})
	})
}

// removeKey removes a key and notes which drives are away and may bring it back.
func (r *rack) removeKey(ctx context.Context, id string) error {
	h, err := r.array.Health(ctx)
	if err != nil {
		return err
	}
	var away []string
	for _, d := range h.Drives {
		if d.State != array.Attached {
			away = append(away, d.ID)
		}
	}
	return r.vault.RemoveKey(ctx, id, away...)
}

// heldNow is heldKeys of the array as it is.
func (r *rack) heldNow(ctx context.Context) ([]string, error) {
	h, err := r.array.Health(ctx)
	if err != nil {
		return nil, err
	}
	return r.heldKeys(ctx, h)
}

// heldKeys tells in words which drives hold, or may hold, the file of a removed key.
func (r *rack) heldKeys(ctx context.Context, h array.Health) ([]string, error) {
	removed, err := r.vault.RemovedKeys(ctx)
	if err != nil {
		return nil, err
	}
	held := []string{}
	for _, k := range removed {
		for _, d := range h.Drives {
			switch i := slices.IndexFunc(r.drives, func(at *drive.Drive) bool { return at.ID() == d.ID }); {
			case i >= 0:
				if _, err := r.drives[i].Stat(ctx, "vault/keys/"+k.Key); err == nil {
					held = append(held, fmt.Sprintf("drive %s still holds key %s, which was removed: run boxd vault repair", d.Label, short(k.Key)))
				}
			case d.State == array.Away && slices.Contains(k.Away, d.ID):
				held = append(held, fmt.Sprintf("drive %s was away when key %s was removed: attach it once, and run boxd vault repair", d.Label, short(k.Key)))
			}
		}
	}
	slices.Sort(held)
	return slices.Compact(held), nil
}

// findKey finds the one key whose ID begins with ref.
func (r *rack) findKey(ctx context.Context, ref string) (string, error) {
	list, err := r.vault.Keys(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, k := range list {
		if ref == "" || !strings.HasPrefix(k.ID, strings.ToLower(ref)) {
			continue
		}
		if found != "" {
			return "", hintError{fmt.Errorf("more than one key begins with %q", printable(ref)), "ambiguous", "give more of the ID"}
		}
		found = k.ID
	}
	if found == "" {
		return "", fmt.Errorf("key %q: %w", printable(ref), vault.ErrNoKey)
	}
	return found, nil
}

func keyRotateCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	newFile := flags.String("new-key-file", "", "the `file` to make for the new words (default: the key file's name with .new)")
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if *newFile == "" && f.keyFile != "" {
			*newFile = f.keyFile + ".new"
		}
		if *newFile == "" {
			return usageError{"where should the new key go?", "give --new-key-file FILE"}
		}
		return f.rotate(ctx, c, *newFile)
	}
}

// rotate puts 24 new words in the place of the key that the flags name. The order makes each step safe to be cut short: the
// key file is durable before the vault knows its words, these are durable and tried before the old key goes. A key
// file whose words open the vault already is what such a cut left, and what remains is done.
func (f *vaultFlags) rotate(ctx context.Context, c *call, path string) error {
	words, err := f.rotated(ctx, path)
	if err != nil {
		return err
	}
	old, err := f.password()
	if err != nil {
		return err
	}
	res := keyResult{KeyFile: path, Words: words}
	if err := f.dropOld(ctx, &res); err != nil {
		return keyringError(err)
	}
	stateErr := errors.Join(c.replaceOldKey(old, words), noteOldKey(f.keyFile, path, "boxd key rotate", res.vault))
	err = c.print(res, func(w io.Writer) {
		fmt.Fprintf(w, "the vault has new words (key %s); the old ones open nothing any more\n", short(res.Added))
		res.showWords(w)
		fmt.Fprintf(w, "Old sheets, key sticks and key files are of no use now: make new ones with boxd key stick.\n\n%s", onlyFuture)
		res.showHeld(w)
	})
	return errors.Join(err, stateErr)
}

// rotated makes the new words a key of the vault, unless they are, and returns them.
func (f *vaultFlags) rotated(ctx context.Context, path string) (words string, err error) {
	isNew := checkNewKey(path)
	if isNew != nil {
		if words, err = readWords(path); err != nil {
			return "", isNew
		}
		old := *f
		f = &vaultFlags{drives: f.drives, keyFile: path}
		r, err := f.open(ctx, reading)
		if errors.Is(err, vault.ErrWrongKey) {
			return "", hintError{fmt.Errorf("%s is there already, and its words do not open this vault", printable(path)), "key",
				"if an interrupted rotate left it, nobody has used its words: move it away and try again"}
		}
		if err != nil {
			return "", err
		}
		if password, err := old.password(); err != nil || password == words {
			return "", errors.Join(err, isNew, r.close())
		}
		return words, r.close()
	}
	r, err := f.open(ctx, writing)
	if err != nil {
		return "", err
	}
	defer r.also(&err)
	if words, err = vault.NewWords(); err != nil {
		return "", err
	}
	if err := writeKey(path, words); err != nil {
		return "", err
	}
	_, err = r.vault.AddKey(ctx, words)
	return words, keyringError(err)
}

// dropOld opens the vault with the new words and removes the key that the flags name.
func (f *vaultFlags) dropOld(ctx context.Context, res *keyResult) (err error) {
	old, err := f.password()
	if err != nil {
		return err
	}
	r, err := openArray(ctx, f.drives, writing)
	if err != nil {
		return err
	}
	defer r.also(&err)
	v, err := vault.Open(ctx, r.array, old, vault.Options{ReadOnly: true})
	switch {
	case errors.Is(err, vault.ErrWrongKey): // removed before a cut
	case err != nil:
		return err
	default:
		res.Removed = v.KeyID()
		if err := v.Close(); err != nil {
			return err
		}
	}
	if r.vault, err = vault.Open(ctx, r.array, res.Words, vault.Options{}); err != nil {
		return err
	}
	if res.Removed != "" {
		if err := r.removeKey(ctx, res.Removed); err != nil {
			return err
		}
	}
	res.Added, res.vault = r.vault.KeyID(), r.vault.ID()
	res.HeldKeys, err = r.heldNow(ctx)
	return err
}
