package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phonebackupbox/image/vm"
)

// buttonLine and lamps are the lines of QEMU's GPIO chip that the button and the lights are at, as image/init/panel and the box.toml
// below have it.
const buttonLine = 7

var lamps = []int{0, 1, 2, 4, 5, 6}

// wire boots a card; the probe is on its board's pins.
func wire(t *testing.T, path string) (*vm.Machine, *probe) {
	t.Helper()
	m := boot(t, path)
	return m, &probe{t, m}
}

// probe is wires on a board's pins.
type probe struct {
	t *testing.T
	m *vm.Machine
}

// button moves the contact.
func (p *probe) button(down bool) {
	p.t.Helper()
	if err := p.m.SetPin(p.t.Context(), buttonLine, down); err != nil {
		p.t.Fatal(err)
	}
}

// look looks at the lights for so long, and returns for which part of the time each was lit.
func (p *probe) look(d time.Duration) (lit [6]float64) {
	p.t.Helper()
	n := 0.0
	for from := time.Now(); time.Since(from) < d; n++ {
		data, err := p.m.Pins()
		if err != nil {
			p.t.Fatal(err)
		}
		for i, line := range lamps {
			lit[i] += float64(data >> line & 1)
		}
		time.Sleep(time.Duration(137+int(n)*7919%211) * time.Microsecond) // not in step with the pulses
	}
	for i := range lit {
		lit[i] /= n
	}
	return lit
}

// Frames come out of the chip's pins as they should, and edges come in with the time at which they were.
func TestPins(t *testing.T) {
	if !*inVM {
		t.Skip("boots a machine: make vm")
	}
	m, p := wire(t, card(t, map[string]string{"user/boxd": "./panel"}, ""))
	for _, want := range []string{`no such GPIO chip as chip = "auto" of [board]; this machine has: 9030000.pl061`,
		"the button cannot be at line 8 of 9030000.pl061, which has lines 0 to 7", `button on 9030000.pl061: line 3 is used by "GPIO Key Poweroff"`} {
		hear(t, m, "refused: "+want)
	}
	hear(t, m, "panel: ready")
	tell := func(line string) {
		t.Helper()
		if err := m.Type(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, frame := range [][6]int{{0, 255, 0, 255, 255, 0}, {0, 255, 60, 128, 200, 128}, {}} {
		tell(fmt.Sprint("show ", strings.Trim(fmt.Sprint(frame), "[]")))
		hear(t, m, "panel: did")
		lit := p.look(4 * time.Second)
		t.Logf("levels %v: lit %.3f of the time", frame, lit)
		for i, l := range frame {
			if (l == 0 || l == 255) && lit[i] != float64(l)/255 || l > 0 && lit[i] == 0 || l < 255 && lit[i] == 1 {
				t.Errorf("light %d at level %d is lit %.3f of the time", i+1, l, lit[i])
			}
			// How much exactly, hal/rpi's tests look at: QEMU wakes its guest a millisecond late.
			for j, other := range frame {
				if l > other && lit[i] <= lit[j] {
					t.Errorf("light %d at level %d is lit %.3f of the time, light %d at %d is %.3f", i+1, l, lit[i], j+1, other, lit[j])
				}
			}
		}
	}

	// Nobody reads the edges until long after the last of them. Closer ones than these may melt into one, in QEMU as on a board.
	var moved []time.Time
	for i, pause := range []time.Duration{0, 400, 300, 250, 500, 300, 1000, 251} { // ms
		time.Sleep(pause * time.Millisecond)
		p.button(i%2 == 0)
		moved = append(moved, time.Now())
	}
	time.Sleep(3 * time.Second)
	tell(fmt.Sprintf("edges %d", len(moved)))
	var first int64
	for i, at := range moved {
		var down bool
		var us int64
		line := next(t, m, "panel: edge ")
		if _, err := fmt.Sscanf(line, "panel: edge %v %d", &down, &us); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if i == 0 {
			first = us
		}
		got := time.Duration(us-first) * time.Microsecond
		if want := at.Sub(moved[0]); down != (i%2 == 0) || (got-want).Abs() > 150*time.Millisecond {
			t.Errorf("edge %d: down %v after %v, want %v", i, down, got, want)
		}
	}
}

// next returns the next line that begins with words.
func next(t *testing.T, m *vm.Machine, words string) string {
	t.Helper()
	for {
		line, ok := m.Next(silence)
		if !ok {
			t.Fatalf("nothing more:\n%s", m.Log())
		}
		if strings.HasPrefix(line, words) {
			return line
		}
	}
}

// The real boxd shows on real pins that the vault is locked; when the button is held, with a contact that bounces, the machine is
// switched off.
func TestBoxdOnItsBoard(t *testing.T) {
	if !*inVM {
		t.Skip("boots a machine: make vm")
	}
	perm := settings(t, "quiet = \"never\"\nunlock = \"keystick\"\n[board]\nchip = \""+vm.PinLabel+"\"\nlights = [0, 1, 2, 4, 5, 6]\nbutton = 7\nbutton_active_high = true\n")
	if err := os.WriteFile(filepath.Join(perm, "box", "vault-id"), []byte("a vault whose key is on a stick\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, p := wire(t, card(t, map[string]string{"user/boxd": "../../cmd/boxd"}, perm))
	hear(t, m, "* the vault is locked")
	p.look(time.Second)
	var dim, bright [6]float64
	for i := range 40 { // lights 2 and 4 breathe, once in 4 s
		lit := p.look(200 * time.Millisecond)
		for j, l := range lit {
			if i == 0 {
				dim[j] = l
			}
			dim[j], bright[j] = min(dim[j], l), max(bright[j], l)
		}
	}
	t.Logf("lit from %.3f to %.3f of the time", dim, bright)
	for i := range bright {
		if breathes := i == 1 || i == 3; breathes && (dim[i] > 0.1 || bright[i] < 0.7) || !breathes && bright[i] > 0 {
			t.Errorf("light %d is lit from %.3f to %.3f of the time", i+1, dim[i], bright[i])
		}
	}
	bounce := func(down bool) {
		for i := range 5 {
			p.button(down == (i%2 == 0))
			time.Sleep(2 * time.Millisecond)
		}
	}
	bounce(true)
	time.Sleep(3500 * time.Millisecond)
	bounce(false)
	for _, words := range []string{"* letting go of the drives", "* off", "init: the box is to be switched off", "all is written; the box is to be switched off"} {
		hear(t, m, words)
	}
	if err := m.Wait(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"is started again", "watchdog:"} {
		if strings.Contains(m.Log(), bad) {
			t.Errorf("the console says %q:\n%s", bad, m.Log())
		}
	}
}
