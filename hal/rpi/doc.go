// Package rpi is the real board: a Raspberry Pi under Linux. Everything in it works through the kernel (GPIO character devices,
// /dev/watchdog), and so on any board that Linux knows. docs/adr/043-lights-and-button-by-the-kernel.md says why.
package rpi
