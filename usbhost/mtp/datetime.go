package mtp

import "time"

// parseTime reads a DateTime string, "YYYYMMDDThhmmss[.s][Z|±hhmm]" (MTP 1.1, section 3.2.5). Without a zone, which is
// how Android sends it, it is the phone's local time and taken to be in local. What is no date ("20480000T000000" has been
// seen) is unknown, the zero Time; a date never fails a file.
//
// Android counts whole seconds, and nothing in MTP tells the phone's zone or whether daylight saving shifted a time: an hour
// that occurs twice is taken as its first, and a phone that travels gives other times to unchanged files, which are then
// read again.
func parseTime(s string, local *time.Location) time.Time {
	const layout = "20060102T150405"
	if len(s) < len(layout) {
		return time.Time{}
	}
	stamp, rest := s[:len(layout)], s[len(layout):]
	var frac time.Duration
	if rest != "" && rest[0] == '.' {
		unit := time.Second
		for rest = rest[1:]; rest != "" && '0' <= rest[0] && rest[0] <= '9'; rest = rest[1:] {
			unit /= 10
			frac += unit * time.Duration(rest[0]-'0')
		}
	}
	zone := local
	switch {
	case rest == "":
	case rest == "Z":
		zone = time.UTC
	default:
		offset, err := time.Parse("-0700", rest)
		if err != nil {
			return time.Time{}
		}
		_, seconds := offset.Zone() // its Location may be time.Local, with daylight saving
		zone = time.FixedZone("", seconds)
	}
	t, err := time.ParseInLocation(layout, stamp, zone)
	if err != nil {
		return time.Time{}
	}
	return t.Add(frac)
}

// formatTime writes a DateTime string in UTC, the only form that Android reads independent of its zone; "" if t is
// unknown or out of the form's four digits of a year.
func formatTime(t time.Time) string {
	t = t.UTC()
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return t.Format("20060102T150405Z")
}
