package plain

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how many bytes a name here may have: ext4 takes 255 bytes, exFAT and FAT 255 UTF-16 units. Some are left for
// the number that tells two names apart.
const maxName = 240

// reserved are the names that Windows keeps for devices, whatever their extension, the last two with a digit.
var reserved = []string{"CON", "PRN", "AUX", "NUL", "COM", "LPT"}

// fit makes a phone's name one that every file system and computer takes. Characters that FAT or Windows refuse become
// their full-width twins, which look alike. Two names may become one: unique tells them apart.
func fit(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "%%%02X", name[i]) // no character: its byte, in hexadecimal
		case r < ' ':
			b.WriteRune('\u2400' + r) // the control pictures
		case r == 0x7f:
			b.WriteRune('\u2421')
		case strings.ContainsRune(`<>:"/\|?*`, r):
			b.WriteRune(r - '!' + '\uff01') // the full-width forms
		default:
			b.WriteRune(r)
		}
		i += n
	}
	s := b.String()
	if last := s[len(s)-1:]; last == "." || last == " " {
		s = s[:len(s)-1] + map[string]string{".": "\uff0e", " ": "\u2420"}[last]
	}
	stem, _, _ := strings.Cut(s, ".")
	for _, r := range reserved {
		rest, ok := strings.CutPrefix(strings.ToUpper(strings.TrimRight(stem, " ")), r)
		digit := len(rest) == 1 && '0' <= rest[0] && rest[0] <= '9'
		if ok && (rest == "" || digit) {
			s = "_" + s
		}
	}
	return cut(s)
}

// cut shortens a name that is too long, in front of its extension and between characters.
func cut(s string) string {
	if len(s) <= maxName {
		return s
	}
	ext := path.Ext(s)
	if len(ext) > 20 {
		ext = ""
	}
	end := maxName - len(ext)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimRight(s[:end], ". ") + ext
}

// fold maps names that some file system takes for the same onto one: FAT, exFAT, NTFS and macOS ignore case.
func fold(name string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, name)
}

// unique finds a name like want that taken does not hold, and adds it there: "a.jpg", "a (2).jpg", "a (3).jpg", …
func unique(want string, taken map[string]bool) string {
	ext := path.Ext(want)
	if ext == want { // a hidden file, not an extension
		ext = ""
	}
	for n, name := 2, want; ; n++ {
		if !taken[fold(name)] {
			taken[fold(name)] = true
			return name
		}
		name = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(want, ext), n, ext)
	}
}
