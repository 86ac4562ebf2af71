package radio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"phonebackupbox/image/wifi"
)

// Radio is the kernel's side of all radios: nl80211 (Linux, include/uapi/linux/nl80211.h).
type Radio struct{ family uint16 }

// Open finds it. It needs no radio to be there.
func Open() (*Radio, error) {
	f, err := netlink.GenlFamilyGet(unix.NL80211_GENL_NAME)
	if err != nil {
		return nil, fmt.Errorf("wifi: nl80211: %w", err)
	}
	return &Radio{f.ID}, nil
}

// attribute is one of a message's.
type attribute struct {
	kind uint16
	data []byte
}

func number(kind uint16, n uint32) attribute {
	return attribute{kind, binary.NativeEndian.AppendUint32(nil, n)}
}

// ask sends a command and returns the answers, without their generic headers.
func (r *Radio) ask(command uint8, flags int, attributes []attribute) ([][]byte, error) {
	req := nl.NewNetlinkRequest(int(r.family), flags)
	req.AddData(header(command))
	for _, a := range attributes {
		req.AddData(nl.NewRtAttr(int(a.kind), a.data))
	}
	answers, err := req.Execute(unix.NETLINK_GENERIC, 0)
	for i, a := range answers {
		if len(a) < headerSize {
			return nil, errors.New("a message that is too short")
		}
		answers[i] = a[headerSize:]
	}
	return answers, err
}

// header is a command's generic header: the command, its version, two bytes that are reserved.
type header uint8

const headerSize = 4

func (header) Len() int            { return headerSize }
func (h header) Serialize() []byte { return []byte{byte(h), 1, 0, 0} }

// SetCountry tells the kernel whose rules hold. The rules lie in /lib/firmware, which was not there yet when a kernel looked for
// them that has nl80211 built in. The kernel answers before it has done so; Country tells.
func (r *Radio) SetCountry(country string) error {
	if _, err := r.ask(unix.NL80211_CMD_RELOAD_REGDB, unix.NLM_F_ACK, nil); err != nil {
		return fmt.Errorf("wifi: the rules of countries: %w", err)
	}
	if _, err := r.ask(unix.NL80211_CMD_REQ_SET_REG, unix.NLM_F_ACK, []attribute{{unix.NL80211_ATTR_REG_ALPHA2, []byte(country + "\x00")},
		number(unix.NL80211_ATTR_USER_REG_HINT_TYPE, unix.NL80211_USER_REG_HINT_USER)}); err != nil {
		return fmt.Errorf("wifi: country %s: %w", country, err)
	}
	return nil
}

// Country is whose rules hold: two letters, or "00" for what is allowed everywhere.
func (r *Radio) Country() (string, error) {
	answers, err := r.ask(unix.NL80211_CMD_GET_REG, 0, nil)
	if err != nil {
		return "", fmt.Errorf("wifi: country: %w", err)
	}
	return country(answers)
}

func country(answers [][]byte) (string, error) {
	for _, a := range answers {
		attrs, err := nl.ParseRouteAttr(a)
		if err != nil {
			return "", fmt.Errorf("wifi: country: %w", err)
		}
		for _, attr := range attrs {
			if attr.Attr.Type == unix.NL80211_ATTR_REG_ALPHA2 {
				return strings.TrimRight(string(attr.Value), "\x00"), nil
			}
		}
	}
	return "", errors.New("wifi: the kernel names no country")
}

// Suites, as IEEE 802.11-2020 numbers them in tables 9-149 and 9-151.
const (
	ccmp = 0x000fac04
	psk  = 0x000fac02
)

// join are the attributes that tell a radio to join a network and do WPA2's handshake by itself, as brcmfmac's firmware can. A radio
// that cannot refuses them with EINVAL.
func join(index int, n wifi.Network) []attribute {
	return []attribute{
		number(unix.NL80211_ATTR_IFINDEX, uint32(index)),
		{unix.NL80211_ATTR_SSID, []byte(n.SSID)},
		number(unix.NL80211_ATTR_AUTH_TYPE, unix.NL80211_AUTHTYPE_OPEN_SYSTEM),
		number(unix.NL80211_ATTR_WPA_VERSIONS, unix.NL80211_WPA_VERSION_2),
		number(unix.NL80211_ATTR_CIPHER_SUITE_GROUP, ccmp),
		number(unix.NL80211_ATTR_CIPHER_SUITES_PAIRWISE, ccmp),
		number(unix.NL80211_ATTR_AKM_SUITES, psk),
		{unix.NL80211_ATTR_WANT_1X_4WAY_HS, nil},
		{unix.NL80211_ATTR_PMK, n.Key[:]},
	}
}

// Join has the radio with an interface's index begin to join. When it is in, its interface has a carrier; the handshake is done then.
// It leaves when its interface is set down.
func (r *Radio) Join(index int, n wifi.Network) error {
	if _, err := r.ask(unix.NL80211_CMD_CONNECT, unix.NLM_F_ACK, join(index, n)); err != nil {
		return fmt.Errorf("wifi: join: %w", err)
	}
	return nil
}
