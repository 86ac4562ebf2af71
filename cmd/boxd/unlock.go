package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/vault"
)

func unlockCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	sticks := flags.StringArray("stick", nil, "the `folder` where a key stick is mounted, in place of a key file")
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		if c.state == "" {
			return usageError{"where should the box's state go?", "boxd unlock --stick DIR --drive DIR… --state DIR"}
		}
		r, words, err := f.unlock(ctx, *sticks)
		if err != nil {
			return err
		}
		defer r.also(&err)
		return takeState(ctx, c, r, words)
	}
}

// unlock opens the vault with the first key that fits: of the sticks, or the one that the flags name.
func (f *vaultFlags) unlock(ctx context.Context, sticks []string) (r *rack, password string, err error) {
	var keys []string
	if len(sticks) > 0 {
		if keys, err = keysOn(sticks); err != nil {
			return nil, "", err
		}
		if len(keys) == 0 {
			return nil, "", hintError{fmt.Errorf("no key on %s", printable(strings.Join(sticks, ", "))), "stick", "boxd key stick DIR makes a key stick"}
		}
	} else {
		if password, err = f.password(); err != nil {
			return nil, "", err
		}
		keys = []string{password}
	}
	if r, err = openArray(ctx, f.drives, reading); err != nil {
		return nil, "", err
	}
	for _, key := range keys {
		r.vault, err = vault.Open(ctx, r.array, key, vault.Options{ReadOnly: true})
		if err == nil {
			return r, key, nil
		}
		if !errors.Is(err, vault.ErrWrongKey) {
			break
		}
	}
	return nil, "", errors.Join(keyError(err), r.close())
}

type unlockResult struct {
	Vault   string   `json:"vault"`
	State   []string `json:"state"`    // files taken out of the vault
	KeyFile string   `json:"key_file"` // "" where the settings want the stick each time
}

// takeState makes the state folder that of the box which the vault knows, and puts the key there unless the owner wants
// the stick to be needed each time.
func takeState(ctx context.Context, c *call, r *rack, password string) error {
	state, _, err := r.vault.LoadState(ctx)
	if err != nil && !errors.Is(err, vault.ErrNoSnapshot) {
		return err
	}
	settings, err := parseConfig(configName+" in the vault", state[configName])
	if err != nil {
		return err
	}
	res := unlockResult{Vault: r.vault.ID()}
	home, err := readHome(c.state)
	if err != nil {
		return err
	}
	formers, err := r.vault.Formers(ctx)
	if err != nil {
		return err
	}
	former := isFormer(formers, home)
	if !former && home != "" && home != r.vault.ID() {
		return errors.Join(err, hintError{fmt.Errorf("the state in %s is that of another vault", printable(c.state)), "state", "name an empty folder"})
	}
	if res.State, err = restoreBoxState(c.state, r.vault.ID(), state); err != nil {
		return err
	}
	if settings.KeyOnCard() {
		res.KeyFile = filepath.Join(c.state, cardKeyName)
		if home != "" && len(formers) > 0 {
			err = replaceCardKey(c.state, password)
		} else {
			err = keepKey(res.KeyFile, password)
		}
		if err != nil {
			return err
		}
	}
	return c.print(res, func(w io.Writer) {
		fmt.Fprintf(w, "vault %s is open; %s of the box's state taken into %s\n", short(res.Vault), plural(len(res.State), "file", "files"), printable(c.state))
		if res.KeyFile == "" {
			fmt.Fprintln(w, "Its settings want the key stick at each start, so the key was not put there.")
		} else {
			fmt.Fprintf(w, "The key is in %s: give it as --key-file.\n", printable(res.KeyFile))
		}
	})
}

// keepKey writes the key file unless it is there already.
func keepKey(path, password string) error {
	if _, err := os.Lstat(path); err == nil {
		if old, err := readKey(path); err == nil && old == password {
			return nil
		}
	}
	return writeKey(path, password)
}
