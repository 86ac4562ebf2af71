package console

import (
	"bufio"
	"fmt"
	"io"
	"unicode/utf8"
)

var errTooLong = fmt.Errorf("a line is at most %d bytes", MaxLine)

// lineReader reads lines as they are typed on a serial port: CR, LF or both end one, backspace takes back a letter, Ctrl-U
// and Ctrl-C the whole line. Other control characters, and the sequences that cursor keys send, are not heard.
type lineReader struct {
	from   io.Reader // whose bytes r has
	r      *bufio.Reader
	echo   bool
	out    *output
	line   []byte
	wasCR  bool
	escape int // 0 no; 1 after ESC; 2 within ESC [ ...
}

// next is the next line without its end. A last line without an end counts.
func (l *lineReader) next() (string, error) {
	l.line = l.line[:0]
	long := false
	for {
		c, err := l.r.ReadByte()
		if err != nil {
			if len(l.line) > 0 && !long {
				return string(l.line), nil
			}
			return "", err
		}
		wasCR := l.wasCR
		l.wasCR = c == '\r'
		switch {
		case l.swallow(c):
		case c == '\n' && wasCR:
		case c == '\r' || c == '\n':
			l.show("\r\n")
			if long {
				return "", errTooLong
			}
			return string(l.line), nil
		case long:
		case c == 0x08 || c == 0x7f:
			l.back()
		case c == 0x15 || c == 0x03:
			for len(l.line) > 0 {
				l.back()
			}
		case c < 0x20 && c != '\t':
		case len(l.line) == MaxLine:
			long = true
		default:
			l.line = append(l.line, c)
			l.show(string([]byte{max(c, ' ')}))
		}
	}
}

// drop throws away what was typed and not read yet.
func (l *lineReader) drop() {
	if d, ok := l.from.(interface{ DropInput() error }); ok && d.DropInput() != nil {
		return // the next Read tells
	}
	_, _ = l.r.Discard(l.r.Buffered()) // never fails
	l.wasCR, l.escape = false, 0
}

// swallow takes the bytes of an escape sequence (ECMA-48, 5.4).
func (l *lineReader) swallow(c byte) bool {
	switch {
	case c == 0x1b:
		l.escape = 1
	case l.escape == 1 && (c == '[' || c == 'O'):
		l.escape = 2
	case l.escape == 1:
		l.escape = 0
		return c >= 0x20 && c < 0x7f // ESC and a letter
	case l.escape == 2 && c >= 0x20 && c < 0x40:
	case l.escape == 2:
		l.escape = 0
		return c >= 0x40 && c < 0x7f
	default:
		return false
	}
	return true
}

// back takes back the last letter.
func (l *lineReader) back() {
	if len(l.line) == 0 {
		return
	}
	_, n := utf8.DecodeLastRune(l.line)
	l.line = l.line[:len(l.line)-n]
	l.show("\b \b")
}

// show echoes. Bytes above ASCII go out as they are, so that a letter of several bytes is whole again on the terminal.
func (l *lineReader) show(s string) {
	if l.echo {
		l.out.print(s)
	}
}
