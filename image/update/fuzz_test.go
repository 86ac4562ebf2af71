package update

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
)

// FuzzReadHeader signs what the fuzzer makes of a header, so that it comes past the signature: whatever is accepted keeps the
// limits that Install relies on.
func FuzzReadHeader(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	keys := Keys{key.Public().(ed25519.PublicKey)}
	sum := `"sha256":"` + string(bytes.Repeat([]byte("0a"), 32)) + `"`
	for _, text := range []string{"", "null", "{}", `{"version":"1","counter":1,"size":5,` + sum + `}`, `{"version":"1","counter":-1,"size":1e9,` + sum + `}`,
		`{"version":"\u0000","counter":1,"size":1,` + sum + `}`, `{"version":"1","counter":1,"size":1099511627776,` + sum + `}`} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, signed bool) {
		message := signedPart(text)
		signature := make([]byte, ed25519.SignatureSize)
		if signed {
			signature = ed25519.Sign(key, message)
		}
		file := append(append(bytes.Clone(message[:len(magic)+4]), signature...), text...)
		h, err := ReadHeader(bytes.NewReader(file), keys)
		if err != nil {
			return
		}
		if !signed {
			t.Fatalf("not signed, and accepted: %q", text)
		}
		if h.Size <= 0 || h.Size > MaxRoot || h.Counter == 0 || len(h.Version) > 64 || len(text) > MaxHeader {
			t.Errorf("accepted: %+v", h)
		}
		if err := Install(t.Context(), bytes.NewReader(nil), h, &card{make([]byte, 8), 8}, MaxRoot, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("no root, and %v", err)
		}
	})
}
