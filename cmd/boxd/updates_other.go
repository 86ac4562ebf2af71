//go:build !rescue && !linux

package main

import (
	"errors"
	"log/slog"
	"time"
)

var errNoBox = errors.New("an update is for a box that runs from its own card")

func openUpdates(string, *slog.Logger) (*updates, error) { return nil, errNoBox }

func uptime() time.Duration { return 0 }

func startAnew(bool) error { return errNoBox }
