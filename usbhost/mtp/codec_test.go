package mtp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"phonebackupbox/usbhost"
)

// unhex reads bytes written as in the specification: fields apart.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Datasets written by hand from MTP 1.1, field by field.
var (
	goldenCommand  = unhex("1c000000 0100 c195 07000000 0a000000 00000080 01000000 00ff2f00")
	goldenResponse = unhex("10000000 0300 0120 07000000 00ff2f00")
	goldenEvent    = unhex("10000000 0400 0440 00000000 02000100")
	goldenDevice   = unhex(`6400 06000000 6400 02 6100 0000 0000
		03000000 0110 0210 c195  01000000 0240  00000000 00000000 00000000
		04 4d00 6b00 7200 0000  02 4d00 0000  00  03 5300 4e00 0000`)
	goldenStorage = unhex(`0300 0200 0000 0000000001000000 0100000000000000 ffffffff 03 5300 4400 0000 00`)
	goldenObject  = unhex(`01000100 0138 0000 ffffffff 0838 00000000 00000000 00000000 00000000 00000000 00000000
		05000000 0000 00000000 00000000
		06 6100 2e00 3dd8 f7dc 00d8 0000
		00 10 3200300032003400300036003000310054003100320033003000300030000000 00`)
	goldenList = unhex(`03000000
		01000000 07dc ffff 02 6100 0000
		01000000 04dc 0800 0000000001000000
		02000000 48dc 0240 03000000 010203`)
)

func TestGoldenContainers(t *testing.T) {
	got := appendCommand(nil, opGetPartialObject64, 7, []uint32{10, 0x80000000, 1, 0x2fff00})
	if !bytes.Equal(got, goldenCommand) {
		t.Errorf("command %x", got)
	}
	a, err := parseAnswer(goldenResponse, typeResponse)
	if want := (answer{uint16(OK), 7, [5]uint32{0x2fff00}}); err != nil || a != want {
		t.Errorf("response %+v, %v", a, err)
	}
	if e, err := parseAnswer(goldenEvent, typeEvent); err != nil || e.code != eventStoreAdded || e.params[0] != 0x10002 {
		t.Errorf("event %+v, %v", e, err)
	}
	if _, err := parseAnswer(goldenEvent, typeResponse); !errors.Is(err, errMalformed) {
		t.Errorf("an event is no response: %v", err)
	}
}

func TestGoldenDatasets(t *testing.T) {
	d, err := parseDeviceInfo(goldenDevice)
	want := deviceInfo{operations: []uint16{0x1001, 0x1002, 0x95C1}, properties: []uint16{}, maker: "Mkr", model: "M", serial: "SN"}
	if err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("device info %+v, %v", d, err)
	}
	s, err := parseStorageInfo(goldenStorage)
	if err != nil || s.total != 1<<32 || s.free != 1 || s.description != "SD" {
		t.Errorf("storage info %+v, %v", s, err)
	}
	o, err := parseObjectInfo(goldenObject)
	if err != nil || o.storage != 0x10001 || o.format != 0x3801 || o.size != sizeUnknown || o.parent != 5 || o.name != "a.📷\xed\xa0\x80" || o.modified != "20240601T123000" {
		t.Errorf("object info %+v, %v", o, err)
	}
	for n := range goldenObject { // every cut is an error
		if _, err := parseObjectInfo(goldenObject[:n]); !errors.Is(err, errMalformed) {
			t.Errorf("object info cut at %d: %v", n, err)
		}
	}
}

func TestGoldenPropList(t *testing.T) {
	l, err := newPropList(iotest.OneByteReader(bytes.NewReader(goldenList)), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []property{{handle: 1, code: propFileName, str: "a"}, {handle: 1, code: propSize, num: 1 << 32}, {handle: 2, code: 0xDC48}}
	for _, w := range want {
		if p, err := l.next(); err != nil || p != w {
			t.Errorf("%+v, %v, want %+v", p, err, w)
		}
	}
	if _, err := l.next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
	if _, err := newPropList(bytes.NewReader(goldenList), 2); !errors.Is(err, errMalformed) {
		t.Errorf("more than allowed: %v", err)
	}
}

func TestDates(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]time.Time{
		"20240601T123000":        time.Date(2024, 6, 1, 10, 30, 0, 0, time.UTC),
		"20241201T123000":        time.Date(2024, 12, 1, 11, 30, 0, 0, time.UTC),
		"20240601T123000Z":       time.Date(2024, 6, 1, 12, 30, 0, 0, time.UTC),
		"20240601T123000.25Z":    time.Date(2024, 6, 1, 12, 30, 0, 25e7, time.UTC),
		"20240601T123000.5-0330": time.Date(2024, 6, 1, 16, 0, 0, 5e8, time.UTC),
		"20240601T123000+0200":   time.Date(2024, 6, 1, 10, 30, 0, 0, time.UTC),
		"20480000T000000":        {},
		"20240601T123000+2":      {},
		"20240601":               {},
		"":                       {},
		"20240601T123000.":       time.Date(2024, 6, 1, 10, 30, 0, 0, time.UTC),
	} {
		if got := parseTime(in, berlin); !got.Equal(want) {
			t.Errorf("%q is %v, want %v", in, got, want)
		}
	}
	if got := formatTime(time.Date(2024, 6, 1, 12, 30, 0, 999, berlin)); got != "20240601T103000Z" {
		t.Errorf("formatTime: %q", got)
	}
	if got := formatTime(time.Time{}); got != "" {
		t.Errorf("unknown time: %q", got)
	}
}

func TestWindowsNeverEndInAFullPacket(t *testing.T) {
	for window := 1; window <= maxWindow; window++ {
		for size := int64(maxWindow*bufSize - windowGap); size < maxWindow*bufSize+3000; size++ {
			windows := 0
			for left := size; left > 0; windows++ {
				n := nextWindow(left, window)
				if n <= 0 || n > left || n+headerSize > int64(window)*bufSize || n%512 == 0 || (n+headerSize)%512 == 0 {
					t.Fatalf("%d bytes left: a window of %d", left, n)
				}
				left -= n
			}
			if windows > maxWindow+3 {
				t.Fatalf("%d bytes take %d windows", size, windows)
			}
		}
	}
}

func FuzzContainer(f *testing.F) {
	f.Add(goldenCommand)
	f.Add(goldenResponse)
	f.Add(goldenEvent)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := parseHeader(b)
		if err != nil {
			return
		}
		if again := append(h.append(nil), rest...); !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
		if a, err := parseAnswer(b, h.kind); err == nil && (a.code != h.code || a.transaction != h.transaction) {
			t.Errorf("%+v from %+v", a, h)
		}
	})
}

func FuzzDatasets(f *testing.F) {
	f.Add(goldenDevice)
	f.Add(goldenStorage)
	f.Add(goldenObject)
	f.Add(unhex("02000000 01000000 02000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, errD := parseDeviceInfo(b)
		_, errS := parseStorageInfo(b)
		o, errO := parseObjectInfo(b)
		handles, errH := parseHandles(b)
		for _, err := range []error{errD, errS, errO, errH} {
			if err != nil && !errors.Is(err, errMalformed) {
				t.Error(err)
			}
		}
		if len(handles)*4 > len(b) {
			t.Errorf("%d handles from %d bytes", len(handles), len(b))
		}
		if errO == nil {
			if again := unescape(escape(o.name)); again != o.name {
				t.Errorf("%q is escaped to %q", o.name, escape(o.name))
			}
		}
	})
}

func FuzzPropList(f *testing.F) {
	f.Add(goldenList)
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(r io.Reader) (n int, err error) {
			l, err := newPropList(r, 1000)
			for err == nil {
				if _, err = l.next(); err == nil {
					n++
				}
			}
			return n, err
		}
		n, err := read(bytes.NewReader(b))
		m, slow := read(iotest.OneByteReader(bytes.NewReader(b)))
		if n != m || (err == io.EOF) != (slow == io.EOF) {
			t.Errorf("%d elements (%v), byte by byte %d (%v)", n, err, m, slow)
		}
		if err != io.EOF && !errors.Is(err, errMalformed) {
			t.Error(err)
		}
	})
}

func FuzzString(f *testing.F) {
	f.Add(unhex("04 6100 3dd8 f7dc 0000"))
	f.Add(unhex("03 00d8 6100 0000"))
	f.Add(unhex("02 00dc 00d8 0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := cursor{b: b}
		s := c.str()
		if c.err != nil {
			return
		}
		units, ok := utf16Units(s)
		if !ok || wtf8(units) != s {
			t.Fatalf("%q becomes %q", s, wtf8(units))
		}
		if len(units) > maxString {
			return // Android's 255 units without a NUL can be read, not sent
		}
		again, ok := appendString(nil, s)
		c = cursor{b: again}
		if got := c.str(); !ok || got != s || len(c.b) != 0 {
			t.Errorf("%q sent is %q", s, got)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "%-", "%25-", "a/b", "\x00", "%2F", "%2525", "100%", "%", "%2", "%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		e := escape(name)
		if e == "" || e == "." || e == ".." || strings.ContainsAny(e, "/\x00") || unescape(e) != name {
			t.Errorf("%q is escaped to %q and back to %q", name, e, unescape(e))
		}
		units, ok := utf16Units(name)
		if utf8.ValidString(name) && !ok || ok && wtf8(units) != name && utf8.ValidString(name) {
			t.Errorf("%q becomes %q", name, wtf8(units))
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"20240601T123000", "20240601T123000.25Z", "20240601T123000-0330", "20480000T000000", "20240601T123000.99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := parseTime(s, time.UTC)
		if got.IsZero() || got.Nanosecond() != 0 {
			return
		}
		if again := parseTime(formatTime(got), time.UTC); !again.Equal(got) && got.Year() >= 1 && got.Year() <= 9999 {
			t.Errorf("%q is %v, sent %v", s, got, again)
		}
	})
}

func TestResponsesHaveNames(t *testing.T) {
	if s := InvalidObjectHandle.Error(); s != "no such object (0x2009)" {
		t.Error(s)
	}
	if s := Code(0x2777).Error(); !strings.Contains(s, "0x2777") {
		t.Error(s)
	}
	if reason(usbhost.ErrChanged) != usbhost.ErrChanged.Error() {
		t.Error(reason(usbhost.ErrChanged))
	}
}
