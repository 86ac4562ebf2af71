//go:build !rescue && !linux

package main

import (
	"errors"
	"log/slog"
	"time"
)

var errNoCard = errors.New("an update is for a box that runs from its own card")

func openUpdates(string, *slog.Logger) (*updates, error) { return nil, errNoCard }

func uptime() time.Duration { return 0 }

func startAnew(bool) error { return errNoCard }

func roomIn(string) (int64, error) { return 0, errNoCard }
