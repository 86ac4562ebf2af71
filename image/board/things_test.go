package board

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"phonebackupbox/image/vm"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
	"phonebackupbox/usbhost/vphone/redir"
)

// drive is a USB drive.
type drive struct {
	name string
	disk *vm.Disk
}

// newDrive makes one of size bytes; dir, if not "", is what lies on it.
func (x *box) newDrive(name string, size int64, dir string) *drive {
	x.Helper()
	path := filepath.Join(x.dir, name+".img")
	args := []string{"-q", "-F", "-t", "ext4", "-L", name, "-E", "root_owner=0:0"}
	if dir != "" {
		args = append(args, "-d", dir)
	}
	x.host("mke2fs", append(args, path, fmt.Sprintf("%dk", size/1024))...)
	return &drive{name, vm.NewDisk(path, "usb-storage,bus=usb.0,removable=on,drive=DRIVE,serial="+name, uint64(len(name)))}
}

func (x *box) plug(drives ...*drive) {
	x.Helper()
	for _, d := range drives {
		if err := x.m.PlugDisk(x.Context(), d.name, d.disk); err != nil {
			x.Fatalf("%v\n%s", err, x.m.Log())
		}
	}
}

// pull pulls a drive out, whatever the box does with it.
func (x *box) pull(d *drive) {
	x.Helper()
	if err := x.m.PullDisk(x.Context(), d.name, d.disk); err != nil {
		x.Fatalf("%v\n%s", err, x.m.Log())
	}
}

// site is what a box has that was set up already: drives with a vault, the key and the phones on its card.
type site struct {
	perm   string // a folder, for newBox
	key    string // the key's file
	drives []string
}

// newSite makes a vault over n drives, as boxd does, in folders.
func newSite(x *box, n int, phones ...*phone) site {
	x.Helper()
	s := site{perm: filepath.Join(x.dir, "perm")}
	s.key = filepath.Join(s.perm, "box", "key.txt")
	if err := os.MkdirAll(filepath.Dir(s.key), 0o700); err != nil {
		x.Fatal(err)
	}
	args := []string{"--key-file", s.key}
	for i := range n {
		dir := filepath.Join(x.dir, fmt.Sprintf("drive%d", i+1))
		s.drives = append(s.drives, dir)
		args = append(args, "--drive", filepath.Join(dir, "phone-backup-box"))
		if err := os.MkdirAll(filepath.Join(dir, "phone-backup-box"), 0o700); err != nil {
			x.Fatal(err)
		}
	}
	b, err := built()
	if err != nil {
		x.Fatal(err)
	}
	stick := filepath.Join(x.dir, "stick") // or the box goes on asking for one
	if err := os.Mkdir(stick, 0o700); err != nil {
		x.Fatal(err)
	}
	x.host(b.boxd, append([]string{"vault", "create"}, args...)...)
	x.host(b.boxd, append([]string{"key", "stick", stick}, args...)...)
	type enrolment struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Order int    `json:"order"`
	}
	list := []enrolment{}
	for i, p := range phones {
		list = append(list, enrolment{"mtp:" + p.serial, p.serial, i + 1})
	}
	text, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.perm, "box", "enrolled.json"), text, 0o600)
	}
	if err != nil {
		x.Fatal(err)
	}
	return s
}

// phone is a simulated phone.
type phone struct {
	*mtp.Phone
	serial  string
	storage *vphone.Storage
}

// newPhone makes one with n photos of size bytes each; 0 photos is a new one.
func newPhone(x *box, serial string, n int, size int64) *phone {
	x.Helper()
	s := vphone.NewStorage("Internal shared storage", 8<<30, &vphone.Spool{Memory: 64 << 20})
	p := &phone{mtp.NewPhone(mtp.Config{Serial: serial, Storages: []*vphone.Storage{s}}), serial, s}
	for i := range n {
		p.put(x, fmt.Sprintf("DCIM/Camera/写真_%04d.jpg", i+1), size+int64(i))
	}
	return p
}

// put puts a file onto a phone, as an app does. Its bytes follow from its name.
func (p *phone) put(x *box, path string, size int64) {
	x.Helper()
	h := fnv.New64()
	_, _ = h.Write([]byte(p.serial + path)) // never fails
	if err := p.storage.Put(path, time.Date(2024, 2, 29, 12, 0, int(h.Sum64()%60), 0, time.UTC), vphone.Generated(h.Sum64(), size)); err != nil {
		x.Fatal(err)
	}
}

// connect plugs a phone in. unplug pulls it out, and may be called again.
func (x *box) connect(p *phone) (unplug func()) {
	x.Helper()
	name := fmt.Sprintf("port%d", time.Now().UnixNano())
	path := filepath.Join(x.dir, name)
	if err := x.m.Port(x.Context(), name, path); err != nil {
		x.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		x.Fatal(err)
	}
	ctx, pull := context.WithCancel(x.owner.Context())
	out := make(chan error, 1)
	go func() { out <- redir.Serve(ctx, conn, func() *vphone.Attachment { p.Plug(); return p.Attachment() }) }()
	unplug = sync.OnceFunc(func() {
		pull()
		if err := <-out; err != nil {
			x.owner.Error(err)
		}
	})
	x.owner.Cleanup(unplug)
	return unplug
}
