//go:build !rescue

package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
)

// weather is a Supply by the clock.
type weather struct{ began time.Time }

func (w weather) Read() (low, hot bool, err error) {
	switch t := time.Since(w.began); {
	case t < time.Minute:
	case t < time.Minute+5*time.Second:
		return true, false, nil
	case t >= 5*time.Minute && t < 6*time.Minute:
		return true, true, nil
	case t > 2*time.Hour:
		return false, false, errors.New("nothing to read")
	}
	return false, false, nil
}

func TestTroubleWithTheSupplyIsToldWhileItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		var told []firmware.Command
		said, refused := 0, false
		err := followSupply(ctx, weather{time.Now()}, func(_ context.Context, c firmware.Command) error {
			if !refused {
				refused = true
				return errors.New("not now")
			}
			told = append(told, c)
			return nil
		}, func(string, ...any) { said++ })
		want := []firmware.Command{firmware.BoardIs{PowerLow: true}, firmware.BoardIs{PowerLow: true, TooHot: true}, firmware.BoardIs{}}
		if err != nil || !slices.Equal(told, want) || said != 1 {
			t.Errorf("told %v, said %d times, %v", told, said, err)
		}
	})
}
