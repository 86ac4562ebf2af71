package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
)

// kernelModule holds the Raspberry Pi kernel that the box boots; go.mod has its version.
const kernelModule = "github.com/gokrazy/kernel.rpi"

// Kernel fetches the kernel, if it is not here yet, and returns the path of its image. It needs the go command.
func Kernel(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", kernelModule).Output()
	if err != nil {
		return "", fmt.Errorf("vm: fetch %s: %w: %s", kernelModule, err, out)
	}
	var mod struct{ Dir string }
	if err := json.Unmarshal(out, &mod); err != nil {
		return "", fmt.Errorf("vm: fetch %s: %w", kernelModule, err)
	}
	return filepath.Join(mod.Dir, "vmlinuz"), nil
}
