package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const crashHow = "BOXD_TEST_CRASH" // of the child: "harden" or "plain"

// TestNoCore lets two processes crash with their memory to be dumped, one of them after noCore: the kernel dumps only the
// other, and nobody else looks into the first one's memory.
func TestNoCore(t *testing.T) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &lim); err != nil {
		t.Fatal(err)
	}
	how := os.Getenv(crashHow)
	if how != "" {
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: lim.Max, Max: lim.Max}); err != nil {
			t.Fatal(err)
		}
	}
	switch how {
	case "harden":
		if err := noCore(); err != nil {
			t.Fatal(err)
		}
		fallthrough
	case "plain":
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		println("dumpable " + strconv.Itoa(dumpable))
		debug.SetTraceback("crash")
		panic("a bug")
	}
	for how, want := range map[string]string{"harden": "dumpable 0", "plain": "dumpable 1"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoCore$")
		cmd.Env = append(os.Environ(), crashHow+"="+how)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(out), want) {
			t.Fatalf("%s: %v\n%s", how, err, out)
		}
		status, ok := exit.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT {
			t.Fatalf("%s: it did not abort: %v", how, exit)
		}
		cores, err := filepath.Glob(filepath.Join(cmd.Dir, "core*"))
		if err != nil {
			t.Fatal(err)
		}
		dumped := status.CoreDump() || len(cores) > 0
		if how == "harden" && dumped {
			t.Errorf("%s: the kernel wrote its memory: %v", how, cores)
		}
		if how == "plain" && !dumped {
			t.Logf("this machine writes no cores anyway (limit %d): only the switch was tested", lim.Max)
		}
	}
}
