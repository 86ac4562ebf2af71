// Package rpi is the real board: a Raspberry Pi under Linux. Everything in it works through the kernel, and so on any board
// that Linux knows.
package rpi
