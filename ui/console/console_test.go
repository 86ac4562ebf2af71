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
		"restore":   {"hold the button for 10 s", "double-tap within 1 min", "now: 2 phones are plugged in: leave only the new one"},
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

// pipeTo is a console over a pipe in fake time: say types, and returns what comes until it is silent.
func pipeTo(t *testing.T, d *desk, o Options) (say func(string) string, end func()) {
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(d, o).Run(ctx, here) }()
	heard := make(chan []byte, 1000)
	go func() {
		defer close(heard)
		for {
			p := make([]byte, 4096)
			n, err := there.Read(p)
			if err != nil {
				return
			}
			heard <- p[:n]
		}
	}()
	say = func(typed string) (all string) {
		if _, err := io.WriteString(there, typed); err != nil {
			t.Fatal(err)
		}
		for synctest.Wait(); len(heard) > 0; synctest.Wait() {
			all += string(<-heard)
		}
		return all
	}
	return say, func() {
		cancel()
		if err := errors.Join(<-ended, there.Close()); err != nil {
			t.Error(err)
		}
		for range heard {
		}
	}
}

// A person who went away leaves a console that locks itself, and writes nothing of what happens then; one who types now and then does not.
func TestAnIdleConsoleLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		say, end := pipeTo(t, d, Options{Locked: true, LockAfter: 10 * time.Minute, Unlock: func(context.Context, string) error { return nil }})
		defer end()
		say("code X\nfollow\n")
		for range 5 {
			time.Sleep(9 * time.Minute)
			if got := say("phones\n"); !strings.Contains(got, "Anna") {
				t.Fatalf("it locked while it was used: %q", got)
			}
		}
		time.Sleep(10*time.Minute + time.Second)
		if got := say(""); got != "\n! locked: nothing was typed for 10 min\n" {
			t.Errorf("%q", got)
		}
		s := d.State()
		s.Lines = append(slices.Clone(s.Lines), firmware.Line{At: time.Unix(200, 0), Text: "secret"})
		d.states <- s
		if got := say("phones\nbackup\n"); strings.Contains(got, "Anna") || strings.Contains(got, "secret") || len(d.asked) > 0 {
			t.Errorf("%q, asked %v", got, d.asked)
		}
		time.Sleep(time.Hour)
		if got := say("code X\nphones\n"); strings.Contains(got, "nothing was typed") || !strings.Contains(got, "Anna") {
			t.Errorf("%q", got)
		}
	})
}

// port is a line that never runs dry of noise until it is quiet, and what is written to it.
type port struct {
	wire
	mu      sync.Mutex // guards what follows
	quiet   bool
	reads   int
	dropped int
}

func (p *port) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet {
		return p.wire.Read(b)
	}
	p.reads++
	return copy(b, bytes.Repeat([]byte("\xf0\r"), len(b)/2)), nil
}

func (p *port) DropInput() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropped++
	p.quiet = p.dropped == 1000
	return nil
}

// A flood of noise costs one short read in most of a second, and when it ends what is typed next is heard.
func TestNoiseCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 50 * time.Millisecond
		p := &port{wire: wire{Reader: strings.NewReader("status\nstatus\n")}}
		begin := time.Now()
		if err := New(newDesk(), Options{Locked: true, Every: every}).Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 990*every<<maxDoublings || p.reads > 1010 {
			t.Errorf("%d reads in %v", p.reads, took)
		}
		if got := p.String(); strings.Count(got, "this console is locked") > 1010 || strings.Count(got, "protection:") != 2 {
			t.Errorf("%d bytes, ends with %q", len(got), got[max(0, len(got)-200):])
		}
	})
}

// screen is a terminal that knows BS, CR and LF, and lines of any length.
func screen(sent string) (lines []string) {
	var line []rune
	at := 0
	for _, r := range sent {
		switch r {
		case '\b':
			at = max(at-1, 0)
		case '\r':
			at = 0
		case '\n':
			lines, line = append(lines, strings.TrimRight(string(line), " ")), nil
		default:
			if at < len(line) {
				line[at] = r
			} else {
				line = append(line, r)
			}
			at++
		}
	}
	return lines
}

// FuzzLines: whatever is typed, what the screen shows is what the console heard, and no line is too long.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{"status\r\n", "ab\x7f\x7f\x7fc\n", "x\x15y\x03z\r", "\x1b[1;5Da\x1bOP\n", "\xff\xfe\xc3\n", strings.Repeat("y", MaxLine+2) + "\n", "a\tb\x00\r\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, typed []byte) {
		var shown bytes.Buffer
		l := lineReader{r: bufio.NewReader(bytes.NewReader(typed)), echo: true, out: &output{ctx: t.Context(), w: &shown}}
		var heard []string
		ascii := true
		for {
			line, err := l.next()
			if err != nil && !errors.Is(err, errTooLong) {
				break
			}
			if len(line) > MaxLine || strings.ContainsAny(line, "\r\n\b\x1b\x00\x15\x7f") {
				t.Fatalf("%q gives the line %q", typed, line)
			}
			heard = append(heard, strings.TrimRight(strings.ReplaceAll(line, "\t", " "), " "))
			ascii = ascii && err == nil
		}
		for _, c := range typed {
			ascii = ascii && c < 0x80 // other letters are as wide as the terminal likes
		}
		if lines := screen(shown.String()); ascii && !slices.Equal(lines, heard[:min(len(heard), len(lines))]) {
			t.Fatalf("%q is heard as %q and shown as %q", typed, heard, lines)
		}
	})
}
