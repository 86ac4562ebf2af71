package mtp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"phonebackupbox/usbhost/vphone"
)

// unhex reads bytes written by hand from the specification; what follows a # is a remark.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	var b strings.Builder
	for line := range strings.SplitSeq(s, "\n") {
		line, _, _ = strings.Cut(line, "#")
		b.WriteString(strings.Join(strings.Fields(line), ""))
	}
	p, err := hex.DecodeString(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func golden(t *testing.T, got []byte, want string) {
	t.Helper()
	if w := unhex(t, want); !bytes.Equal(got, w) {
		t.Fatalf("got\n%swant\n%s", hex.Dump(got), hex.Dump(w))
	}
}

// tiny is a phone with one folder that holds one file.
func tiny(t *testing.T, q Quirks) *Phone {
	t.Helper()
	s := vphone.NewStorage("Int", 1<<30, nil)
	if err := s.Mkdir("D", noon); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("D/ü.jpg", noon.Add(700*time.Millisecond), vphone.Text("hello")); err != nil {
		t.Fatal(err)
	}
	return NewPhone(Config{Serial: "S1", Maker: "M", Model: "P", FriendlyName: "Me", Storages: []*vphone.Storage{s}, Quirks: q,
		Location: time.FixedZone("CEST", 2*3600)})
}

func TestGoldenDeviceInfo(t *testing.T) {
	h := dial(t, tiny(t, Quirks{NoPartial64: true}))
	r := h.must(h.do(OpGetDeviceInfo, nil))
	golden(t, r.data, `
		13010000 0200 0110 00000000   # length 275, data, operation, transaction
		6400 06000000 6400            # version 1.00, extension 6, version 1.00
		26                            # 37 characters and a NUL
		6d006900630072006f00 73006f00660074002e0063006f006d003a00200031002e0030003b002000
		61006e00640072006f00690064002e0063006f006d003a00200031002e0030003b000000
		0000                          # functional mode
		1a000000                      # 26 operations: no 95C1 to 95C5
		0110 0210 0310 0410 0510 0610 0710 0810 0910 0a10 0b10 0c10 0d10 1010 1410 1510 1610 1710 1910 1a10 1b10
		0198 0298 0398 0498 0598
		06000000 0240 0340 0440 0540 0640 0740
		05000000 01d4 02d4 0350 0150 07d4
		00000000                      # capture formats
		1c000000 0030 0130 0430 0530 0830 0930 0b30 0138 0238 0438 0738 0838 0b38 0d38 01b9 02b9 03b9 82b9 83b9 84b9
		05ba 10ba 11ba 14ba 82ba 06b9 1138 1238
		02 4d00 0000  02 5000 0000  04 31002e0030000000  03 530031000000
	`)
}

func TestGoldenSession(t *testing.T) {
	p := tiny(t, Quirks{})
	h := dial(t, p)
	read := func() []byte {
		b := make([]byte, 512)
		n, err := h.iface.Pipe.Read(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	write := func(s string) {
		if _, err := h.iface.Pipe.Write(t.Context(), unhex(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	write("0c000000 0100 0410 07000000") // GetStorageIDs without a session
	golden(t, read(), "0c000000 0300 0320 07000000")
	write("10000000 0100 0210 00000000 2a000000") // OpenSession 42
	golden(t, read(), "0c000000 0300 0120 00000000")
	write("10000000 0100 0210 01000000 2b000000") // again
	golden(t, read(), "10000000 0300 1e20 01000000 2a000000")
	write("0c000000 0100 0410 02000000")
	golden(t, read(), "14000000 0200 0410 02000000 01000000 01000100")
	golden(t, read(), "0c000000 0300 0120 02000000")
	write("0c000000 0100 0310 03000000")
	golden(t, read(), "0c000000 0300 0120 03000000")
	write("0c000000 0100 0310 04000000")
	golden(t, read(), "0c000000 0300 0320 04000000")
}

func TestGoldenObjects(t *testing.T) {
	h := session(t, tiny(t, Quirks{}))
	r := h.must(h.do(OpGetStorageInfo, nil, 0x10001))
	golden(t, r.payload(), `0300 0200 0000 0000004000000000 fbffff3f00000000 00000040 04 49006e0074000000 00`)

	r = h.must(h.do(OpGetObjectHandles, nil, 0xffffffff, 0, 0))
	golden(t, r.payload(), `02000000 01000000 02000000`)

	r = h.must(h.do(OpGetObjectInfo, nil, 2))
	golden(t, r.payload(), `
		01000100 0138 0000 05000000          # storage, JPEG, no protection, 5 bytes
		0000 00000000 00000000 00000000      # thumbnail
		00000000 00000000 00000000           # image
		01000000 0000 00000000 00000000      # parent, association, sequence
		06 fc002e006a00700067000000          # name
		10 3200300032003400300035003000360054003100340033003400350036000000  # 14:34:56 where the phone is
		10 3200300032003400300035003000360054003100340033003400350036000000
		00
	`)
	r = h.must(h.do(OpGetObjectInfo, nil, 1))
	golden(t, r.payload()[:12], `01000100 0130 0000 00000000`)

	r = h.must(h.do(OpGetObjectPropList, nil, 0xffffffff, 0, 0xdc04, 0, 0xffffffff))
	golden(t, r.payload(), `02000000
		01000000 04dc 0800 0000000000000000
		02000000 04dc 0800 0500000000000000`)
	r = h.must(h.do(OpGetObjectPropList, nil, 1, 0, 0xdc07, 0, 1))
	golden(t, r.payload(), `02000000
		02000000 07dc ffff 06 fc002e006a00700067000000
		01000000 07dc ffff 02 44000000   # the folder itself comes last`)
	r = h.must(h.do(OpGetObjectPropList, nil, 2, 0, 0xdc0b, 0, 0))
	golden(t, r.payload(), `01000000 02000000 0bdc 0600 01000000`)
	r = h.must(h.do(OpGetObjectPropList, nil, 2, 0, 0xdeaf, 0, 0))
	golden(t, r.payload(), `01000000 02000000 afde 0000`) // no such property: a type of 0 and no value

	r = h.must(h.do(OpGetObjectPropValue, nil, 2, 0xdc09))
	golden(t, r.payload(), `10 3200300032003400300035003000360054003100340033003400350036000000`)
	r = h.must(h.do(OpGetObjectPropDesc, nil, 0xdc07, 0x3801))
	golden(t, r.payload(), `07dc ffff 01 00 00000000 00`)
	r = h.must(h.do(OpGetObjectPropDesc, nil, 0xdc02, 0x3801))
	golden(t, r.payload(), `02dc 0400 00 0138 00000000 00`)
	r = h.must(h.do(OpGetObjectPropsSupported, nil, 0x3801))
	golden(t, r.payload(), `0c000000 01dc 02dc 03dc 04dc 07dc 09dc 41dc 0bdc 44dc e0dc 4edc 48dc`)
	r = h.must(h.do(OpGetDevicePropDesc, nil, 0xd402))
	golden(t, r.payload(), `02d4 ffff 01 00 03 4d0065000000 00`)
	r = h.must(h.do(OpGetDevicePropValue, nil, 0x5001))
	golden(t, r.payload(), `50`)
}

func TestGoldenAllProperties(t *testing.T) {
	h := session(t, tiny(t, Quirks{}))
	h.refused(0x2009, OpGetObjectPropList, nil, 2, 0, 0xffffffff, 0, 0) // numbered only when its folder is listed
	h.find("ü.jpg")
	r := h.must(h.do(OpGetObjectPropList, nil, 2, 0, 0xffffffff, 0, 0))
	p := r.payload()
	uid := bytes.Clone(p[4+8+4+8+2+8+2+8+8+8+13+8+33+8:][:16])
	golden(t, p, `0c000000
		02000000 01dc 0600 01000100
		02000000 02dc 0400 0138
		02000000 03dc 0400 0000
		02000000 04dc 0800 0500000000000000
		02000000 07dc ffff 06 fc002e006a00700067000000
		02000000 09dc ffff 10 3200300032003400300035003000360054003100340033003400350036000000
		02000000 41dc 0a00 `+hex.EncodeToString(uid)+`
		02000000 0bdc 0600 01000000
		02000000 44dc ffff 06 fc002e006a00700067000000
		02000000 e0dc ffff 06 fc002e006a00700067000000
		02000000 4edc ffff 10 3200300032003400300035003000360054003100340033003400350036000000
		02000000 48dc ffff 00`)
	// In a listing of everything the format stays 0, so only the eleven common properties come; for a folder's content
	// the first object's format decides for all.
	r = h.must(h.do(OpGetObjectPropList, nil, 0xffffffff, 0, 0xffffffff, 0, 0xffffffff))
	golden(t, r.payload()[:4], `16000000`)
	r = h.must(h.do(OpGetObjectPropList, nil, 1, 0, 0xffffffff, 0, 1))
	golden(t, r.payload()[:4], `18000000`)
}

func TestGoldenEvents(t *testing.T) {
	p := tiny(t, Quirks{})
	h := session(t, p)
	next := func() []byte {
		b := make([]byte, 64)
		n, err := h.iface.Pipe.Event(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	s := p.Storages()[0]
	if err := s.Put("D/new", noon, vphone.Text("x")); err != nil {
		t.Fatal(err)
	}
	golden(t, next(), `10000000 0400 0240 00000000 01000000`)
	if err := s.Put("D/new", noon, vphone.Text("xy")); err != nil {
		t.Fatal(err)
	}
	golden(t, next(), `10000000 0400 0740 00000000 01000000`)
	if err := s.Remove("D/new"); err != nil {
		t.Fatal(err)
	}
	golden(t, next(), `10000000 0400 0340 00000000 01000000`)
	p.SetBattery(7)
	golden(t, next(), `10000000 0400 0640 00000000 01500000`)
	p.Revoke()
	golden(t, next(), `10000000 0400 0540 00000000 01000100`)
	p.Unlock()
	golden(t, next(), `10000000 0400 0440 00000000 01000200`)
}

func TestDates(t *testing.T) {
	zone := time.FixedZone("", -5*3600)
	at := time.Date(2024, 2, 29, 23, 59, 58, 0, zone)
	for _, tt := range []struct {
		text string
		want time.Time
	}{
		{"20240229T235958", at},
		{"20240229T235958.7", at},
		{"20240229T235958Z", at.Add(-5 * time.Hour)},
		{"20240229T235958.0Z", at.Add(-5 * time.Hour)},
		{"20240229T235958+0200", at}, // AOSP overlooks every zone but Z
		{"20480000T000000", time.Date(2047, 11, 30, 0, 0, 0, 0, zone)},
	} {
		got, err := parseDate(tt.text, zone)
		if err != nil || !got.Equal(tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "2024", "20240229 235958", "T", "garbage!"} {
		if got, err := parseDate(bad, zone); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
	if got := formatDate(at.Add(999*time.Millisecond), zone); got != "20240229T235958" {
		t.Error(got)
	}
}
