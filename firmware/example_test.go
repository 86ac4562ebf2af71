package firmware_test

import (
	"fmt"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// A State needs no box: events go in, and what a person would see comes out.
func ExampleState_Next() {
	now := time.Unix(1003, 0)
	var s firmware.State
	for _, e := range []firmware.Event{
		firmware.Booted{
			Enrolled: []firmware.Enrolment{{ID: "mtp:1A2B", Name: "Anna's phone", Order: 1}},
			Health:   firmware.Health{Want: 1, Now: 1},
		},
		firmware.PhoneArrived{Port: 1},
		firmware.PhoneIdentified{Port: 1, Info: usbhost.Info{ID: "mtp:1A2B", Name: "Anna's phone", Locked: true}},
		firmware.PhoneIdentified{Port: 1, Info: usbhost.Info{ID: "mtp:1A2B", Name: "Anna's phone"}},
		firmware.Progressed{Job: 1, Progress: usbhost.Progress{Phase: usbhost.Copying, Bytes: 12e9, BytesTotal: 25e9}},
		firmware.BackupEnded{Job: 1, Phone: "mtp:1A2B", Report: usbhost.Report{Listed: 9, Stored: 5}, Err: usbhost.ErrUnplugged},
	} {
		now = now.Add(time.Second)
		s = s.Next(now, e)
		fmt.Printf("%-8s %s\n", s.Phase, s.Title())
		if s.Phase == firmware.Copying {
			fmt.Println("        ", s.Progress.Summary())
		}
	}
	// Output:
	// idle     Ready: plug in a phone
	// idle     Ready: plug in a phone
	// waiting  Unlock Anna's phone
	// copying  Backing up Anna's phone
	//          listing
	// copying  Backing up Anna's phone
	//          48 % · 12 of 25 GB · 12 GB/s · 1 s left
	// problem  B-02 The phone came unplugged before its backup was done.
}

// The contact of a button bounces; what comes out is what the hand did.
func ExampleGestures() {
	var g firmware.Gestures
	at := func(ms int) time.Time { return time.Unix(1003, 0).Add(time.Duration(ms) * time.Millisecond) }
	var did []firmware.Gesture
	for _, e := range []struct {
		ms   int
		down bool
	}{{0, true}, {1, false}, {2, true}, {10407, false}} {
		did = append(did, g.Edge(at(e.ms), e.down)...)
	}
	did = append(did, g.Elapse(at(10500))...)
	for _, d := range did {
		if d.Kind == firmware.Release {
			fmt.Println("let go after", d.Held)
		}
	}
	// Output: let go after 10.405s
}
