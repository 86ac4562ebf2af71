//go:build hardware && linux

package drive

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var smartDevice = flag.String("smart-device", "", "a whole disk, such as /dev/sda, to ask for its health as root")

// TestSMARTOfDisk asks a real disk and compares with smartmontools, if they are here: docs/HARDWARE.md.
func TestSMARTOfDisk(t *testing.T) {
	if *smartDevice == "" {
		t.Skip("-smart-device names none")
	}
	f, err := os.Open(*smartDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ask := askATA
	if strings.HasPrefix(*smartDevice, "/dev/nvme") {
		ask = askNVMe
	}
	s, err := ask(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %q", p, s.Warnings())
	if out, err := exec.CommandContext(t.Context(), "smartctl", "-A", *smartDevice).CombinedOutput(); err == nil {
		t.Logf("%s", out)
	}
}
