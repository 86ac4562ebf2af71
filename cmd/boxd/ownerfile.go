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
	"slices"
	"strings"

	"phonebackupbox/image/wifi"
	"phonebackupbox/storage/vault"
)

// The owner's file is box.toml on the card's FAT partition, where any computer can write it. When boxd starts it takes over one that
// has changed (docs/adr/046-first-start.md); what it tells in return is in statusName beside it.
const (
	statusName = "box-status.txt"
	takenName  = "taken-over" // in the state folder: SHA-256 of the owner's file as it was taken over
	wordsName  = "words.txt"  // in the state folder: 24 words that the owner's file held
)

// ownerFile is what box.toml may hold on the FAT partition: the settings, with what opens a wireless network, and the 24 words in place
// of a key stick.
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

// hasSecrets reports whether it holds what must not stay where any computer can read it.
func (o ownerFile) hasSecrets() bool { return o.Words != "" || o.Wifi.secret() != "" }

// withoutSecrets blanks the lines that hold words or what opens a wireless network, so that every other line stays where it was and as
// it was. The length stays, too: the file is written over in place, and nothing of it is left in sectors that are free.
func withoutSecrets(b []byte) ([]byte, error) {
	out := bytes.Clone(b)
	for at, from := 0, -1; at < len(out); {
		end := len(out)
		if i := bytes.IndexByte(out[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if from < 0 && isSecretLine(out[at:end]) {
			from = at
		}
		if from >= 0 {
			blank(out[from:end])
			if _, err := parseOwnerFile(out); err == nil { // perhaps more lines than one: a string may have many
				from = -1
			}
		}
		at = end
	}
	if o, err := parseOwnerFile(out); err != nil || o.hasSecrets() {
		return nil, errors.New("its secrets cannot be told from the rest: give words and passphrase lines of their own")
	}
	return out, nil
}

// isSecretLine reports whether a line begins a setting that is erased, in whatever table.
func isSecretLine(line []byte) bool {
	name, _, found := strings.Cut(string(line), "=")
	name = strings.TrimPrefix(name, "\xef\xbb\xbf")
	name = strings.Trim(name[strings.LastIndexByte(name, '.')+1:], " \t\"'")
	return found && (name == "words" || slices.Contains(wirelessSecrets, name))
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
// there durably, then secrets are blanked in the file, which erase does, and last it counts as taken over. What is wrong with it is for
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
	if o.hasSecrets() {
		if bare, err = withoutSecrets(text); err != nil {
			return err
		}
	}
	wifiErr := putWireless(state, o.Wifi)
	if wifiErr != nil && !errors.Is(wifiErr, errNoPassphrase) {
		return wifiErr
	}
	if o.Words != "" {
		if err := putStateFile(state, wordsName, []byte(o.Words+"\n")); err != nil {
			return err
		}
	}
	if err := putSettings(state, o.config, bare); err != nil {
		return err
	}
	if o.Words == "" { // those of an earlier one are not wanted any more
		if err := removeStateFile(state, wordsName); err != nil {
			return err
		}
	}
	if !bytes.Equal(bare, text) {
		if err := erase(bare); err != nil {
			return fmt.Errorf("%s: its secrets are taken over, and could not be erased there: %w", configName, err)
		}
	}
	// All else holds where only a passphrase is wanted, as after a reset, which erased it.
	return errors.Join(putStateFile(state, takenName, []byte(sum(bare)+"\n")), wifiErr)
}

// putWireless keeps the network that the box is to join. One that the owner's file does not name any more is forgotten.
func putWireless(state string, w wireless) error {
	if w.SSID == "" {
		return removeStateFile(state, wifi.File)
	}
	kept, err := wifi.Read(filepath.Join(state, wifi.File))
	if err != nil {
		kept = wifi.Network{} // none, or one that is of no use
	}
	n, err := w.network(kept)
	if err != nil {
		return errors.Join(err, removeStateFile(state, wifi.File))
	}
	b, err := n.Marshal()
	if err != nil {
		return err
	}
	return putStateFile(state, wifi.File, b)
}

// removeStateFile removes a file if it is there.
func removeStateFile(state, name string) error {
	if err := os.Remove(filepath.Join(state, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
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
