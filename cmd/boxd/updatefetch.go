package main

import (
	"errors"
	"fmt"
	"net/url"
)

// fetching is the section [update] of box.toml: whether the box looks for new software itself, and where. The signature is what makes an
// update good, so a page that anybody could change will do.
type fetching struct {
	Allow bool   `toml:"allow"`
	URL   string `toml:"url"` // of an update file; the newest is always under the same
}

func (f fetching) check() error {
	at, err := url.Parse(f.URL)
	switch {
	case f.URL == "" && f.Allow:
		return errors.New("update: allow = true needs url, where the update file is")
	case f.URL != "" && (err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http"):
		return fmt.Errorf("update: url = %.80q: https://... is what is wanted", f.URL)
	}
	return nil
}
