package libusb

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"

	"phonebackupbox/usbhost"
)

// charging is a phone that gives no files until its owner chooses file transfer. It then goes, and comes back as another
// device with the same serial number.
type charging struct {
	device Device
	left   *departure
}

var _ usbhost.Phone = (*charging)(nil)

// Info describes the phone. Its ID is the one that it will have over MTP, if it has a serial number.
func (p *charging) Info(context.Context) (usbhost.Info, error) {
	i := p.device.Interface
	return usbhost.Info{
		ID: usbhost.NewID("mtp", cmp.Or(i.Serial, i.Place())), Name: p.device.Name(), Maker: i.Maker, Model: i.Model,
		Locked: true, ChargeOnly: true, ByPort: i.Serial == "", Free: -1, Total: -1, Link: i.Link,
	}, nil
}

func (p *charging) refuse(what string) error {
	return fmt.Errorf("libusb: %s: file transfer is not chosen on the phone: %w", what, usbhost.ErrLocked)
}

func (p *charging) Backup(context.Context, usbhost.Tree, usbhost.Watch) (usbhost.Report, error) {
	return usbhost.Report{}, p.refuse("backup")
}

func (p *charging) Restore(context.Context, fs.FS, usbhost.Watch) (usbhost.Report, error) {
	return usbhost.Report{}, p.refuse("restore")
}

func (p *charging) Gone() <-chan struct{} { return p.left.gone }

func (p *charging) Close() error {
	p.left.leave()
	return nil
}
