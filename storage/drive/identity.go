package drive

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
)

const (
	identityName = "phone-backup-box.json"
	pageName     = "README.html"
	// formatVersion of the identity file and of what the drive holds.
	formatVersion = 1
	// maxIdentity bounds the identity file, in bytes; ours has about 250.
	maxIdentity = 4096
)

// errIdentity: the identity file is there and is not what we wrote.
var errIdentity = errors.New("damaged identity")

// Identity is what phone-backup-box.json says: whose drive this is (storage/array/FORMAT.md, "Identity").
type Identity struct {
	Format    int    `json:"format"`
	Vault     string `json:"vault"` // UUID
	Drive     string `json:"drive"` // UUID
	CreatedBy string `json:"createdBy"`
	// Check is the CRC-32C of format, vault and drive, so that a flipped bit does not make another drive of it.
	Check string `json:"check"`
}

func newIdentity(vaultID string) Identity {
	i := Identity{Format: formatVersion, Vault: vaultID, Drive: newUUID(), CreatedBy: "boxd"}
	i.Check = i.sum()
	return i
}

func (i Identity) sum() string {
	s := fmt.Sprintf("%d\n%s\n%s\n", i.Format, i.Vault, i.Drive)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)))
}

// newUUID makes a random UUID (RFC 9562, section 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// encode writes the identity as a person may read it too.
func (i Identity) encode() ([]byte, error) {
	p, err := json.MarshalIndent(i, "", "  ")
	return append(p, '\n'), err
}

// parseIdentity reads an identity file. Every error is errIdentity.
func parseIdentity(p []byte) (Identity, error) {
	if len(p) > maxIdentity {
		return Identity{}, fmt.Errorf("%w: %d bytes are too many", errIdentity, len(p))
	}
	var i Identity
	d := json.NewDecoder(bytes.NewReader(p))
	if err := d.Decode(&i); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", errIdentity, err)
	}
	if i.Check != i.sum() {
		return Identity{}, fmt.Errorf("%w: checksum %q does not fit", errIdentity, i.Check)
	}
	if i.Format != formatVersion {
		return Identity{}, fmt.Errorf("%w: format %d is newer than this boxd knows; use a newer one", errIdentity, i.Format)
	}
	if !validUUID(i.Vault) || !validUUID(i.Drive) {
		return Identity{}, fmt.Errorf("%w: vault %q or drive %q is no UUID", errIdentity, i.Vault, i.Drive)
	}
	return i, nil
}

// validUUID accepts what newUUID makes; vaults and drives are named by one.
func validUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

func readIdentity(root *os.Root) (Identity, error) { return readIdentityIn(root, identityName) }

// readIdentityIn reads an identity from a file of another name.
func readIdentityIn(root *os.Root, name string) (Identity, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return Identity{}, err
	}
	p, err := io.ReadAll(io.LimitReader(f, maxIdentity+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return Identity{}, err
	}
	return parseIdentity(p)
}

// writeIdentity writes the page and then, since it is what makes the folder a drive, the identity, durably.
func writeIdentity(root *os.Root, i Identity) error {
	p, err := i.encode()
	if err != nil {
		return err
	}
	page, err := firstPage(i)
	if err != nil {
		return err
	}
	if err := root.MkdirAll(pendingDir, modeDir); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{pageName, page}, {identityName, p}} {
		if _, err := root.Lstat(f.name); err == nil || len(f.data) == 0 {
			continue // the owner's own README.html stays
		}
		if err := writeDurably(root, f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

func writeDurably(root *os.Root, name string, p []byte) error {
	temp := path.Join(pendingDir, path.Base(name))
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	if err := root.Rename(temp, name); err != nil {
		return err
	}
	return syncDir(root, ".")
}
