package drive

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// ata makes the pages of a drive from rows as smartctl -A prints them: ID, flag, value, threshold, raw value.
func ata(rows ...[5]uint64) (data, thresholds []byte) {
	data, thresholds = make([]byte, ataPage), make([]byte, ataPage)
	for i, r := range rows {
		e := data[2+12*i:]
		e[0], e[3] = byte(r[0]), byte(r[2])
		binary.LittleEndian.PutUint16(e[1:], uint16(r[1]))
		var raw [8]byte
		binary.LittleEndian.PutUint64(raw[:], r[4])
		copy(e[5:11], raw[:6])
		thresholds[2+12*i], thresholds[3+12*i] = byte(r[0]), byte(r[3])
	}
	for _, p := range [][]byte{data, thresholds} {
		for _, b := range p[:ataPage-1] {
			p[ataPage-1] -= b
		}
	}
	return data, thresholds
}

func TestSMARTWarnings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flash bool
		rows  [][5]uint64
		want  []string // words of each warning
	}{
		{"a disk that is well", false, [][5]uint64{
			{1, 0x2f, 200, 51, 0}, {5, 0x33, 200, 140, 0}, {9, 0x32, 60, 0, 29800}, {194, 0x22, 118, 0, 32}, {197, 0x32, 200, 0, 0}, {198, 0x30, 200, 0, 0}, {199, 0x32, 200, 0, 3}}, nil},
		{"a disk with bad sectors", false, [][5]uint64{
			{5, 0x33, 199, 140, 8}, {187, 0x32, 90, 0, 10}, {194, 0x22, 110, 0, 40}, {197, 0x32, 200, 0, 16}, {198, 0x30, 200, 0, 1}},
			[]string{"16 sectors that it cannot read", "1 sector unreadable", "failed to read 10 times", "replaced 8 worn out sectors"}},
		{"a disk about to fail", false, [][5]uint64{{5, 0x33, 133, 140, 1800}}, []string{"about to fail: replace it now", "1800 worn out sectors: replace it soon"}},
		{"low, but of no importance to its maker", false, [][5]uint64{{190, 0x22, 40, 45, 60}, {5, 0x33, 100, 0, 0}}, []string{"60 °C hot"}},
		{"minimum and maximum beside the temperature", false, [][5]uint64{{194, 0x22, 100, 0, 0x0039_0014_0026}}, nil},
		{"a bad cable", false, [][5]uint64{{199, 0x3e, 200, 0, 2541}}, []string{"2541 errors on its cable"}},
		{"flash that is worn out", true, [][5]uint64{{5, 0x33, 100, 10, 0}, {177, 0x13, 4, 0, 2400}, {190, 0x32, 70, 0, 30}}, []string{"used up 96 %"}},
		{"flash that is new", true, [][5]uint64{{177, 0x13, 99, 0, 12}, {231, 0x33, 100, 10, 0}}, nil},
		{"a disk's 177 means something else", false, [][5]uint64{{177, 0x13, 4, 0, 2400}}, nil},
	} {
		data, thresholds := ata(tt.rows...)
		s, err := parseATA(data, thresholds, tt.flash)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := s.Warnings()
		if len(got) != len(tt.want) || slices.ContainsFunc(tt.want, func(w string) bool { return !strings.Contains(strings.Join(got, "\n"), w) }) {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestSMARTDoesNotTell(t *testing.T) {
	data, _ := ata([5]uint64{9, 0x32, 60, 0, 29800})
	s, err := parseATA(data, nil, false)
	if err != nil || s.Pending != nil || s.Reallocated != nil || s.Used != nil || len(s.Warnings()) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	data[100] ^= 1
	for _, bad := range [][]byte{data, data[:511], nil} {
		if _, err := parseATA(bad, nil, false); !errors.Is(err, ErrNoSMART) {
			t.Errorf("damaged: %v", err)
		}
	}
}

func TestSMARTOfNVMe(t *testing.T) {
	p := make([]byte, nvmeLog)
	binary.LittleEndian.PutUint16(p[1:], 273+41)
	p[3], p[4], p[5] = 100, 10, 7
	if s, err := parseNVMe(p); err != nil || *s.Celsius != 41 || *s.Used != 7 || *s.Spare != 100 || len(s.Warnings()) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	p[0], p[3], p[5], p[160] = 1|4, 6, 104, 9
	s, err := parseNVMe(p)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.Warnings(), "\n")
	for _, want := range []string{"about to fail", "failed to read 9 times", "used up 104 %", "6 % of its spare"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func FuzzSMART(f *testing.F) {
	data, thresholds := ata([5]uint64{5, 0x33, 1, 140, 8}, [5]uint64{194, 0x22, 110, 0, 40})
	f.Add(data, thresholds, true)
	f.Fuzz(func(t *testing.T, data, thresholds []byte, flash bool) {
		for _, parse := range []func() (SMART, error){
			func() (SMART, error) { return parseATA(data, thresholds, flash) }, func() (SMART, error) { return parseNVMe(data) },
		} {
			s, err := parse()
			if err != nil && !errors.Is(err, ErrNoSMART) {
				t.Error(err)
			}
			for _, w := range s.Warnings() {
				if strings.Contains(w, "%!") || w == "" || strings.Contains(w, "-") {
					t.Errorf("warning %q", w)
				}
			}
		}
	})
}
