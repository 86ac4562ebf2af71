package main

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSourcesByHand gathers sources on a machine that can fetch none: those that somebody put into a folder are looked at and taken,
// and while one is missing, or is another file, there is no tar, and what is wanted is named with its hash and where to get it.
func TestSourcesByHand(t *testing.T) {
	for _, name := range []string{"git", "apt-get", "tar"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
	repo, folder := filepath.Join(t.TempDir(), "repo"), t.TempDir()
	list := withSources(t, repo, folder)
	gather := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(repo, "image/sources/gather"), filepath.Join(repo, "out.tar"))
		nowhere := "=http://127.0.0.1:9"
		cmd.Env = append(os.Environ(), "SOURCES_DIR="+folder, "http_proxy"+nowhere, "https_proxy"+nowhere)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	tarball := filepath.Join(folder, "linux-stable_20250916.tar.gz") // as a browser names it
	right, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		said, err := gather()
		for _, want := range []string{"since these are missing", "linux: ", "get stable_20250916.tar.gz (sha512 ", "from https://github.com/raspberrypi/linux/archive/refs/tags/stable_20250916.tar.gz"} {
			if err == nil || !strings.Contains(said, want) {
				t.Errorf("%s: %v, %q is not said:\n%s", what, err, want, said)
			}
		}
		if _, err := os.Stat(filepath.Join(repo, "out.tar")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: there is a tar: %v", what, err)
		}
	}
	if err := os.Remove(tarball); err != nil {
		t.Fatal(err)
	}
	refused("one is not there")
	if err := os.WriteFile(tarball, append(slices.Clone(right), 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("one is another file")
	if err := os.WriteFile(tarball, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := gather(); err != nil {
		t.Fatalf("all are there: %v\n%s", err, said)
	}
	held := tell(t, "tar", "-tf", filepath.Join(repo, "out.tar"))
	for _, want := range append(list, "kernel.rpi/_build/config.addendum.txt", "kernel.rpi/LICENSE.linux", "phonebackupbox/image/sources/list") {
		if !strings.Contains(held, "./"+want+"\n") {
			t.Errorf("the tar lacks %s:\n%s", want, held)
		}
	}
}

// withSources makes a repository with the scripts and a list of small files, which lie in folder, and returns how the tar names them.
// Nothing that the list names can be fetched.
func withSources(t *testing.T, repo, folder string) (names []string) {
	t.Helper()
	b, err := os.ReadFile("../sources/list")
	if err != nil {
		t.Fatal(err)
	}
	pkg := "libc6-dev-arm64-cross"
	if strings.TrimSpace(tell(t, "uname", "-m")) == "aarch64" {
		pkg = "libc6-dev"
	}
	version, err := exec.CommandContext(t.Context(), "dpkg-query", "-W", "-f", "${Version}", pkg).Output()
	if err != nil {
		t.Skipf("%s is not installed, so there is nothing whose source could be gathered", pkg)
	}
	glibc, _, _ := strings.Cut(string(version), "cross")
	var list strings.Builder
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		name, text := path.Base(f[3]), []byte("the source of "+f[0])
		if f[0] == "glibc-debian" { // that of this machine
			name = "glibc_" + glibc + ".debian.tar.xz"
		}
		hash := fmt.Sprintf("%x", sha256.Sum256(text))
		from := "pool/none/" + name
		if f[0] == "linux" {
			sum := sha512.Sum512(text)
			hash, from, name = hex.EncodeToString(sum[:]), f[3], "linux-"+name
		}
		fmt.Fprintln(&list, f[0], f[1], hash, from)
		names = append(names, name)
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, from := range map[string]string{"go.mod": "../../go.mod", "go.sum": "../../go.sum", "image/sources/fetch": "../sources/fetch", "image/sources/gather": "../sources/gather", "image/sources/list": ""} {
		text := []byte(list.String())
		if from != "" {
			if text, err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		to := filepath.Join(repo, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "test"}} {
		tell(t, "git", append([]string{"-C", repo}, args...)...)
	}
	return names
}
