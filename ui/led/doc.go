package led

import (
	"fmt"
	"strings"

	"phonebackupbox/firmware"
)

// Doc is docs/LIGHTS.md: the table of lights, what the button does, and the table of problems.
func Doc() string {
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	p("# Lights and button")
	p("")
	p("Made by `go test ./ui/led -update` from the tables in ui/led and firmware; a test compares it with them.")
	p("")
	p("Five white lights in a row, 1 to 5, and an amber one. Meaning is position and rhythm, never colour alone.")
	p("")
	p("- **steady**")
	p("- **breathe** (once in %s): working, or waiting for a tap", firmware.Span(breath))
	p("- **slow** (once in %s): needs you", firmware.Span(slow))
	p("- **fast** (twice a second): data is at risk, or a restore waits for your double tap")
	p("")
	p("At night (21:00 to 07:00, or `quiet` in `box.toml`) no light is brighter than 2 %%, and the states marked ☾ go dark after %s. A tap shows them for %s. A box that does not know the time, or where it stands, is dim always, at most 25 %%, and never goes dark by itself.", firmware.Span(NightDark), firmware.Span(firmware.ShowFor))
	p("")
	p("## Lights")
	p("")
	p("| state | lights | what to do |")
	p("|---|---|---|")
	for _, r := range rows {
		night := ""
		if r.Routine {
			night = " ☾"
		}
		p("| %s%s | %s | %s |", r.Name, night, r.Lights, r.Means)
	}
	p("")
	p("The amber light joins **backing up** and **verifying** when a drive needs you.")
	p("")
	p("## Button")
	p("")
	p("| press | does |")
	p("|---|---|")
	p("| tap | says yes to the page that light 4 asks for; else enrols the phone that light 3 asks about; else takes in the drive that light 2 asks about; else puts away what was only news and shows the status |")
	p("| double tap (within %.1f s) | makes the empty stick that light 2 asks about a key stick; else backs up now, or tries again; begins an armed restore |", firmware.DoubleGap.Seconds())
	p("| hold %s, let go before %s | flushes the drives and shuts down; during a restore: stops it |", firmware.Span(firmware.StopAfter), firmware.Span(firmware.StopUntil))
	p("| hold %s, let go | arms a restore, if exactly one phone is attached, new, empty and never backed up here; otherwise nothing |", firmware.Span(firmware.ArmAfter))
	p("| held while the power comes, for %s, let go before %s | erases all settings, never a drive; refused while the box has the only copy of the 24 words |", firmware.Span(firmware.ResetAfter), firmware.Span(firmware.ResetUntil))
	p("")
	p("After arming: double-tap within %s. With several phones in the vault tap first: the steady light is the number of the phone, as written on the label.", firmware.Span(firmware.ConfirmFor))
	p("")
	p("## Problems")
	p("")
	p("| code | light | amber | what is the matter | what to do |")
	p("|---|---|---|---|---|")
	for _, f := range firmware.Faults() {
		light := "none"
		switch {
		case f.Blinks > 0:
			light = fmt.Sprintf("%d, %d×", f.Light, f.Blinks)
		case f.Light > 0:
			light = fmt.Sprint(f.Light)
		}
		amber := map[firmware.Severity]string{firmware.News: "dark", firmware.Attention: "slow", firmware.AtRisk: "fast"}[f.Severity]
		p("| %s | %s | %s | %s | %s |", f.Code, light, amber, f.Sentence, f.Advice)
	}
	return b.String()
}
