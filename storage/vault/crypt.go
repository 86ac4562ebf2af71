package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"

	// The package is frozen, not broken: the format is Poly1305-AES, which nothing newer in the library offers.
	"golang.org/x/crypto/poly1305" //lint:ignore SA1019 restic's format needs a bare Poly1305
)

// overhead is how much longer a sealed message is than the plain one, in bytes: a 16-byte IV before it and a 16-byte
// tag after it (design.rst, "Pack Format").
const overhead = aes.BlockSize + poly1305.TagSize

// sealBlock is how many bytes are encrypted before they are authenticated, so that they are still in the cache.
const sealBlock = 64 << 10

// errTag is a tag that does not fit: other bytes than were written, or another key.
var errTag = errors.New("authentication tag does not fit")

// A sealer encrypts and authenticates with one set of keys: AES-256 in counter mode, then Poly1305-AES over the
// ciphertext (design.rst, "Keys, Encryption and MAC"). It is safe for concurrent use.
type sealer struct {
	keys func() *keySet // a func, since package fmt looks through everything else
}

type keySet struct {
	encrypt [32]byte
	k, r    [16]byte
	block   cipher.Block // AES-256 with encrypt
	nonce   cipher.Block // AES-128 with k
}

// newSealer takes the 64 bytes that scrypt or a generator makes: encryption key, k, r.
func newSealer(p *[64]byte) (*sealer, error) {
	s := &keySet{encrypt: [32]byte(p[:32]), k: [16]byte(p[32:48]), r: [16]byte(p[48:])}
	var err error
	if s.block, err = aes.NewCipher(s.encrypt[:]); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	if s.nonce, err = aes.NewCipher(s.k[:]); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &sealer{func() *keySet { return s }}, nil
}

// Format writes no key, whatever the verb: a sealer may turn up in a log, an error or a panic.
func (s *sealer) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue is Format for slog.
func (s *sealer) LogValue() slog.Value { return slog.StringValue(redacted) }

// redacted is what is shown in the place of a secret.
const redacted = "(secret)"

// mac starts the tag of a message with the given IV.
func (s *keySet) mac(iv []byte) *poly1305.MAC {
	var key [32]byte
	copy(key[:16], s.r[:])
	s.nonce.Encrypt(key[16:], iv)
	return poly1305.New(&key)
}

// seal writes IV, ciphertext and tag of plain to dst, which has len(plain)+overhead bytes and does not overlap it.
func (s *sealer) seal(dst, plain []byte) {
	iv, body := dst[:aes.BlockSize], dst[aes.BlockSize:]
	rand.Read(iv) // never fails (Go 1.24)
	k := s.keys()
	stream, mac := cipher.NewCTR(k.block, iv), k.mac(iv)
	for len(plain) > 0 {
		n := min(len(plain), sealBlock)
		stream.XORKeyStream(body[:n], plain[:n])
		mac.Write(body[:n])
		body, plain = body[n:], plain[n:]
	}
	mac.Sum(body[:0])
}

// sealed returns IV, ciphertext and tag of plain in new memory.
func (s *sealer) sealed(plain []byte) []byte {
	p := make([]byte, len(plain)+overhead)
	s.seal(p, plain)
	return p
}

// open decrypts p in place and returns the plain part of it. On errTag p's content is of no use.
func (s *sealer) open(p []byte) ([]byte, error) {
	if len(p) < overhead {
		return nil, errTag
	}
	iv, body, tag := p[:aes.BlockSize], p[aes.BlockSize:len(p)-poly1305.TagSize], p[len(p)-poly1305.TagSize:]
	k := s.keys()
	stream, mac := cipher.NewCTR(k.block, iv), k.mac(iv)
	for rest := body; len(rest) > 0; {
		n := min(len(rest), sealBlock)
		mac.Write(rest[:n])
		stream.XORKeyStream(rest[:n], rest[:n])
		rest = rest[n:]
	}
	if !mac.Verify(tag) {
		return nil, errTag
	}
	return body, nil
}
