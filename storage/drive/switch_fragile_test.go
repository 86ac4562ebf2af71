package drive

import (
	"errors"
	"testing"

	"phonebackupbox/storage"
)

// TestSwitchOnFragile cuts a switch on FAT before each of its steps: stock restic may not rely on the drive until somebody has
// finished it and closed the drive.
func TestSwitchOnFragile(t *testing.T) {
	const other = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	for n := 0; ; n++ {
		ctx, d := t.Context(), fragile(t)
		dir := d.Dir()
		next, err := d.Next(other)
		if err != nil {
			t.Fatal(err)
		}
		for _, on := range []*Drive{d, next} {
			if err := errors.Join(on.Put(ctx, "vault/config", []byte(on.Vault())), on.Sync(ctx)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(next.Close(), d.Switch(), d.Close()); err != nil {
			t.Fatal(err)
		}
		steps, cut := 0, errors.New("cut")
		_, err = Open(dir, Options{format: fat.format, Step: func(string) error {
			if steps++; steps > n {
				return cut
			}
			return nil
		}})
		if err == nil {
			if steps < 10 {
				t.Errorf("only %d steps", steps)
			}
			return // it is open still, and the test is over
		}
		if !errors.Is(err, cut) {
			t.Fatal(err)
		}
		if isClean(t, dir) {
			t.Errorf("cut after %d steps: the drive says that it is clean", n)
		}
		d = reopened(t, dir, fat)
		p, err := storage.ReadAll(ctx, d, "vault/config", 100)
		if err != nil || string(p) != other {
			t.Errorf("cut after %d steps: %q, %v", n, p, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if !isClean(t, dir) {
			t.Errorf("cut after %d steps: the drive is not clean in the end", n)
		}
	}
}
