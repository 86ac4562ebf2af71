//go:build !rescue

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"phonebackupbox/storage/vault"
)

// The owner's file is box.toml on the card's FAT partition, where any computer can write it. When boxd starts it takes over one that
// has changed (docs/adr/046-first-start.md); what it tells in return is in statusName beside it.
const (
	statusName = "box-status.txt"
	takenName  = "taken-over" // in the state folder: SHA-256 of the owner's file as it was taken over
	wordsName  = "words.txt"  // in the state folder: 24 words that the owner's file held
)

// ownerFile is what box.toml may hold on the FAT partition: the settings, and the 24 words in place of a key stick.
type ownerFile struct {
	config
	Words string `toml:"words"`
}

// parseOwnerFile reads one. Errors name the line, and never show words.
func parseOwnerFile(b []byte) (ownerFile, error) {
	o := ownerFile{config: defaults()}
	if err := decodeSettings(configName, b, &o); err != nil {
		return ownerFile{}, err
	}
	if err := o.check(); err != nil {
		return ownerFile{}, settingsError(fmt.Errorf("%s: %w", configName, err))
	}
	if o.Words == "" {
		return o, nil
	}
	words, err := vault.ParseWords(o.Words)
	if err != nil {
		return ownerFile{}, settingsError(fmt.Errorf("%s: words: %w", configName, err))
	}
	o.Words = words
	return o, nil
}

// withoutWords blanks the lines that hold words, so that every other line stays where it was and as it was. The length stays, too:
// the file is written over in place, and nothing of it is left in sectors that are free.
func withoutWords(b []byte) ([]byte, error) {
	out := bytes.Clone(b)
	for at, from := 0, -1; at < len(out); {
		end := len(out)
		if i := bytes.IndexByte(out[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if from < 0 && isWordsLine(out[at:end]) {
			from = at
		}
		if from >= 0 {
			blank(out[from:end])
			if o, err := parseOwnerFile(out); err == nil && o.Words == "" {
				return out, nil // perhaps more lines than one: a string may have many
			}
		}
		at = end
	}
	return nil, errors.New("its words cannot be told from the rest")
}

func isWordsLine(line []byte) bool {
	name, _, found := strings.Cut(string(line), "=")
	name = strings.Trim(strings.TrimPrefix(strings.TrimSpace(name), "\xef\xbb\xbf"), " \t\"'")
	return found && name == "words"
}

// blank makes lines comments that say nothing.
func blank(lines []byte) {
	start := true
	lines = bytes.TrimPrefix(lines, []byte("\xef\xbb\xbf"))
	for i, c := range lines {
		switch {
		case c == '\n' || c == '\r':
			start = true
		case start:
			lines[i], start = '#', false
		default:
			lines[i] = ' '
		}
	}
}

// takeOverSettings takes over the text of the owner's file, if it has changed since it was last, into the state folder: first it is
// there durably, then words are blanked in the file, which erase does, and last it counts as taken over. What is wrong with it is for
// the owner to read, and the settings from before stay.
func takeOverSettings(state string, text []byte, erase func(bare []byte) error) error {
	if old, err := readSmall(filepath.Join(state, takenName), 100); err == nil && string(trimmed(old)) == sum(text) {
		return nil
	}
	o, err := parseOwnerFile(text)
	if err != nil {
		return err
	}
	bare := text
	if o.Words != "" {
		if bare, err = withoutWords(text); err != nil {
			return err
		}
		if err := putStateFile(state, wordsName, []byte(o.Words+"\n")); err != nil {
			return err
		}
	}
	if err := putSettings(state, o.config, bare); err != nil {
		return err
	}
	if o.Words == "" { // those of an earlier one are not wanted any more
		if err := os.Remove(filepath.Join(state, wordsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !bytes.Equal(bare, text) {
		if err := erase(bare); err != nil {
			return fmt.Errorf("%s: the words are taken over, and could not be erased there: %w", configName, err)
		}
	}
	return putStateFile(state, takenName, []byte(sum(bare)+"\n"))
}

// putSettings keeps the settings. A file that chooses nothing is no wish against settings that come from a vault later: it is kept
// only in the place of others.
func putSettings(state string, c config, text []byte) error {
	_, err := os.Lstat(filepath.Join(state, configName))
	if errors.Is(err, fs.ErrNotExist) && reflect.DeepEqual(c, defaults()) {
		return nil
	}
	return putStateFile(state, configName, text)
}

func sum(p []byte) string {
	h := sha256.Sum256(p)
	return hex.EncodeToString(h[:])
}

// writeInPlace writes p over a file of the same length.
func writeInPlace(path string, p []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return reason(err)
	}
	_, err = f.WriteAt(p, 0)
	return errors.Join(err, f.Sync(), f.Close())
}
