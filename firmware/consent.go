package firmware

import (
	"errors"
	"time"
)

// Consent is what a page asks of whoever stands at the box: a tap until Until is the yes.
type Consent struct {
	For   string    `json:"-"`     // names who asked; they made it up, and nobody else knows it
	What  string    `json:"what"`  // is to be done, such as "let Anna's tablet in"
	Until time.Time `json:"until"` // for the tap, and after it for whoever asked to come for the answer
	Yes   bool      `json:"yes"`

	asked time.Time
}

// Commands of a page that wants a hand at the box.
type (
	// AskConsent has the lights ask for a tap. One at a time: another is refused until it was answered or AskFor has passed.
	AskConsent struct{ For, What string }
	// DropConsent withdraws it, or says that the answer was taken.
	DropConsent struct{ For string }
	// WordsWritten: the owner has the 24 words on paper, and has shown it.
	WordsWritten struct{}
)

func (AskConsent) command()   {}
func (DropConsent) command()  {}
func (WordsWritten) command() {}

func (s State) allowsConsent(c AskConsent) error {
	switch p := s.Consent; {
	case c.For == "":
		return errors.New("nobody asks")
	case p != nil && p.For != c.For:
		return errors.New("another page waits for a press of the button: try again in two minutes")
	case !s.memory.booted:
		return errors.New("the box is starting")
	case s.Restore != nil && !s.Restore.Ended:
		return errors.New("a restore is under way")
	case s.Job.Kind == JobUpdate || s.Restart != NoRestart:
		return errors.New("the box is about to start anew")
	}
	return nil
}

// asksConsent reports whether the lights ask for a tap that a page waits for. It goes before every other question: only who knows
// the box's code can have it asked, so somebody stands there and waits. A restore alone goes before it.
func (s *State) asksConsent(now time.Time) bool {
	p := s.Consent
	return p != nil && !p.Yes && now.Before(p.Until) && (s.Restore == nil || s.Restore.Ended)
}

// answers takes a tap as the yes that is asked for, and reports whether it is one. A finger that went down before the lights asked
// meant something else.
func (s *State) answers(now time.Time) bool {
	if !s.asksConsent(now) || s.memory.downAt.Before(s.Consent.asked) {
		return false
	}
	s.Consent.Yes, s.Consent.Until = true, now.Add(AskFor)
	s.say(now, "A press of the button said yes to a page: "+s.Consent.What+".")
	return true
}

// expireConsent forgets a question whose time is over, and an answer that nobody came for.
func (s *State) expireConsent(now time.Time) {
	if s.Consent != nil && !now.Before(s.Consent.Until) {
		s.Consent = nil
	}
}

func (s *State) dropConsent(c DropConsent) {
	if s.Consent != nil && s.Consent.For == c.For {
		s.Consent = nil
	}
}
