package libusb

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// BusyError tells that another program has claimed a phone.
type BusyError struct {
	Name    string   // of the phone
	Holders []Holder // who has the device open; none if we may not see them
}

// Holder is a program that has a device open.
type Holder struct {
	PID  int
	Name string // as the kernel knows it, cut after 15 bytes
}

func (e *BusyError) Error() string {
	if len(e.Holders) == 0 {
		return "another program uses the " + e.Name
	}
	var who []string
	for _, h := range e.Holders {
		who = append(who, fmt.Sprintf("%s (process %d)", h.Name, h.PID))
	}
	return strings.Join(who, ", ") + " uses the " + e.Name
}

// holders finds the processes below proc, other than this one, that have the file node open. Those of other people are seen
// by root alone.
func holders(proc, node string) []Holder {
	links, err := filepath.Glob(proc + "/[0-9]*/fd/*")
	if err != nil {
		return nil
	}
	var all []Holder
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != node {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || len(all) > 0 && all[len(all)-1].PID == pid {
			continue
		}
		all = append(all, Holder{pid, optional(dir, "comm")})
	}
	return all
}
