package mtp

import (
	"bytes"
	"testing"

	"phonebackupbox/usbhost/vphone"
)

func TestWholeFileComesAsItIs(t *testing.T) {
	p, _ := sample(t, Quirks{})
	h := session(t, p)
	r := h.must(h.do(OpGetObject, nil, h.find("b.mp4")))
	want := make([]byte, 5<<20)
	if _, err := vphone.Generated(2, 5<<20).ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.payload(), want) {
		t.Fatal("content differs")
	}
}
