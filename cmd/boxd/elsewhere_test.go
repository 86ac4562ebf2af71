//go:build linux && !rescue

package main

import (
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rescueBuilt = flag.String("rescue", "", "the `folder` of what make rescue built, to be tried under QEMU and Wine")

// prng is what Go asks Windows for random numbers with, and Wine 8 has not.
const prng = `#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID p, ULONG n);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }
`

// TestRescueElsewhere runs the rescue programs of other machines on this one, one drive of three missing: they list the snapshot,
// restore it, verify everything, and write a repository that stock restic finds nothing wrong with. What this does not show: real
// Windows, real ARM, and macOS, for which nothing here can run a program.
func TestRescueElsewhere(t *testing.T) {
	if *rescueBuilt == "" {
		t.Skip("no -rescue: make e2e-all builds the programs and tries them")
	}
	for _, tt := range []struct {
		name, program string
		needs         []string
		awkward       bool                // it can have any name and any time
		path          func(string) string // as the program is to be told
		start         func(t *testing.T) (command string, env []string)
	}{
		{"arm64 under QEMU", "rescue-linux-arm", []string{"qemu-aarch64"}, true, func(p string) string { return p }, func(*testing.T) (string, []string) {
			return "qemu-aarch64", nil
		}},
		{"Windows under Wine", "rescue-windows.exe", []string{"wine", "x86_64-w64-mingw32-gcc"}, false, func(p string) string {
			return "Z:" + strings.ReplaceAll(p, "/", `\`)
		}, wine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range tt.needs {
				if _, err := exec.LookPath(n); err != nil {
					t.Skipf("%s is not here", n)
				}
			}
			s := newSite(t, 3, 1)
			phone := filepath.Join(s.dir, "phone")
			makePhone(t, phone)
			if !tt.awkward {
				forWindows(t, phone)
			}
			must(t, exitOK, s.with("backup", "folder:"+phone)...)
			command, env := tt.start(t)
			flags := []string{"--key-file", tt.path(s.key), "--drive", tt.path(s.drives[0]), "--drive", tt.path(s.drives[2])}
			run := func(code int, args ...string) string {
				t.Helper()
				cmd := exec.Command(command, append(append([]string{filepath.Join(*rescueBuilt, tt.program)}, args...), flags...)...)
				cmd.Env = append(os.Environ(), env...)
				var said strings.Builder
				cmd.Stderr = &said
				out, err := cmd.Output()
				if got := cmd.ProcessState.ExitCode(); got != code {
					t.Fatalf("%v: exit code %d, %v\n%s%s", args, got, err, out, said.String())
				}
				return string(out)
			}
			if list := decode[[]snapshotJSON](t, run(exitOK, "snapshots", "--json")); len(list) != 1 || !list[0].Complete {
				t.Errorf("snapshots: %+v", list)
			}
			out, repo := t.TempDir(), filepath.Join(t.TempDir(), "repo")
			run(exitOK, "restore", "latest", "--to", tt.path(out))
			same(t, contents(t, phone), contents(t, out))
			run(exitIncomplete, "vault", "verify") // all is readable, and less protected than asked for
			run(exitOK, "vault", "export", "--format", "restic", "--to", tt.path(repo))
			sh(t, findRestic(t), "-r", repo, "--password-file", s.key, "--no-cache", "check", "--read-data")
		})
	}
}

// forWindows takes from a phone what Windows cannot have: some names, and times finer than 100 ns.
func forWindows(t *testing.T, phone string) {
	t.Helper()
	for _, name := range awkward {
		if err := os.Remove(filepath.Join(phone, name)); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(phone, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		at := info.ModTime().Truncate(time.Microsecond)
		return os.Chtimes(p, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wine makes a Windows of its own.
func wine(t *testing.T) (string, []string) {
	t.Helper()
	prefix := t.TempDir()
	env := []string{"WINEPREFIX=" + prefix, "WINEDEBUG=-all", "DISPLAY="}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	source := filepath.Join(prefix, "prng.c")
	if err := os.WriteFile(source, []byte(prng), 0o600); err != nil {
		t.Fatal(err)
	}
	run("wine", "wineboot", "--init")
	t.Cleanup(func() { // nothing of it runs on, or its folder would not go
		for _, how := range []string{"-k", "-w"} {
			cmd := exec.Command("wineserver", how)
			cmd.Env = append(os.Environ(), env...)
			_ = cmd.Run() // it may have ended by itself
		}
	})
	run("x86_64-w64-mingw32-gcc", "-shared", "-o", filepath.Join(prefix, "drive_c/windows/system32/bcryptprimitives.dll"), source, "-ladvapi32")
	return "wine", env
}
