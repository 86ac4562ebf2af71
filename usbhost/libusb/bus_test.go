package libusb

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
)

// desk is a machine whose ports a test plugs into.
type desk struct {
	t       *testing.T
	bus     *Bus
	changed chan struct{}

	mu      sync.Mutex // guards what follows
	devices []Device
	down    error
	refuse  map[string]error // what claiming a device answers, by port
	claims  int
	left    *departure    // of the device that was claimed last
	slow    time.Duration // that a driver takes
}

// ear is a Witness that remembers.
type ear struct {
	mu   sync.Mutex // guards errs
	errs []error
}

func (e *ear) Refused(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.errs = append(e.errs, err)
}

func newDesk(t *testing.T, w Witness, log *slog.Logger) *desk {
	d := &desk{t: t, changed: make(chan struct{}, 1), refuse: make(map[string]error)}
	d.bus = newBus(d.look, d.claim, d.open, w, log)
	d.start()
	return d
}

func (d *desk) start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.bus.cancel = cancel
	d.bus.wait.Go(func() { d.bus.watch(ctx, d.changed) })
}

func (d *desk) look() ([]Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.devices), d.down
}

func (d *desk) claim(dev Device, left *departure) (usbhost.Interface, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claims++
	i := dev.Interface
	i.Gone = left.gone
	d.left = left
	return i, d.refuse[i.Port]
}

func (d *desk) open(_ context.Context, i usbhost.Interface) (usbhost.Phone, error) {
	d.mu.Lock()
	slow, left := d.slow, d.left
	d.mu.Unlock()
	time.Sleep(slow)
	return &handset{charging{Device{Interface: i}, left}, i.Gone}, nil
}

// handset is a phone that says who it is.
type handset struct {
	charging
	gone <-chan struct{}
}

func (h *handset) Gone() <-chan struct{} { return h.gone }
func (h *handset) Close() error          { return nil }

// set changes what is plugged in, and tells, as the kernel does.
func (d *desk) set(devices ...Device) {
	d.mu.Lock()
	d.devices = devices
	d.mu.Unlock()
	select {
	case d.changed <- struct{}{}:
	default:
	}
	synctest.Wait()
}

// accept takes the next phone, which must come within limit.
func (d *desk) accept(limit time.Duration) (usbhost.Phone, string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), limit)
	defer cancel()
	p, err := d.bus.Accept(ctx)
	if err != nil {
		d.t.Fatalf("no phone came: %v", err)
	}
	info, _ := p.Info(ctx)
	return p, string(info.ID)
}

func (d *desk) quiet(limit time.Duration) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), limit)
	defer cancel()
	if p, err := d.bus.Accept(ctx); err == nil {
		d.t.Fatalf("a phone came: %v", p)
	}
}

func isGone(p usbhost.Phone) bool {
	select {
	case <-p.Gone():
		return true
	default:
		return false
	}
}

func at(port string, address int, serial string, use Use) Device {
	d := Device{dir: "/sys/x/" + port, bus: 1, address: address, config: 1, Use: use}
	d.Interface = usbhost.Interface{Vendor: 0x18d1, Product: 0x4ee1, Serial: serial, Port: port, Class: 6}
	return d
}

func TestPhonesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		d.set(at("1-1", 2, "A", Files), at("1-2", 3, "", Files), at("1-3", 4, "disk", Other))
		got := make(map[string]usbhost.Phone)
		for range 2 {
			p, id := d.accept(time.Second)
			got[id] = p
		}
		if got["mtp:A"] == nil || got["mtp:18d1:4ee1@1-2"] == nil {
			t.Fatalf("%v", got)
		}
		d.quiet(time.Hour)
		d.set(at("1-2", 3, "", Files)) // A is pulled out
		if !isGone(got["mtp:A"]) || isGone(got["mtp:18d1:4ee1@1-2"]) {
			t.Error("the wrong phone is gone")
		}
		d.set(at("1-2", 3, "", Files), at("1-4", 9, "A", Files))
		if _, id := d.accept(time.Second); id != "mtp:A" {
			t.Errorf("at another port it is %s", id)
		}
		// It changes its mode so quickly that nobody sees it away.
		again := at("1-2", 10, "", Files)
		d.set(again, at("1-4", 9, "A", Files))
		if !isGone(got["mtp:18d1:4ee1@1-2"]) {
			t.Error("the phone at the old address is still here")
		}
		d.accept(time.Second)
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
		if _, err := d.bus.Accept(t.Context()); err == nil {
			t.Error("a closed bus accepts")
		}
	})
}

func TestOneThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		d.slow = time.Hour
		d.set(at("1-1", 2, "slow", Files))
		d.mu.Lock()
		d.slow = 0
		d.mu.Unlock()
		d.set(at("1-1", 2, "slow", Files), at("1-2", 3, "B", Files))
		if _, id := d.accept(time.Second); id != "mtp:B" {
			t.Errorf("%s came first", id)
		}
		d.set(at("1-2", 3, "B", Files)) // the slow one goes before its driver has answered
		d.quiet(2 * time.Hour)
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestABusyPhoneIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		var heard ear
		d := newDesk(t, &heard, slog.New(slog.NewTextHandler(&log, nil)))
		d.refuse["1-1"] = &BusyError{"Pixel 9", []Holder{{41, "gvfsd-mtp"}}}
		d.set(at("1-1", 2, "A", Files))
		d.quiet(10 * time.Minute)
		d.mu.Lock()
		claims := d.claims
		delete(d.refuse, "1-1")
		d.mu.Unlock()
		if claims < 8 || claims > 18 {
			t.Errorf("tried %d times in ten minutes", claims)
		}
		if !strings.Contains(log.String(), "gvfsd-mtp") || strings.Contains(log.String(), "serial") {
			t.Errorf("log: %s", log.String())
		}
		var busy *BusyError
		if len(heard.errs) != claims || !errors.As(heard.errs[0], &busy) || busy.Name != "Pixel 9" {
			t.Errorf("the witness heard %v of %d refusals", heard.errs, claims)
		}
		d.accept(lastRetry + time.Second)
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestTheLogHasPortsAndNoSerialNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := newDesk(t, nil, slog.New(slog.NewTextHandler(&log, nil)))
		d.set(at("1-1.2", 2, "SECRET", Files))
		d.accept(time.Second)
		d.set()
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
		said := log.String()
		if !strings.Contains(said, `"usb: phone" device=18d1:4ee1 port=1-1.2 use=`) || !strings.Contains(said, `"usb: device gone" port=1-1.2`) || strings.Contains(said, "SECRET") {
			t.Errorf("log: %s", said)
		}
	})
}

func TestAPhoneThatOnlyChargesIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		d.set(at("1-1", 2, "A", ChargeOnly))
		d.quiet(chargePatience / 2)
		d.set(at("1-1", 3, "A", Files)) // it was only changing its mode
		d.accept(time.Second)
		d.set(at("1-1", 4, "A", ChargeOnly))
		charging, id := d.accept(chargePatience + time.Second)
		info, err := charging.Info(t.Context())
		if err != nil || !info.ChargeOnly || !info.Locked || id != "mtp:A" {
			t.Errorf("%+v, %v", info, err)
		}
		if _, err := charging.Backup(t.Context(), nil, nil); !errors.Is(err, usbhost.ErrLocked) {
			t.Errorf("backup: %v", err)
		}
		d.set(at("1-1", 5, "A", Files))
		if !isGone(charging) {
			t.Error("the charging phone is still here")
		}
		if _, id := d.accept(time.Second); id != "mtp:A" {
			t.Errorf("it came back as %s", id)
		}
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A phone that is closed while it stays plugged in, by whoever had it or by a Pipe that gave it up, is handed out again without
// being plugged in anew, and no phone is handed out twice at once.
func TestAPhoneThatIsLetGoOfComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard ear
		d := newDesk(t, &heard, nil)
		d.set(at("1-1", 2, "A", Files), at("1-2", 3, "B", ChargeOnly))
		phone, _ := d.accept(time.Second)
		charging, id := d.accept(chargePatience + time.Second)
		if id != "mtp:B" {
			t.Fatal(id)
		}
		d.quiet(time.Hour)
		for range 3 {
			phone.(*handset).left.leave() // as a Pipe does
			again, id := d.accept(firstRetry + time.Second)
			if id != "mtp:A" || isGone(again) || isGone(charging) {
				t.Fatalf("%s came: %v, %v", id, isGone(again), isGone(charging))
			}
			phone = again
			d.quiet(time.Hour)
		}
		if err := charging.Close(); err != nil {
			t.Error(err)
		}
		if again, id := d.accept(firstRetry + time.Second); id != "mtp:B" || isGone(again) {
			t.Errorf("%s came, gone: %v", id, isGone(again))
		}
		phone.(*handset).left.leave()
		d.set() // it was the cable after all
		d.quiet(time.Hour)
		if len(heard.errs) > 0 {
			t.Errorf("refused: %v", heard.errs)
		}
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestADeadBusSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		d.mu.Lock()
		d.down = io.ErrNoProgress
		d.mu.Unlock()
		d.set()
		if _, err := d.bus.Accept(t.Context()); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%v", err)
		}
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The watchdog depends on it: a Bus answers while its goroutine lives, without looking at devices for that, and not while it hangs.
func TestAnswerTellsWhetherItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{t: t, changed: make(chan struct{}, 1)}
		looks, hold := 0, make(chan struct{})
		d.bus = newBus(func() ([]Device, error) { looks++; <-hold; return nil, nil }, d.claim, d.open, nil, nil)
		d.start()
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return d.bus.Answer(ctx)
		}
		if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while it hangs it answers %v", err)
		}
		close(hold)
		for range 10 {
			if err := ask(); err != nil {
				t.Error(err)
			}
		}
		if synctest.Wait(); looks != 1 {
			t.Errorf("it looked at devices %d times", looks)
		}
		if err := d.bus.Close(); err != nil {
			t.Error(err)
		}
		if err := ask(); err == nil {
			t.Error("a closed bus answers")
		}
	})
}
