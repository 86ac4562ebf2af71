package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// pins is a conversation with QEMU about the board's eight GPIO lines, an ARM PL061, in the protocol of its device tests (QEMU,
// softmmu/qtest.c): one command at a time.
type pins struct {
	mu   sync.Mutex // held for a command and its answer
	conn net.Conn
	in   *bufio.Reader
	path string // of the chip among QEMU's objects
}

func newPins(conn net.Conn) *pins { return &pins{conn: conn, in: bufio.NewReader(conn)} }

// PinLabel is what the kernel calls the board's GPIO chip.
const PinLabel = "9030000.pl061"

// pinData is where the chip shows all lines at once (ARM PL061 data sheet, GPIODATA: bits 9 to 2 of the address are a mask).
const pinData = 0x9030000 + 0x3fc

// command sends one and returns its answer without the word OK.
func (p *pins) command(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.conn, format+"\n", args...); err != nil {
		return "", err
	}
	line, err := p.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	answer, ok := strings.CutPrefix(strings.TrimSpace(line), "OK")
	if !ok {
		return "", fmt.Errorf("%s", strings.TrimSpace(line))
	}
	return strings.TrimSpace(answer), nil
}

// Pins reads the GPIO lines of the board, a bit each.
func (m *Machine) Pins() (lines uint8, err error) {
	m.pins.mu.Lock()
	defer m.pins.mu.Unlock()
	answer, err := m.pins.command("readl %#x", pinData)
	if err == nil {
		_, err = fmt.Sscanf(answer, "%v", &lines)
	}
	if err != nil {
		return 0, fmt.Errorf("vm: pins: %w", err)
	}
	return lines, nil
}

// SetPin sets what a GPIO line of the board gets from outside.
func (m *Machine) SetPin(ctx context.Context, line int, high bool) error {
	if m.pins.path == "" {
		var children []struct{ Name, Type string }
		if err := m.Command(ctx, "qom-list", map[string]any{"path": "/machine/unattached"}, &children); err != nil {
			return err
		}
		for _, c := range children {
			if c.Type == "child<pl061>" {
				m.pins.path = "/machine/unattached/" + c.Name
			}
		}
	}
	level := 0
	if high {
		level = 1
	}
	m.pins.mu.Lock()
	defer m.pins.mu.Unlock()
	_, err := m.pins.command("set_irq_in %s unnamed-gpio-in %d %d", m.pins.path, line, level)
	if err == nil && m.pins.path == "" {
		err = errors.New("this board has none")
	}
	if err != nil {
		return fmt.Errorf("vm: pin %d: %w", line, err)
	}
	return nil
}
