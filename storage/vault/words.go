package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tyler-smith/go-bip39"
)

// wordCount is the number of words that stand for 256 random bits and their 8 bits of checksum (BIP-39).
const wordCount = 24

// ErrWords: what was typed is not a vault's 24 words. The error says which word is wrong, or that the checksum is.
var ErrWords = errors.New("not a vault's 24 words")

// NewWords makes the 24 words of a new vault, in canonical form, from 256 bits of the system's randomness.
func NewWords() (string, error) {
	entropy, err := bip39.NewEntropy(256)
	if err != nil {
		return "", fmt.Errorf("vault: new words: %w", err)
	}
	words, err := bip39.NewMnemonic(entropy)
	if err != nil {
		return "", fmt.Errorf("vault: new words: %w", err)
	}
	return words, nil
}

// ParseWords returns s in canonical form: 24 lowercase words of the English BIP-39 list with single spaces between
// them. Upper case, line breaks and numbering such as "3." are forgiven. An error names the first wrong word
// with its position, counted from 1, or says that the checksum does not fit.
func ParseWords(s string) (string, error) {
	if len(s) > 4096 {
		return "", fmt.Errorf("vault: %d bytes are too many: %w", len(s), ErrWords)
	}
	words := make([]string, 0, wordCount)
	for w := range strings.FieldsSeq(strings.ToLower(s)) {
		if !isNumbering(w) {
			words = append(words, w)
		}
	}
	if i := slices.IndexFunc(words, unlisted); i >= 0 {
		// What has few words of the list is perhaps a passphrase, and is not repeated.
		if known := slices.DeleteFunc(slices.Clone(words), unlisted); len(known) < wordCount/2 {
			return "", fmt.Errorf("vault: word %d is not in the list: %w", i+1, ErrWords)
		}
		return "", fmt.Errorf("vault: word %d, %.40q, is not in the list: %w", i+1, words[i], ErrWords)
	}
	if len(words) != wordCount {
		return "", fmt.Errorf("vault: there are %d words, not %d: %w", len(words), wordCount, ErrWords)
	}
	canonical := strings.Join(words, " ")
	if _, err := bip39.EntropyFromMnemonic(canonical); err != nil {
		return "", fmt.Errorf("vault: the checksum does not fit: a word is wrong or two are swapped: %w", ErrWords)
	}
	return canonical, nil
}

func unlisted(w string) bool {
	_, ok := bip39.GetWordIndex(w)
	return !ok
}

// isNumbering reports whether w is a position as printed beside a word: "3", "3." or "3)".
func isNumbering(w string) bool {
	digits := strings.TrimRight(w, ".):")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}
