package mtp_test

import (
	"testing"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/mtp"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// Phones whose makers gave all of them one serial number are told apart by the one that they tell over MTP, or by their ports.
func TestPhonesThatShareASerialNumber(t *testing.T) {
	const shared = "0123456789ABCDEF"
	for _, c := range []struct {
		usb, mtp, port string
		id             usbhost.ID
		byPort         bool
	}{
		{"PIX1", "PIX1", "1-1", "mtp:PIX1", false},
		{shared, "5d41402abc4b2a76b9719d911017c592", "1-1", "mtp:5d41402abc4b2a76b9719d911017c592", false},
		{shared, "7d793037a0760186574b0282f2f435e7", "1-1", "mtp:7d793037a0760186574b0282f2f435e7", false},
		{shared, shared, "1-1", "mtp:18d1:4ee1@1-1", true},
		{shared, shared, "1-2", "mtp:18d1:4ee1@1-2", true},
		{"", "0000000000000000", "1-2", "mtp:18d1:4ee1@1-2", true},
	} {
		phone := vmtp.NewPhone(vmtp.Config{Serial: c.mtp})
		dev := phone.Plug()
		dev.Serial, dev.Port = c.usb, c.port
		p, err := mtp.Open(t.Context(), dev, mtp.Options{Location: time.UTC})
		if err != nil {
			t.Fatal(err)
		}
		info, err := p.Info(t.Context())
		if err != nil || info.ID != c.id || info.ByPort != c.byPort {
			t.Errorf("%q over USB, %q over MTP, at %s: %s, by its port: %v, %v", c.usb, c.mtp, c.port, info.ID, info.ByPort, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		phone.Unplug()
	}
}
