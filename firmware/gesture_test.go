package firmware

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// perform plays edges, given as times in milliseconds at which the contact changes (the first closes it), and returns what
// was recognised until 20 s after the last, with the times at which it was told.
func perform(edges ...int) []string {
	var g Gestures
	var out []string
	start := time.Unix(0, 0)
	tell := func(at time.Time, gs []Gesture) {
		for _, x := range gs {
			name := [...]string{Press: "press", Tap: "tap", DoubleTap: "double", Hold: "hold", Release: "release"}[x.Kind]
			if x.Held != 0 {
				name += " " + x.Held.String()
			}
			out = append(out, fmt.Sprintf("%d %s", at.Sub(start).Milliseconds(), name))
		}
	}
	run := func(until time.Time) {
		for {
			next, ok := g.Next()
			if !ok || next.After(until) {
				return
			}
			tell(next, g.Elapse(next))
		}
	}
	down, last := false, start
	for _, ms := range edges {
		down = !down
		last = start.Add(time.Duration(ms) * time.Millisecond)
		run(last)
		tell(last, g.Edge(last, down))
	}
	run(last.Add(20 * time.Second))
	return out
}

func TestGestures(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edges []int
		want  []string
	}{
		{"a tap is told when no second one came", []int{1000, 1101}, []string{"1020 press", "1121 release 101ms", "1501 tap"}},
		{"two taps make a double tap at once", []int{1000, 1101, 1303, 1404}, []string{"1020 press", "1121 release 101ms", "1323 press", "1424 release 101ms", "1424 double"}},
		{"a second tap that comes too late is another tap", []int{1000, 1101, 1507, 1601}, []string{"1020 press", "1121 release 101ms", "1501 tap", "1527 press", "1621 release 94ms", "2001 tap"}},
		{"a second press that begins just in time counts", []int{1000, 1101, 1499, 1601}, []string{"1020 press", "1121 release 101ms", "1519 press", "1621 release 102ms", "1621 double"}},
		{"bounces are not heard", []int{1000, 1003, 1005, 1101, 1104, 1109}, []string{"1025 press", "1129 release 104ms", "1509 tap"}},
		{"a spike is not heard", []int{1000, 1019}, nil},
		{"between a tap and a hold there is nothing", []int{0, 1503}, []string{"20 press", "1523 release 1.503s"}},
		{"three seconds", []int{0, 3503}, []string{"20 press", "2000 hold 2s", "3523 release 3.503s"}},
		{"ten seconds", []int{0, 10403}, []string{"20 press", "2000 hold 2s", "4000 hold 4s", "6000 hold 6s", "8000 hold 8s", "10000 hold 10s", "10423 release 10.403s"}},
		{"let go just before ten seconds is not ten seconds", []int{0, 9993}, []string{"20 press", "2000 hold 2s", "4000 hold 4s", "6000 hold 6s", "8000 hold 8s", "10013 release 9.993s"}},
		{"a tap before a hold is told while it is held", []int{0, 101, 303, 4404}, []string{"20 press", "121 release 101ms", "323 press", "1303 tap", "2303 hold 2s", "4303 hold 4s", "4424 release 4.101s"}},
		{"a triple tap is a double one and a single one", []int{0, 101, 203, 304, 406, 507}, []string{"20 press", "121 release 101ms", "223 press", "324 release 101ms", "324 double", "426 press", "527 release 101ms", "907 tap"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := perform(tt.edges...); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// gesturesMakeSense plays random edges: presses and releases alternate, and every tap has its presses.
func gesturesMakeSense(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	edges := make([]int, 2*r.IntN(20))
	at := 0
	for i := range edges {
		at += [...]int{1 + r.IntN(25), 20 + r.IntN(100), 300 + r.IntN(200), 900 + r.IntN(300), 9900 + r.IntN(200)}[r.IntN(5)]
		edges[i] = at
	}
	down, short := false, 0
	for _, g := range perform(edges...) {
		var ms int
		var kind, held string
		if n, _ := fmt.Sscanf(g, "%d %s %s", &ms, &kind, &held); n < 2 {
			t.Fatalf("seed %d: cannot read %q", seed, g)
		}
		d, _ := time.ParseDuration(held) // "" for gestures that do not last
		ok := true
		switch kind {
		case "press":
			ok, down = !down, true
		case "release":
			ok, down = down, false
			if d < TapMax {
				short++
			}
		case "hold":
			ok = down && d >= HoldStep
		case "tap":
			ok, short = short >= 1, short-1
		case "double":
			ok, short = short >= 2 && !down, short-2
		}
		if !ok {
			t.Fatalf("seed %d: edges %v: %q in %q", seed, edges, g, perform(edges...))
		}
	}
	if down || short != 0 {
		t.Fatalf("seed %d: edges %v: down %v, %d short presses came to nothing: %q", seed, edges, down, short, perform(edges...))
	}
}

func TestGesturesMakeSense(t *testing.T) {
	for seed := range uint64(2000) {
		gesturesMakeSense(t, seed)
	}
}

func FuzzGestures(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(gesturesMakeSense)
}

// TestABusyBoxHearsOnePress: edges that nobody had time for are no bounces of a contact that came to rest.
func TestABusyBoxHearsOnePress(t *testing.T) {
	var g Gestures
	start := time.Now()
	edges := make(chan edge, 16)
	ms := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Millisecond))) }
	heard := g.Edge(ms(0), true)
	for i, at := range []float64{0.7, 2, 109, 109.7, 111} {
		edges <- edge{ms(at), i%2 == 1}
		if i == 1 || i == 4 { // the box was busy for a while, and its timer is over due
			heard = append(heard, g.late(edges)...)
			heard = append(heard, g.Elapse(ms(at+300))...)
		}
	}
	heard = append(heard, g.Elapse(ms(1000))...)
	var kinds []GestureKind
	for _, h := range heard {
		kinds = append(kinds, h.Kind)
	}
	if want := []GestureKind{Press, Release, Tap}; !slices.Equal(kinds, want) {
		t.Errorf("heard %v, want %v", kinds, want)
	}
}
