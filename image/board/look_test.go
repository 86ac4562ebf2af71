package board

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"
)

func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

var forwarded = regexp.MustCompile(`TCP\[HOST_FORWARD\] +\d+ +127\.0\.0\.1 +(\d+)`)

// address is where this machine reaches the box's page.
func (x *box) address() string {
	said, err := x.m.Monitor(x.Context(), "info usernet")
	if err != nil {
		return ""
	}
	if f := forwarded.FindStringSubmatch(said); f != nil {
		return "http://127.0.0.1:" + f[1]
	}
	return ""
}

// frame is what the lights show: five white ones and the amber one, 0 to 1.
type frame [6]float64

// eye follows the page's lights.
type eye struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// watch looks at the lights from when there is a page until close.
func (x *box) watch() *eye {
	ctx, cancel := context.WithCancel(x.owner.Context())
	e, r, url := &eye{cancel, make(chan struct{})}, x.reel, x.address()+"/events"
	go func() {
		defer close(e.done)
		for ctx.Err() == nil {
			_ = follow(ctx, url, r) // there is no page yet, or no box any more
			r.add(false, frame{})
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
	return e
}

func (e *eye) close() { e.cancel(); <-e.done }

func follow(ctx context.Context, url string, r *reel) error {
	resp, err := get(ctx, url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s, event := bufio.NewScanner(resp.Body), ""
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if name, ok := strings.CutPrefix(s.Text(), "event: "); ok {
			event = name
		}
		data, ok := strings.CutPrefix(s.Text(), "data: ")
		if !ok || event != "lamps" {
			continue
		}
		var f frame
		if err := json.Unmarshal([]byte(data), &f); err != nil {
			return err
		}
		r.add(true, f)
	}
	return s.Err()
}

// show waits until the lights show what is wanted.
func (x *box) show(what string, wanted func(frame) bool) {
	x.Helper()
	x.until("the lights show "+what, func() bool {
		f, ok := x.reel.last()
		return ok && wanted(f)
	})
}

// lamps are the lines of the GPIO chip that the lights hang on: see wiring.
var lamps = [len(frame{})]int{0, 1, 2, 4, 5, 6}

// shine waits until the lights themselves show what is wanted, page or no page.
func (x *box) shine(what string, wanted func(frame) bool) {
	x.Helper()
	x.until("the board's pins show "+what, func() bool { return wanted(x.pins()) })
}

// pins is how bright the lights of a wired box are: for which part of the time each line was high.
func (x *box) pins() (f frame) {
	x.Helper()
	const looks, apart = 200, 487 * time.Microsecond // not in step with the pulses of 5 ms
	for range looks {
		lines, err := x.m.Pins()
		if err != nil {
			x.Fatalf("%v\n%s", err, x.m.Log())
		}
		for i, line := range lamps {
			f[i] += float64(lines>>line&1) / looks
		}
		time.Sleep(apart)
	}
	return f
}

// until waits until something is so.
func (x *box) until(what string, so func() bool) {
	x.Helper()
	for from := time.Now(); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Since(from) > patience {
			f, _ := x.reel.last()
			x.Fatalf("waiting until %s; the lights are %v:\n%s", what, f, x.m.Log())
		}
	}
}
