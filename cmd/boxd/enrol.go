//go:build !rescue

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"phonebackupbox/firmware"
	"phonebackupbox/usbhost"
)

// stateBusy is the code of the error that another boxd works on the state folder.
const stateBusy = "state-busy"

// enrolResult is what boxd phones enrol and forget print.
type enrolResult struct {
	firmware.Enrolment
	Enrolled bool `json:"enrolled"`        // now
	Later    bool `json:"later,omitempty"` // it is, or is not, once the box that runs is done with what it does now
}

// changeRoster changes which phones the box of a state folder backs up: by itself, or by asking the box that runs on it.
func changeRoster(ctx context.Context, c *call, what, name string) (err error) {
	if dir, ok := strings.CutPrefix(name, "folder:"); ok && dir != "" { // as boxd run names it
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		name = "folder:" + dir
	}
	if c.state, err = stateFolder(c.state); err != nil {
		return err
	}
	res, err := changeAlone(ctx, c, what, name)
	if hint := (hintError{}); errors.As(err, &hint) && hint.code == stateBusy {
		asked, aerr := askBox(ctx, c.state, what, name)
		if !errors.Is(aerr, errNoBox) {
			res, err = asked, aerr
		}
	}
	if err != nil {
		return err
	}
	return c.print(res, func(w io.Writer) {
		if res.Later {
			fmt.Fprintf(w, "%s (%s): the box does it when it is done with what it does now\n", printable(res.Name), printable(string(res.ID)))
			return
		}
		if res.Enrolled {
			fmt.Fprintf(w, "%s (%s) is enrolled: boxd run backs it up whenever it is plugged in\n", printable(res.Name), printable(string(res.ID)))
			return
		}
		fmt.Fprintf(w, "%s (%s) is forgotten: boxd run only charges it from now on. Its backups stay\n", printable(res.Name), printable(string(res.ID)))
	})
}

// changeAlone changes the roster of a state folder on which no box runs.
func changeAlone(ctx context.Context, c *call, what, name string) (res enrolResult, err error) {
	release, err := lockState(c.state)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, release()) }()
	r := roster{filepath.Join(c.state, enrolledName)}
	if what == "forget" {
		return forgetPhone(ctx, r, name)
	}
	return enrolPhone(ctx, c, r, name)
}

// enrolPhone enrols a phone that is plugged in.
func enrolPhone(ctx context.Context, c *call, r roster, name string) (res enrolResult, err error) {
	phone, err := openPhone(ctx, name, c.state)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, phone.Close()) }()
	info, err := phone.Info(ctx)
	if err != nil {
		return res, err
	}
	list, err := r.Enrolled(ctx)
	if err != nil {
		return res, err
	}
	if slices.ContainsFunc(list, func(e firmware.Enrolment) bool { return e.ID == info.ID }) {
		return res, hintError{fmt.Errorf("%s is enrolled already", printable(string(info.ID))), "enrolled", "boxd run backs it up whenever it is plugged in"}
	}
	e := firmware.Enrolment{ID: info.ID, Name: info.Name, Order: 1}
	for _, o := range list {
		e.Order = max(e.Order, o.Order+1)
	}
	return enrolResult{e, true, false}, r.Enrol(ctx, e)
}

// forgetPhone forgets a phone, plugged in or not.
func forgetPhone(ctx context.Context, r roster, name string) (enrolResult, error) {
	e, found, err := r.forget(ctx, usbhost.ID(name))
	if err != nil || found {
		return enrolResult{e, false, false}, err
	}
	list, err := r.Enrolled(ctx)
	if err != nil {
		return enrolResult{}, err
	}
	hint := "none is"
	if len(list) > 0 {
		var ids []string
		for _, e := range list {
			ids = append(ids, printable(string(e.ID)))
		}
		hint = "enrolled are " + strings.Join(ids, ", ")
	}
	return enrolResult{}, hintError{fmt.Errorf("%s is not enrolled", printable(name)), "no-phone", hint}
}
