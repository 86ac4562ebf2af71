//go:build !rescue

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phonebackupbox/storage/vault"
	"phonebackupbox/storage/vdrive"
)

// makeCorpus makes drives of every layout as this boxd leaves them:
//
//	go test ./cmd/boxd -run TestMakeCorpus -make-corpus 2027-03
//
// writes testdata/vaults/2027-03. Do so when the format has changed, look at the notes, and leave the older folders alone;
// -make-only names one layout where only that is new.
var (
	makeCorpus = flag.String("make-corpus", "", "the `name` of a new folder of drives in testdata/vaults")
	makeOnly   = flag.String("make-only", "", "the `layout` to make, and no other")
)

// corpusMaker makes one corpus.
type corpusMaker struct {
	site
	t     *testing.T
	phone string // a folder
	note  corpusNote
	photo int // photos taken so far
}

// corpusPhone is where phones lie while a corpus is made: the name goes into its snapshots.
const corpusPhone = "/tmp/phone-backup-box-corpus/phone"

var corpusLayouts = map[string]func(m *corpusMaker){
	"one-drive":            func(m *corpusMaker) { m.create(1, 0); m.night(); m.night() },
	"one-drive-survives-1": func(m *corpusMaker) { m.create(1, 1); m.night(); m.night() },
	"one-drive-rotten":     oneDriveRotten,
	"two-drives":           twoDrives,
	"two-and-one":          func(m *corpusMaker) { m.create(3, 1); m.bigPhoto(); m.night(); m.night() },
	"three-and-two":        func(m *corpusMaker) { m.create(5, 2); m.bigPhoto(); m.night(); m.night(); m.stolen(0, 3) },
	"five-and-three":       func(m *corpusMaker) { m.create(8, 3); m.bigPhoto(); m.night(); m.stolen(1, 2, 6) },
	"used-apart":           func(m *corpusMaker) { m.create(3, 1); m.apart() },
	"used-apart-merged":    func(m *corpusMaker) { m.create(3, 1); m.apart(); m.night() },
	"stale-and-rotten":     staleAndRotten,
	"replaced":             replaced,
	"drained":              drained,
	"pruned-and-folded":    prunedAndFolded,
	"keys-and-state":       keysAndState,
	"cut-short":            cutShort,
	"plain":                withPlain,
	"from-stock-restic":    fromStockRestic,
	"one-travels":          oneTravels,
	"rekeyed":              rekeyed,
	"ledger-in-pieces":     ledgerInPieces,
}

// layoutWords say what a corpus is, for who finds it.
var layoutWords = map[string]string{
	"one-drive":            "a single drive that is to survive nothing: whole blobs, parity against bad sectors",
	"one-drive-survives-1": "a single drive of a vault that should have another: never healthy",
	"one-drive-rotten":     "a single drive with a bad block in a copy, in side parity and in the ledger",
	"two-drives":           "two complete drives; compressed chunks, a folder of 3,000 files, awkward names",
	"two-and-one":          "three drives that survive one: shards of two and one",
	"three-and-two":        "five drives that survive two, of which two are away: shards of three and two",
	"five-and-three":       "eight drives that survive three, of which three are away: shards of five and three",
	"used-apart":           "three drives, two used one night and the third another: a fork",
	"used-apart-merged":    "the same, together again: a checkpoint with two parents",
	"stale-and-rotten":     "three drives, one of which missed a night, and bits that flipped on another",
	"replaced":             "three drives, one of which died and was replaced",
	"drained":              "four drives, one of which was given up; it lies beside the others",
	"pruned-and-folded":    "two drives after 47 nights and a prune: a ledger folded into a checkpoint",
	"keys-and-state":       "two drives; words that were rotated away, a passphrase, one that was removed, the box's state",
	"cut-short":            "two drives after a backup that a power cut ended: resume records, packs that no index names, a torn ledger segment, pending files",
	"plain":                "a drive, and a plain drive beside it",
	"from-stock-restic":    "two drives with snapshots copied from repositories of stock restic 0.14 and 0.18",
	"one-travels":          "three drives, one of which travels and is away",
	"rekeyed":              "two drives sealed anew after a leak: a new vault in their place, and the note of the old one",
	"ledger-in-pieces":     "three drives, one of which missed the last nights; a ledger in several pieces, with deleted blobs in them",
}

func TestMakeCorpus(t *testing.T) {
	if *makeCorpus == "" {
		t.Skip("-make-corpus was not given")
	}
	dir := filepath.Join("testdata", "vaults", *makeCorpus)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(corpusLayouts)) {
		file := filepath.Join(dir, name+".zip")
		if _, err := os.Stat(file); err == nil || *makeOnly != "" && *makeOnly != name {
			continue
		}
		m := &corpusMaker{t: t, phone: corpusPhone, note: corpusNote{Layout: layoutWords[name], Made: time.Now().UTC().Format(time.DateOnly)}}
		if err := os.RemoveAll(m.phone); err != nil {
			t.Fatal(err)
		}
		corpusLayouts[name](m)
		m.finish()
		if err := zipTree(t.Context(), file, m.dir); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, %d snapshots, exit codes %d %d %d", name, info.Size(), len(m.note.Snapshots), m.note.Status, m.note.Scrub, m.note.Repair)
	}
}

// create makes the vault.
func (m *corpusMaker) create(drives, survive int) {
	m.site = newSite(m.t, drives, survive)
	m.note.Keys = []string{"key"}
	m.note.Missing = min(survive, drives-1)
	for i := range drives {
		m.note.Drives = append(m.note.Drives, fmt.Sprint("drive", i))
	}
	if survive == drives-1 {
		m.note.Complete = slices.Clone(m.note.Drives)
	}
	m.put("nothing", nil)
	m.put("notes/Été à Nice – 写真 😀.txt", bytes.Repeat([]byte("the same line again and again\n"), 8000))
}

// put makes a file on the phone.
func (m *corpusMaker) put(name string, data []byte) {
	m.t.Helper()
	p := filepath.Join(m.phone, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.photo++
	writeFile(m.t, p, data, time.Unix(1_790_000_000+int64(m.photo)*1009, 0))
	for d := filepath.Dir(p); len(d) >= len(m.phone); d = filepath.Dir(d) {
		if err := os.Chtimes(d, time.Unix(1_790_000_000, 0), time.Unix(1_790_000_000, 0)); err != nil {
			m.t.Fatal(err)
		}
	}
}

func noise(seed, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 5}).Read(p) // never fails (math/rand/v2)
	return p
}

// bigPhoto takes a photo that is large enough for shards.
func (m *corpusMaker) bigPhoto() { m.put("DCIM/big.jpg", noise(m.photo, 262_200)) }

// night takes a photo and backs the phone up to some drives, or to all.
func (m *corpusMaker) night(drives ...int) {
	m.t.Helper()
	m.put(fmt.Sprintf("DCIM/IMG_%04d.jpg", m.photo), noise(m.photo, 2500))
	args := []string{"backup", "folder:" + m.phone, "--key-file", m.key}
	for i, d := range m.drives {
		if drives == nil || slices.Contains(drives, i) {
			args = append(args, "--drive", d)
		}
	}
	if code, out, errs := boxd(m.t, args...); code != exitOK && code != exitIncomplete {
		m.t.Fatalf("%v: exit %d\n%s%s", args, code, out, errs)
	}
}

// stolen takes drives away: what is left is just enough.
func (m *corpusMaker) stolen(drives ...int) {
	for _, i := range slices.Backward(drives) {
		if err := os.RemoveAll(m.drives[i]); err != nil {
			m.t.Fatal(err)
		}
		m.drives, m.note.Drives = slices.Delete(m.drives, i, i+1), slices.Delete(m.note.Drives, i, i+1)
	}
	m.note.Missing -= len(drives)
}

func (m *corpusMaker) apart() {
	m.night()
	m.night(0, 1)
	m.night(2)
	m.note.Missing = 0 // what was stored on the third alone is nowhere else
}

func oneDriveRotten(m *corpusMaker) {
	m.create(1, 0)
	m.put("DCIM/long.mp4", noise(1, 80_000))
	m.night()
	flip := func(glob string, which func(size int64) bool) {
		files, err := filepath.Glob(filepath.Join(m.drives[0], glob))
		if err != nil {
			m.t.Fatal(err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && which(info.Size()) {
				if err := flipBit(f, info.Size()/3); err != nil {
					m.t.Fatal(err)
				}
				return
			}
		}
		m.t.Fatalf("nothing to damage in %s", glob)
	}
	flip("vault/data/*/*", func(n int64) bool { return n > 80_000 })
	flip("parity/data/*/*", func(n int64) bool { return n < 60_000 })
	flip("ledger/*", func(int64) bool { return true })
}

func twoDrives(m *corpusMaker) {
	m.create(2, 1)
	for i, name := range awkward {
		m.put(name, noise(i, 100*i))
	}
	m.night()
	for i := range 3000 {
		m.put(fmt.Sprintf("many/IMG_%05d.jpg", i), []byte{byte(i % 7)})
	}
	m.night()
}

func staleAndRotten(m *corpusMaker) {
	m.create(3, 1)
	m.night()
	m.night(0, 1)
	if hit, err := rot(m.drives[0], "vault/index", 1); err != nil || hit != 1 {
		m.t.Fatal(hit, err)
	}
	m.note.Missing = 0
}

func replaced(m *corpusMaker) {
	m.create(3, 1)
	m.night()
	if err := os.RemoveAll(m.drives[1]); err != nil {
		m.t.Fatal(err)
	}
	fresh := filepath.Join(m.dir, "fresh")
	must(m.t, exitOK, m.without(1, "drive", "replace", "drive1", fresh)...)
	m.drives[1], m.note.Drives[1] = fresh, "fresh"
	m.night()
}

func drained(m *corpusMaker) {
	m.create(4, 1)
	m.night()
	must(m.t, exitOK, m.with("drive", "remove", "drive2")...)
	m.night()
}

func prunedAndFolded(m *corpusMaker) {
	m.create(2, 1)
	m.night()
	for range 45 { // three segments each, and a fold after 128
		m.put("notes/today", noise(m.photo, 50))
		must(m.t, exitOK, m.with("backup", "folder:"+m.phone)...)
	}
	must(m.t, exitOK, m.with("vault", "prune", "--keep-last", "3", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0", "--keep-yearly", "0")...)
	m.night()
	folded, err := filepath.Glob(filepath.Join(m.drives[0], "ledger", "*-f"))
	if err != nil || len(folded) == 0 {
		m.t.Fatalf("no checkpoint: %v", err)
	}
}

// ledgerInPieces has pieces far smaller than boxd leaves, or there would have to be hundreds of nights.
func ledgerInPieces(m *corpusMaker) {
	m.create(3, 1)
	for range 3 {
		m.night()
		m.night()
		m.refold(m.drives...)
	}
	must(m.t, exitOK, m.with("vault", "prune", "--keep-last", "3", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0", "--keep-yearly", "0")...)
	m.refold(m.drives...)
	m.note.Missing = 0 // what comes now is not on the third
	m.night(0, 1)
	m.refold(m.drives[:2]...)
	m.night(0, 1)
	segment, err := filepath.Glob(filepath.Join(m.drives[0], "ledger", "*-f"))
	if err != nil || len(segment) < 3 {
		m.t.Fatalf("%d checkpoints, %v", len(segment), err)
	}
}

// refold has the ledger of drives folded in pieces by a test of storage/array.
func (m *corpusMaker) refold(drives ...string) {
	m.t.Helper()
	tests := filepath.Join(m.dir, "..", "array.test")
	if _, err := os.Stat(tests); err != nil {
		m.command("go", "test", "-c", "-o", tests, "../../storage/array")
	}
	m.command(tests, "-test.run", "TestRefold", "-refold", strings.Join(drives, ","))
}

func (m *corpusMaker) command(args ...string) {
	m.t.Helper()
	if out, err := exec.CommandContext(m.t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func keysAndState(m *corpusMaker) {
	m.create(2, 1)
	state := m.t.TempDir()
	for name, text := range map[string]string{configName: "unlock = \"keystick\"\n", enrolledName: "[]\n", "pairings/ios/ab.plist": "pair", "journal/1": "one\n"} {
		p := filepath.Join(state, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			m.t.Fatal(err)
		}
		writeFile(m.t, p, []byte(text), time.Unix(1_790_000_000, 0))
	}
	m.put("DCIM/IMG_1.jpg", noise(1, 2500))
	must(m.t, exitOK, m.with("backup", "folder:"+m.phone, "--state", state)...)
	gone, stay, stick := filepath.Join(m.dir, "removed-passphrase"), filepath.Join(m.dir, "passphrase"), filepath.Join(m.dir, "stick")
	writeFile(m.t, gone, []byte("Birnbaum hinter dem Haus 1991\n"), time.Now())
	writeFile(m.t, stay, []byte(cherry+"\n"), time.Now())
	must(m.t, exitOK, m.with("key", "add", "--passphrase-file", gone)...)
	must(m.t, exitOK, m.with("key", "add", "--passphrase-file", stay)...)
	must(m.t, exitOK, m.with("key", "remove", m.keyOf(m.t, gone)[:8])...)
	must(m.t, exitOK, m.with("key", "rotate")...)
	m.key += ".new"
	if err := os.Mkdir(stick, 0o755); err != nil {
		m.t.Fatal(err)
	}
	must(m.t, exitOK, m.with("key", "stick", stick)...)
	m.night()
	m.note.Keys, m.note.Removed = []string{"key.new", "passphrase", "stick/" + stickKey + ".txt"}, []string{"key", "removed-passphrase"}
}

func cutShort(m *corpusMaker) {
	m.create(2, 1)
	m.night()
	r := m.rack(m.t, writing)
	tree, err := r.vault.Begin(m.t.Context(), vault.Phone{ID: "mtp:1A2B", Name: "Ann's Pixel"})
	if err != nil {
		m.t.Fatal(err)
	}
	for i := range 5 {
		if err := tree.Create(fmt.Sprint("DCIM/", i), 3000, time.Unix(int64(i), 0), bytes.NewReader(noise(900+i, 3000))); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := tree.Close(); err != nil {
		m.t.Fatal(err)
	}
	// What is no resume record costs time, and a pack that no index names is looked at; neither does harm.
	torn := noise(77, 1000)
	sum := fmt.Sprintf("%x", sha256.Sum256(torn))
	for _, name := range []string{"resume/" + sum, "data/" + sum[:2] + "/" + sum} {
		if err := r.array.Put(m.t.Context(), name, torn); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := r.array.Sync(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	if err := r.close(); err != nil {
		m.t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(m.drives[1], "ledger", "*"))
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.Truncate(segments[len(segments)-1], 90); err != nil {
		m.t.Fatal(err)
	}
	writeFile(m.t, filepath.Join(m.drives[0], ".phone-backup-box", "pending", "1"), noise(3, 500), time.Now())
	m.note.Missing = 0
}

func withPlain(m *corpusMaker) {
	m.create(1, 0)
	m.night()
	plain := filepath.Join(m.dir, "plain")
	must(m.t, exitOK, m.with("drive", "add", plain, "--role", "plain")...)
	must(m.t, exitOK, m.with("drive", "refresh", plain)...)
	if err := os.Remove(filepath.Join(m.phone, "nothing")); err != nil {
		m.t.Fatal(err)
	}
	m.night()
	must(m.t, exitOK, m.with("drive", "refresh", plain)...)
	m.note.Plain = diskSums(m.t, plain)
}

func oneTravels(m *corpusMaker) {
	m.create(3, 1)
	m.night()
	must(m.t, exitOK, m.with("drive", "travels", m.drives[2])...)
	m.night(0, 1)
	m.stolen(2)
}

func rekeyed(m *corpusMaker) {
	m.create(2, 1)
	m.night()
	old := filepath.Join(m.dir, "old-key")
	writeFile(m.t, old, []byte(readFile(m.t, m.key)), time.Now())
	must(m.t, exitOK, m.with("vault", "rekey")...)
	m.key += ".new"
	m.note.Keys, m.note.Removed = []string{"key.new"}, []string{"old-key"}
	m.night()
}

// fromStockRestic copies snapshots of stock restic into a vault.
func fromStockRestic(m *corpusMaker) {
	m.create(2, 1)
	m.night()
	if err := os.Symlink("IMG_0002.jpg", filepath.Join(m.phone, "DCIM", "link")); err != nil {
		m.t.Fatal(err)
	}
	r := m.rack(m.t, writing)
	for _, name := range []string{"restic-0.14", "restic"} {
		repo, pass := filepath.Join(m.t.TempDir(), name), filepath.Join(m.t.TempDir(), "pass")
		writeFile(m.t, pass, []byte(cherry+"\n"), time.Now())
		restic := func(args ...string) {
			sh(m.t, filepath.Join(filepath.Dir(findRestic(m.t)), name), append([]string{"-r", repo, "--password-file", pass, "--no-cache"}, args...)...)
		}
		restic("init")
		restic("backup", "--host", "laptop", "--tag", "holiday", m.phone)
		m.copyFrom(r, repo)
	}
	if err := r.close(); err != nil {
		m.t.Fatal(err)
	}
}

// copyFrom takes over what a repository in a folder holds.
func (m *corpusMaker) copyFrom(r *rack, repo string) {
	m.t.Helper()
	from, err := vault.Open(m.t.Context(), repository(m.t, repo), cherry, vault.Options{ReadOnly: true})
	if err != nil {
		m.t.Fatal(err)
	}
	list, err := from.Snapshots(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	report, err := r.vault.CopyFrom(m.t.Context(), from, list, nil)
	if err != nil || len(report.Copied) != len(list) || len(list) == 0 {
		m.t.Fatalf("%+v %v", report, err)
	}
}

// repository is a folder that stock restic wrote, as a Store in memory.
func repository(t *testing.T, dir string) *vdrive.Drive {
	t.Helper()
	d := vdrive.New(1)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(name, "locks/") {
			return err
		}
		p, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = d.Put(t.Context(), name, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// finish writes the note, with the exit codes that a copy of the drives gives.
func (m *corpusMaker) finish() {
	t := m.t
	m.note.Snapshots, m.note.State = m.told(t)
	write := func() {
		p, err := json.MarshalIndent(m.note, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(m.dir, "note.json"), append(p, '\n'), time.Now())
	}
	write()
	trial := filepath.Join(t.TempDir(), "trial.zip")
	if err := zipTree(t.Context(), trial, m.dir); err != nil {
		t.Fatal(err)
	}
	s, _ := unzip(t, trial)
	s.key = filepath.Join(s.dir, m.note.Keys[0])
	for _, step := range []struct {
		cmd  string
		code *int
	}{{"status", &m.note.Status}, {"scrub", &m.note.Scrub}, {"repair", &m.note.Repair}} {
		code, out, errs := boxd(t, s.with("vault", step.cmd)...)
		t.Logf("vault %s: exit %d\n%s%s", step.cmd, code, out, errs)
		*step.code = code
	}
	write()
}
