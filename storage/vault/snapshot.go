package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Phone names whose snapshot it is. Both fields appear only inside encrypted documents.
type Phone struct {
	ID   string // KIND ":" SERIAL, as usbhost.ID
	Name string // what the owner calls it
}

// Snapshot is one committed state of a phone.
type Snapshot struct {
	ID         string    `json:"id"` // 64 hexadecimal digits
	Phone      string    `json:"phone"`
	Name       string    `json:"name"`
	Host       string    `json:"host,omitempty"` // of a foreign one: the computer that it was taken on
	Generation uint64    `json:"generation"`     // 0: taken by stock restic
	Time       time.Time `json:"time"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"` // sum of the files' sizes
	Complete   bool      `json:"complete"`
	Foreign    bool      `json:"foreign,omitempty"` // taken by stock restic: nobody told us whether it is complete
	Undated    bool      `json:"undated,omitempty"` // the clock was not to be trusted when it was taken
	Tags       []string  `json:"tags,omitempty"`    // of the owner's, without those of ours
	Outcome    *Outcome  `json:"outcome,omitempty"` // nil if the document has none
	Err        error     `json:"-"`                 // why it cannot be read; only ID is set then

	tree hash
}

// Outcome is what a backup run came to. It is kept with the snapshot.
type Outcome struct {
	Complete bool      `json:"complete"` // every file that the phone listed is in the snapshot as it is on the phone
	Listed   int       `json:"listed"`   // files that the phone named
	Stored   int       `json:"stored"`   // read and stored
	Kept     int       `json:"kept"`     // unchanged, not read again
	Removed  int       `json:"removed"`  // gone from the phone
	Moved    int64     `json:"moved"`    // bytes that crossed the cable
	Problems []Problem `json:"problems,omitempty"`
	More     int       `json:"more_problems,omitempty"` // problems beyond the maxProblems that are kept
	Run      uint64    `json:"run,omitempty"`           // snapshots of this phone that came before; Commit sets it
}

// Problem is one file or folder that a run could not do justice to. Its fields are those of usbhost.Problem.
type Problem struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Listed bool   `json:"listed"`
	Stale  bool   `json:"stale,omitempty"` // an older version stays in the snapshot
}

// maxProblems is how many problems a snapshot document holds; the rest is only counted.
const maxProblems = 5000

// maxSnapshot is the largest snapshot document that is read, in bytes.
const maxSnapshot = 16 << 20

// snapshotFile is the document of snapshots/HEX (design.rst, "Snapshots") with one field that stock restic ignores.
type snapshotFile struct {
	Time           time.Time   `json:"time"`
	Parent         *hash       `json:"parent,omitempty"`
	Tree           *hash       `json:"tree"`
	Paths          []string    `json:"paths"`
	Hostname       string      `json:"hostname,omitempty"`
	Username       string      `json:"username,omitempty"`
	Tags           []string    `json:"tags,omitempty"`
	ProgramVersion string      `json:"program_version,omitempty"`
	Summary        *summary    `json:"summary,omitempty"`
	Box            *boxDetails `json:"phonebackupbox,omitempty"`
}

type summary struct {
	BackupStart time.Time `json:"backup_start"`
	BackupEnd   time.Time `json:"backup_end"`
	FilesNew    uint      `json:"files_new"`
	FilesKept   uint      `json:"files_unmodified"`
	DataAdded   uint64    `json:"data_added_packed"`
	Files       uint      `json:"total_files_processed"`
	Bytes       uint64    `json:"total_bytes_processed"`
}

// boxDetails is what restic has no field for. Restoring and pruning need nothing of it: stock tools drop it.
type boxDetails struct {
	Phone      string   `json:"phone"`
	Name       string   `json:"name"`
	Generation uint64   `json:"generation"`
	Outcome    *Outcome `json:"outcome"`
}

// quote makes any bytes a string that JSON can hold, as restic does with names; unquote is its inverse.
func quote(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func unquote(s string) string {
	if u, err := strconv.Unquote(`"` + s + `"`); err == nil {
		return u
	}
	return s
}

// Whose is the phone that a snapshot is of, and "restic:HOST" where stock restic took it of a computer.
func (s Snapshot) Whose() string {
	if s.Foreign {
		return "restic:" + s.Host
	}
	return s.Phone
}

const (
	phoneTag      = "phone:"
	generationTag = "gen:"
	completeTag   = "complete"
	incompleteTag = "incomplete"
	undatedTag    = "undated"
)

// parseSnapshot reads a snapshot document.
func parseSnapshot(id string, p []byte) (Snapshot, error) {
	var f snapshotFile
	if err := json.Unmarshal(p, &f); err != nil {
		return Snapshot{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if f.Tree == nil {
		return Snapshot{}, fmt.Errorf("%w: it names no tree", ErrDamaged)
	}
	s := Snapshot{ID: id, Time: f.Time, tree: *f.Tree}
	for _, tag := range f.Tags {
		if v, ok := strings.CutPrefix(tag, phoneTag); ok && s.Phone == "" {
			s.Phone = unquote(v)
		} else if v, ok := strings.CutPrefix(tag, generationTag); ok && s.Generation == 0 {
			n, err := strconv.ParseUint(v, 10, 63)
			if err != nil {
				return Snapshot{}, fmt.Errorf("%w: tag %.40q", ErrDamaged, tag)
			}
			s.Generation = n
		} else if tag == completeTag {
			s.Complete = true
		} else if tag == undatedTag {
			s.Undated = true
		} else if tag != incompleteTag {
			s.Tags = append(s.Tags, tag)
		}
	}
	if f.Summary != nil {
		s.Files, s.Bytes = int(min(f.Summary.Files, 1<<62)), int64(min(f.Summary.Bytes, 1<<62))
	}
	// The tags decide, since stock restic keeps and edits them; the extra field only adds.
	if b := f.Box; b != nil {
		s.Phone, s.Generation = cmp.Or(s.Phone, unquote(b.Phone)), cmp.Or(s.Generation, b.Generation)
		s.Name, s.Outcome = unquote(b.Name), b.Outcome
		if b.Outcome != nil {
			for i := range b.Outcome.Problems {
				b.Outcome.Problems[i].Name = unquote(b.Outcome.Problems[i].Name)
			}
		}
	}
	if s.Foreign = s.Generation == 0 && s.Phone == ""; s.Foreign {
		s.Host = f.Hostname
	}
	if slices.Contains(f.Tags, incompleteTag) {
		s.Complete = false
	}
	return s, nil
}

// Snapshots lists all snapshots, hidden ones too, the newest generation first; those of stock restic come last, by date. One
// that cannot be read is listed with its ID and Err, at the very end.
func (v *Vault) Snapshots(ctx context.Context) ([]Snapshot, error) {
	var list []Snapshot
	for info, err := range v.s.List(ctx, "snapshots/") {
		if err != nil {
			return nil, fmt.Errorf("vault: list snapshots: %w", err)
		}
		id, err := parseHash(strings.TrimPrefix(info.Name, "snapshots/"))
		if err != nil {
			continue // not a snapshot
		}
		s, err := v.snapshot(ctx, id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			v.o.Log.Warn("a snapshot cannot be read", slog.Any("err", err))
			s = Snapshot{ID: id.String(), Err: err}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Snapshot) int {
		return cmp.Or(cmp.Compare(b2i(a.Err != nil), b2i(b.Err != nil)), cmp.Compare(b.Generation, a.Generation),
			b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// snapshot reads one snapshot; what was read once is remembered, since snapshots never change.
func (v *Vault) snapshot(ctx context.Context, id hash) (Snapshot, error) {
	v.mu.Lock()
	s, ok := v.snapshots[id]
	v.mu.Unlock()
	if ok {
		return s, nil
	}
	name := "snapshots/" + id.String()
	p, err := v.readDocument(ctx, name, maxSnapshot)
	if err != nil {
		return Snapshot{}, err
	}
	if s, err = parseSnapshot(id.String(), p); err != nil {
		return Snapshot{}, fmt.Errorf("vault: %s: %w", name, err)
	}
	v.mu.Lock()
	v.snapshots[id] = s
	v.mu.Unlock()
	return s, nil
}

// Find returns the snapshot that ref means: an ID, the beginning of only one ID, "latest", or "latest:PHONE".
// "latest" is the highest generation, whatever the dates say. Hidden snapshots are found by their ID only.
func (v *Vault) Find(ctx context.Context, ref string) (Snapshot, error) {
	list, err := v.Snapshots(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	phone, one := strings.CutPrefix(ref, "latest:")
	if ref == "latest" || one {
		for _, s := range list {
			if s.Err == nil && !s.Hidden() && (!one || s.Whose() == phone) {
				return s, nil
			}
		}
		return Snapshot{}, fmt.Errorf("vault: %q: %w", ref, ErrNoSnapshot)
	}
	var found []Snapshot
	for _, s := range list {
		if ref != "" && strings.HasPrefix(s.ID, strings.ToLower(ref)) {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0:
		return Snapshot{}, fmt.Errorf("vault: %.80q: %w", ref, ErrNoSnapshot)
	case len(found) > 1:
		return Snapshot{}, fmt.Errorf("vault: %q: %w", ref, ErrAmbiguous)
	case found[0].Err != nil:
		return Snapshot{}, found[0].Err
	}
	return found[0], nil
}

// putSnapshot writes the document of a new snapshot and waits until it is durable. Its generation is one more than
// any that exists, and its time is later than any that exists, whatever the clock says.
func (v *Vault) putSnapshot(ctx context.Context, p Phone, tree hash, o Outcome, sum summary) (Snapshot, error) {
	list, err := v.Snapshots(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	now, gen := v.o.Now().UTC().Round(0), uint64(1)
	undated := v.o.ClockTrusted != nil && !v.o.ClockTrusted()
	for _, s := range list {
		gen = max(gen, s.Generation+1)
		if earliest := s.Time.Add(time.Second); s.Err == nil && earliest.After(now) && earliest.Year() < 9999 {
			undated = undated || earliest.Sub(now) > time.Minute // the clock was put back: it is wrong now, or was before
			now = earliest
		}
	}
	sum.BackupEnd = now
	state := incompleteTag
	if o.Complete {
		state = completeTag
	}
	if len(o.Problems) > maxProblems {
		o.More += len(o.Problems) - maxProblems
		o.Problems = o.Problems[:maxProblems]
	}
	kept := o
	kept.Problems = slices.Clone(o.Problems)
	for i := range kept.Problems {
		q := &kept.Problems[i]
		q.Name, q.Reason = quote(q.Name), strings.ToValidUTF8(q.Reason, string(utf8.RuneError))
	}
	whose, own := []string{phoneTag + quote(p.ID)}, []string(nil)
	path := "/" + quote(p.ID)
	if p.ID == StateTag { // no phone's ID: it has no ':'
		p, whose, own = Phone{}, []string{StateTag}, []string{StateTag}
	}
	tags := append(whose, generationTag+strconv.FormatUint(gen, 10), state)
	if undated {
		tags = append(tags, undatedTag)
	}
	doc, err := json.Marshal(snapshotFile{
		Time: now, Tree: &tree, Paths: []string{path}, Hostname: hostName, Username: userName,
		Tags:           tags,
		ProgramVersion: programVersion, Summary: &sum,
		Box: &boxDetails{Phone: quote(p.ID), Name: quote(p.Name), Generation: gen, Outcome: &kept},
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("vault: snapshot: %w", err)
	}
	id, err := v.writeDocument(ctx, "snapshots", doc)
	if err != nil {
		return Snapshot{}, err
	}
	if err := v.s.Sync(ctx); err != nil {
		return Snapshot{}, fmt.Errorf("vault: snapshot: %w", err)
	}
	s := Snapshot{ID: id.String(), Phone: p.ID, Name: p.Name, Generation: gen, Time: now, Files: int(sum.Files),
		Bytes: int64(sum.Bytes), Complete: o.Complete, Undated: undated, Tags: own, Outcome: &o, tree: tree}
	v.mu.Lock()
	v.snapshots[id] = s
	v.mu.Unlock()
	return s, nil
}

// lastOf returns a phone's newest snapshot that can be read.
func (v *Vault) lastOf(ctx context.Context, phone string) (s Snapshot, ok bool, err error) {
	s, err = v.Find(ctx, "latest:"+phone)
	if errors.Is(err, ErrNoSnapshot) {
		return Snapshot{}, false, nil
	}
	return s, err == nil, err
}
