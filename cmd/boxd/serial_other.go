//go:build !rescue && !linux

package main

import "context"

func (a *appliance) console(context.Context, string, string, string) error {
	a.screen.say("  no console: serial ports are for Linux")
	return nil
}
