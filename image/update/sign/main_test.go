package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phonebackupbox/image/update"
)

// TestOpensslsKey signs with a key that openssl made, and has openssl check the signature.
func TestOpensslsKey(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	key, public, root, out := filepath.Join(dir, "key"), filepath.Join(dir, "public"), filepath.Join(dir, "root"), filepath.Join(dir, "out")
	for _, args := range [][]string{{"genpkey", "-algorithm", "ed25519", "-out", key}, {"pkey", "-in", key, "-pubout", "-out", public}} {
		if b, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %q: %v\n%s", args, err, b)
		}
	}
	if err := os.WriteFile(root, []byte("a root"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-key", key, "-root", root, "-out", out, "-version", "1.2", "-counter", "7"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := run([]string{"-key", key, "-public"}, &printed); err != nil {
		t.Fatal(err)
	}
	keys, err := update.ParseKeys(strings.TrimSpace(printed.String()))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	h, err := update.ReadHeader(bytes.NewReader(file), keys)
	if err != nil || h.Version != "1.2" || h.Counter != 7 || h.Size != 6 {
		t.Error(h, err)
	}
	// The signature is 64 bytes behind 14 of magic and 4 of length; it is over these and the header, which ends where the root begins.
	message := append(bytes.Clone(file[:18]), file[82:len(file)-6]...)
	for name, b := range map[string][]byte{"signature": file[18:82], "message": message} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", filepath.Join(dir, "message"),
		"-sigfile", filepath.Join(dir, "signature")).CombinedOutput(); err != nil {
		t.Errorf("openssl: %v\n%s", err, b)
	}
}

func TestSignRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{{}, {"-key", "main.go"}, {"-key", "main.go", "-root", "main.go", "-out", out}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
}

// The root of a card's image is all of its squashfs and nothing of what follows.
func TestRootOfAnImage(t *testing.T) {
	const at, room = 8, 64 // sectors
	image := bytes.Repeat([]byte{0xee}, (at+room)*512)
	image[510], image[511] = 0x55, 0xaa
	copy(image[446+16+8:], []byte{at, 0, 0, 0, room, 0, 0, 0})
	copy(image[at*512:], "hsqs")
	copy(image[at*512+40:], []byte{0x10, 0x20, 0, 0, 0, 0, 0, 0}) // 8208 bytes
	r, err := rootOf(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, image[at*512:at*512+3*4096]) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for name, spoil := range map[string]func([]byte){"no table": func(b []byte) { b[510] = 0 }, "no squashfs": func(b []byte) { b[at*512] = 0 },
		"longer than its room": func(b []byte) { b[at*512+42] = 1 }} {
		bad := bytes.Clone(image)
		spoil(bad)
		if _, err := rootOf(bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
