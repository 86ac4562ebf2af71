package firmware

import (
	"fmt"
	"strings"
	"time"
)

// Title says in a few words what the box is doing: the head line of pages and consoles.
func (s State) Title() string {
	name := ""
	if p, ok := s.CurrentPhone(); ok {
		name = p.Name
	}
	switch s.Phase {
	case Starting:
		return "Starting"
	case Asking:
		return "Tap the button to have " + name + " backed up"
	case AskingDrive:
		return "Tap the button to use the new drive"
	case AskingPage:
		return "Tap the button to " + s.Consent.What
	case Waiting:
		return "Unlock " + name
	case Copying:
		return "Backing up " + name
	case Verifying:
		return "Reading back what was stored of " + name
	case Done:
		return "Done: " + name + " may be unplugged"
	case Problem, VaultLocked:
		if f, ok := s.Fault(); ok {
			return string(f.Code) + " " + f.Sentence
		}
		return "Not done"
	case Arming:
		return "Hold on until all five lights are lit"
	case Confirming:
		return s.confirmTitle(name)
	case Restoring:
		return "Restoring onto " + name
	case Restored:
		return "Restored: " + name + " may be unplugged"
	case Updating:
		return "Updating to version " + s.Update + ": leave the power on"
	case Resetting:
		return "Let go of the button to erase all settings, or hold on to keep them"
	case Stopping:
		return "Shutting down"
	case Off:
		return "Pull the power"
	}
	return "Ready: plug in a phone"
}

func (s State) confirmTitle(name string) string {
	if s.Restore == nil || s.Restore.Source == "" {
		return "Tap to choose whose backup goes onto " + name
	}
	from := string(s.Restore.Source)
	if p, ok := s.Phone(s.Restore.Source); ok {
		from = p.Name
	}
	return fmt.Sprintf("Double-tap to put everything of %s onto %s", from, name)
}

// Verdict is what a full check of a drive found, in a few words.
func (f Full) Verdict() string {
	files := func(n int, one, more string) string {
		if n == 1 {
			return "1 file " + one
		}
		return fmt.Sprintf("%d files %s", n, more)
	}
	switch {
	case f.Bad > 0:
		return files(f.Bad, "is damaged", "are damaged")
	case f.Mended > 0:
		return files(f.Mended, "was damaged and is mended", "were damaged and are mended")
	}
	return "all good"
}

// Summary is how far it has come in one line, such as "48 % · 1.2 of 2.5 GB · 31 MB/s · 2 min left"; "" for nil.
func (p *Progress) Summary() string {
	if p == nil {
		return ""
	}
	var parts []string
	add := func(format string, a ...any) { parts = append(parts, fmt.Sprintf(format, a...)) }
	switch {
	case p.BytesTotal > 0:
		add("%d %%", int(p.Fraction()*100))
		done, total := Bytes(p.Bytes), Bytes(p.BytesTotal)
		if n, unit, _ := strings.Cut(done, " "); strings.HasSuffix(total, " "+unit) {
			done = n
		}
		add("%s of %s", done, total)
	case p.FilesTotal > 0:
		add("%d of %d files", p.Files, p.FilesTotal)
	case p.Files > 0:
		add("%d files found", p.Files)
	default:
		add("listing")
	}
	if p.Rate >= 1 {
		add("%s/s", Bytes(int64(p.Rate)))
	}
	if p.Left > 0 {
		add("%s left", Span(p.Left))
	}
	return strings.Join(parts, " · ")
}

// Bytes is a size for people, in powers of 1000, with two or three digits: "0 B", "940 kB", "1.2 GB".
func Bytes(n int64) string {
	if n < 0 {
		return "unknown"
	}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for i, u := range units {
		v /= 1000
		// 9.95 and 999.5 are where rounding would need another digit.
		if v < 9.95 {
			return fmt.Sprintf("%.1f %s", v, u)
		}
		if v < 999.5 || i == len(units)-1 {
			return fmt.Sprintf("%.0f %s", v, u)
		}
	}
	return ""
}

// Span is a duration for people: "8 s", "2 min", "3 h 20 min".
func Span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", int(d/time.Hour), int(d%time.Hour/time.Minute))
}
