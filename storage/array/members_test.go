package array_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"phonebackupbox/storage/array"
	"phonebackupbox/storage/vdrive"
)

// fading is a context that ends when it has been asked so often.
type fading struct {
	context.Context
	left atomic.Int64
}

func (f *fading) Err() error {
	if f.left.Add(-1) < 0 {
		return context.Canceled
	}
	return f.Context.Err()
}

// A change of the drives that fails, wherever that is, has not happened: no later Sync does it.
func TestAChangeOfDrivesThatFailsIsTakenBack(t *testing.T) {
	for name, change := range map[string]func(context.Context, *rig) error{
		"add":     func(ctx context.Context, r *rig) error { return r.a.Add(ctx, r.members(3)[0]) },
		"return":  func(ctx context.Context, r *rig) error { return r.a.Add(ctx, r.members(4)[0]) },
		"travel":  func(ctx context.Context, r *rig) error { return r.a.Travel(ctx, "drive-2", true) },
		"remove":  func(ctx context.Context, r *rig) error { return r.a.Remove(ctx, "drive-2") },
		"survive": func(ctx context.Context, r *rig) error { return r.a.SetSurvive(ctx, 2) },
	} {
		last := 0
		for n, failed := 0, true; failed; n++ {
			r := newRig(t, 90, 3, 1)
			r.drives = append(r.drives, vdrive.New(1), vdrive.New(2))
			for _, err := range []error{r.a.Add(t.Context(), r.members(4)[0]), r.a.Remove(t.Context(), "drive-4")} {
				if err != nil {
					t.Fatal(err)
				}
			}
			r.reopen(0, 1, 2)
			mustPut(t, r.a, packName(1), pack(100, 1))
			before := drivesOf(t, r.a)
			ctx := &fading{Context: t.Context()}
			ctx.left.Store(int64(n))
			if failed = change(ctx, r) != nil; !failed {
				if drivesOf(t, r.a) == before {
					t.Errorf("%s did nothing", name)
				}
				break
			}
			last = n
			if got := drivesOf(t, r.a); got != before {
				t.Errorf("%s failed at look %d, and %s is %s", name, n, before, got)
			}
			mustPut(t, r.a, packName(2), pack(100, 2))
			mustSync(t, r.a)
			if got := drivesOf(t, r.reopen(0, 1, 2)); got != before {
				t.Errorf("%s failed at look %d, and after a Sync %s is %s", name, n, before, got)
			}
			wantBlob(t, r.a, packName(1), pack(100, 1))
		}
		if last < 2 {
			t.Errorf("%s: failed at %d only", name, last)
		}
	}
}

// drivesOf tells how many drives may die, and how they are.
func drivesOf(t *testing.T, a *array.Array) string {
	t.Helper()
	h := health(t, a)
	var b strings.Builder
	fmt.Fprint(&b, h.Survive)
	for _, d := range h.Drives {
		fmt.Fprintf(&b, " %s:%s:%v", d.ID, d.State, d.Travels)
	}
	return b.String()
}
