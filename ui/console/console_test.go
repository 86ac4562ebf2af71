package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// desk is a box that remembers what it was asked for.
type desk struct {
	mu     sync.Mutex // guards what follows
	state  firmware.State
	asked  []firmware.Command
	refuse error
	states chan firmware.State
}

func newDesk() *desk {
	return &desk{states: make(chan firmware.State, 1), state: firmware.State{
		Phase: firmware.Copying, Current: "mtp:ANNA",
		Phones: []firmware.Phone{
			{ID: "mtp:ANNA", Name: "Anna's Pixel", Enrolled: true, Order: 1, Port: 1, LastComplete: &firmware.Backup{ID: "0123456789ab", Files: 3, Bytes: 1e9}},
			{ID: "mtp:EVIL", Name: "\x1b[2J\u202eevil", Port: 2},
		},
		Progress: &firmware.Progress{Bytes: 1, BytesTotal: 2},
		Health: firmware.Health{Known: true, Want: 1, Drives: []firmware.Drive{{ID: "d1", Label: "A", State: firmware.DriveOK, Free: 1e12, Total: 2e12},
			{ID: "d9", Label: "Stick", State: firmware.DriveUnknown}}},
		Upkeep: firmware.Upkeep{Shrunk: []usbhost.ID{"mtp:ANNA"}, Checks: []firmware.Check{
			{Drive: "d1", Fraction: 0.25, Full: &firmware.Full{At: firmware.Stamp{Clock: time.Date(2026, 3, 1, 4, 5, 0, 0, time.UTC)}, Bad: 2}}}},
		Backups: []firmware.Backup{{ID: "0123456789ab", Name: "Anna's Pixel", Files: 3}},
		Faults:  firmware.Faults()[6:7],
		Lines:   []firmware.Line{{At: time.Unix(100, 0), Text: "hm\a"}},
	}}
}

func (d *desk) State() firmware.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

func (d *desk) Subscribe() (<-chan firmware.State, func()) { return d.states, func() {} }

func (d *desk) Do(_ context.Context, c firmware.Command) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse == nil {
		d.asked = append(d.asked, c)
	}
	return d.refuse
}

// wire is a line that was typed before, and what was written to it.
type wire struct {
	io.Reader
	bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error) { return w.Reader.Read(p) }

// talk types what was typed and returns what was answered.
func talk(t *testing.T, d *desk, o Options, typed string) string {
	t.Helper()
	w := &wire{Reader: strings.NewReader(typed)}
	if err := New(d, o).Run(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func TestLooking(t *testing.T) {
	for typed, wants := range map[string][]string{
		"status":    {"Backing up Anna's Pixel", "50 % · 1 of 2 B", "B-10 A drive is missing.", "0 of 1 drives may still die"},
		"phones":    {" 1  Anna's Pixel  (mtp:ANNA)  plugged in\n", "everything: ", `\x1b[2J\u{202e}evil`, "not enrolled", "its older backups are kept; accept 1 ends that"},
		"drives":    {"A  ok  (d1)  1.0 TB free of 2.0 TB", "Stick  unknown", "last full check: 2026-03-01 04:05, 2 files are damaged", "this month's check: 25 % done"},
		"snapshots": {"01234567  Anna's Pixel", "incomplete"},
		"events":    {`hm\x07`},
		"help":      {"backup [PHONE]", "leave this console"},
		"restore":   {"hold the button for 10 s", "double-tap within 1 min"},
		"HELP":      {"status"},
		"bogus\x07": {`! there is no command "bogus"; help`},
		"shutdown":  {"! if you mean it: shutdown yes"},
	} {
		got := talk(t, newDesk(), Options{}, typed+"\n")
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%q is answered with %q, which lacks %q", typed, got, want)
			}
		}
	}
}

func TestDoing(t *testing.T) {
	for typed, want := range map[string]firmware.Command{
		"backup":          firmware.BackUpNow{},
		"backup 1":        firmware.BackUpNow{Phone: "mtp:ANNA"},
		"backup mtp:ANNA": firmware.BackUpNow{Phone: "mtp:ANNA"},
		"backup anna":     firmware.BackUpNow{Phone: "mtp:ANNA"},
		"enrol 2":         firmware.EnrolPhone{Phone: "mtp:EVIL"},
		"adopt Stick":     firmware.AdoptDrive{Drive: "d9"},
		"accept anna":     firmware.AcceptShrunk{Phone: "mtp:ANNA"},
		"check":           firmware.CheckDrives{},
		"ack":             firmware.Acknowledge{},
		"shutdown yes":    firmware.ShutDown{},
	} {
		d := newDesk()
		if got := talk(t, d, Options{}, typed+"\r"); got != "ok\n" || len(d.asked) != 1 || d.asked[0] != want {
			t.Errorf("%q asks for %#v and answers %q", typed, d.asked, got)
		}
		d = newDesk()
		d.refuse = errors.New("not\x1bnow")
		if got := talk(t, d, Options{}, typed+"\r"); got != "! not\\x1bnow\n" {
			t.Errorf("%q, refused, answers %q", typed, got)
		}
	}
	for _, typed := range []string{"backup nobody", "backup 3", "enrol", "adopt A", "shutdown no"} {
		d := newDesk()
		if got := talk(t, d, Options{}, typed+"\n"); !strings.HasPrefix(got, "! ") || len(d.asked) != 0 {
			t.Errorf("%q asks for %#v and answers %q", typed, d.asked, got)
		}
	}
}

func TestCommandsOfTheWiring(t *testing.T) {
	var got []string
	o := Options{Prompt: "> ", Commands: []Command{
		{"plug", "PHONE", "plug a phone in", func(_ context.Context, w io.Writer, args []string) error {
			got = args
			_, err := fmt.Fprintln(w, "plugged in")
			return err
		}},
		{"quit", "", "stop the demo", func(context.Context, io.Writer, []string) error { return errors.New("not yet") }},
	}}
	if out := talk(t, newDesk(), o, "plug  old  phone\nquit\nhelp\n"); !strings.HasPrefix(out, "> plugged in\n> ! not yet\n> ") ||
		strings.Count(out, "quit") != 1 || !strings.Contains(out, "plug PHONE") || !slices.Equal(got, []string{"old", "phone"}) {
		t.Errorf("%q, args %q", out, got)
	}
}

func TestQuitLeavesTheRestUnread(t *testing.T) {
	d := newDesk()
	if got := talk(t, d, Options{}, "quit\nbackup\n"); got != "" || len(d.asked) != 0 {
		t.Errorf("answers %q, asks for %v", got, d.asked)
	}
}

func TestLines(t *testing.T) {
	for typed, want := range map[string][]string{
		"a\nb\rc\r\nd":                      {"a", "b", "c", "d"},
		"ab\x7f\x08\x7fc\n":                 {"c"},
		"é\x7fx\n":                          {"x"},
		"gone\x15kept\x03new\n":             {"new"},
		"a\x1b[A\x1b[1;5Db\x1bOP\n":         {"ab"},
		"a\x00\x01\tb\n":                    {"a\tb"},
		"\n\r\n":                            {"", ""},
		strings.Repeat("x", MaxLine) + "\n": {strings.Repeat("x", MaxLine)},
		strings.Repeat("x", MaxLine+1) + "y\nback\n":   {"!", "back"},
		strings.Repeat("x", 9*MaxLine):                 nil,
		"a\x1b\n[b\n":                                  {"a", "[b"},
		strings.Repeat("x", 5000) + "\x7f\x7f\nback\n": {"!", "back"},
	} {
		l := lineReader{r: bufio.NewReader(iotest.OneByteReader(strings.NewReader(typed)))}
		var got []string
		for {
			line, err := l.next()
			if errors.Is(err, errTooLong) {
				line = "!"
			} else if err != nil {
				break
			}
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%.60q gives %.60q, want %.60q", typed, got, want)
		}
	}
}

func TestEcho(t *testing.T) {
	if got := talk(t, newDesk(), Options{Echo: true}, "ax\x7fck\x1b[Dé\x7f\r\n"); got != "ax\b \bck\xc3\xa9\b \b\r\nok\n" {
		t.Errorf("%q", got)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		here, there := net.Pipe()
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- New(d, Options{}).Run(ctx, here) }()
		read := bufio.NewReader(there)
		line := func() string {
			s, err := read.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if _, err := there.Write([]byte("follow\n")); err != nil {
			t.Fatal(err)
		}
		if got := line(); got != "ok\n" {
			t.Errorf("%q", got)
		}
		s := d.State()
		s.Lines = append(slices.Clone(s.Lines), firmware.Line{At: time.Unix(200, 0), Text: "first"}, firmware.Line{At: time.Unix(201, 0), Text: "second"})
		d.states <- s
		if a, b := line(), line(); !strings.HasSuffix(a, "  first\n") || !strings.HasSuffix(b, "  second\n") {
			t.Errorf("%q, %q", a, b)
		}
		// The end of ctx ends a Run that waits for a line.
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := there.Close(); err != nil {
			t.Error(err)
		}
	})
}

// harmless reports whether a terminal may be given s.
func harmless(s string) bool {
	for _, r := range s {
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

func FuzzConsole(f *testing.F) {
	for _, seed := range []string{"status\n", "phones\r\nbackup 1\r", "\x1b[31m\x00\xff\n", "backup \x1b]0;x\a\n", strings.Repeat("\x7f", 9), "help help help", "enrol \u202e\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, typed []byte) {
		w := &wire{Reader: bytes.NewReader(typed)}
		if err := New(newDesk(), Options{Prompt: "> "}).Run(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if !harmless(w.String()) {
			t.Fatalf("%q is answered with %q", typed, w.String())
		}
	})
}

// A locked console shows the status and nothing else, and tells the box nothing, until the code is right; a wrong one costs time.
func TestALockedConsole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unlock := func(_ context.Context, code string) error {
			if code != "ABCD1234" {
				return errors.New("that is not the code")
			}
			return nil
		}
		d, begin := newDesk(), time.Now()
		said := talk(t, d, Options{Locked: true, Unlock: unlock}, "backup\nphones\nEVENTS\nshutdown yes\ncode\ncode ABCD1235\nhelp\nstatus\n")
		if len(d.asked) > 0 || strings.Contains(said, "away") || strings.Contains(said, "hm") || !strings.Contains(said, "Backing up") || !strings.Contains(said, "code CODE") {
			t.Errorf("%v; it said:\n%s", d.asked, said)
		}
		if waited := time.Since(begin); waited != 2*codeEvery {
			t.Errorf("two wrong codes cost %v", waited)
		}
		d = newDesk()
		if said := talk(t, d, Options{Locked: true, Unlock: unlock}, "code ABCD 1234\nbackup\nphones\n"); len(d.asked) != 1 || !strings.Contains(said, "plugged in") {
			t.Errorf("%v; it said:\n%s", d.asked, said)
		}
		d = newDesk()
		if said := talk(t, d, Options{Locked: true}, "code\nbackup\n"); len(d.asked) > 0 || !strings.Contains(said, "knows no code") {
			t.Errorf("%v; it said:\n%s", d.asked, said)
		}
	})
}
