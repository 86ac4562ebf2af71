package led

import (
	"slices"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
)

// Row is one line of the table: a state, what its lights look like, and what a person does about it.
type Row struct {
	Name    string
	Lights  string // what is seen, in words
	Means   string // what it means and what to do
	Routine bool   // goes dark at night

	of   func(s firmware.State) bool
	draw func(s firmware.State, t time.Duration, now time.Time) hal.Frame // t: since the phase began
}

// Rows is the table, in the order in which it is looked through: the first row that fits a state is shown.
func Rows() []Row { return slices.Clone(rows) }

func rowOf(s firmware.State) Row {
	for _, r := range rows {
		if r.of(s) {
			return r
		}
	}
	return rows[len(rows)-1] // the last fits everything
}

func in(p firmware.Phase) func(firmware.State) bool {
	return func(s firmware.State) bool { return s.Phase == p }
}

var rows = []Row{
	{Name: "off", Lights: "All dark.", Means: "Pull the power.", of: in(firmware.Off), draw: dark},
	{Name: "shutting down", Lights: "The bar drains from full; the last light breathes.", Means: "The drives are being flushed. Wait until all is dark.",
		of: in(firmware.Stopping), draw: stopping},
	{Name: "update", Lights: "Lights 1 and 5 in turn, once a second.", Means: "New software is written to the card, and the box starts anew. Leave the power on; nothing is lost without it.",
		of: in(firmware.Updating), draw: updating},
	{Name: "factory reset", Lights: "Light 3 and amber steady.", Means: "The button was held while the power came. Letting go of it now erases all settings, never a drive; to keep them, hold on until 20 s have passed.",
		of: in(firmware.Resetting), draw: resetting},
	{Name: "starting", Lights: "Light 1 breathes.", Means: "The box waits for its drives, at most 30 s, and reads what they hold.", Routine: true,
		of: in(firmware.Starting), draw: func(_ firmware.State, t time.Duration, _ time.Time) hal.Frame { return one(1, breathe(t)) }},
	{Name: "page asks", Lights: "Light 4 breathes.", Means: "A page of the box waits for you: tap within 120 s to say yes to what it shows. If you asked for nothing, do not tap.",
		of: in(firmware.AskingPage), draw: func(_ firmware.State, t time.Duration, _ time.Time) hal.Frame { return one(4, breathe(t)) }},
	{Name: "restoring", Lights: "The bar fills from right to left; amber steady.", Means: "Everything goes onto the new phone. Leave it plugged in. Hold 3 s to stop.",
		of: in(firmware.Restoring), draw: restoring},
	{Name: "backing up", Lights: "The bar fills, a fifth each; the leading light breathes. Amber slow besides: something needs you.", Means: "Leave the phone plugged in.", Routine: true,
		of: in(firmware.Copying), draw: copying},
	{Name: "verifying", Lights: "Full bar; a dark gap travels through it.", Means: "What was stored is read back. Leave the phone plugged in.", Routine: true,
		of: in(firmware.Verifying), draw: verifying},
	{Name: "vault locked", Lights: "Lights 2 and 4 breathe.", Means: "The key that opens these drives is not here: plug in the key stick, or give the 24 words.",
		of: in(firmware.VaultLocked), draw: locked},
	{Name: "restore done", Lights: "Full bar for 60 s, then light 1 a dot.", Means: "Everything is on the new phone, checked. Unplug it.", Routine: true,
		of: in(firmware.Restored), draw: done},
	{Name: "restore: choose", Lights: "One steady light; amber fast.", Means: "Several phones could be restored: the light is the number of the chosen one. Tap for the next, double-tap to begin.",
		of: choosing, draw: choose},
	{Name: "restore: confirm", Lights: "The bar and amber blink fast; the bar drains over 60 s.", Means: "Double-tap to begin. With several phones, tap first to choose one. Hold 3 s to call it off.",
		of: in(firmware.Confirming), draw: confirm},
	{Name: "restore: arming", Lights: "The bar fills, one light for each 2 s that the button is held.", Means: "Hold on until all five are lit, then let go.",
		of: in(firmware.Arming), draw: arming},
	{Name: "unknown phone", Lights: "Light 3 breathes.", Means: "Tap within 120 s to have this phone backed up. Otherwise it is only charged.",
		of: in(firmware.Asking), draw: func(_ firmware.State, t time.Duration, _ time.Time) hal.Frame { return one(3, breathe(t)) }},
	{Name: "unknown drive", Lights: "Light 2 breathes.", Means: "Tap within 120 s to use this drive. It is not formatted; a folder is made on it. Or double-tap, to make an empty stick the key stick.",
		of: in(firmware.AskingDrive), draw: func(_ firmware.State, t time.Duration, _ time.Time) hal.Frame { return one(2, breathe(t)) }},
	{Name: "phone needs you", Lights: "Amber slow; light 1 blinks once: unlock.", Means: "Unlock the phone and allow file transfer.",
		of: in(firmware.Waiting), draw: waiting},
	{Name: "words not yet out", Lights: "Lights 1 and 5 steady; amber slow.", Means: "All is well, but the key is nowhere but in the box. Plug in an empty USB stick, and double-tap while light 2 breathes.",
		of: wordsIn, draw: wordsOut},
	{Name: "done", Lights: "Full bar for 60 s, then light 1 a dot.", Means: "Every file is in the vault, read back, protected as you wished. Unplug the phone.", Routine: true,
		of: in(firmware.Done), draw: done},
	{Name: "problem", Lights: "Amber slow, fast if data is at risk; one steady light: 1 phone, 2 drive missing, 3 drives full, 4 a drive failing or too few, 5 power.",
		Means: "See the table of problems below.", of: in(firmware.Problem), draw: problem},
	{Name: "idle", Lights: "Dark, but for a dot: light 1.", Means: "Plug in a phone.", Routine: true,
		of: func(firmware.State) bool { return true }, draw: idle},
}

func dark(firmware.State, time.Duration, time.Time) hal.Frame { return hal.Frame{} }

func idle(firmware.State, time.Duration, time.Time) hal.Frame { return one(1, dot) }

// updating goes to and fro between the two ends, which no other state does.
func updating(_ firmware.State, t time.Duration, _ time.Time) hal.Frame {
	if t/time.Second%2 == 0 {
		return one(1, full)
	}
	return one(hal.Bars, full)
}

func resetting(firmware.State, time.Duration, time.Time) hal.Frame {
	f := one(3, full)
	f[hal.Amber] = full
	return f
}

// stopping drains a light a second. The last one breathes, however long the drives take.
func stopping(_ firmware.State, t time.Duration, _ time.Time) hal.Frame {
	if n := hal.Bars - int(t/time.Second); n > 1 {
		return bar(n, full)
	}
	return one(1, breathe(t))
}

func restoring(s firmware.State, t time.Duration, _ time.Time) hal.Frame {
	f := mirror(fill(s.Progress.Fraction(), t))
	f[hal.Amber] = full
	return f
}

func copying(s firmware.State, t time.Duration, _ time.Time) hal.Frame {
	return withAmber(fill(s.Progress.Fraction(), t), s, t)
}

func verifying(s firmware.State, t time.Duration, _ time.Time) hal.Frame {
	const step = 400 * time.Millisecond
	f := bar(hal.Bars, full)
	f[int(t/step)%hal.Bars] = 0
	return withAmber(f, s, t)
}

// withAmber adds the amber light to a working state where something needs a person all the same.
func withAmber(f hal.Frame, s firmware.State, t time.Duration) hal.Frame {
	f[hal.Amber] = amber(s, t)
	return f
}

func amber(s firmware.State, t time.Duration) hal.Level {
	fault, ok := s.Fault()
	switch {
	case !ok || fault.Severity < firmware.Attention:
		return 0
	case fault.Severity >= firmware.AtRisk:
		return onOff(t, fast)
	}
	return onOff(t, slow)
}

func locked(_ firmware.State, t time.Duration, _ time.Time) hal.Frame {
	f := one(2, breathe(t))
	f[3] = f[1]
	return f
}

// arming fills one light for each HoldStep that the button has been held.
func arming(s firmware.State, _ time.Duration, now time.Time) hal.Frame {
	if s.Held.IsZero() {
		return hal.Frame{}
	}
	return bar(int(now.Sub(s.Held)/firmware.HoldStep), full)
}

// choosing: there are several sources and one of them is chosen.
func choosing(s firmware.State) bool {
	return s.Phase == firmware.Confirming && s.Restore != nil && len(s.Restore.Sources) > 1 && s.Restore.Source != ""
}

func choose(s firmware.State, t time.Duration, _ time.Time) hal.Frame {
	f := one(s.Restore.Order, full)
	f[hal.Amber] = onOff(t, fast)
	return f
}

func confirm(s firmware.State, t time.Duration, now time.Time) hal.Frame {
	l := onOff(t, fast)
	f := bar(drain(s.Until.Sub(now), firmware.ConfirmFor), l)
	f[hal.Amber] = l
	return f
}

func waiting(_ firmware.State, t time.Duration, _ time.Time) hal.Frame {
	f := one(1, blinks(t, 1))
	f[hal.Amber] = onOff(t, slow)
	return f
}

// wordsIn: the words are not out yet, and nothing else is the matter.
func wordsIn(s firmware.State) bool {
	f, ok := s.Fault()
	return ok && f.Code == firmware.WordsInBox && (s.Phase == firmware.Done || s.Phase == firmware.Idle)
}

func wordsOut(s firmware.State, t time.Duration, _ time.Time) hal.Frame {
	f := one(1, full)
	f[hal.Bars-1] = full
	return withAmber(f, s, t)
}

func done(_ firmware.State, t time.Duration, _ time.Time) hal.Frame {
	if t < firmware.FullFor {
		return bar(hal.Bars, full)
	}
	return one(1, dot)
}

func problem(s firmware.State, t time.Duration, _ time.Time) hal.Frame {
	fault, _ := s.Fault()
	f := one(fault.Light, full)
	f[hal.Amber] = amber(s, t)
	if f[hal.Amber] == 0 && fault.Severity < firmware.Attention {
		f[hal.Amber] = onOff(t, slow) // not done and nothing graver to say: still nobody may think that it is
	}
	return f
}
