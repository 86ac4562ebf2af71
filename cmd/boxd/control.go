//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// controlName is the socket in a state folder through which other boxd commands ask the box that runs on it. Whoever may write to
// the folder may ask, and nobody else: the folder is its owner's alone.
const controlName = "control"

// maxSocketPath bounds a socket's path, in bytes, that every Unix takes (unix(7): 108, its end included).
const maxSocketPath = 100

// inFolder calls f with a path of a socket in dir: its own, or, where that is too long, one by way of the open folder.
func inFolder(dir string, f func(path string) error) (err error) {
	path := filepath.Join(dir, controlName)
	if len(path) <= maxSocketPath {
		return f(path)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlName))
}

// listenControl opens the socket. Its caller holds the lock on the folder, so that one that is there is of a box that was killed.
func listenControl(dir string) (l *net.UnixListener, err error) {
	if err := os.Remove(filepath.Join(dir, controlName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err = inFolder(dir, func(path string) error {
		if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
			return err
		}
		l.SetUnlinkOnClose(false) // the path may lead nowhere by then; the next box removes it
		return os.Chmod(path, 0o600)
	})
	return l, err
}

// control answers other boxd commands until ctx ends.
func (a *appliance) control(ctx context.Context, g *errgroup.Group, state string) error {
	l, err := listenControl(state)
	if err != nil {
		return hintError{fmt.Errorf("state folder %s: %w", printable(state), reason(err)), "state", "give --state DIR, a folder that can be written to"}
	}
	mux := http.NewServeMux()
	for what, enrolled := range map[string]bool{"enrol": true, "forget": false} {
		mux.HandleFunc("POST /phones/"+what, func(w http.ResponseWriter, r *http.Request) {
			res, err := a.changeRoster(r.Context(), r.FormValue("phone"), enrolled)
			if err != nil {
				w.WriteHeader(http.StatusConflict)
				(&call{stdio: stdio{out: w}, json: true}).fail(err)
				return
			}
			_ = printJSON(w, res) // who asked and went away hears nothing
		})
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	g.Go(func() error { return serveUntil(ctx, srv, l) })
	return nil
}

// soon is how long a command waits for what it asked for. It is done at once, unless the box is in the middle of something.
const soon = 10 * time.Second

// changeRoster has the box enrol or forget a phone.
func (a *appliance) changeRoster(ctx context.Context, name string, enrol bool) (res enrolResult, err error) {
	before := a.box.State()
	id := usbhost.ID(name)
	var c firmware.Command = firmware.ForgetPhone{Phone: id}
	if enrol {
		if id, err = meant(before, name); err != nil {
			return res, err
		}
		c = firmware.EnrolPhone{Phone: id}
	}
	states, cancel := a.box.Subscribe()
	defer cancel()
	if err := a.box.Do(ctx, c); err != nil {
		return res, hintError{fmt.Errorf("%s: %w", printable(string(id)), err), "refused", "boxd phones lists what is plugged in"}
	}
	p, _ := before.Phone(id)
	res = enrolResult{firmware.Enrolment{ID: id, Name: p.Name, Order: p.Order}, enrol, false}
	late := time.After(soon)
	for {
		select {
		case s, ok := <-states:
			p, _ := s.Phone(id)
			switch {
			case !ok:
				return res, firmware.ErrStopped
			case p.Enrolled == enrol:
				if enrol {
					res.Order = p.Order
				}
				return res, nil
			case unwritten(s, id) && !unwritten(before, id):
				return res, fmt.Errorf("%s: the state folder cannot be written", printable(string(id)))
			}
		case <-late:
			res.Later = true
			return res, nil
		case <-ctx.Done():
			return res, ctx.Err()
		}
	}
}

// unwritten reports whether the roster could not be written for a phone.
func unwritten(s firmware.State, id usbhost.ID) bool {
	return slices.ContainsFunc(s.Faults, func(f firmware.Fault) bool { return f.Phone == id && f.Code == firmware.Internal })
}

// meant is the attached phone that name stands for: its ID, or any for the only one that is not enrolled.
func meant(s firmware.State, name string) (usbhost.ID, error) {
	if name != "any" {
		return usbhost.ID(name), nil
	}
	var ids []string
	for _, p := range s.Phones {
		if p.Attached() && !p.Enrolled {
			ids = append(ids, string(p.ID))
		}
	}
	switch len(ids) {
	case 1:
		return usbhost.ID(ids[0]), nil
	case 0:
		return "", hintError{errors.New("no phone is plugged in that the box does not back up already"), "no-phone", "plug it in, unlock it, and choose file transfer on its screen"}
	}
	return "", hintError{errors.New("which phone? " + strings.Join(ids, ", ") + " are plugged in"), "which", "name one of them instead of any"}
}

// errNoBox: nothing answers at the control socket.
var errNoBox = errors.New("no box runs on this state folder")

// askBox asks the box that runs on a state folder to enrol or forget a phone.
func askBox(ctx context.Context, state, what, name string) (res enrolResult, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		err = inFolder(state, func(path string) error {
			c, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
			return err
		})
		if err != nil {
			err = fmt.Errorf("%w: %w", errNoBox, err)
		}
		return c, err
	}}}
	form := url.Values{"phone": {name}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://box/phones/"+what, strings.NewReader(form.Encode()))
	if err != nil {
		return res, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	var answer struct {
		enrolResult
		Error *struct{ Code, Message, Hint string } `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return res, fmt.Errorf("the box's answer: %w", err)
	}
	if e := answer.Error; e != nil {
		return res, hintError{errors.New(e.Message), e.Code, e.Hint}
	}
	return answer.enrolResult, nil
}
