// Package vm is the machine that boots the box's kernel in QEMU: an arm64 board without peculiarities ("virt"), with
// disks that can be pulled out of power, lie about their size, and remember nothing that was not flushed.
package vm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Program is QEMU for our boards' processor; Debian has it in qemu-system-arm.
const Program = "qemu-system-aarch64"

// Config is how a machine is built.
type Config struct {
	Kernel, Initramfs string // files; without an initramfs, Args say which disk the kernel starts from
	Args              string // more for the kernel's command line
	Disks             []*Disk
	Memory            int      // MiB; 0 is 1024
	Extra             []string // more of QEMU's options, such as "-device", "usb-mtp,bus=usb.0,rootdir=DIR"; the USB bus is usb.0
}

// Machine is one that runs, from Boot to Wait or CutPower.
type Machine struct {
	cmd     *exec.Cmd
	monitor *monitor
	pins    *pins
	keys    io.WriteCloser // what is typed on the serial console
	disks   []*Disk
	lines   chan string // what the serial console says
	done    chan error  // how QEMU ended

	mu  sync.Mutex // guards log
	log strings.Builder
}

// Boot starts a machine. It ends when its guest switches it off, at CutPower, or with ctx.
func Boot(ctx context.Context, c Config) (*Machine, error) {
	const monitorFD, pinsFD = 3, 4 // cmd.ExtraFiles
	args := []string{"-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", fmt.Sprint(cmp.Or(c.Memory, 1024)), "-accel", "tcg,thread=multi",
		"-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel", c.Kernel,
		"-append", "console=ttyAMA0 quiet loglevel=3 panic=-1 rdinit=/init " + c.Args, "-device", "qemu-xhci,id=usb,p2=8,p3=8",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD), "-mon", "chardev=monitor,mode=control",
		"-chardev", fmt.Sprintf("socket,id=qtest,fd=%d", pinsFD), "-qtest", "chardev:qtest", "-qtest-log", "none"}
	if c.Initramfs != "" {
		args = append(args, "-initrd", c.Initramfs)
	}
	m := &Machine{lines: make(chan string, 1<<16), done: make(chan error, 1)}
	for i, d := range c.Disks {
		if err := d.serve(); err != nil {
			return nil, errors.Join(err, m.stopDisks())
		}
		m.disks = append(m.disks, d)
		id := fmt.Sprintf("disk%d", i)
		args = append(args, "-drive", fmt.Sprintf("if=none,id=%s,format=raw,cache=writeback,file.driver=nbd,file.server.type=unix,file.server.path=%s", id, d.socket),
			"-device", strings.ReplaceAll(d.Attach, "DRIVE", id))
	}
	m.cmd = exec.CommandContext(ctx, Program, append(args, c.Extra...)...)
	if err := m.start(); err != nil {
		return nil, errors.Join(err, m.stopDisks())
	}
	if err := m.Command(ctx, "qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, m.CutPower(), errors.New(m.Log()))
	}
	return m, nil
}

// start starts QEMU with its console and its monitor.
func (m *Machine) start() error {
	monitorConn, theirs, err := newPair("monitor")
	if err != nil {
		return err
	}
	pinsConn, theirPins, err := newPair("pins")
	if err != nil {
		return errors.Join(err, monitorConn.Close(), theirs.Close())
	}
	m.monitor, m.pins = &monitor{conn: monitorConn, in: json.NewDecoder(monitorConn)}, newPins(pinsConn)
	m.cmd.ExtraFiles = []*os.File{theirs, theirPins}
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		m.keys, err = m.cmd.StdinPipe()
	}
	if err == nil {
		m.cmd.Stderr = m.cmd.Stdout
		err = m.cmd.Start()
	}
	if err = errors.Join(err, theirs.Close(), theirPins.Close()); err != nil {
		return errors.Join(fmt.Errorf("vm: %w (Debian: qemu-system-arm)", err), monitorConn.Close(), pinsConn.Close())
	}
	go m.read(out)
	return nil
}

// read passes the console on until QEMU ends. Wait and CutPower wait for it.
func (m *Machine) read(out io.Reader) {
	s := bufio.NewScanner(out)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		m.mu.Lock()
		m.log.WriteString(line + "\n")
		m.mu.Unlock()
		select {
		case m.lines <- line:
		default: // nobody reads them; the log has it
		}
	}
	close(m.lines)
	m.done <- errors.Join(s.Err(), m.cmd.Wait())
}

// Next returns the next line of the console, false when the machine has ended or nothing came for so long.
func (m *Machine) Next(limit time.Duration) (string, bool) {
	select {
	case line, ok := <-m.lines:
		return line, ok
	case <-time.After(limit):
		return "", false
	}
}

// Type types a line on the console, for the guest to read.
func (m *Machine) Type(line string) error {
	if _, err := io.WriteString(m.keys, line+"\n"); err != nil {
		return fmt.Errorf("vm: type: %w", err)
	}
	return nil
}

// Log is all that the console has said.
func (m *Machine) Log() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

// Spent is how much processor time the machine has taken so far: what it did, whatever else the computer does meanwhile.
func (m *Machine) Spent() (time.Duration, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("vm: %w", err)
	}
	f := strings.Fields(string(p[bytes.LastIndexByte(p, ')')+1:])) // from the third field on (proc(5)); the name before it may hold blanks
	var ticks [2]int64
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(f[11+i], 10, 64); err != nil { // utime, stime
			return 0, fmt.Errorf("vm: processor time: %w", err)
		}
	}
	return time.Duration(ticks[0]+ticks[1]) * (time.Second / 100), nil // USER_HZ is 100 on every architecture of ours
}

// CutPower ends the machine at once. What its disks had not flushed is theirs to keep or to lose. It may be called again.
func (m *Machine) CutPower() error {
	if err := m.cmd.Process.Kill(); err != nil && !strings.Contains(err.Error(), "already finished") {
		return fmt.Errorf("vm: %w", err)
	}
	return m.Wait()
}

// Wait waits until the machine has ended by itself.
func (m *Machine) Wait() error {
	err := <-m.done
	m.done <- nil // for who asks again
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
		err = nil // killed, by CutPower
	}
	for _, conn := range []net.Conn{m.monitor.conn, m.pins.conn} {
		if cerr := conn.Close(); !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	return errors.Join(err, m.stopDisks())
}

func (m *Machine) stopDisks() error {
	var errs []error
	for _, d := range m.disks {
		errs = append(errs, d.stop())
	}
	m.disks = nil
	return errors.Join(errs...)
}
