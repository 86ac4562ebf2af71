package firmware

import (
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{-1: "unknown", 0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9951: "10 kB", 999499: "999 kB", 999501: "1.0 MB",
		1234567890: "1.2 GB", 1<<63 - 1: "9.2 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 s", 8400 * time.Millisecond: "8 s", 2 * time.Minute: "2 min", 200 * time.Minute: "3 h 20 min", time.Hour - time.Second: "60 min"} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	for _, tt := range []struct {
		p    *Progress
		want string
	}{
		{nil, ""},
		{&Progress{}, "listing"},
		{&Progress{Files: 12}, "12 files found"},
		{&Progress{Files: 3, FilesTotal: 9}, "3 of 9 files"},
		{&Progress{Bytes: 1200e6, BytesTotal: 2500e6, Rate: 31e6, Left: 119 * time.Second}, "48 % · 1.2 of 2.5 GB · 31 MB/s · 2 min left"},
		{&Progress{Bytes: 12e6, BytesTotal: 2500e6}, "0 % · 12 MB of 2.5 GB"},
	} {
		if got := tt.p.Summary(); got != tt.want {
			t.Errorf("%+v is %q, want %q", tt.p, got, tt.want)
		}
	}
}
