//go:build !rescue

package main

import (
	"os"
	"testing"
)

// TestANewDriveStandsInForOneThatIsMissing: after B-10's advice, plugging in another one, the box waits for the old one no more; but
// only when the others protect everything without it.
func TestANewDriveStandsInForOneThatIsMissing(t *testing.T) {
	pull := func(t *testing.T, dirs ...string) {
		for _, dir := range dirs {
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		gone   int  // drives pulled, of three
		adopt  bool // a new one is tapped in then
		back   bool // they are plugged in again before the drives are whole
		states string
	}{
		{"one", 1, true, false, "drive1:ok drive2:ok spare:ok"},
		{"one, and nothing new", 1, false, false, "drive0:away drive1:ok drive2:ok"},
		{"two, and one that is new", 2, true, false, "drive0:away drive1:away drive2:ok spare:ok"},
		{"one that comes back", 1, true, true, "drive0:ok drive1:ok drive2:ok spare:ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, drives, spare := newBays(t)
			b.state = t.TempDir()
			if _, err := b.Health(t.Context()); err != nil {
				t.Fatal(err)
			}
			pull(t, drives[:tt.gone]...)
			if tt.adopt {
				if err := os.Mkdir(spare, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := b.Adopt(t.Context(), spare); err != nil {
					t.Fatal(err)
				}
			}
			if tt.back {
				for _, dir := range drives[:tt.gone] {
					if err := os.Rename(dir+".away", dir); err != nil {
						t.Fatal(err)
					}
				}
			}
			b = restarted(t, b)
			h, err := b.Heal(t.Context(), func(int64, int64) {})
			if err != nil {
				t.Fatal(err)
			}
			if got := states(t, b); got != tt.states {
				t.Errorf("%s, want %s", got, tt.states)
			}
			if want := !(tt.gone == 1 && !tt.adopt || tt.gone == 2); h.Protected() != want {
				t.Errorf("protected: %v, want %v: %+v", h.Protected(), want, h)
			}
		})
	}
}

// restarted is the same box after the power went.
func restarted(t *testing.T, b *bays) *bays {
	t.Helper()
	if err := b.Eject(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := &bays{password: b.password, state: b.state}
	for _, dir := range b.slots {
		n.plug(dir)
	}
	t.Cleanup(func() {
		if err := n.Eject(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return n
}
