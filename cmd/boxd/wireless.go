package main

import (
	"errors"
	"fmt"
	"strings"

	"phonebackupbox/image/wifi"
)

// wireless is a network that the box may join where no cable is in. What opens it is in the owner's file only, until it is taken over.
type wireless struct {
	SSID       string `toml:"ssid"`
	Country    string `toml:"country"`
	Passphrase string `toml:"passphrase"`
	PSK        string `toml:"psk"` // in place of it: the key itself, 64 hexadecimal digits
}

// wirelessSecrets are the settings of it whose lines are erased in the owner's file.
var wirelessSecrets = []string{"passphrase", "psk"}

func (w wireless) secret() string {
	if w.PSK != "" {
		return w.PSK
	}
	return w.Passphrase
}

// check refuses what is no network. It does not show secrets.
func (w wireless) check() error {
	if w == (wireless{}) {
		return nil
	}
	err := wifi.Check(w.SSID, w.Country)
	switch {
	case err != nil:
	case w.Passphrase != "" && w.PSK != "":
		err = errors.New("passphrase and psk: give one of them")
	case w.PSK != "" && len(w.PSK) != 64:
		err = errors.New("psk: a key has 64 characters, 0 to 9 and a to f; give what you type into a phone as passphrase")
	case w.secret() != "":
		_, err = wifi.New(w.SSID, w.secret(), w.Country)
	}
	if err != nil {
		return fmt.Errorf("wifi: %s", strings.TrimPrefix(err.Error(), "wifi: "))
	}
	return nil
}

var errNoPassphrase = errors.New("wifi: the box does not know the passphrase of this network: write it below ssid")

// network is the one to be kept, where that of the last time is kept, if any. Once it is taken over, the owner's file does not hold
// what opens it.
func (w wireless) network(kept wifi.Network) (wifi.Network, error) {
	if w.secret() != "" {
		return wifi.New(w.SSID, w.secret(), w.Country)
	}
	if kept.SSID != w.SSID {
		return wifi.Network{}, errNoPassphrase
	}
	kept.Country = w.Country
	return kept, nil
}
