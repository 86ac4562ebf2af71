package attach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// checker is the program that mends a file system without asking.
type checker struct {
	program string
	mend    []string // its arguments, before the device
	look    []string // to change nothing; nil if mend's exit code says all
	limit   time.Duration
}

// checkers, by types of file systems. What was unmounted and has no errors is not looked at: e2fsck, too, would only say so, and a
// box that starts has better things to do. e2fsck replays the journal and looks at the rest only if something went wrong. fsck.vfat
// exits 1 after it mended as well as where it could not, so it looks again. All exit 0 for clean and 1 for mended
// (fsck(8)). The limit is for a disk that hangs; how long a check of a full disk takes was not measured.
var checkers = map[string]checker{
	"ext2":  {"e2fsck", []string{"-p"}, nil, 4 * time.Hour},
	"ext4":  {"e2fsck", []string{"-p"}, nil, 4 * time.Hour},
	"exfat": {"fsck.exfat", []string{"-p"}, []string{"-n"}, 4 * time.Hour},
	"vfat":  {"fsck.vfat", []string{"-a"}, []string{"-n"}, 4 * time.Hour},
}

// programFolders are where programs are looked for besides PATH.
var programFolders = []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/user"}

// errNoChecker: the program is not here.
var errNoChecker = errors.New("no program to check it")

// check has a file system that is not mounted mended. A nil error means that it holds together now.
func check(ctx context.Context, device string, s superblock) error {
	c, known := checkers[s.Type]
	if !known || !s.Dirty {
		return nil
	}
	program, err := findProgram(c.program)
	if err != nil {
		return fmt.Errorf("%w: %s", errNoChecker, c.program)
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	code, said, err := runChecker(ctx, program, append(c.mend, device)...)
	if err == nil && code == 1 && c.look != nil {
		code, said, err = runChecker(ctx, program, append(c.look, device)...)
		if code == 1 {
			code = 4 // it looks no better than before
		}
	}
	if err == nil && code > 1 {
		err = fmt.Errorf("exit %d: %s", code, said)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", c.program, device, err)
	}
	return nil
}

// runChecker returns the program's exit code and the end of what it said. At the end of ctx it is asked to end: killed in its
// work it would leave what it was to mend.
func runChecker(ctx context.Context, program string, args ...string) (code int, said string, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Env = []string{"PATH=" + strings.Join(programFolders, ":"), "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return 0, "", ctx.Err()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		code, err = exit.ExitCode(), nil
	}
	const most = 300
	said = strings.Join(strings.Fields(string(out)), " ")
	return code, said[max(0, len(said)-most):], err
}

func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range programFolders {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", errNoChecker
}
