package plain

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// A record is what a list knows of one file or folder that is here for one on a phone. A file may have two: as it was,
// and as an update that was cut short was about to write it.
type record struct {
	From    []byte `json:"from"` // name on the phone; any bytes
	As      string `json:"as"`   // name here
	Dir     bool   `json:"dir,omitempty"`
	Size    int64  `json:"size,omitempty"`
	MTime   int64  `json:"mtime,omitempty"`   // as the file system here gave it back, in nanoseconds since 1970
	Version string `json:"version,omitempty"` // of the content, as Options.Version names it
	Sum     string `json:"sum,omitempty"`     // SHA-256 of the content, in hexadecimal
}

const (
	maxLine = 16 << 10  // bytes of a record
	maxList = 256 << 20 // bytes of a list: a folder with more than a million files
)

// listName is where the list of a folder lies.
func listName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	h := hex.EncodeToString(sum[:16])
	return path.Join(listsDir, h[:2], h[2:])
}

// readList reads a list. A line that is torn or was never ours is left out, which forgets one file: see package plain.
func readList(r io.Reader) ([]record, error) {
	var list []record
	s := bufio.NewScanner(io.LimitReader(r, maxList))
	s.Buffer(nil, maxLine)
	for s.Scan() {
		var r record
		if json.Unmarshal(s.Bytes(), &r) == nil && validName(r.As) && len(r.From) > 0 && r.Size >= 0 {
			list = append(list, r)
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return list, nil
	}
	return list, s.Err()
}

// validName reports whether s can be the name of an entry in a folder of ours.
func validName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && !strings.ContainsAny(s, "/\\\x00")
}

// loadList reads the list of a folder here; one that is not there is empty.
func (d *Drive) loadList(dir string) ([]record, error) {
	f, err := d.root.Open(listName(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := readList(f)
	return list, errors.Join(err, f.Close())
}

// appendList adds records to the list of a folder, durably: they come ahead of the files they speak of.
func (d *Drive) appendList(dir string, list []record) error {
	name := listName(dir)
	_, statErr := d.root.Lstat(name)
	if err := d.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	// A line that a power cut left unfinished must not take the next one with it.
	_, err = f.Write(append([]byte("\n"), encodeList(list)...))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil || statErr == nil {
		return err
	}
	return errors.Join(syncDir(d.root, path.Dir(name)), syncDir(d.root, listsDir))
}

// storeList writes the list of a folder anew, or removes it where there is nothing to tell.
func (d *Drive) storeList(dir string, list []record) error {
	name := listName(dir)
	if len(list) == 0 {
		if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := d.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return errors.Join(d.replace(name, encodeList(list)), syncDir(d.root, path.Dir(name)))
}

func encodeList(list []record) []byte {
	var b bytes.Buffer
	for _, r := range list {
		p, err := json.Marshal(r)
		if err != nil {
			panic(fmt.Sprintf("plain: a record that has no JSON: %v", err)) // it is strings and numbers
		}
		b.Write(append(p, '\n'))
	}
	return b.Bytes()
}

// sameList tells whether two lists say the same.
func sameList(a, b []record) bool { return slices.EqualFunc(a, b, equalRecord) }

func equalRecord(a, b record) bool {
	return bytes.Equal(a.From, b.From) && a.As == b.As && a.Dir == b.Dir && a.Size == b.Size && a.MTime == b.MTime && a.Version == b.Version && a.Sum == b.Sum
}
