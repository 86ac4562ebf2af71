package radio

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"testing"

	"github.com/vishvananda/netlink/nl"

	"phonebackupbox/image/wifi"
)

// recorded is what another client sends to join the network IEEE with the passphrase "password" by interface 3, with the firmware's own
// handshake: ConnectWPAPSK of github.com/mdlayher/wifi v0.10.0, which gokrazy's Raspberry Pis join networks with.
const recorded = "0800030003000000080034004945454508004b000200000008004a0004ac0f000800490004ac0f0008004c0002ac0f000400010124" +
	"00fe00f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e0800350000000000"

func TestJoinAsOthersDo(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("recorded on a machine with the other order of bytes")
	}
	b, err := hex.DecodeString(recorded)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := nl.ParseRouteAttr(b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint16]string{}
	for _, a := range parsed {
		want[a.Attr.Type] = string(a.Value)
	}
	n, err := wifi.New("IEEE", "password", "DE")
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint16]string{}
	for _, a := range join(3, n) {
		got[a.kind] = string(a.data)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%x\nnot\n%x", got, want)
	}
}

func TestCountryInAnswers(t *testing.T) {
	attr := func(kind int, data string) []byte { return nl.NewRtAttr(kind, []byte(data)).Serialize() }
	for want, answer := range map[string][]byte{
		"DE": append(attr(34, "xxxx"), attr(33, "DE\x00")...),
		"00": attr(33, "00"),
		"":   attr(34, "xxxx"),
	} {
		got, err := country([][]byte{answer})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", want, got, err)
		}
	}
	if _, err := country([][]byte{{8, 0, 33}}); err == nil {
		t.Error("an answer that is cut short names a country")
	}
}
