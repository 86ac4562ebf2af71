package wifi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The passphrases and keys of IEEE 802.11-2020, J.4.2.
func TestKeys(t *testing.T) {
	for _, v := range []struct{ ssid, passphrase, key string }{
		{"IEEE", "password", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"},
		{"ThisIsASSID", "ThisIsAPassword", "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"},
		{strings.Repeat("Z", 32), strings.Repeat("a", 32), "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"},
	} {
		n, err := New(v.ssid, v.passphrase, "DE")
		if err != nil || hex.EncodeToString(n.Key[:]) != v.key {
			t.Errorf("%q, %q: %x, %v", v.ssid, v.passphrase, n.Key[:], err)
		}
		if given, err := New(v.ssid, v.key, "DE"); err != nil || given != n {
			t.Errorf("the key itself: %x, %v", given.Key[:], err)
		}
	}
}

func TestNoNetworkIsCalledSo(t *testing.T) {
	for want, n := range map[string][3]string{
		"1 to 32":            {"", "password", "DE"},
		"33 bytes":           {strings.Repeat("x", 33), "password", "DE"},
		"has 7 characters":   {"home", "passwor", "DE"},
		"65 characters":      {"home", strings.Repeat("f", 65), "DE"},
		"64 characters":      {"home", strings.Repeat("x", 64), "DE"},
		"ASCII":              {"home", "Straßenbahn", "DE"},
		"two capital":        {"home", "password", "de"},
		"two capital letter": {"home", "password", ""},
	} {
		if _, err := New(n[0], n[1], n[2]); err == nil || !strings.Contains(err.Error(), want) || n[1] != "" && strings.Contains(err.Error(), n[1]) {
			t.Errorf("%q: %v", n, err)
		}
	}
}

// What is kept is the key, for whoever may read the file, and nobody else is shown it.
func TestKept(t *testing.T) {
	n, err := New("Café \x01", "correct horse", "GB")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.Marshal()
	if err != nil || strings.Contains(string(b), "horse") {
		t.Fatalf("%s, %v", b, err)
	}
	path := filepath.Join(t.TempDir(), File)
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || got != n {
		t.Errorf("%v, %v", got, err)
	}
	for _, said := range []string{fmt.Sprint(n), fmt.Sprintf("%+v", n), fmt.Sprintf("%#v", n), fmt.Sprintf("%x", n), fmt.Sprintf("%s", n)} {
		if strings.Contains(said, hex.EncodeToString(n.Key[:4])) || strings.Contains(said, fmt.Sprint(n.Key[0], " ", n.Key[1])) {
			t.Errorf("it shows its key: %s", said)
		}
	}
	for _, bad := range []string{"", "{}", string(b[:len(b)-1]), `{"ssid":"aG9tZQ==","key":"AAAA","country":"DE"}`, `{"ssid":"","key":"","country":"D"}`} {
		if got, err := Unmarshal([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
