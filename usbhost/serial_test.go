package usbhost

import "testing"

func TestOwnSerial(t *testing.T) {
	for serial, own := range map[string]bool{
		"0123456789ABCDEF": false, "0123456789abcdef": false, "123456789ABCDEF": false, "1234567890ABCDEF": false, "0123456789": false,
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ": false, "00000000": false, "0000-0000-0000": false, "FFFFFFFF": false, "": false, " ": false,
		"---": false, "unknown": false, "Unknown": false, "(null)": false, "20080411413FC082": false, "é": false,
		"R58N123ABCD": true, "34HFGA8B45VC": true, "0123456789ABCDEE": true, "VPHONE0001": true, "QEMU0004": true, "12345": true,
		"0000000000000001": true, "éa": true,
	} {
		if got := OwnSerial(serial); (got == serial) != own && serial != "" || got != "" && got != serial {
			t.Errorf("%q: %q", serial, got)
		}
	}
}
