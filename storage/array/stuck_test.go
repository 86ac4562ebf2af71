package array_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// bad are the ways in which a drive may be of no use, and how it gets well again.
var bad = map[string]struct{ hurt, heal func(*vdrive.Drive) }{
	"hangs":              {func(d *vdrive.Drive) { d.Hang() }, (*vdrive.Drive).Resume},
	"is stuck":           {func(d *vdrive.Drive) { d.Stick() }, (*vdrive.Drive).Resume},
	"is stuck in Put":    {func(d *vdrive.Drive) { d.Stick(vdrive.OpPut) }, (*vdrive.Drive).Resume},
	"is stuck in Sync":   {func(d *vdrive.Drive) { d.Stick(vdrive.OpSync) }, (*vdrive.Drive).Resume},
	"hangs in Get":       {func(d *vdrive.Drive) { d.Hang(vdrive.OpGet) }, (*vdrive.Drive).Resume},
	"is stuck in Delete": {func(d *vdrive.Drive) { d.Stick(vdrive.OpDelete) }, (*vdrive.Drive).Resume},
	"is slow":            {func(d *vdrive.Drive) { d.Slow(2003 * time.Millisecond) }, func(d *vdrive.Drive) { d.Slow(0) }},
	"is gone":            {(*vdrive.Drive).Unplug, (*vdrive.Drive).Plug},
	"errs": {func(d *vdrive.Drive) {
		for op := vdrive.OpPut; op <= vdrive.OpDelete; op++ {
			d.ErrorOn(op, -1, storage.ErrUnavailable)
		}
	}, func(d *vdrive.Drive) {
		for op := vdrive.OpPut; op <= vdrive.OpDelete; op++ {
			d.ErrorOn(op, 0, nil)
		}
	}},
}

// inTime fails the test if an operation takes longer than it may.
func inTime(t *testing.T, what string, limit time.Duration, op func()) {
	t.Helper()
	began := time.Now()
	op()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %v, more than %v", what, took, limit)
	}
}

// With one drive that is of no use in any way, everything goes on, and nothing takes for ever: reads least of all.
func TestOneBadDriveHoldsNothingUp(t *testing.T) {
	for name, b := range bad {
		for n := 2; n <= 4; n++ {
			for i := range n {
				what := fmt.Sprintf("drive %d of %d %s", i, n, name)
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, uint64(80+n), n, 1)
					fill(t, r.a, 0)
					b.hurt(r.drives[i])
					defer b.heal(r.drives[i])
					inTime(t, what+": reading", 2*time.Second+100*time.Millisecond, func() { wantFill(t, r.a, 0) })
					inTime(t, what+": stat and list", 0, func() {
						if _, err := r.a.Stat(t.Context(), packName(1)); err != nil {
							t.Error(err)
						}
						for _, err := range r.a.List(t.Context(), "") {
							if err != nil {
								t.Error(err)
							}
						}
					})
					inTime(t, what+": health", 31*time.Second, func() { health(t, r.a) })
					inTime(t, what+": putting", 2*time.Minute, func() {
						for j, size := range sizes {
							mustPut(t, r.a, packName(10+j), pack(size, uint64(10+j)))
						}
					})
					inTime(t, what+": sync", 5*time.Minute, func() { mustSync(t, r.a) })
					inTime(t, what+": delete", 25*time.Second, func() {
						for j := range sizes[1:] { // a drive that hangs may cost one time limit, not one for each
							if err := r.a.Delete(t.Context(), packName(10+j)); err != nil {
								t.Error(err)
							}
						}
						mustSync(t, r.a)
					})
					var a *array.Array
					inTime(t, what+": open", 32*time.Second, func() { a = r.reopen() })
					time.Sleep(31 * time.Second) // until the drive is trusted again
					inTime(t, what+": reading anew", 3*time.Second, func() { wantFill(t, a, 0) })
					wantBlob(t, a, packName(14), pack(sizes[4], 14))
					inTime(t, what+": scrub", 5*time.Minute, func() {
						if s := scrub(t, a); len(s.Damaged) > 0 && name != "errs" {
							t.Errorf("%s: that is no damage: %+v", what, s)
						}
					})
					inTime(t, what+": repair", 5*time.Minute, func() { repair(t, a) })
					b.heal(r.drives[i])
					time.Sleep(time.Minute)
					if err := errors.Join(r.a.Close(), a.Close()); err != nil {
						t.Error(err)
					}
					a = r.reopen()
					wantFill(t, a, 0)
					scrub(t, a)
					repair(t, a)
					wantHealthy(t, a)
					if err := a.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// Drives that are all slow are waited for.
func TestAllDrivesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 89, 3, 1)
		fill(t, r.a, 0)
		for _, d := range r.drives {
			d.Slow(2003 * time.Millisecond)
		}
		a := r.reopen()
		wantFill(t, a, 0)
		fill(t, a, 10)
		if h := health(t, a); !h.Healthy() {
			t.Errorf("%+v", h)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Where a stuck drive is needed, a read ends with a word on it.
func TestStuckDriveThatIsNeeded(t *testing.T) {
	for name, hurt := range map[string]func(*vdrive.Drive){"hangs": func(d *vdrive.Drive) { d.Hang() }, "is stuck": func(d *vdrive.Drive) { d.Stick() }} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 87, 3, 1)
			fill(t, r.a, 0)
			a := r.reopen(0, 1)
			hurt(r.drives[1])
			defer r.drives[1].Resume()
			inTime(t, name, 3*time.Minute, func() {
				if _, err := storage.ReadAll(t.Context(), a, packName(4), 1<<20); !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("a drive that is needed %s: %v", name, err)
				}
			})
		})
	}
}
