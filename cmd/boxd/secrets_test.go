//go:build !rescue

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/vault"
)

// notations are all the ways in which a program might write s down by mistake.
func notations(s string) map[string][]byte {
	all := map[string][]byte{"plain": []byte(s), "upper case": []byte(strings.ToUpper(s)), "hex": []byte(hex.EncodeToString([]byte(s)))}
	all["hex, upper case"] = bytes.ToUpper(all["hex"])
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		var p []byte
		for _, u := range utf16.Encode([]rune(s)) {
			p = order.AppendUint16(p, u)
		}
		all["UTF-16 "+order.String()] = p
	}
	for pad := range 3 { // where it begins within three bytes changes all of base64
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64, URL": base64.RawURLEncoding} {
			p := enc.EncodeToString(append(make([]byte, pad), s...))
			all[name+string(rune('0'+pad))] = []byte(p[(pad*8+5)/6 : len(p)-1])
		}
	}
	return all
}

// driveFiles calls see with every byte of every file on the site's drives, and the file's name.
func driveFiles(t *testing.T, s site, see func(path string, p []byte)) (files int) {
	t.Helper()
	for _, dir := range s.drives {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			p, err := os.ReadFile(path)
			files++
			see(path, p)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestDrivesTellNothing backs up recognisable things, ends a second backup in the middle, saves a box state, and looks
// for all of it, and for the words, in every byte and every name on the drives.
func TestDrivesTellNothing(t *testing.T) {
	s := newSite(t, 3, 1)
	phone, state, stick := filepath.Join(s.dir, "Svetlanas-Telefon"), filepath.Join(s.dir, "state"), t.TempDir()
	secrets := []string{"Svetlanas-Telefon", "Rendezvous-mit-Anton", "Kontoauszug.pdf", "Treffpunkt: Bahnhof", "halbfertig.mp4", "enrolled-by-Ottokar"}
	words := strings.Fields(readFile(t, s.key))
	secrets = append(secrets, strings.Join(words, " "), strings.Join(words[:2], " "), strings.Join(words[22:], "\n"))
	sizes := []int{7_654_321, 1_234_567, 345_678}
	for i, n := range sizes {
		p := filepath.Join(phone, "DCIM", "Rendezvous-mit-Anton-"+string(rune('a'+i))+".jpg")
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, p, bytes.Repeat([]byte("Treffpunkt: Bahnhof\n"), n/20+1)[:n], time.Now())
	}
	writeFile(t, filepath.Join(phone, "Kontoauszug.pdf"), []byte("Treffpunkt: Bahnhof"), time.Now())
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(state, enrolledName), []byte(`["enrolled-by-Ottokar"]`), time.Now())
	must(t, exitOK, s.with("backup", "folder:"+phone, "--state", state)...)
	must(t, exitOK, s.with("key", "stick", stick)...)
	abandon(t, s, "folder:"+phone)
	s.beginRekey(t) // the new vault inside the drives tells no more than the old
	fresh := strings.Fields(readFile(t, s.key+".new"))
	secrets = append(secrets, strings.Join(fresh, " "), strings.Join(fresh[:2], " "))

	var resumed, inside bool
	files := driveFiles(t, s, func(path string, p []byte) {
		resumed = resumed || strings.Contains(path, "resume")
		inside = inside || strings.Contains(path, "/next/vault/")
		for _, secret := range secrets {
			for how, needle := range notations(secret) {
				if bytes.Contains(p, needle) || strings.Contains(filepath.Base(path), string(needle)) {
					t.Errorf("%s tells %q (%s)", path, secret, how)
				}
			}
		}
		for _, n := range sizes {
			for _, needle := range [][]byte{binary.LittleEndian.AppendUint64(nil, uint64(n)), binary.BigEndian.AppendUint64(nil, uint64(n))} {
				if bytes.Contains(p, needle) {
					t.Errorf("%s tells that something has %d bytes", path, n)
				}
			}
		}
	})
	if files < 30 || !resumed || !inside {
		t.Errorf("%d files on the drives; resume records: %v, a new vault inside: %v", files, resumed, inside)
	}
}

// tellsSize names the files on a site's one drive that are as large as n bytes are in a pack of their own, or that have the
// number in them. What the ledger says of blobs is the sizes of these same files.
func tellsSize(t *testing.T, s site, n int) (where []string) {
	t.Helper()
	const (
		sealed = 32     // bytes that sealing adds to each piece of at most 4 MiB
		entry  = 37     // bytes of a pack's header for each piece
		header = 36 + 4 // bytes of it beside these
	)
	most := n + (n>>22+1)*(sealed+entry) + header
	driveFiles(t, s, func(path string, p []byte) {
		number := bytes.Contains(p, binary.LittleEndian.AppendUint64(nil, uint64(n))) || bytes.Contains(p, binary.BigEndian.AppendUint64(nil, uint64(n)))
		if number || len(p) >= n && len(p) <= most {
			where = append(where, path)
		}
	})
	return where
}

// TestSizesOfFilesAreHidden stores files that cannot be compressed. Of those that are stored in one run nothing on the drive
// has the size: their pieces share packs. A file that is stored alone has its size told by its pack; the README says so,
// and that it is found here shows that this search can fail.
func TestSizesOfFilesAreHidden(t *testing.T) {
	s := newSite(t, 1, 0)
	phone := filepath.Join(s.dir, "phone")
	if err := os.Mkdir(phone, 0o755); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{5})
	put := func(name string, n int) {
		p := make([]byte, n)
		if _, err := random.Read(p); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(phone, name), p, time.Unix(1, 0))
	}
	sizes := []int{9_876_543, 5_432_109, 3_210_987, 1_098_765, 876_543, 654_321, 432_109, 210_987, 98_765}
	for i, n := range sizes {
		put(string(rune('a'+i)), n)
	}
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	for _, n := range sizes {
		if where := tellsSize(t, s, n); len(where) > 0 {
			t.Errorf("that a file has %d bytes is told by %v", n, where)
		}
	}
	const alone = 2_345_678
	put("z", alone)
	must(t, exitOK, s.with("backup", "folder:"+phone)...)
	if where := tellsSize(t, s, alone); len(where) == 0 {
		t.Errorf("the size of a file that is stored alone is hidden now: the README says something else")
	}
}

// abandon begins a backup and ends it without a snapshot, so that a resume record is left.
func abandon(t *testing.T, s site, phone string) {
	t.Helper()
	f := vaultFlags{drives: s.drives, keyFile: s.key}
	r, err := f.open(t.Context(), writing)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := r.vault.Begin(t.Context(), vault.Phone{ID: phone, Name: "Svetlanas-Telefon"})
	if err == nil {
		err = tree.Create("DCIM/halbfertig.mp4", 5, time.Now(), strings.NewReader("Treff"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

// TestNotationsFindWhatIsThere is the proof that the search above can fail.
func TestNotationsFindWhatIsThere(t *testing.T) {
	const s = "Rendezvous-mit-Anton"
	utf16le := []byte{}
	for _, b := range []byte(s) {
		utf16le = append(utf16le, b, 0)
	}
	for _, p := range [][]byte{[]byte("x" + s), utf16le, []byte(hex.EncodeToString([]byte("ab" + s))), []byte(base64.StdEncoding.EncodeToString([]byte("1" + s + "1"))),
		[]byte(base64.URLEncoding.EncodeToString([]byte("12" + s + "1"))), []byte(base64.StdEncoding.EncodeToString([]byte("123" + s)))} {
		found := false
		for _, needle := range notations(s) {
			found = found || bytes.Contains(p, needle)
		}
		if !found {
			t.Errorf("not found in %q", p)
		}
	}
}

// TestNoSecretInArguments looks at every flag of every command: other processes see arguments, so a flag may name the file
// that holds a secret, and never be one.
func TestNoSecretInArguments(t *testing.T) {
	n := 0
	for _, cmd := range commands() {
		flags := pflag.NewFlagSet(cmd.name, pflag.ContinueOnError)
		cmd.setup(flags)
		flags.VisitAll(func(f *pflag.Flag) {
			for _, secret := range []string{"key", "word", "pass", "secret", "token"} {
				if !strings.Contains(f.Name, secret) {
					continue
				}
				n++
				if f.Value.Type() != "bool" && !strings.HasSuffix(f.Name, "-file") {
					t.Errorf("boxd %s --%s takes a secret?", cmd.name, f.Name)
				}
			}
		})
	}
	if n < 10 {
		t.Errorf("only %d flags of keys were looked at", n)
	}
}

// TestFailuresTellNoSecret gives wrong keys of every kind; neither text nor JSON repeats them.
func TestFailuresTellNoSecret(t *testing.T) {
	s, other := newSite(t, 1, 0), newSite(t, 1, 0)
	pass := filepath.Join(s.dir, "passphrase")
	writeFile(t, pass, []byte("Kirschbaum auf dem Dach 1987\n"), time.Now())
	for _, flags := range [][]string{{"--key-file", other.key}, {"--words-file", pass}, {"--key-file", pass}, {"--words-file", s.drives[0]}} {
		for _, cmd := range [][]string{{"key", "check"}, {"key", "check", "--json"}, {"snapshots", "--json"}, {"vault", "verify"}, {"unlock", "--state", t.TempDir()}, {"key", "words", "--confirm"}} {
			code, out, errs := boxd(t, append(append(cmd, flags...), "--drive", s.drives[0])...)
			if code == exitOK {
				t.Errorf("%v %v opened the vault", cmd, flags)
			}
			said := strings.ToLower(out + errs)
			for _, secret := range []string{"kirschbaum", "dach", strings.Join(strings.Fields(readFile(t, other.key))[:3], " ")} {
				if strings.Contains(said, secret) {
					t.Errorf("%v %v repeats %q:\n%s", cmd, flags, secret, said)
				}
			}
		}
	}
}
