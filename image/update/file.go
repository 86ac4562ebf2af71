// Package update takes new software in: a signed file, written to the root partition that is not in use, tried once, and
// kept only if it proves healthy (docs/adr/048-how-an-update-is-tried.md).
package update

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An update file is
//
//	magic      14 bytes
//	length     4 bytes, big-endian: of the header, at most MaxHeader
//	signature  64 bytes, ed25519 (RFC 8032) over magic, length and header
//	header     a JSON object, see Header
//	root       Header.Size bytes, a squashfs; nothing follows
//
// Nothing is made of the header before its signature has been checked, and nothing is done with the root that its hash in the
// header does not vouch for.
const (
	magic      = "boxd update 1\n"
	prefixSize = len(magic) + 4 + ed25519.SignatureSize
)

// Limits of a file, in bytes.
const (
	MaxHeader = 4 << 10
	MaxRoot   = 1 << 30
)

// Errors of a file. They are told to the owner as they are.
var (
	ErrNoKey     = errors.New("this box takes no updates: it was built without UPDATE_KEY")
	ErrNotUpdate = errors.New("this is not an update file for this box")
	ErrSignature = errors.New("the update is not signed by the maker of this box's software, or was changed since")
	ErrDamaged   = errors.New("the update file is damaged or cut short: copy it anew")
)

// Header is what an update says of itself.
type Header struct {
	Version string `json:"version"`
	Counter uint64 `json:"counter"` // grows with every release, from 1; a box never goes back to a lower one
	Kernel  string `json:"kernel"`  // release of the kernel that the root's modules are for, as uname -r tells it
	Size    int64  `json:"size"`    // of the root, in bytes
	SHA256  string `json:"sha256"`  // of the root, in hexadecimal
}

func (h Header) check() error {
	sum, err := hex.DecodeString(h.SHA256)
	printed := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, h.Version)
	switch {
	case err != nil || len(sum) != sha256.Size:
		return errors.New("sha256 is no hash")
	case h.Size <= 0 || h.Size > MaxRoot:
		return fmt.Errorf("size %d: 1 to %d bytes", h.Size, MaxRoot)
	case h.Counter == 0:
		return errors.New("counter 0: it begins at 1")
	case h.Version == "" || len(h.Version) > 64 || printed != h.Version:
		return errors.New("version: 1 to 64 letters, digits and signs of ASCII")
	case len(h.Kernel) > 64:
		return errors.New("kernel: at most 64 letters")
	}
	return nil
}

// Keys are the makers whose signature counts; any one of them is enough, so that one can take over from another.
type Keys []ed25519.PublicKey

// ParseKeys reads what UPDATE_KEY holds: public keys of 32 bytes in base64, with commas between them. "" is no key.
func ParseKeys(s string) (Keys, error) {
	if s == "" {
		return nil, nil
	}
	var keys Keys
	for part := range strings.SplitSeq(s, ",") {
		b, err := base64.StdEncoding.DecodeString(part)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("update: UPDATE_KEY: %.60q is no public key: 32 bytes in base64 (image/update/sign -key FILE -public prints it)", part)
		}
		keys = append(keys, b)
	}
	return keys, nil
}

// ReadHeader reads the beginning of an update, up to its root, and checks its signature.
func ReadHeader(r io.Reader, keys Keys) (Header, error) {
	if len(keys) == 0 {
		return Header{}, ErrNoKey
	}
	prefix := make([]byte, prefixSize)
	if _, err := io.ReadFull(r, prefix); err != nil {
		return Header{}, shortOf(err, ErrNotUpdate)
	}
	n := binary.BigEndian.Uint32(prefix[len(magic):])
	if string(prefix[:len(magic)]) != magic || n == 0 || n > MaxHeader {
		return Header{}, ErrNotUpdate
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return Header{}, shortOf(err, ErrDamaged)
	}
	if !keys.signed(signedPart(text), prefix[len(magic)+4:]) {
		return Header{}, ErrSignature
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var h Header
	if err := d.Decode(&h); err != nil {
		return Header{}, fmt.Errorf("update: header: %w", err)
	}
	if err := h.check(); err != nil {
		return Header{}, fmt.Errorf("update: header: %w", err)
	}
	return h, nil
}

func (keys Keys) signed(message, signature []byte) bool {
	for _, k := range keys {
		if ed25519.Verify(k, message, signature) {
			return true
		}
	}
	return false
}

// signedPart is what the signature is over.
func signedPart(header []byte) []byte {
	p := append([]byte(magic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(p[len(magic):], uint32(len(header)))
	return append(p, header...)
}

// shortOf is what the end of a file means where more was to come; other errors stay what they are.
func shortOf(err, meaning error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return meaning
	}
	return fmt.Errorf("update: read: %w", err)
}

// Write makes an update of a root, whose Size and SHA256 it finds out, and signs it.
func Write(w io.Writer, h Header, root io.ReadSeeker, key ed25519.PrivateKey) error {
	sum := sha256.New()
	size, err := io.Copy(sum, root)
	if err != nil {
		return fmt.Errorf("update: root: %w", err)
	}
	h.Size, h.SHA256 = size, hex.EncodeToString(sum.Sum(nil))
	if err := h.check(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	message := signedPart(text)
	begin := append(message[:len(magic)+4:len(magic)+4], ed25519.Sign(key, message)...)
	if _, err := w.Write(append(begin, text...)); err != nil {
		return fmt.Errorf("update: write: %w", err)
	}
	if _, err := root.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("update: root: %w", err)
	}
	if n, err := io.Copy(w, root); err != nil || n != size {
		return fmt.Errorf("update: root: %d of %d bytes written: %w", n, size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}
