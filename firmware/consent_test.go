package firmware

import (
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

// finger presses the button for a moment.
func (st *story) finger() *story {
	return st.then(time.Second, Pressed{Gesture{Kind: Press}}).then(100*time.Millisecond, Pressed{Gesture{Release, 100 * time.Millisecond}}).tap()
}

// asks has a page ask for a press.
func (st *story) asks(who string) *story {
	st.t.Helper()
	c := AskConsent{who, "let a tablet in"}
	if err := st.s.Allows(c); err != nil {
		st.t.Fatal(err)
	}
	return st.then(time.Second, Asked{c})
}

// said reports whether the press that who asked for was given.
func (st *story) said(who string) bool {
	return st.s.Consent != nil && st.s.Consent.For == who && st.s.Consent.Yes
}

func started(t *testing.T) *story {
	st := &story{t: t, now: time.Unix(1000, 0)}
	st.s = newState(st.now)
	return st.then(0, Booted{Health: well()})
}

func TestAPressSaysYesToAPage(t *testing.T) {
	st := started(t).asks("a").is(AskingPage)
	if st.said("a") {
		t.Error("yes before anybody pressed")
	}
	if err := st.s.Allows(AskConsent{"b", "let another in"}); err == nil {
		t.Error("a second page may take the press of the first")
	}
	before := st.s
	st.finger().is(Idle)
	if !st.said("a") || st.said("b") || before.Consent.Yes {
		t.Errorf("the press: %+v; before: %+v", st.s.Consent, before.Consent)
	}
	st.then(0, Asked{DropConsent{"b"}})
	if !st.said("a") {
		t.Error("another page took the answer away")
	}
	if st.then(0, Asked{DropConsent{"a"}}); st.s.Consent != nil {
		t.Error("it is still asked for")
	}
	if st.asks("c").then(0, Pressed{Gesture{Kind: Press}}).then(time.Second, Pressed{Gesture{Kind: DoubleTap}}); !st.said("c") {
		t.Error("a double press is none")
	}
}

// Who comes for the answer too late, or to a question that nobody answered, gets none.
func TestAPressIsAskedForTwoMinutes(t *testing.T) {
	st := started(t).asks("a").wait(AskFor).is(Idle).finger()
	if st.s.Consent != nil {
		t.Errorf("too late: %+v", st.s.Consent)
	}
	if st.asks("a").finger().wait(AskFor); st.s.Consent != nil {
		t.Error("the answer waits for ever")
	}
}

// A finger that was down before the page asked did not mean that.
func TestAPressThatBeganBeforeIsNone(t *testing.T) {
	st := started(t).then(time.Second, Pressed{Gesture{Kind: Press}})
	st.then(0, Pressed{Gesture{Release, 100 * time.Millisecond}})
	if st.asks("a").tap(); st.said("a") {
		t.Error("it counts")
	}
}

// The page's question goes before a phone's, and a tap is what the lights ask for; a restore goes before both.
func TestWhatAPressIsForWhileOthersAsk(t *testing.T) {
	st := started(t).plug(1, usbhost.Info{ID: fresh}).is(Asking).asks("a").is(AskingPage).finger().runs(NoJob).is(Asking)
	if !st.said("a") {
		t.Error("the tap was not the page's")
	}
	st.tap().runs(JobEnrol)
	st = started(t)
	st.s.Restore = &Restore{until: st.now.Add(time.Minute), Port: 1}
	if err := st.s.Allows(AskConsent{"a", "x"}); err == nil {
		t.Error("a page may ask in the middle of a restore")
	}
}

func TestNoPageIsHeardBeforeTheBoxHasStarted(t *testing.T) {
	if err := newState(time.Unix(1000, 0)).Allows(AskConsent{"a", "x"}); err == nil {
		t.Error("it is")
	}
}

// Words on paper are noted by a job, and the box is not the only one to have them any more.
func TestWordsOnPaperAreNoted(t *testing.T) {
	st := started(t)
	if err := st.s.Allows(WordsWritten{}); err == nil {
		t.Error("there is nothing to note")
	}
	in := well()
	in.WordsIn = true
	st.then(time.Second, Asked{CheckDrives{}}).then(0, Checked{Job: st.s.Job.N, Health: in}).faults(WordsInBox)
	st.then(time.Second, Asked{WordsWritten{}}).runs(JobStick)
	if st.s.Job.Drive != "" {
		t.Errorf("a stick is made: %+v", st.s.Job)
	}
	st.then(time.Second, StickMade{Job: st.s.Job.N, Health: well()}).faults().runs(NoJob)
}
