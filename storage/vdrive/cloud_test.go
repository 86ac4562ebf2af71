package vdrive_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vdrive"
)

// A Store made of what clouds offer keeps every rule of Stores, however far away it is.
func TestCheckCloud(t *testing.T) {
	for _, latency := range []time.Duration{0, 83 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			c := vdrive.NewCloud(1)
			c.Latency(latency)
			if err := storage.Check(t.Context(), c); err != nil {
				t.Errorf("latency %v: %v", latency, err)
			}
		})
	}
}

// Another process sees what was put once listings have caught up; until then they may be behind, but what is asked for by
// name is there.
func TestCloudListingsAreBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := vdrive.NewCloud(2)
		for i := range 250 { // three pages
			if err := c.Put(t.Context(), fmt.Sprintf("a/%03d", i), []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		count := func(s storage.Store) (n int) {
			t.Helper()
			last := ""
			for info, err := range s.List(t.Context(), "a/") {
				if err != nil || info.Name <= last {
					t.Fatalf("%s after %s: %v", info.Name, last, err)
				}
				last = info.Name
				n++
			}
			return n
		}
		other := c.Again()
		if n := count(c); n != 250 {
			t.Errorf("whoever put them lists %d", n)
		}
		if n := count(other); n == 250 || n == 0 {
			t.Errorf("another process lists %d at once", n)
		}
		if _, err := other.Stat(t.Context(), "a/249"); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Second)
		if n := count(other); n != 250 {
			t.Errorf("after a while another process lists %d", n)
		}
		if err := c.Delete(t.Context(), "a/001"); err != nil {
			t.Fatal(err)
		}
		if n := count(c); n != 249 {
			t.Errorf("%d are left", n)
		}
		c.Offline(true)
		if _, err := c.Stat(t.Context(), "a/002"); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("offline: %v", err)
		}
	})
}
