package array

import "strings"

// several is more than one error, on one line.
type several []error

// join is errors.Join for messages that people read: on one line, and each said once.
func join(errs ...error) error {
	var s several
	for _, err := range errs {
		if err != nil {
			s = append(s, err)
		}
	}
	switch len(s) {
	case 0:
		return nil
	case 1:
		return s[0]
	}
	return s
}

func (s several) Error() string {
	var b strings.Builder
	said := make(map[string]bool)
	for _, err := range s {
		if m := err.Error(); !said[m] {
			if said[m] = true; b.Len() > 0 {
				b.WriteString("; ")
			}
			b.WriteString(m)
		}
	}
	return b.String()
}

func (s several) Unwrap() []error { return s }
