package board

import (
	"fmt"
	"testing"
)

// TestMore is the life of a box that has less luck than the one of TestScenarios. Its lights hang on the board's pins.
func TestMore(t *testing.T) {
	t.Parallel()
	x := newLongBox(t)
	f := newFamily(x, 2)
	f.settings(wiring)
	for _, s := range []struct {
		name, shows string
		do          func(*family)
	}{
		{"no network, and a clock in 1970", "a backup all the same, and done on the lights; when the cable is plugged in, the page is there", offline},
		{"a locked phone", "light 1 blinks and amber asks for its owner; unlocked, it is backed up by itself", locked},
		{"a phone that only charges", "its owner is asked; when file transfer is chosen, it is backed up by itself", charging},
		{"a drive is pulled out while it is written, and comes back", "light 2 and amber; the backup ends all the same; put back, the drive is made whole, and both hold every byte", pulled},
	} {
		if !x.play(s.name, s.shows, func() { s.do(f) }) {
			t.Fatal("what follows needs a box that is well:\n" + x.m.Log())
		}
	}
}

// link pulls the network cable out, or plugs it in.
func (x *box) link(up bool) {
	x.Helper()
	if err := x.m.Command(x.Context(), "set_link", map[string]any{"name": "net", "up": up}, nil); err != nil {
		x.Fatal(err)
	}
}

// Nobody has plugged a network in, and nobody has ever told the board the time.
func offline(f *family) {
	f.boot("-rtc", "base=1970-01-02T00:00:00")
	f.link(false)
	f.plug(f.drives...)
	f.hear("clock was never set")
	f.hear("* idle")
	f.shine("the dot of a box that is ready", func(l frame) bool { return l[0] > 0 && l[0] < 0.2 && rest(l, 1) == 0 && l[5] == 0 })
	out := f.connect(f.anna)
	f.done()
	f.shine("the full bar of done", full)
	out()
	f.hear("unplugged")
	if _, seen := f.reel.last(); seen {
		f.Error("the page can be had without a network")
	}
	f.link(true)
	f.hear("network: the box is http://10.0.2.15/")
	f.show("the dot of a box that is ready", dot)
}

// Her phone is locked when she plugs it in; she unlocks it.
func locked(f *family) {
	f.on()
	f.anna.put(f.box, "DCIM/Camera/new.jpg", 1*mib)
	f.anna.Lock()
	out := f.connect(f.anna)
	f.attend(out, func() { f.anna.Unlock() })
}

// Her phone comes as one that only charges. She chooses file transfer: it goes, and comes back as another device.
func charging(f *family) {
	f.on()
	f.anna.put(f.box, "DCIM/Camera/newer.jpg", 1*mib)
	f.anna.ChargeOnly(true)
	out := f.connect(f.anna)
	f.attend(func() { out() }, func() {
		out()
		f.anna.ChargeOnly(false)
		out = f.connect(f.anna)
	})
}

// on starts a box that does not run yet, since a scenario is played without those before it.
func (f *family) on() {
	f.Helper()
	if f.m == nil {
		f.start()
	}
}

// attend sees the box ask the owner of a phone that is plugged in, who does what is to be done, and sees it be backed up.
func (f *family) attend(out, do func()) {
	f.Helper()
	f.hear("unlock your phone")
	f.shine("amber, and light 1 on", func(l frame) bool { return l[5] > 0.9 && l[0] > 0.9 && rest(l, 1) == 0 })
	f.shine("light 1 off", func(l frame) bool { return rest(l, 0) == 0 })
	do()
	f.done()
	f.shine("the full bar of done", full)
	out()
	f.hear("unplugged")
}

// A drive is pulled out in the middle of a backup, and half of what it had not flushed is lost. It is plugged in again.
func pulled(f *family) {
	f.on()
	for i := range 8 {
		f.anna.put(f.box, fmt.Sprintf("Download/%d.bin", i), 4*mib)
	}
	f.anna.ResetStats()
	out := f.connect(f.anna)
	f.until("half of the files have come", func() bool { return f.anna.Stats().Sent() > 16*mib })
	f.pull(f.drives[1])
	f.done()
	f.hear("B-10")
	f.shine("light 2 and amber", trouble(2))
	f.plug(f.drives[1])
	f.hear("Everything is protected again.")
	f.show("the full bar of done", full)
	out()
	f.cut()
	f.silent("B-16", "B-17", "B-99")
	f.vaulted(f.anna)
}
