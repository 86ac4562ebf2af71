package vm

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// PlugDisk plugs a disk in while the machine runs, as its Attach says, under a name by which PullDisk knows it.
func (m *Machine) PlugDisk(ctx context.Context, name string, d *Disk) error {
	if err := d.serve(); err != nil {
		return err
	}
	m.disks = append(m.disks, d)
	node := map[string]any{"driver": "raw", "node-name": name,
		"file": map[string]any{"driver": "nbd", "server": map[string]any{"type": "unix", "path": d.socket}}}
	if err := m.Command(ctx, "blockdev-add", node, nil); err != nil {
		return err
	}
	return m.Plug(ctx, device(strings.ReplaceAll(d.Attach, "DRIVE", name), "disk-"+name))
}

// PullDisk pulls a disk out that PlugDisk plugged in. What the guest had not flushed is the disk's to keep or to lose.
func (m *Machine) PullDisk(ctx context.Context, name string, d *Disk) error {
	err := m.Unplug(ctx, "disk-"+name)
	if err == nil {
		err = m.Command(ctx, "blockdev-del", map[string]any{"node-name": name}, nil)
	}
	if err != nil {
		return err
	}
	m.disks = slices.DeleteFunc(m.disks, func(other *Disk) bool { return other == d })
	return d.stop()
}

// Port makes a USB port of a Unix socket at path: who connects to it and speaks usb-redir is what is plugged in there.
func (m *Machine) Port(ctx context.Context, name, path string) error {
	socket := map[string]any{"server": true, "wait": false, "addr": map[string]any{"type": "unix", "data": map[string]any{"path": path}}}
	err := m.Command(ctx, "chardev-add", map[string]any{"id": name, "backend": map[string]any{"type": "socket", "data": socket}}, nil)
	if err == nil {
		err = m.Plug(ctx, map[string]any{"driver": "usb-redir", "id": "port-" + name, "bus": "usb.0", "chardev": name})
	}
	return err
}

// device is one of QEMU's option -device as its monitor wants to have it.
func device(option, id string) map[string]any {
	driver, rest, _ := strings.Cut(option, ",")
	out := map[string]any{"driver": driver, "id": id}
	for _, p := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(p, "=")
		switch value {
		case "on", "off":
			out[name] = value == "on"
		default:
			out[name] = value
		}
	}
	return out
}

// Monitor has QEMU do what its human monitor can and its machine protocol cannot, and returns what it says.
func (m *Machine) Monitor(ctx context.Context, format string, args ...any) (string, error) {
	var said string
	err := m.Command(ctx, "human-monitor-command", map[string]any{"command-line": fmt.Sprintf(format, args...)}, &said)
	return said, err
}
