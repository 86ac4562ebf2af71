package main

import (
	"bytes"
	"debug/elf"
	"flag"
	"os"
	gopath "path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var shipped = flag.String("card", "", "look at this image, made by make card")

// onCard is all that a card's root may hold besides folders: what is not here is not needed, and could let somebody in.
var onCard = []string{
	"etc/hostname", "etc/hosts", "etc/modules", "etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt", "gokrazy/init",
	"lib/firmware/brcm/brcmfmac43430-sdio.bin", "lib/firmware/brcm/brcmfmac43430-sdio.clm_blob", "lib/firmware/brcm/brcmfmac43430-sdio.raspberrypi,model-zero-2-w.txt",
	"lib/firmware/brcm/brcmfmac43455-sdio.bin", "lib/firmware/brcm/brcmfmac43455-sdio.clm_blob", "lib/firmware/brcm/brcmfmac43455-sdio.raspberrypi,3-model-b-plus.txt",
	"lib/firmware/brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.txt", "lib/firmware/brcm/brcmfmac43455-sdio.raspberrypi,5-model-b.txt", "lib/firmware/regulatory.db", "lib/firmware/regulatory.db.p7s",
	"lib/modules/6.12.47-v8/brcmfmac-cyw.ko", "lib/modules/6.12.47-v8/brcmfmac-wcc.ko", "lib/modules/6.12.47-v8/brcmfmac.ko", "lib/modules/6.12.47-v8/brcmutil.ko",
	"sbin/e2fsck", "sbin/fsck.exfat", "sbin/fsck.vfat", "sbin/mke2fs", "user/boxd",
	"user/rescue/rescue-linux", "user/rescue/rescue-linux-arm", "user/rescue/rescue-mac", "user/rescue/rescue-mac-intel", "user/rescue/rescue-windows.exe",
}

// TestShipped looks at the card that people get: nothing on it but what is meant to be, nothing that can be written or gives
// rights, no shell, no password, no key, no module of the kernel but the radios' driver, which is loaded only where it is wanted, nothing
// of the machine that built it.
func TestShipped(t *testing.T) {
	if *shipped == "" {
		t.Skip("looks at an image: make card, then go test ./image/pack -card bin/card.img")
	}
	needTools(t)
	root := partition(t, *shipped, bootStart+bootSize, rootSize)
	var got []string
	line := regexp.MustCompile(`(?m)^([-dlbcps][-rwxsStT]{9}) (\S+) .* squashfs-root/(\S+)`)
	for _, m := range line.FindAllStringSubmatch(tell(t, "unsquashfs", "-lls", root), -1) {
		mode, owner, name := m[1], m[2], m[3]
		if owner != "root/root" || strings.ContainsAny(mode, "sStTbcp") || mode[0] == '-' && strings.Contains(mode, "w") {
			t.Errorf("%s %s %s", mode, owner, name)
		}
		if mode[0] != 'd' {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, onCard) {
		t.Errorf("the root holds\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(onCard, "\n"))
	}

	dir := filepath.Join(t.TempDir(), "root")
	tell(t, "unsquashfs", "-no-progress", "-d", dir, root)
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range got {
		path := filepath.Join(dir, name)
		if name == "etc/resolv.conf" {
			continue // it leads to nothing here
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(here)) {
			t.Errorf("%s names %s, where it was built", name, here)
		}
		if strings.HasSuffix(name, ".ko") && !bytes.Contains(b, []byte("vermagic="+gopath.Base(gopath.Dir(name))+" ")) {
			t.Errorf("%s is another kernel's", name)
		}
		if name == "etc/modules" && len(b) > 0 {
			t.Errorf("the kernel is to load %q", b)
		}
		if strings.HasPrefix(name, "sbin/") || name == "user/boxd" || name == "gokrazy/init" {
			static(t, path)
		}
	}

	perm := partition(t, *shipped, bootStart+bootSize+2*rootSize, permSize)
	tell(t, "e2fsck", "-f", "-n", perm)
	// debugfs(8), ls -p: /inode/mode/uid/gid/name/size/
	for line := range strings.Lines(tell(t, "debugfs", "-R", "ls -p /", perm)) {
		if f := strings.Split(line, "/"); len(f) > 5 && !slices.Contains([]string{".", "..", "lost+found"}, f[5]) {
			t.Errorf("/perm holds %q: what is a box's own is made by the box", f[5])
		}
	}
	slot := partition(t, *shipped, bootStart+bootSize+rootSize, rootSize)
	if b, err := os.ReadFile(slot); err != nil || len(bytes.Trim(b, "\x00")) != 0 {
		t.Errorf("the second slot is not empty: %v", err)
	}
	boot := partition(t, *shipped, bootStart, bootSize)
	tell(t, "fsck.vfat", "-n", boot)
	for _, name := range []string{"libusb", "glibc", "e2fsprogs", "exfatprogs", "dosfstools", "brcm80211", "wireless-regdb", "go"} {
		if len(mtype(t, boot, "licences/"+name+".txt")) < 1000 {
			t.Errorf("what must be said of %s is missing", name)
		}
	}
}

// static sees that a program needs nothing else of the card, and is for its processor.
func static(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if f.Machine != elf.EM_AARCH64 {
		t.Errorf("%s is for %v", path, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static", path)
		}
	}
}
