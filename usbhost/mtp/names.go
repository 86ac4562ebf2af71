package mtp

import (
	"fmt"
	"path"
	"strings"
)

// escape turns a phone's name into one element of a path, and unescape back. Almost every name is its own escape. Those
// that no path can hold are written with percent signs: "/" as %2F, NUL as %00, a whole "." as %2E and ".." as %2E%2E, and
// no name at all as "%-". A percent sign that would be taken for one of these is written %25; all others stay.
func escape(name string) string {
	switch name {
	case "":
		return "%-"
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	case "%-":
		return "%25-"
	}
	if !strings.ContainsAny(name, "/\x00%") {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			b.WriteString("%2F")
		case c == 0:
			b.WriteString("%00")
		case c == '%' && isEscape(name[i:]):
			b.WriteString("%25")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

var escapes = map[string]string{"%2F": "/", "%00": "\x00", "%2E": ".", "%25": "%"}

func isEscape(s string) bool {
	if len(s) < 3 {
		return false
	}
	_, ok := escapes[s[:3]]
	return ok
}

func unescape(elem string) string {
	if elem == "%-" {
		return ""
	}
	if !strings.Contains(elem, "%") {
		return elem
	}
	var b strings.Builder
	for i := 0; i < len(elem); {
		if isEscape(elem[i:]) {
			b.WriteString(escapes[elem[i:i+3]])
			i += 3
			continue
		}
		b.WriteByte(elem[i])
		i++
	}
	return b.String()
}

// numbered puts words before a name's extension: "a.jpg", "(2)" → "a (2).jpg".
func numbered(name, words string) string {
	ext := path.Ext(name)
	if ext == name { // a hidden file, not an extension
		ext = ""
	}
	return strings.TrimSuffix(name, ext) + " " + words + ext
}

// distinct returns elem, or elem with the first number that makes it differ from all in taken, and takes it.
func distinct(elem string, taken map[string]bool) string {
	free := elem
	for n := 2; taken[free]; n++ {
		free = numbered(elem, fmt.Sprintf("(%d)", n))
	}
	taken[free] = true
	return free
}
