package main

import (
	"testing"
	"time"
)

func TestWhenTheLightsAreQuiet(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	for _, tt := range []struct {
		q            quietHours
		hour, minute int
		zone         *time.Location
		trusted      bool
		quiet, known bool
	}{
		{"", 20, 59, berlin, true, false, true},
		{"", 21, 0, berlin, true, true, true},
		{"", 6, 59, berlin, true, true, true},
		{"", 7, 0, berlin, true, false, true},
		{"", 3, 0, berlin, false, false, false},  // 1970
		{"", 3, 0, time.UTC, true, false, false}, // nobody told it where it stands
		{"20:00-06:00", 3, 0, time.UTC, true, true, true},
		{"01:30 - 02:30", 2, 29, berlin, true, true, true},
		{"01:30-02:30", 2, 30, berlin, true, false, true},
		{"never", 3, 0, berlin, false, false, true},
	} {
		quiet, known := tt.q.at(time.Date(2026, 1, 2, tt.hour, tt.minute, 0, 0, tt.zone), tt.trusted)
		if quiet != tt.quiet || known != tt.known {
			t.Errorf("%q at %d:%02d %v, trusted %v: quiet %v, known %v", tt.q, tt.hour, tt.minute, tt.zone, tt.trusted, quiet, known)
		}
	}
	for _, wrong := range []quietHours{"21-7", "21:00", "21:00-21:00", "25:00-07:00", "always"} {
		if err := (config{Retention: defaults().Retention, Quiet: wrong}).check(); err == nil {
			t.Errorf("quiet = %q is taken", wrong)
		}
	}
}
