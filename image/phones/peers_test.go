package main_test

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"phonebackupbox/image/vm"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
	"phonebackupbox/usbhost/vphone/redir"
)

var everything = flag.Bool("all", false, "fetch every file with mtp-getfile, not a few: make e2e-all")

// few are the files that mtp-getfile fetches in any case: it is slow. jmtpfs reads all.
var few = []string{"DCIM/Camera/512.bin", "DCIM/Camera/16KiB.bin", "DCIM/Camera/IMG_0001.jpg", "DCIM/空 folder/naïve 写真 😀.jpg"}

// peers unpacks the programs that we did not write and returns where.
func peers(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	command(t, root, nil, "image/phones/peers")
	return filepath.Join(root, ".cache", "peers")
}

// programs adds programs of Debian's to what a machine has, with the libraries that they need.
func programs(t *testing.T, dir string, names ...string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, name := range []string{"gconv-modules", "UTF-16.so"} { // for libmtp, whose names are UTF-16
		name = "usr/lib/aarch64-linux-gnu/gconv/" + name
		files[name] = filepath.Join(dir, "root", name)
	}
	var add func(path string)
	add = func(path string) {
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		libraries, err := f.ImportedLibraries()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(libraries, "ld-linux-aarch64.so.1") {
			if files["lib/"+name] == "" {
				files["lib/"+name] = find(t, dir, name)
				add(files["lib/"+name])
			}
		}
	}
	for _, name := range names {
		files["bin/"+name] = find(t, dir, name)
		add(files["bin/"+name])
	}
	return files
}

// find looks a program or library up.
func find(t *testing.T, dir, name string) string {
	t.Helper()
	for _, in := range []string{"usr/bin", "usr/sbin", "bin", "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib", "usr/lib"} {
		if path := filepath.Join(dir, "root", in, name); regular(path) {
			return path
		}
	}
	t.Fatalf("Debian's packages have no %s", name)
	return ""
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// cable is one of the machine's ports, for a simulated phone.
type cable struct {
	l      *lab
	path   string
	unplug func() // pulls the phone out that is plugged in
}

// cable makes a port.
func (l *lab) cable() *cable {
	l.Helper()
	c := &cable{l: l, path: filepath.Join(l.TempDir(), "usb")}
	err := l.m.Port(l.Context(), fmt.Sprintf("cable%d", time.Now().UnixNano()), c.path)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

// plug plugs a phone in.
func (c *cable) plug(phone *mtp.Phone) {
	c.l.Helper()
	conn, err := net.Dial("unix", c.path)
	if err != nil {
		c.l.Fatal(err)
	}
	ctx, pull := context.WithCancel(c.l.Context())
	out := make(chan error, 1)
	go func() {
		out <- redir.Serve(ctx, conn, func() *vphone.Attachment { phone.Plug(); return phone.Attachment() })
	}()
	c.unplug = sync.OnceFunc(func() {
		pull()
		if err := <-out; err != nil {
			c.l.Error(err)
		}
	})
	c.l.Cleanup(c.unplug)
}

// simulated fills a storage: with files that end with packets and with the reads that libmtp does, and that do not.
func simulated(t *testing.T) *vphone.Storage {
	t.Helper()
	s := vphone.NewStorage("Internal shared storage", 8<<30, &vphone.Spool{Memory: 64 << 20})
	when := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	for i, f := range []struct {
		name string
		size int64
	}{
		{"DCIM/Camera/IMG_0001.jpg", 3_000_001}, {"DCIM/Camera/VID_0002.mp4", 24 << 20}, {"DCIM/Camera/512.bin", 512 - 12}, {"DCIM/Camera/1024.bin", 1024 - 12},
		{"DCIM/Camera/16KiB.bin", 16<<10 - 12}, {"DCIM/Camera/1MiB.bin", 1 << 20}, {"DCIM/one", 1}, {"DCIM/空 folder/naïve 写真 😀.jpg", 70_000}, {"notes.txt", 12},
	} {
		if err := s.Put(f.name, when.Add(time.Duration(i)*time.Hour), vphone.Generated(uint64(i), f.size)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// held is what a storage holds: "SHA-256 size path" of each file.
func held(t *testing.T, s *vphone.Storage) (files []string) {
	t.Helper()
	for _, e := range s.Entries() {
		if e.Folder {
			continue
		}
		sum, err := e.SHA256()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fmt.Sprintf("%x %d %s", sum, e.Size, e.Path))
	}
	return files
}

// match compares files as held gives them.
func match(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// summed are the FILE lines of the machine's "sum", as held gives them.
func summed(said []string) (files []string) {
	for _, line := range lines(said, "FILE") {
		f := strings.SplitN(line, " ", 4) // sum, size, time, name
		files = append(files, f[0]+" "+f[1]+" "+f[3])
	}
	return files
}

// object is a file that mtp-files names; name is its path.
type object struct{ name, size string }

var (
	aFile   = regexp.MustCompile(`File ID: (\d+)\n +Filename: (.*)\n +File size (\d+) .*\n +Parent ID: (\d+)`)
	aFolder = regexp.MustCompile(`(?m)^(\d+)\t( *)(.*)$`)
)

// listed reads what mtp-files and mtp-folders say of a phone: the paths of its folders and files, by their numbers.
func (l *lab) listed() (folders map[string]string, files map[string]object) {
	l.Helper()
	folders, files = map[string]string{"0": ""}, map[string]object{}
	var above []string // paths
	for _, m := range aFolder.FindAllStringSubmatch(strings.Join(l.do("run /bin/mtp-folders"), "\n"), -1) {
		depth := len(m[2]) / 2
		above = append(above[:min(depth, len(above))], m[3]+"/")
		folders[m[1]] = strings.Join(above, "")
	}
	for _, m := range aFile.FindAllStringSubmatch(strings.Join(l.do("run /bin/mtp-files"), "\n"), -1) {
		files[m[1]] = object{name: folders[m[4]] + m[2], size: m[3]}
	}
	return folders, files
}

// Clients that know nothing of the simulator take it for a phone: what they list is what it holds, byte for byte, and what
// they send arrives.
func TestLibmtpUsesOurPhone(t *testing.T) {
	need(t)
	storage := simulated(t)
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{storage}, Quirks: mtp.Quirks{SameHandles: true}})
	l := peerLab(t, "mtp-detect", "mtp-files", "mtp-folders", "mtp-connect")
	c := l.cable()
	c.plug(phone)
	l.do("wait 18d1")
	said := strings.Join(l.do("run /bin/mtp-detect"), "\n")
	for _, want := range []string{"Model: Pixel 9", "Serial number: VPHONE0001", "StorageDescription: Internal shared storage", "95c1: ", "Battery level 80 of 100"} {
		if !strings.Contains(said, want) {
			t.Errorf("mtp-detect does not say %q:\n%s", want, said)
		}
	}
	folders, files := l.listed()
	var listing, fetched, want []string
	for _, f := range files {
		listing = append(listing, f.size+" "+f.name)
	}
	for _, line := range held(t, storage) {
		_, sizeAndName, _ := strings.Cut(line, " ")
		want = append(want, sizeAndName)
	}
	match(t, "mtp-files", listing, want)

	l.do("mkdir /tmp/got")
	names := map[string]string{} // by number
	for id, f := range files {
		names[id] = f.name
		if slices.Contains(few, f.name) || *everything {
			l.do("run /bin/mtp-connect --getfile %s /tmp/got/%s", id, id)
		}
	}
	for _, line := range summed(l.do("sum /tmp/got")) {
		f := strings.SplitN(line, " ", 3)
		fetched = append(fetched, f[0]+" "+f[1]+" "+names[f[2]])
	}
	match(t, "mtp-getfile", fetched, slices.DeleteFunc(held(t, storage), func(line string) bool {
		return !*everything && !slices.Contains(few, strings.SplitN(line, " ", 3)[2])
	}))

	want = held(t, storage)
	for id, path := range folders {
		if path != "DCIM/空 folder/" {
			continue
		}
		for number, name := range names {
			if name == "DCIM/Camera/512.bin" || name == "DCIM/Camera/IMG_0001.jpg" {
				l.do("run /bin/mtp-connect --sendfile /tmp/got/%s %s/sent", number, id)
				i := slices.IndexFunc(want, func(line string) bool { return strings.HasSuffix(line, name) })
				want = append(want, strings.Replace(want[i], name, path+number, 1))
			}
		}
	}
	match(t, "mtp-sendfile", held(t, storage), want)
	l.ours(c, phone)
	if err := phone.Err(); err != nil {
		t.Error(err)
	}
	l.off()
}

// ours has our own driver read the phone on the same port; the first time the cable comes out in the middle.
func (l *lab) ours(c *cable, phone *mtp.Phone) {
	l.Helper()
	l.do("bus")
	l.await("ARRIVED")
	const after = 5_000_000 // bytes
	phone.UnplugAfter(after)
	said, ok := l.ask("pull mtp:VPHONE0001")
	in, _ := phone.Attachment().Moved()
	if ok || len(lines(said, "ENDED unplugged=true")) != 1 || in > after+1<<20 {
		l.Errorf("the cable came out after %d bytes, and the phone was read on to %d:\n%s", after, in, strings.Join(said, "\n"))
	}
	c.unplug()
	c.plug(phone)
	l.await("ARRIVED")
	var want []string
	for _, line := range held(l.T, phone.Storages()[0]) {
		f := strings.SplitN(line, " ", 3)
		want = append(want, f[0]+" "+f[1]+" Internal shared storage/"+f[2])
	}
	match(l.T, "our driver", summed(l.do("pull mtp:VPHONE0001")), want)
}

// The same through a file system: jmtpfs.
func TestJmtpfsUsesOurPhone(t *testing.T) {
	need(t)
	storage := simulated(t)
	phone := mtp.NewPhone(mtp.Config{Storages: []*vphone.Storage{storage}})
	l := peerLab(t, "jmtpfs")
	l.cable().plug(phone)
	l.do("wait 18d1")
	l.do("mkdir /tmp/phone")
	l.do("run /bin/jmtpfs /tmp/phone")
	var want []string
	for _, line := range held(t, storage) {
		f := strings.SplitN(line, " ", 3)
		want = append(want, f[0]+" "+f[1]+" Internal shared storage/"+f[2])
	}
	match(t, "jmtpfs", summed(l.do("sum /tmp/phone")), want)
	const text = "what a file system sends"
	l.do("write /tmp/phone/Internal%%20shared%%20storage/DCIM/sent.txt %s", text)
	sent := fmt.Sprintf("%x %d DCIM/sent.txt", sha256.Sum256([]byte(text)), len(text))
	if now := held(t, storage); !slices.Contains(now, sent) {
		t.Errorf("the phone holds\n%s\nwant among it\n%s", strings.Join(now, "\n"), sent)
	}
	l.off()
}

// peerLab starts a machine with the box's kernel and programs of Debian's.
func peerLab(t *testing.T, names ...string) *lab {
	t.Helper()
	kernel, err := vm.Kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := peers(t)
	files := programs(t, dir, names...)
	files["usr/share/misc/magic.mgc"] = filepath.Join(dir, "root/usr/lib/file/magic.mgc") // for jmtpfs
	return start(t, vm.Config{Kernel: kernel}, files)
}
