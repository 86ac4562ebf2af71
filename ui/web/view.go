package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// view is the page in words: everything that the template needs, and nothing that it must work out.
type view struct {
	headline
	Lamps    []lamp
	Progress *progressView
	Faults   []faultView
	Sees     bool `json:"-"` // whoever looks may see names
	May      bool // and change something
	WordsIn  bool // the key is nowhere but in the box
	Join     bool `json:"-"` // or may ask to be let in
	Receipt  *receiptView
	Phones   []phoneView
	Drives   []driveView
	Guard    string // how well everything is protected, one sentence
	GuardBad bool
	Stored   string // how much the vault holds
	Lines    []lineView
	Software *softwareView // nil for whoever may only look
}

// headline is the one thing that a person should know now.
type headline struct {
	Tone   string // ok, busy, ask, bad or calm: colour and sign
	Title  string // what is
	Advice string // what to do
	Code   string // of the fault, if it is one
	Detail string // which drive, phone or reason
}

type lamp struct {
	X     int    // left edge in the drawing
	Amber bool   // round, at the end of the row
	Glow  string // opacity, "0" to "1"
}

type progressView struct {
	Label   string
	Percent int  // 0 to 100
	Known   bool // false: no total yet
	Facts   []string
}

type faultView struct {
	Code, Sentence, Advice, Detail string
	Grave                          bool
}

type phoneView struct {
	Name, Model, Badge, Tone string
	Kept                     string // that older backups are held back, and why
	Complete, Partial        string // "2 hours ago", "" if there is none
	CompleteAt, PartialAt    string // RFC 3339
	CompleteOf, PartialOf    string // "1,204 files, 8.9 GB"
	Need                     string
	Enrolled                 bool
	Action                   *action   // what may be done about it
	Apps                     []appView // how chat apps' own backups stand
}

// receiptView is what is left to do after a restore. It says when in a date, so that it stands still.
type receiptView struct {
	At, Summary string
	Apps        []firmware.ReceiptApp
	Absent      []string
}

type appView struct{ Line, Hint string }

type driveView struct {
	Name, Badge, Tone, Room, Note string
	Action                        *action
	Check                         string // what the last full check found, and when
	Percent                       int    // used, 0 to 100
	Known                         bool
}

type lineView struct{ Ago, At, Text string }

const maxShownLines = 12

// look turns a State into words, as of now.
func look(s firmware.State, now time.Time, lamps *Lamps) view {
	v := view{Progress: progressOf(s)}
	v.headline = headlineOf(s, now)
	if lamps != nil {
		v.Lamps = lampsOf(*lamps)
	}
	for _, f := range s.Faults {
		// What the headline says already need not be said twice.
		if f.Severity > firmware.News && f.Sentence != v.Title {
			v.Faults = append(v.Faults, faultView{string(f.Code), f.Sentence, f.Advice, plain(f.Detail), f.Severity == firmware.AtRisk})
		}
	}
	if r := s.Receipt; r != nil {
		v.Receipt = &receiptView{r.At.UTC().Format("2 January 2006, 15:04 MST"), plain(r.Summary()), r.Apps, r.Absent}
	}
	for _, p := range s.Phones {
		v.Phones = append(v.Phones, phoneOf(p, s, now))
	}
	for _, d := range s.Health.Drives {
		dv := driveOf(d)
		if c, ok := s.CheckOf(d.ID); ok {
			dv.Check = checkOf(c, now)
		}
		v.Drives = append(v.Drives, dv)
	}
	v.Guard, v.GuardBad = guard(s)
	if s.Health.Known && s.Health.Snapshots > 0 {
		v.Stored = fmt.Sprintf("%s in %s", size(s.Health.Bytes), plural(s.Health.Snapshots, "snapshot"))
		if at, verdict := s.Upkeep.LastDrill(); verdict != "" {
			v.Stored += fmt.Sprintf("; read back and decrypted %s: %s", ago(at, now), verdict)
		}
	}
	for i := len(s.Lines) - 1; i >= 0 && len(v.Lines) < maxShownLines; i-- {
		l := s.Lines[i]
		v.Lines = append(v.Lines, lineView{ago(l.At, now), l.At.UTC().Format(time.RFC3339), plain(l.Text)})
	}
	return v
}

func lampsOf(l Lamps) []lamp {
	out := make([]lamp, len(l))
	for i, level := range l {
		out[i] = lamp{X: 20 + i*38, Amber: i == len(l)-1, Glow: glow(level)}
	}
	return out
}

// glow is a brightness as an opacity, in steps that an eye can tell apart.
func glow(level uint8) string {
	return fmt.Sprintf("%.3g", math.Round(float64(level)/255*64)/64)
}

// headlineOf picks it.
func headlineOf(s firmware.State, now time.Time) headline {
	if h, ok := phaseHeadline(s, now); ok {
		return h
	}
	fault, faulty := s.Fault()
	switch {
	case faulty && fault.Severity > firmware.News:
		tone := "ask"
		if fault.Severity == firmware.AtRisk {
			tone = "bad"
		}
		return headline{tone, fault.Sentence, fault.Advice, string(fault.Code), plain(fault.Detail)}
	case s.Phase == firmware.VaultLocked:
		return headline{Tone: "ask", Title: "The vault is locked", Advice: "Plug in the key stick, or give the 24 words."}
	case s.Heal != nil && s.Heal.Even:
		return headline{Tone: "busy", Title: "Evening out the drives", Advice: "Everything is protected; it is moved to where there is room. You may use the box meanwhile."}
	case s.Heal != nil:
		return headline{Tone: "busy", Title: "Making the drives whole", Advice: "New protection is being written. You may use the box meanwhile."}
	case len(s.Phones) == 0:
		return headline{Tone: "calm", Title: "Ready for the first phone", Advice: "Plug it in, unlock it, and tap the button."}
	}
	return headline{Tone: "ok", Title: "Ready", Advice: "Plug a phone in whenever you like."}
}

// phaseHeadline is the headline of a phase in which one thing matters more than all faults. Idle, Problem and
// VaultLocked have none: there the gravest fault comes first.
func phaseHeadline(s firmware.State, now time.Time) (headline, bool) {
	who := nameOf(s, s.Current)
	h, ok := map[firmware.Phase]headline{
		firmware.Starting: {Tone: "busy", Title: "Starting up", Advice: "Waiting for the drives, and reading what they hold."},
		firmware.Asking: {Tone: "ask", Title: "A new phone: " + who,
			Advice: "Tap the button" + within(s.Until, now) + " and the box backs it up from now on. Otherwise it is only charged."},
		firmware.AskingDrive: {Tone: "ask", Title: "A new drive",
			Advice: "Tap the button" + within(s.Until, now) + " to use it for backups. It is not formatted, and what is on it stays. Twice, and an empty stick becomes the key stick."},
		firmware.AskingPage: {Tone: "ask", Title: "The button is asked for", Advice: "Tap it" + within(s.Until, now) + " to say yes to the page that asks. If you asked for nothing, do not tap."},
		firmware.Waiting:    {Tone: "ask", Title: "Waiting for " + who, Advice: "Unlock it and allow file transfer. The backup then starts by itself."},
		firmware.Copying:    {Tone: "busy", Title: "Backing up " + who, Advice: "Leave it plugged in."},
		firmware.Verifying:  {Tone: "busy", Title: "Checking the backup of " + who, Advice: "Everything stored is read back and compared. Leave it plugged in."},
		firmware.Done:       {Tone: "ok", Title: who + " is backed up", Advice: "Every file is stored, read back and protected. You may unplug it."},
		firmware.Arming:     {Tone: "ask", Title: "Preparing a restore", Advice: "Keep holding the button until all lights are lit."},
		firmware.Confirming: {Tone: "ask", Title: "Restore to the new phone?", Advice: confirmAdvice(s, now)},
		firmware.Restoring:  {Tone: "busy", Title: "Restoring to the new phone", Advice: "Leave it plugged in and unlocked. Hold the button for 3 s to stop."},
		firmware.Restored:   {Tone: "ok", Title: "The new phone has everything", Advice: "Every file was checked. You may unplug it."},
		firmware.Updating:   {Tone: "busy", Title: "Updating", Advice: "The box starts anew by itself. Leave the power on."},
		firmware.Resetting:  {Tone: "ask", Title: "Erase all settings?", Advice: "Let go of the button to erase them, or hold on to keep them. The drives are not touched."},
		firmware.Stopping:   {Tone: "busy", Title: "Shutting down", Advice: "The drives are being flushed. Do not pull the power yet."},
		firmware.Off:        {Tone: "calm", Title: "Off", Advice: "You may pull the power now."},
	}[s.Phase]
	return h, ok
}

func confirmAdvice(s firmware.State, now time.Time) string {
	from := ""
	if s.Restore != nil && s.Restore.Source != "" {
		from = " Everything of " + nameOf(s, s.Restore.Source) + " is copied onto it."
	}
	return "Press the button twice" + within(s.Until, now) + " to begin." + from
}

// within says how long a person has.
func within(until, now time.Time) string {
	left := until.Sub(now).Round(time.Second)
	if until.IsZero() || left <= 0 {
		return ""
	}
	return " within " + lasting(left)
}

// nameOf is what the owner calls a phone.
func nameOf(s firmware.State, id usbhost.ID) string {
	p, ok := s.Phone(id)
	if !ok {
		return "the phone"
	}
	return called(p)
}

func called(p firmware.Phone) string {
	switch {
	case p.Name != "":
		return plain(p.Name)
	case p.Model != "":
		return plain(p.Model)
	}
	return "the phone"
}

func progressOf(s firmware.State) *progressView {
	if s.Progress == nil {
		if s.Heal == nil {
			return nil
		}
		v := &progressView{Label: "Protecting", Known: s.Heal.Total > 0, Percent: percent(s.Heal.Done, s.Heal.Total)}
		if s.Heal.Even {
			v.Label = "Moving"
		}
		if v.Known {
			v.Facts = []string{size(s.Heal.Done) + " of " + size(s.Heal.Total)}
		}
		return v
	}
	p := s.Progress
	labels := map[string]string{"listing": "Listing files", "copying": "Copying", "checking": "Checking"}
	v := &progressView{Label: labels[p.Doing], Known: p.BytesTotal > 0 || p.FilesTotal > 0, Percent: int(p.Fraction() * 100)}
	if v.Label == "" {
		v.Label = "Working"
	}
	if p.FilesTotal > 0 {
		v.Facts = append(v.Facts, fmt.Sprintf("%s of %s files", thousands(p.Files), thousands(p.FilesTotal)))
	} else if p.Files > 0 {
		v.Facts = append(v.Facts, plural(p.Files, "file"))
	}
	if p.BytesTotal > 0 {
		v.Facts = append(v.Facts, size(p.Bytes)+" of "+size(p.BytesTotal))
	}
	if p.Rate >= 1 {
		v.Facts = append(v.Facts, size(int64(p.Rate))+"/s")
	}
	if p.Left > 0 {
		v.Facts = append(v.Facts, "about "+lasting(p.Left)+" left")
	}
	return v
}

func phoneOf(p firmware.Phone, s firmware.State, now time.Time) phoneView {
	v := phoneView{Name: called(p), Enrolled: p.Enrolled, Need: plain(p.Need)}
	if model := strings.TrimSpace(plain(p.Maker) + " " + plain(p.Model)); model != v.Name && plain(p.Model) != v.Name {
		v.Model = model
	}
	switch {
	case !p.Attached():
		v.Badge, v.Tone = "not here", "calm"
	case !p.Enrolled:
		v.Badge, v.Tone = "charging only", "calm"
	case s.Job.Phone == p.ID && s.Progress != nil:
		v.Badge, v.Tone = "working", "busy"
	case p.Locked:
		v.Badge, v.Tone = "locked", "ask"
	case p.Next:
		v.Badge, v.Tone = "next", "busy"
	case p.Outcome == firmware.Failed:
		v.Badge, v.Tone = "not backed up", "bad"
	case p.Outcome == firmware.Partial:
		v.Badge, v.Tone = "partly backed up", "ask"
	case p.Outcome == firmware.Stored:
		v.Badge, v.Tone = "backed up", "ok"
	default:
		v.Badge, v.Tone = "plugged in", "calm"
	}
	for _, a := range p.Apps {
		v.Apps = append(v.Apps, appOf(a, now))
	}
	if slices.Contains(s.Upkeep.Shrunk, p.ID) {
		v.Kept = "It holds far fewer files than before: all its older backups are kept."
	}
	if b := p.LastComplete; b != nil {
		v.Complete, v.CompleteAt, v.CompleteOf = ago(b.Time, now), b.Time.UTC().Format(time.RFC3339), holds(*b)
	}
	if b := p.LastPartial; b != nil {
		v.Partial, v.PartialAt, v.PartialOf = ago(b.Time, now), b.Time.UTC().Format(time.RFC3339), holds(*b)
		if b.Problems > 0 {
			v.PartialOf += ", " + thousands(b.Problems) + " left out"
		}
	}
	return v
}

// appOf says how an app's own backup stands.
func appOf(a firmware.App, now time.Time) appView {
	line := a.Name + ": "
	switch {
	case a.Chats != "":
		line += size(a.Media) + " of media; " + a.Chats
	case a.Backup.IsZero():
		line += "no local backup, " + size(a.Media) + " of media"
	default:
		line += "last local backup " + ago(a.Backup, now) + ", " + size(a.Media) + " of media"
	}
	return appView{line, a.Hint} // ours, not the phone's
}

func holds(b firmware.Backup) string { return plural(b.Files, "file") + ", " + size(b.Bytes) }

func driveOf(d firmware.Drive) driveView {
	words := map[firmware.DriveState][2]string{
		firmware.DriveOK:       {"good", "ok"},
		firmware.DriveAway:     {"not here", "ask"},
		firmware.DriveFull:     {"full", "ask"},
		firmware.DriveReadOnly: {"read-only", "ask"},
		firmware.DriveFailing:  {"failing", "bad"},
		firmware.DriveUnknown:  {"new", "calm"},
		firmware.DriveForeign:  {"cannot be used", "ask"},
		firmware.DriveOther:    {"another box's", "ask"},
		firmware.DrivePlain:    {"ordinary copies", "calm"},
	}[d.State]
	v := driveView{Name: plain(d.Label), Badge: words[0], Tone: words[1], Note: plain(d.Note)}
	if v.Name == "" {
		v.Name = "Drive"
	}
	if v.Badge == "" {
		v.Badge, v.Tone = plain(string(d.State)), "ask"
	}
	if d.Attached() && d.Total > 0 && d.Free >= 0 {
		v.Known = true
		v.Percent = percent(d.Total-d.Free, d.Total)
		v.Room = size(d.Free) + " free of " + size(d.Total)
	}
	return v
}

// checkOf says when a drive was last read whole and what was found, and how far the box is with it now.
func checkOf(c firmware.Check, now time.Time) string {
	var said []string
	if c.Full != nil {
		said = append(said, "Last full check "+ago(c.Full.At.Clock, now)+": "+c.Full.Verdict())
	}
	if !c.Done {
		which := "the next is"
		if c.Full == nil {
			which = "First full check"
		}
		said = append(said, fmt.Sprintf("%s %d %% done", which, int(c.Fraction*100)))
		if c.Bad > 0 {
			said = append(said, plural(c.Bad, "damaged file")+" found")
		}
	}
	return strings.Join(said, "; ")
}

// guard says what the owner may lose without losing anything.
func guard(s firmware.State) (sentence string, bad bool) {
	h := s.Health
	n := len(h.Drives)
	switch {
	case !h.Known:
		return "The drives have not been asked yet.", false
	case h.NoVault:
		return "Nothing can be kept yet: the box has no drive.", true
	case h.Lost > 0:
		return "Part of the stored data is lost.", true
	case h.Now < 0:
		return "Some of what is stored cannot be read now: drives are missing.", true
	case h.Now == 0 && h.Want > 0:
		return "If another drive fails now, data is lost.", true
	case h.Now == 0:
		return "Not protected against the loss of a drive, as you chose.", false
	case h.Now < h.Want:
		return fmt.Sprintf("%s of %d may fail without loss; you wanted %d.", capital(plural(h.Now, "drive")), n, h.Want), true
	case h.Now == 1:
		return "Any one drive may fail without loss.", false
	}
	return fmt.Sprintf("Any %d drives may fail without loss.", h.Now), false
}

func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(max(float64(part)/float64(whole)*100, 0), 100))
}

// size is a number of bytes as drives and phones are sold: in thousands.
func size(n int64) string {
	if n < 0 {
		return "?"
	}
	units := []string{"bytes", "kB", "MB", "GB", "TB", "PB", "EB"}
	f, u := float64(n), 0
	for f >= 999.5 && u < len(units)-1 {
		f, u = f/1000, u+1
	}
	switch {
	case u == 0:
		return fmt.Sprintf("%d %s", n, units[0])
	case f < 9.95:
		return fmt.Sprintf("%.1f %s", f, units[u])
	}
	return fmt.Sprintf("%.0f %s", f, units[u])
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// lasting is a duration as people say it.
func lasting(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
	case d < 36*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()+0.5))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24+0.5))
}

// ago is how long ago t was. A box without a clock may say that it will be; then the date is all that can be told.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "at an unknown time"
	case d < -time.Minute || d > 60*24*time.Hour:
		return t.UTC().Format("2 January 2006")
	case d < 10*time.Second:
		return "just now"
	default:
		return lasting(d) + " ago"
	}
}

const maxName = 120 // characters shown of anything that a phone or a drive says of itself

// plain makes a string from outside fit to be shown: nothing that controls a terminal or turns the direction of writing,
// and not endlessly long. Escaping for HTML is the template's business.
func plain(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxName {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\t' || r == '\n':
			r = ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}
