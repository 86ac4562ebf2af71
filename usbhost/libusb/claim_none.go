//go:build !libusb

package libusb

import (
	"context"

	"phonebackupbox/usbhost"
)

// Built tells whether this program can claim devices.
const Built = false

// Claim makes the device's interface ours, with a Pipe to it. Without the tag libusb it returns ErrNoUSB.
func (d Device) Claim(context.Context) (usbhost.Interface, error) { return claim(d, nil) }

func claim(Device, *departure) (usbhost.Interface, error) { return usbhost.Interface{}, ErrNoUSB }
