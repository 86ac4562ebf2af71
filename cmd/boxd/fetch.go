//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/image/update"
)

const (
	fetchFirst  = 10 * time.Minute // after the start: whoever switched the box on wants something else first
	fetchEvery  = 24 * time.Hour
	fetchWithin = time.Hour // bounds one of them
)

// fetchDaily looks for new software where the owner allows it, once a day. Without a network nothing comes of it, and nothing is said;
// an update that cannot be used is told once.
func (u *updates) fetchDaily(ctx context.Context) error {
	if !u.fetch.Allow {
		return nil
	}
	told := ""
	for wait := fetchFirst; ; wait = fetchEvery {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		refused, err := u.fetchOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil, errors.Is(err, update.ErrOld):
			continue
		}
		u.log.Warn("update", "not fetched", err)
		if words := oneLine(err); refused && words != told && u.box.Do(ctx, firmware.UpdateRefused{Why: words}) == nil {
			told = words
		}
	}
}

// fetchOnce fetches the update file, no further than its beginning if it is not newer. refused: it came, and cannot be used.
func (u *updates) fetchOnce(ctx context.Context) (refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.fetch.URL, nil)
	if err != nil {
		return false, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("update: the server says %s", res.Status)
	}
	_, err = u.take(ctx, res.Body)
	for _, bad := range []error{update.ErrNoKey, update.ErrNotUpdate, update.ErrSignature, update.ErrTooLarge} {
		refused = refused || errors.Is(err, bad)
	}
	return refused, err
}
