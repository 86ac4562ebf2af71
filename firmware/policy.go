package firmware

import "fmt"

// A Policy is what the owner chose about who may open the vault and who may have a restore. It guards against a thief
// who has the box and its drives together (Unlock), and against a person at the button (RestoreByButton); drives that are
// lost or stolen alone are safe under every Policy. The zero value is the default: the box works alone.
type Policy struct {
	Unlock          Unlock        `toml:"unlock"`
	RestoreByButton ButtonRestore `toml:"restore_by_button"`
}

// Unlock says where the key is found when the box starts.
type Unlock string

// The ways to unlock. With UnlockKeyStick the card has the key only until a key stick, or paper, has it; from then on the box waits
// after each start until the stick was put in once.
const (
	UnlockCard     Unlock = "card"
	UnlockKeyStick Unlock = "keystick"
)

// ButtonRestore says whether the button may put a backup onto a new phone.
type ButtonRestore string

// The answers. ButtonNo leaves restoring to whoever has the words and a computer.
const (
	ButtonYes      ButtonRestore = "yes"
	ButtonKeyStick ButtonRestore = "keystick" // while the key stick is in
	ButtonNo       ButtonRestore = "no"
)

// Check refuses what is not one of the ways and answers above, by the names that the settings have.
func (p Policy) Check() error {
	switch p.Unlock {
	case "", UnlockCard, UnlockKeyStick:
	default:
		return fmt.Errorf(`unlock: %.40q is neither "card" nor "keystick"`, string(p.Unlock))
	}
	switch p.RestoreByButton {
	case "", ButtonYes, ButtonKeyStick, ButtonNo:
		return nil
	}
	return fmt.Errorf(`restore_by_button: %.40q is none of "yes", "keystick" and "no"`, string(p.RestoreByButton))
}

// KeyOnCard reports whether the box may keep its key on its card.
func (p Policy) KeyOnCard() bool { return p.Unlock == "" || p.Unlock == UnlockCard }

// MayRestore reports whether the button may start a restore now. stick says that a key stick of this vault is in. What is
// neither of the answers, which no decoder lets through, counts as no.
func (p Policy) MayRestore(stick bool) bool {
	switch p.RestoreByButton {
	case "", ButtonYes:
		return true
	case ButtonKeyStick:
		return stick
	}
	return false
}
