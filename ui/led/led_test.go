package led

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/hal"
	"phonebackupbox/usbhost"
)

var update = flag.Bool("update", false, "rewrite testdata/*.trace and docs/LIGHTS.md")

// scene is a state that a trace is taken of, and for how long.
type scene struct {
	file  string
	row   string
	state firmware.State
	night bool
	last  time.Duration
}

// t0 is when each scene begins, an odd instant so that no rhythm begins at a round one.
var t0 = time.Unix(1003, 0)

func faulty(c firmware.Code) []firmware.Fault {
	for _, f := range firmware.Faults() {
		if f.Code == c {
			return []firmware.Fault{f}
		}
	}
	panic("no such fault: " + string(c))
}

func scenes() []scene {
	at := func(done int64) *firmware.Progress { return &firmware.Progress{Bytes: done, BytesTotal: 1000} }
	sources := func(chosen int, n int) *firmware.Restore {
		r := &firmware.Restore{Armed: true, Order: chosen}
		for i := range n {
			r.Sources = append(r.Sources, usbhost.ID(fmt.Sprintf("mtp:P%d", i+1)))
		}
		if chosen > 0 {
			r.Source = r.Sources[chosen-1]
		}
		return r
	}
	out := []scene{
		{"off", "off", firmware.State{Phase: firmware.Off}, false, 1003 * time.Millisecond},
		{"stopping", "shutting down", firmware.State{Phase: firmware.Stopping}, false, 9007 * time.Millisecond},
		{"starting", "starting", firmware.State{Phase: firmware.Starting}, false, 4003 * time.Millisecond},
		{"updating", "update", firmware.State{Phase: firmware.Updating}, false, 4003 * time.Millisecond},
		{"resetting", "factory reset", firmware.State{Phase: firmware.Resetting}, false, 1003 * time.Millisecond},
		{"idle", "idle", firmware.State{Phase: firmware.Idle}, false, 1003 * time.Millisecond},
		{"idle-night", "idle", firmware.State{Phase: firmware.Idle}, true, 61003 * time.Millisecond},
		{"locked", "vault locked", firmware.State{Phase: firmware.VaultLocked, Faults: faulty(firmware.KeyMissing)}, false, 4003 * time.Millisecond},
		{"asking", "unknown phone", firmware.State{Phase: firmware.Asking}, false, 4003 * time.Millisecond},
		{"asking-drive", "unknown drive", firmware.State{Phase: firmware.AskingDrive}, false, 4003 * time.Millisecond},
		{"asking-page", "page asks", firmware.State{Phase: firmware.AskingPage}, false, 4003 * time.Millisecond},
		{"waiting", "phone needs you", firmware.State{Phase: firmware.Waiting, Faults: faulty(firmware.PhoneLocked)}, false, 6007 * time.Millisecond},
		{"copying-0", "backing up", firmware.State{Phase: firmware.Copying}, false, 4003 * time.Millisecond},
		{"copying-50", "backing up", firmware.State{Phase: firmware.Copying, Progress: at(503)}, false, 4003 * time.Millisecond},
		{"copying-100", "backing up", firmware.State{Phase: firmware.Copying, Progress: at(1000)}, false, 1003 * time.Millisecond},
		{"copying-degraded", "backing up", firmware.State{Phase: firmware.Copying, Progress: at(503), Faults: faulty(firmware.DriveMissing)}, false, 4003 * time.Millisecond},
		{"copying-night", "backing up", firmware.State{Phase: firmware.Copying, Progress: at(503)}, true, 61003 * time.Millisecond},
		{"verifying", "verifying", firmware.State{Phase: firmware.Verifying, Progress: at(503)}, false, 4003 * time.Millisecond},
		{"done", "done", firmware.State{Phase: firmware.Done}, false, 61003 * time.Millisecond},
		{"done-night-tapped", "done", firmware.State{Phase: firmware.Done, Awake: t0.Add(75003 * time.Millisecond)}, true, 80003 * time.Millisecond},
		{"restored", "restore done", firmware.State{Phase: firmware.Restored}, false, 61003 * time.Millisecond},
		{"arming", "restore: arming", firmware.State{Phase: firmware.Arming, Held: t0.Add(-2003 * time.Millisecond)}, false, 9007 * time.Millisecond},
		{"confirming", "restore: confirm", firmware.State{Phase: firmware.Confirming, Until: t0.Add(firmware.ConfirmFor), Restore: sources(1, 1)}, false, 13003 * time.Millisecond},
		{"confirming-end", "restore: confirm", firmware.State{Phase: firmware.Confirming, Until: t0.Add(1503 * time.Millisecond), Restore: sources(1, 1)}, false, 2003 * time.Millisecond},
		{"confirming-unchosen", "restore: confirm", firmware.State{Phase: firmware.Confirming, Until: t0.Add(firmware.ConfirmFor), Restore: sources(0, 3)}, false, 1003 * time.Millisecond},
		{"choosing-2", "restore: choose", firmware.State{Phase: firmware.Confirming, Until: t0.Add(firmware.ConfirmFor), Restore: sources(2, 3)}, false, 1003 * time.Millisecond},
		{"restoring-50", "restoring", firmware.State{Phase: firmware.Restoring, Progress: at(503)}, false, 4003 * time.Millisecond},
		{"words-in", "words not yet out", firmware.State{Phase: firmware.Done, Faults: faulty(firmware.WordsInBox)}, false, 4003 * time.Millisecond},
		{"words-in-idle", "words not yet out", firmware.State{Phase: firmware.Idle, Faults: faulty(firmware.WordsInBox)}, false, 4003 * time.Millisecond},
		{"problem-interrupted", "problem", firmware.State{Phase: firmware.Problem, Faults: faulty(firmware.Interrupted)}, false, 2003 * time.Millisecond},
	}
	for _, c := range []firmware.Code{firmware.PhoneUnplugged, firmware.DriveMissing, firmware.DrivesFull, firmware.TooFewDrives, firmware.DataLost} {
		out = append(out, scene{"problem-" + strings.ToLower(string(c)), "problem", firmware.State{Phase: firmware.Problem, Faults: faulty(c)}, false, 2003 * time.Millisecond})
	}
	return out
}

// trace is a line for each change: milliseconds, six lamps. Brightness is told as an eye would: . dark, ' a dot, - dim,
// + middle, # full.
func trace(sc scene) string {
	sc.state.Since = t0
	var b strings.Builder
	b.WriteString("# " + sc.row + "\n")
	was := ""
	for ms := range int(sc.last/time.Millisecond) + 1 {
		f := Frame(sc.state, t0.Add(time.Duration(ms)*time.Millisecond), sc.night)
		if lamps := eye(f); lamps != was {
			was = lamps
			fmt.Fprintf(&b, "%6d %s\n", ms, lamps)
		}
	}
	return b.String()
}

func eye(f hal.Frame) string {
	var b strings.Builder
	for i, l := range f {
		if i == hal.Amber {
			b.WriteByte(' ')
		}
		switch {
		case l == 0:
			b.WriteByte('.')
		case l <= hal.Percent(3):
			b.WriteByte('\'')
		case l < hal.Percent(40):
			b.WriteByte('-')
		case l < hal.Percent(80):
			b.WriteByte('+')
		default:
			b.WriteByte('#')
		}
	}
	return b.String()
}

func TestTraces(t *testing.T) {
	seen := map[string]bool{}
	files := map[string]bool{}
	for _, sc := range scenes() {
		sc.state.Since = t0
		seen[sc.row] = true
		name := filepath.Join("testdata", sc.file+".trace")
		files[name] = true
		t.Run(sc.file, func(t *testing.T) {
			if got := rowOf(sc.state).Name; got != sc.row {
				t.Errorf("shown as %q, want %q", got, sc.row)
			}
			golden(t, name, trace(sc))
		})
	}
	for _, r := range Rows() {
		if !seen[r.Name] {
			t.Errorf("row %q has no trace", r.Name)
		}
	}
	old, err := filepath.Glob("testdata/*.trace")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if !files[name] {
			t.Errorf("%s belongs to no scene", name)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if that is meant: go test ./ui/led -update, and review the diff.\n%s", name, got)
	}
}

func TestTheDocumentSaysWhatTheCodeDoes(t *testing.T) { golden(t, "../../docs/LIGHTS.md", Doc()) }

// No state but done and restored ever shows a full, steady bar, and at night nothing is brighter than the cap.
func TestOnlyDoneLooksDone(t *testing.T) {
	for _, sc := range scenes() {
		sc.state.Since = t0
		steady := true
		for ms := range 10000 {
			now := t0.Add(time.Duration(ms) * time.Millisecond)
			f := Frame(sc.state, now, false)
			steady = steady && f == bar(hal.Bars, full)
			for i, l := range Frame(sc.state, now, true) {
				if l > NightCap {
					t.Fatalf("%s: light %d is at %d at night", sc.file, i+1, l)
				}
			}
		}
		if done := sc.state.Phase == firmware.Done && sc.row != "words not yet out" || sc.state.Phase == firmware.Restored; steady != done {
			t.Errorf("%s: a full steady bar: %v", sc.file, steady)
		}
	}
}

// lamps is a strip that remembers, and fails when told.
type lamps struct {
	mu     sync.Mutex // guards what follows
	frames []hal.Frame
	broken bool
}

func (l *lamps) Show(f hal.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("strip: no answer")
	}
	l.frames = append(l.frames, f)
	return nil
}

func (l *lamps) newest() hal.Frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames[len(l.frames)-1]
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strip, states := &lamps{}, make(chan firmware.State)
		ended := make(chan error, 1)
		go func() { ended <- Run(t.Context(), strip, states, Options{}) }()
		states <- firmware.State{Phase: firmware.Done, Since: time.Now()}
		time.Sleep(59 * time.Second)
		if got := strip.newest(); got != bar(5, full) {
			t.Errorf("done shows %v", got)
		}
		time.Sleep(3 * time.Second)
		if got := strip.newest(); got != one(1, dot) {
			t.Errorf("a minute later %v", got)
		}
		shown := len(strip.frames)
		time.Sleep(time.Hour)
		if len(strip.frames) != shown {
			t.Errorf("%d frames were sent that changed nothing", len(strip.frames)-shown)
		}
		close(states)
		if err := <-ended; err != nil || strip.newest() != (hal.Frame{}) {
			t.Errorf("ends with %v, showing %v", err, strip.newest())
		}
	})
}

func TestRunSaysWhenTheStripIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strip := &lamps{broken: true}
		if err := Run(context.Background(), strip, make(chan firmware.State), Options{}); err == nil {
			t.Error("no error")
		}
	})
}

// A box goes from day to night with its lights on, and is dim, but never dark, while it does not know the time.
func TestRunIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strip, states, quiet := &lamps{}, make(chan firmware.State), make(chan Quiet, 1)
		now := Bright
		o := Options{Quiet: func(time.Time) Quiet {
			select {
			case now = <-quiet:
			default:
			}
			return now
		}}
		ended := make(chan error, 1)
		go func() { ended <- Run(t.Context(), strip, states, o) }()
		states <- firmware.State{Phase: firmware.Idle, Since: time.Now()}
		time.Sleep(2 * NightDark)
		for _, tt := range []struct {
			quiet Quiet
			want  hal.Frame
		}{{Bright, one(1, dot)}, {Dim, one(1, 1)}, {Night, hal.Frame{}}, {Bright, one(1, dot)}} {
			quiet <- tt.quiet
			time.Sleep(2 * time.Second)
			if got := strip.newest(); got != tt.want {
				t.Errorf("quiet %d: %v", tt.quiet, got)
			}
		}
		quiet <- Dim
		states <- firmware.State{Phase: firmware.Done, Since: time.Now()}
		time.Sleep(time.Second)
		if got := strip.newest(); got != bar(5, DimCap) {
			t.Errorf("done, dim: %v", got)
		}
		close(states)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
