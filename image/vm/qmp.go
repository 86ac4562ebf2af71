package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// monitor is a conversation with QEMU in its machine protocol (QEMU, docs/interop/qmp-spec.rst): one command at a time, and
// events, which are read along with the answers.
type monitor struct {
	mu   sync.Mutex // held for a command and its answer
	conn net.Conn
	in   *json.Decoder
}

// message is all that QEMU may say.
type message struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class, Desc string
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Device string `json:"device"`
	} `json:"data"`
}

// newPair makes a connection to QEMU: theirs is for QEMU, which inherits it, and is to be closed when it runs.
func newPair(name string) (conn net.Conn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // so that no other child inherits them
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("vm: %s: %w", name, err)
	}
	ours := os.NewFile(uintptr(pair[0]), name)
	theirs = os.NewFile(uintptr(pair[1]), name)
	conn, err = net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("vm: %s: %w", name, err), theirs.Close())
	}
	return conn, theirs, nil
}

// command sends one and returns its answer. If gone is not "", it returns only when the device of that name has gone.
func (m *monitor) command(ctx context.Context, name string, args any, gone string) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { m.conn.SetDeadline(time.Unix(1, 0)) }) // of no use after that: who gives up ends the machine
	defer stop()
	ask := map[string]any{"execute": name}
	if args != nil {
		ask["arguments"] = args
	}
	if err := json.NewEncoder(m.conn).Encode(ask); err != nil {
		return nil, err
	}
	var answer json.RawMessage
	for answer == nil || gone != "" {
		var msg message
		if err := m.in.Decode(&msg); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		switch {
		case msg.Error != nil:
			return nil, fmt.Errorf("%s: %s", msg.Error.Class, msg.Error.Desc)
		case msg.Return != nil:
			answer = msg.Return
		case msg.Event == "DEVICE_DELETED" && msg.Data.Device == gone:
			gone = ""
		}
	}
	return answer, nil
}

// Command has QEMU do something while the machine runs (QEMU, docs/interop/qmp-spec.rst) and decodes its answer into answer,
// unless that is nil. args is encoded as a JSON object; nil if the command takes none.
func (m *Machine) Command(ctx context.Context, name string, args, answer any) error {
	raw, err := m.monitor.command(ctx, name, args, "")
	if err == nil && answer != nil {
		err = json.Unmarshal(raw, answer)
	}
	if err != nil {
		return fmt.Errorf("vm: %s: %w", name, err)
	}
	return nil
}

// Plug plugs a device in while the machine runs. properties are those of QEMU's option -device, such as
// {"driver": "usb-mtp", "id": "phone", "bus": "usb.0", "rootdir": dir}; by its id it can be pulled out.
func (m *Machine) Plug(ctx context.Context, properties map[string]any) error {
	return m.Command(ctx, "device_add", properties, nil)
}

// Unplug pulls the device with that id out, whatever the guest does with it, and returns when it is out.
func (m *Machine) Unplug(ctx context.Context, id string) error {
	if _, err := m.monitor.command(ctx, "device_del", map[string]any{"id": id}, id); err != nil {
		return fmt.Errorf("vm: unplug %s: %w", id, err)
	}
	return nil
}
