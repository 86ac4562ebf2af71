package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// looking are the commands that only look.
func (c *Console) looking() []Command {
	show := func(f func(io.Writer, firmware.State)) func(context.Context, io.Writer, []string) error {
		return func(_ context.Context, w io.Writer, _ []string) error {
			var b strings.Builder
			f(&b, c.box.State())
			_, err := io.WriteString(w, b.String())
			return err
		}
	}
	return []Command{
		{"help", "", "what can be asked for", c.help},
		{"status", "", "what the box is doing, and what is wrong", show(status)},
		{"phones", "", "the phones the box knows, and those plugged in", show(phones)},
		{"drives", "", "the drives and how well they protect", show(drives)},
		{"snapshots", "", "the backups in the vault, newest first", show(snapshots)},
		{"events", "", "what happened lately", show(events)},
		{"follow", "[off]", "write what happens, as it happens", follow},
		{"quit", "", "leave this console; the box goes on", func(context.Context, io.Writer, []string) error { return ErrQuit }},
	}
}

// doing are the commands that do something.
func (c *Console) doing() []Command {
	return []Command{
		{"backup", "[PHONE]", "back up now: one phone, or all that are plugged in", c.backup},
		{"enrol", "PHONE", "have a plugged-in phone backed up from now on", c.enrol},
		{"adopt", "DRIVE", "use an unknown drive; it is not formatted", c.adopt},
		{"accept", "PHONE", "it is right that a phone holds far fewer files: its older backups go as others do", c.accept},
		{"check", "", "look at the drives again", func(ctx context.Context, w io.Writer, _ []string) error { return c.do(ctx, w, firmware.CheckDrives{}) }},
		{"ack", "", "put away what was only news", func(ctx context.Context, w io.Writer, _ []string) error { return c.do(ctx, w, firmware.Acknowledge{}) }},
		{"restore", "", "how to put a backup onto a new phone, and what is in its way", c.restore},
		{"shutdown", "yes", "flush the drives, so that the power may be pulled", c.shutdown},
	}
}

func (c *Console) help(_ context.Context, w io.Writer, _ []string) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, cmd := range c.commands {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(cmd.Name+" "+cmd.Args), cmd.Help)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func status(w io.Writer, s firmware.State) {
	fmt.Fprintln(w, safe(s.Title()))
	if s.Progress != nil {
		fmt.Fprintf(w, "  %s\n", s.Progress.Summary())
	}
	if s.Heal != nil {
		what := "making the drives whole"
		if s.Heal.Even {
			what = "evening out the drives"
		}
		fmt.Fprintf(w, "  %s: %s of %s\n", what, firmware.Bytes(s.Heal.Done), firmware.Bytes(s.Heal.Total))
	}
	for _, f := range s.Faults {
		detail := ""
		if f.Detail != "" {
			detail = " (" + safe(f.Detail) + ")"
		}
		fmt.Fprintf(w, "  %s %s%s %s\n", f.Code, f.Sentence, detail, f.Advice)
	}
	fmt.Fprintf(w, "  %s\n", protection(s.Health))
}

func protection(h firmware.Health) string {
	switch {
	case !h.Known:
		return "protection: not known now"
	case h.NoVault:
		return "protection: none yet, the box has no drive"
	case h.Lost > 0:
		return fmt.Sprintf("protection: %d pieces are lost", h.Lost)
	case h.Now < 0:
		return "protection: too few drives are plugged in to read everything"
	}
	return fmt.Sprintf("protection: %d of %d drives may still die", h.Now, h.Want)
}

func phones(w io.Writer, s firmware.State) {
	if len(s.Phones) == 0 {
		fmt.Fprintln(w, "no phones yet: plug one in and tap the button")
	}
	for i, p := range s.Phones {
		here := "away"
		if p.Attached() {
			here = "plugged in"
		}
		if p.Locked {
			here += ", locked"
		}
		if !p.Enrolled {
			here += ", not enrolled"
		}
		fmt.Fprintf(w, "%2d  %s  (%s)  %s\n", i+1, safe(p.Name), safe(string(p.ID)), here)
		if b := p.LastComplete; b != nil {
			fmt.Fprintf(w, "      everything: %s\n", backup(*b))
		}
		if b := p.LastPartial; b != nil {
			fmt.Fprintf(w, "      in part:    %s\n", backup(*b))
		}
		if slices.Contains(s.Upkeep.Shrunk, p.ID) {
			fmt.Fprintf(w, "      holds far fewer files than before, so all its older backups are kept; accept %d ends that\n", i+1)
		}
		if p.Need != "" {
			fmt.Fprintf(w, "      %s\n", safe(p.Need))
		}
	}
}

func backup(b firmware.Backup) string {
	return fmt.Sprintf("%s, generation %d, %d files, %s", b.Time.Format("2006-01-02 15:04"), b.Generation, b.Files, firmware.Bytes(b.Bytes))
}

func drives(w io.Writer, s firmware.State) {
	for _, d := range s.Health.Drives {
		note := ""
		if d.Note != "" {
			note = "  " + safe(d.Note)
		}
		fmt.Fprintf(w, "  %s  %s  (%s)  %s free of %s%s\n", safe(d.Label), d.State, safe(d.ID), firmware.Bytes(d.Free), firmware.Bytes(d.Total), note)
		c, known := s.CheckOf(d.ID)
		if known && c.Full != nil {
			fmt.Fprintf(w, "      last full check: %s, %s\n", c.Full.At.Clock.Format("2006-01-02 15:04"), c.Full.Verdict())
		}
		if known && !c.Done {
			fmt.Fprintf(w, "      this month's check: %d %% done\n", int(c.Fraction*100))
		}
	}
	fmt.Fprintf(w, "  %s\n", protection(s.Health))
	if at, verdict := s.Upkeep.LastDrill(); verdict != "" {
		fmt.Fprintf(w, "  everything decrypted: %s, %s\n", at.Format("2006-01-02 15:04"), verdict)
	}
}

func snapshots(w io.Writer, s firmware.State) {
	if len(s.Backups) == 0 {
		fmt.Fprintln(w, "no backups yet")
	}
	for _, b := range s.Backups {
		mark := ""
		if !b.Complete {
			mark = "  incomplete"
		}
		fmt.Fprintf(w, "  %.8s  %s  %s%s\n", safe(b.ID), safe(b.Name), backup(b), mark)
	}
	if len(s.Backups) == firmware.MaxBackups {
		fmt.Fprintln(w, "  (older ones are not shown here)")
	}
}

func events(w io.Writer, s firmware.State) {
	for _, l := range s.Lines {
		fmt.Fprint(w, eventLine(l))
	}
}

func eventLine(l firmware.Line) string {
	return l.At.Format("15:04:05") + "  " + safe(l.Text) + "\n"
}

func follow(_ context.Context, w io.Writer, args []string) error {
	o, ok := w.(*output)
	if !ok {
		return errors.New("nothing to follow on")
	}
	o.setFollowing(len(args) == 0 || args[0] != "off")
	_, err := fmt.Fprintln(w, "ok")
	return err
}

// phone finds the phone that an argument names: its number in the list, its ID, or the only one whose name begins so.
func phone(s firmware.State, args []string) (usbhost.ID, error) {
	arg := strings.Join(args, " ")
	if n, err := strconv.Atoi(arg); err == nil && n >= 1 && n <= len(s.Phones) {
		return s.Phones[n-1].ID, nil
	}
	var found []usbhost.ID
	for _, p := range s.Phones {
		if string(p.ID) == arg {
			return p.ID, nil
		}
		if arg != "" && strings.HasPrefix(strings.ToLower(p.Name), strings.ToLower(arg)) {
			found = append(found, p.ID)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("which phone? phones lists them; give its number")
	}
	return found[0], nil
}

func (c *Console) backup(ctx context.Context, w io.Writer, args []string) error {
	if len(args) == 0 {
		return c.do(ctx, w, firmware.BackUpNow{})
	}
	id, err := phone(c.box.State(), args)
	if err != nil {
		return err
	}
	return c.do(ctx, w, firmware.BackUpNow{Phone: id})
}

func (c *Console) enrol(ctx context.Context, w io.Writer, args []string) error {
	id, err := phone(c.box.State(), args)
	if err != nil {
		return err
	}
	return c.do(ctx, w, firmware.EnrolPhone{Phone: id})
}

func (c *Console) adopt(ctx context.Context, w io.Writer, args []string) error {
	arg := strings.Join(args, " ")
	for _, d := range c.box.State().Health.Drives {
		if d.State == firmware.DriveUnknown && (d.ID == arg || d.Label == arg) {
			return c.do(ctx, w, firmware.AdoptDrive{Drive: d.ID})
		}
	}
	return errors.New("which drive? drives lists them; only unknown ones can be adopted")
}

func (c *Console) accept(ctx context.Context, w io.Writer, args []string) error {
	id, err := phone(c.box.State(), args)
	if err != nil {
		return err
	}
	return c.do(ctx, w, firmware.AcceptShrunk{Phone: id})
}

// restore only tells: what a restore needs is a hand at the box, and no line can be that.
func (c *Console) restore(_ context.Context, w io.Writer, _ []string) error {
	_, err := fmt.Fprintf(w, `A restore takes a hand at the box:
  1. plug in the new, empty phone and nothing else
  2. hold the button for %s, until all five lights are lit, and let go
  3. with several phones in the vault, tap until the light shows the right one
  4. double-tap within %s
now: %s
`, firmware.Span(firmware.ArmAfter), firmware.Span(firmware.ConfirmFor), readyToRestore(c.box.State()))
	return err
}

// readyToRestore says how far a box is from a restore. What it says decides nothing.
func readyToRestore(s firmware.State) string {
	var here []firmware.Phone
	backups := false
	for _, p := range s.Phones {
		if p.Attached() {
			here = append(here, p)
		}
		backups = backups || p.LastComplete != nil || p.LastPartial != nil
	}
	switch {
	case s.Restore != nil:
		return safe(s.Title())
	case !backups:
		return "there is no backup that could be restored"
	case len(here) == 0:
		return "no phone is plugged in"
	case len(here) > 1:
		return fmt.Sprintf("%d phones are plugged in: leave only the new one", len(here))
	case here[0].Enrolled:
		return "the phone that is plugged in is one that the box backs up, so nothing is written to it"
	case here[0].Locked:
		return "the phone is locked: unlock it"
	}
	return "a phone is plugged in that the box does not back up; holding the button finds out whether it is empty"
}

func (c *Console) shutdown(ctx context.Context, w io.Writer, args []string) error {
	if len(args) != 1 || args[0] != "yes" {
		return errors.New("if you mean it: shutdown yes")
	}
	return c.do(ctx, w, firmware.ShutDown{})
}
