// Package wifi is the wireless network that the box may join, if its owner names one (docs/adr/056-wifi.md): WPA2 with a passphrase.
// boxd takes it over from box.toml, init joins it.
package wifi

import (
	"crypto/pbkdf2"
	"crypto/sha1" // what the standard says
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// File is where a network is kept in boxd's state folder. Only root may read it.
const File = "wifi.json"

// maxFile bounds it, in bytes.
const maxFile = 1024

// Network is one that the box may join. Its passphrase is not kept: what it comes to opens this network only.
type Network struct {
	SSID    string
	Key     Key
	Country string // ISO 3166-1, two letters: which channels may be used, and how loudly
}

// Key is a pairwise master key. It shows itself to nobody.
type Key [32]byte

// String hides the key.
func (Key) String() string { return "(key)" }

// GoString hides the key.
func (Key) GoString() string { return "(key)" }

// Check refuses names that no network has.
func Check(ssid, country string) error {
	if len(ssid) < 1 || len(ssid) > 32 { // IEEE 802.11-2020, 9.4.2.2
		return fmt.Errorf("ssid has %d bytes: a network's name has 1 to 32", len(ssid))
	}
	if len(country) != 2 || !upper(country[0]) || !upper(country[1]) {
		return errors.New(`country: give the two capital letters of your country, such as "DE"`)
	}
	return nil
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

// New makes a network of what its owner knows. secret is its passphrase, 8 to 63 characters of ASCII, or the key itself as 64
// hexadecimal digits (IEEE 802.11-2020, J.4).
func New(ssid, secret, country string) (Network, error) {
	n := Network{SSID: ssid, Country: country}
	if err := Check(ssid, country); err != nil {
		return Network{}, err
	}
	if len(secret) == 2*len(n.Key) {
		if _, err := hex.Decode(n.Key[:], []byte(secret)); err != nil {
			return Network{}, errors.New("psk: 64 characters are a key, of 0 to 9 and a to f; a passphrase has 8 to 63")
		}
		return n, nil
	}
	if len(secret) < 8 || len(secret) > 63 {
		return Network{}, fmt.Errorf("passphrase has %d characters: it has 8 to 63", len(secret))
	}
	for i := range len(secret) {
		if secret[i] < ' ' || secret[i] > '~' {
			return Network{}, errors.New("passphrase: only letters without accents, digits and signs of the ASCII kind are sure to work")
		}
	}
	key, err := pbkdf2.Key(sha1.New, secret, []byte(ssid), 4096, len(n.Key))
	if err != nil {
		return Network{}, err
	}
	copy(n.Key[:], key)
	return n, nil
}

// onDisk is a Network as File has it.
type onDisk struct {
	SSID    []byte `json:"ssid"`
	Key     []byte `json:"key"`
	Country string `json:"country"`
}

// Marshal writes the network as File holds it, with its key.
func (n Network) Marshal() ([]byte, error) {
	return json.Marshal(onDisk{[]byte(n.SSID), n.Key[:], n.Country})
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(b []byte) (Network, error) {
	var d onDisk
	if err := json.Unmarshal(b, &d); err != nil {
		return Network{}, errors.New("wifi: not a network") // without what it holds
	}
	n := Network{SSID: string(d.SSID), Country: d.Country}
	if len(d.Key) != len(n.Key) {
		return Network{}, fmt.Errorf("wifi: a key of %d bytes", len(d.Key))
	}
	copy(n.Key[:], d.Key)
	if err := Check(n.SSID, n.Country); err != nil {
		return Network{}, fmt.Errorf("wifi: %w", err)
	}
	return n, nil
}

// Read reads the network in a file. That there is none is fs.ErrNotExist.
func Read(path string) (Network, error) {
	f, err := os.Open(path)
	if err != nil {
		return Network{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return Network{}, err
	}
	return Unmarshal(b)
}
