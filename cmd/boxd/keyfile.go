package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"phonebackupbox/storage/vault"
)

// maxKeyFile bounds a key file, in bytes. 24 words need at most 24*9.
const maxKeyFile = 4096

// readKey returns the password in a key file: its content without surrounding white space, as restic reads a password
// file. Twenty-four words are checked against their checksum; anything else is a passphrase.
func readKey(path string) (string, error) {
	b, err := readSmall(path, maxKeyFile)
	if err != nil {
		return "", hintError{fmt.Errorf("key file %s: %w", path, err), "key", "give the file that boxd vault create made, or --words-file"}
	}
	key := strings.TrimSpace(string(b))
	if key == "" {
		return "", hintError{fmt.Errorf("key file %s is empty", path), "key", "write the 24 words into a file and give it as --words-file"}
	}
	if len(strings.Fields(key)) == 24 {
		return readWords(path)
	}
	return key, nil
}

// readWords returns the 24 words that a person typed into a file, in canonical form.
func readWords(path string) (string, error) {
	b, err := readSmall(path, maxKeyFile)
	if err != nil {
		return "", hintError{fmt.Errorf("words file %s: %w", path, err), "key", "write the 24 words into it, with spaces or line ends between them"}
	}
	words, err := vault.ParseWords(string(b))
	if err != nil {
		return "", hintError{fmt.Errorf("words file %s: %w", path, err), "key", "compare them with the sheet, word by word"}
	}
	return words, nil
}

func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("more than %d bytes: not a key file", limit)
	}
	return b, nil
}

// writeKey makes a key file that only its owner can read. It never overwrites one.
func writeKey(path, key string) error {
	if err := checkNewKey(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, reason(err))
	}
	_, err = io.WriteString(f, key+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	return nil
}

// checkNewKey refuses a path that a key cannot be written to, before anything else is made: one that is there, and one on a
// backup drive, or in one of the folders that are about to be made drives.
func checkNewKey(path string, drives ...string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return hintError{fmt.Errorf("key file %s is there already; it is not overwritten", path), "key",
			"give another name, or move it away if its vault is gone"}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("key file %s: %w", path, reason(err))
	}
	at, err := driveAbove(filepath.Dir(path))
	for _, dir := range drives {
		if rel, rerr := filepath.Rel(dir, path); rerr == nil && filepath.IsLocal(rel) {
			at, err = dir, nil
		}
	}
	if err == nil && at != "" {
		err = hintError{errors.New("it would lie on the drive " + printable(at)), "key", "whoever finds a drive with its key can read it: keep the key elsewhere"}
	}
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it cannot flush a folder, and its file systems write names with the files
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reason strips the operation and path that os puts around an error, where we name the path ourselves.
func reason(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
