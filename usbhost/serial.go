package usbhost

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sharedSerials are serial numbers that makers forgot to replace, so that every phone of a model, or of many, has the same; in
// lower case, without what is neither letter nor digit. The number is that of many Allwinner tablets.
var sharedSerials = []string{"unknown", "none", "null", "android", "default", "serial", "serialnumber", "nosn", "na", "tobefilledbyoem",
	"20080411413fc082"}

// runs are what the numbers count along that a program's writer typed for want of a real one.
var runs = []string{"0123456789abcdefghijklmnopqrstuvwxyz", "1234567890abcdef", "9876543210"}

// OwnSerial returns a device's serial number, or "" if it is one that other devices have too: a word such as "unknown", one letter
// over and over, or the digits in a row ("0123456789ABCDEF", MediaTek's).
func OwnSerial(serial string) string {
	bare := strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, serial)
	first, _ := utf8.DecodeRuneInString(bare)
	switch {
	case bare == "", strings.Trim(bare, string(first)) == "", slices.Contains(sharedSerials, bare):
		return ""
	case len(bare) >= 6 && slices.ContainsFunc(runs, func(run string) bool { return strings.Contains(run, bare) }):
		return ""
	}
	return serial
}
