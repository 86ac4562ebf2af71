package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/vault"
)

// A key stick is a USB stick with two files: the words for a person, to print, and the key file for a box or for stock
// restic. Sticks for several vaults may be one: the files of the second get the vault's key in their names.
const (
	stickKey   = "phone-backup-box-key"
	stickSheet = "phone-backup-box-words"
	maxOnStick = 20 // key files looked at in one folder
)

//go:embed keystick.html
var sheetText string

func keyStickCommand(flags *pflag.FlagSet) action {
	var f vaultFlags
	f.register(flags)
	check := want(1, 1, "which stick?", "boxd key stick DIR --drive DIR… --key-file FILE; DIR is where the stick is mounted")
	return f.on(writing, check, func(ctx context.Context, c *call, r *rack, args []string) error {
		words, err := f.words()
		if err != nil {
			return err
		}
		stick := args[0]
		if err := mayBeStick(stick); err != nil {
			return err
		}
		res, err := writeStick(stick, words, r.vault)
		if err != nil {
			return err
		}
		if err := r.noteWordsOut(ctx, "stick"); err != nil {
			return err
		}
		return c.print(res, func(w io.Writer) {
			fmt.Fprintf(w, "%s is a key stick of this vault now:\n  %s  the key, for a box\n  %s  the 24 words, to print\n", printable(stick), printable(res.KeyFile), printable(res.Sheet))
			fmt.Fprintln(w, "Whoever has this stick and one of the drives can read the backups: keep it where the drives are not.")
		})
	})
}

// words are the 24 words that the flags name; a passphrase will not do.
func (f *vaultFlags) words() (string, error) {
	password, err := f.password()
	if err != nil {
		return "", err
	}
	words, err := vault.ParseWords(password)
	if err != nil {
		return "", hintError{errors.New("this key is a passphrase, not the 24 words"), "key", "give the key file or the words that vault create or key rotate made"}
	}
	return words, nil
}

// mayBeStick refuses what is no folder, and a backup drive: key and data must not be lost or stolen together.
func mayBeStick(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return hintError{fmt.Errorf("%s is no folder", printable(dir)), "stick", "plug the stick in and name the folder where it is mounted"}
	}
	at, err := driveAbove(dir)
	if err == nil && at != "" {
		err = hintError{fmt.Errorf("%s is a backup drive", printable(at)), "stick", "use a stick of its own: whoever finds a drive with its key can read it"}
	}
	return err
}

// driveAbove is the backup drive that a folder, which must be there, is or lies on; "" if none.
func driveAbove(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	if err == nil {
		at, err = filepath.EvalSymlinks(at)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, reason(err))
	}
	for ; ; at = filepath.Dir(at) {
		if isDrive(at) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", nil
		}
	}
}

type stickResult struct {
	KeyFile string `json:"key_file"`
	Sheet   string `json:"sheet"`
}

// writeStick writes the sheet and the key file, flushes them and reads them back.
func writeStick(dir, words string, v *vault.Vault) (stickResult, error) {
	var sheet bytes.Buffer
	page, err := template.New("sheet").Parse(sheetText)
	if err == nil {
		err = page.Execute(&sheet, map[string]any{"Vault": short(v.ID()), "Key": short(v.KeyID()), "Words": strings.Fields(words)})
	}
	if err != nil {
		return stickResult{}, err
	}
	var res stickResult
	if res.Sheet, err = addToStick(dir, stickSheet, ".html", short(v.KeyID()), sheet.Bytes()); err != nil {
		return stickResult{}, err
	}
	res.KeyFile, err = addToStick(dir, stickKey, ".txt", short(v.KeyID()), []byte(words+"\n"))
	return res, err
}

// addToStick writes a file called base+ext, or base-id+ext where another file has that name, durably, and reads it back.
// It overwrites nothing; a file that holds p already is that file.
func addToStick(dir, base, ext, id string, p []byte) (path string, err error) {
	for _, name := range []string{base + ext, base + "-" + id + ext} {
		path = filepath.Join(dir, name)
		switch got, err := readSmall(path, maxKeyFile*4); {
		case err == nil && bytes.Equal(got, p):
			return path, nil
		case errors.Is(err, fs.ErrNotExist):
			return path, addFile(dir, path, p)
		}
	}
	return "", hintError{fmt.Errorf("%s is there already and holds something else", printable(path)), "stick", "move it away; nothing was overwritten"}
}

func addFile(dir, path string, p []byte) error {
	f, err := os.CreateTemp(dir, ".phone-backup-box-") // mode 0600
	if err != nil {
		return hintError{fmt.Errorf("%s: %w", printable(dir), reason(err)), "stick", "is the stick write-protected or full?"}
	}
	_, err = f.Write(p)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", printable(path), err), os.Remove(f.Name()))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("%s: %w", printable(dir), err)
	}
	got, err := readSmall(path, int64(len(p)))
	if err == nil && !bytes.Equal(got, p) {
		err = errors.New("it reads back as something else")
	}
	if err != nil {
		return hintError{fmt.Errorf("%s: %w", printable(path), err), "stick", "use another stick"}
	}
	return nil
}

// isStick reports whether dir is a key stick, of whichever vault.
func isStick(dir string) bool {
	keys, err := keyFilesOn(dir)
	return err == nil && len(keys) > 0
}

// notStick refuses a key stick as a backup drive: mayBeStick the other way round.
func notStick(dir string) error {
	if isStick(dir) {
		return hintError{fmt.Errorf("%s is a key stick", printable(dir)), "stick", "use another drive: whoever finds one with its key can read it"}
	}
	return nil
}

// keysOn tells the passwords on the key sticks in dirs. A file that holds no words is passed over.
func keysOn(dirs []string) ([]string, error) {
	var keys []string
	for _, dir := range dirs {
		files, err := keyFilesOn(dir)
		if err != nil {
			return nil, hintError{fmt.Errorf("%s: %w", printable(dir), reason(err)), "stick", "name the folder where the stick is mounted"}
		}
		for _, f := range files {
			if words, err := readWords(f); err == nil && !slices.Contains(keys, words) {
				keys = append(keys, words)
			}
		}
	}
	return keys, nil
}

// keyFilesOn lists the key files of a key stick, at most maxOnStick.
func keyFilesOn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stickKey) && filepath.Ext(e.Name()) == ".txt" && len(files) < maxOnStick {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}
