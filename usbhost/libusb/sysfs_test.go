package libusb

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"phonebackupbox/usbhost"
)

// gadget is a device to be put into an imitated sysfs.
type gadget struct {
	vendor, product, usb uint16
	class                byte
	serial, maker, model string
	speed                string
	config               byte // the active one; 0: none yet
	bos                  []byte
	interfaces           []function
}

// function is one interface of it.
type function struct {
	config                    byte // 0: 1
	class, subClass, protocol byte
	name, driver              string
	bare                      bool // has no endpoints
	unready                   bool // the kernel has not made its folder yet
}

func (f function) in() byte {
	if f.config == 0 {
		return 1
	}
	return f.config
}

// raw writes the descriptors as the kernel keeps them.
func (g gadget) raw() []byte {
	b := []byte{18, typeDevice, 0, 0, g.class, 0, 0, 64, 0, 0, 0, 0, 0, 1, 1, 2, 3, 1}
	binary.LittleEndian.PutUint16(b[2:], g.usb)
	binary.LittleEndian.PutUint16(b[8:], g.vendor)
	binary.LittleEndian.PutUint16(b[10:], g.product)
	for config := byte(1); config < 5; config++ {
		var body []byte
		n := byte(0)
		for _, f := range g.interfaces {
			if f.in() != config {
				continue
			}
			ends := byte(3)
			if f.bare {
				ends = 0
			}
			body = append(body, 9, typeInterface, n, 0, ends, f.class, f.subClass, f.protocol, 4)
			if !f.bare {
				body = append(body, 7, typeEndpoint, 0x81+n, transferBulk, 0, 2, 0, 7, typeEndpoint, 0x01+n, transferBulk, 0, 2, 0)
				body = append(body, 7, typeEndpoint, 0x8a+n, transferEvent, 28, 0, 6)
			}
			n++
		}
		if n > 0 {
			b = append(b, 9, typeConfig, byte(9+len(body)), byte((9+len(body))>>8), n, config, 0, 0x80, 250)
			b = append(b, body...)
		}
	}
	return b
}

// plug puts a device into the imitated sysfs at root.
func plug(t *testing.T, root, port string, address int, g gadget) {
	t.Helper()
	config := ""
	if g.config != 0 {
		config = fmt.Sprint(g.config)
	}
	files := map[string]string{
		"busnum": "1\n", "devnum": fmt.Sprintln(address), "bConfigurationValue": config + "\n", "descriptors": string(g.raw()), "speed": g.speed + "\n",
	}
	for name, text := range map[string]string{"serial": g.serial, "manufacturer": g.maker, "product": g.model} {
		if text != "" {
			files[name] = text + "\n"
		}
	}
	if g.bos != nil {
		files["bos_descriptors"] = string(g.bos)
	}
	numbers := make(map[byte]int)
	for _, f := range g.interfaces {
		dir := fmt.Sprintf("%s:%d.%d", port, f.in(), numbers[f.in()])
		numbers[f.in()]++
		if f.in() != g.config || f.unready {
			continue
		}
		files[dir+"/bInterfaceNumber"] = "00\n"
		if f.name != "" {
			files[dir+"/interface"] = f.name + "\n"
		}
		if f.driver != "" {
			at := filepath.Join(root, port, dir, "driver")
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../../drivers/"+f.driver, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range files {
		path := filepath.Join(root, port, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// superSpeed is the BOS of a phone that can do 5 Gbit/s (USB 3.2, section 9.6.2).
var superSpeed = []byte{5, typeBOS, 22, 0, 2, 7, typeCapability, 2, 6, 0, 0, 0, 10, typeCapability, capSuperSpeed, 0, 0x0e, 0, 1, 10, 0xff, 7}

var (
	still = function{class: 6, subClass: 1, protocol: 1, name: "MTP"}
	adb   = function{class: 0xff, subClass: 0x42, protocol: 1, name: "ADB Interface"}
	pixel = gadget{vendor: 0x18d1, product: 0x4ee2, usb: 0x0210, serial: "PIX1", maker: "Google", model: "Pixel 9 π", speed: "480", config: 1, bos: superSpeed, interfaces: []function{still, adb}}
)

func TestWhatADeviceIs(t *testing.T) {
	old := function{class: 0xff, name: "MTP"}
	for _, c := range []struct {
		name string
		g    gadget
		use  Use
		adb  bool
		of   byte // class of the interface that was chosen
	}{
		{"a phone that shows files", gadget{vendor: 0x18d1, config: 1, interfaces: []function{still}}, Files, false, 6},
		{"and debugging too", pixel, Files, true, 6},
		{"debugging comes first", gadget{vendor: 0x18d1, config: 1, interfaces: []function{adb, still}}, Files, true, 6},
		{"an old phone's own class", gadget{vendor: 0x04e8, config: 1, interfaces: []function{old, {class: 2, subClass: 2, driver: "cdc_acm"}}}, Files, false, 0xff},
		{"a camera", gadget{vendor: 0x04a9, config: 1, interfaces: []function{{class: 6, subClass: 1, protocol: 1}}}, Files, false, 6},
		{"files without endpoints", gadget{vendor: 0x04a9, config: 1, interfaces: []function{{class: 6, subClass: 1, protocol: 1, bare: true}}}, Other, false, 0},
		{"a phone that charges, with debugging", gadget{vendor: 0xabcd, config: 1, interfaces: []function{adb}}, ChargeOnly, true, 0},
		{"a phone that charges, of a known maker", gadget{vendor: 0x2717, config: 1, interfaces: []function{{class: 0xff}}}, ChargeOnly, false, 0},
		{"something unknown of the vendor's own class", gadget{vendor: 0xabcd, config: 1, interfaces: []function{{class: 0xff}}}, Other, false, 0},
		{"a disk by a maker of phones", gadget{vendor: 0x04e8, config: 1, interfaces: []function{{class: 8, subClass: 6, protocol: 0x50}}}, Other, false, 0},
		{"a modem by a maker of phones", gadget{vendor: 0x12d1, config: 1, interfaces: []function{{class: 0xff, driver: "option"}}}, Other, false, 0},
		{"an iPhone that shows photos", gadget{vendor: 0x05ac, config: 1, interfaces: []function{{class: 6, subClass: 1, protocol: 1}, {config: 3, class: 0xff, subClass: 0xfe, protocol: 2}}}, Apple, false, 6},
		{"an iPhone that usbmuxd has", gadget{vendor: 0x05ac, config: 3, interfaces: []function{{class: 6, subClass: 1, protocol: 1}, {config: 3, class: 0xff, subClass: 0xfe, protocol: 2}}}, Apple, false, 0},
		{"a keyboard by Apple", gadget{vendor: 0x05ac, config: 1, interfaces: []function{{class: 3, subClass: 1, protocol: 1}}}, Other, false, 0},
	} {
		root := t.TempDir()
		plug(t, root, "1-1", 4, c.g)
		all, err := scan(root)
		if err != nil || len(all) != 1 {
			t.Errorf("%s: %v, %v", c.name, all, err)
			continue
		}
		if d := all[0]; d.Use != c.use || d.ADB != c.adb || d.Interface.Class != c.of {
			t.Errorf("%s: use %q, adb %v, class %#x; want %q, %v, %#x", c.name, d.Use, d.ADB, d.Interface.Class, c.use, c.adb, c.of)
		}
	}
}

func TestWhatIsPluggedIn(t *testing.T) {
	root := t.TempDir()
	hub := gadget{vendor: 0x1d6b, class: classHub, config: 1, speed: "480", interfaces: []function{{class: classHub}}}
	plug(t, root, "usb1", 1, hub)
	plug(t, root, "1-1", 2, hub)
	plug(t, root, "1-1.2", 7, pixel)
	wakes := pixel
	wakes.config = 0
	plug(t, root, "1-1.3", 8, wakes) // the kernel has chosen no configuration yet
	half := pixel
	half.interfaces = []function{adb, {class: 6, subClass: 1, protocol: 1, unready: true}}
	plug(t, root, "1-1.4", 9, half)
	broken := filepath.Join(root, "1-1.5")
	plug(t, root, "1-1.5", 10, pixel)
	if err := os.WriteFile(filepath.Join(broken, "descriptors"), []byte{18, typeDevice, 0}, 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := scan(root)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	want := usbhost.Interface{
		Vendor: 0x18d1, Product: 0x4ee2, Serial: "PIX1", Maker: "Google", Model: "Pixel 9 π", Class: 6, SubClass: 1, Protocol: 1, Number: 0,
		Port: "1-1.2", Link: usbhost.Link{Speed: 480, Best: 5000}, MaxPacket: 512,
	}
	if got := all[0].Interface; got != want {
		t.Errorf("interface %+v\nwant      %+v", got, want)
	}
	if got := all[0].Node(); got != "/dev/bus/usb/001/007" {
		t.Errorf("node %s", got)
	}
	if !all[0].Interface.Link.Slow() {
		t.Error("a phone that can do 5 Gbit/s hangs on 480 Mbit/s, and that is no news")
	}
	if _, err := scan(filepath.Join(root, "nowhere")); err == nil {
		t.Error("a machine without USB looks like one with nothing plugged in")
	}
}

func TestLinks(t *testing.T) {
	plus := append([]byte{5, typeBOS, 0, 0, 3}, append([]byte{20, typeCapability, capSuperSpeedGen}, append(make([]byte, 17), superSpeed[5:]...)...)...)
	slower := slices.Clone(superSpeed)
	slower[5+7+4] = 0x07
	for _, c := range []struct {
		name  string
		speed string
		usb   uint16
		bos   []byte
		want  usbhost.Link
		slow  bool
	}{
		{"USB 2 phone", "480", 0x0200, nil, usbhost.Link{Speed: 480, Best: 480}, false},
		{"full speed", "12", 0x0200, nil, usbhost.Link{Speed: 12, Best: 480}, true},
		{"a USB 1.1 camera", "12", 0x0110, nil, usbhost.Link{Speed: 12, Best: 12}, false},
		{"low speed", "1.5", 0x0110, nil, usbhost.Link{Speed: 1, Best: 1}, false},
		{"a USB 3 phone on a USB 2 cable", "480", 0x0210, superSpeed, usbhost.Link{Speed: 480, Best: 5000}, true},
		{"a USB 3 phone on a USB 3 cable", "5000", 0x0320, superSpeed, usbhost.Link{Speed: 5000, Best: 5000}, false},
		{"10 Gbit/s", "5000", 0x0320, plus, usbhost.Link{Speed: 5000, Best: 10000}, true},
		{"a capability that names no speed above USB 2", "480", 0x0210, slower, usbhost.Link{Speed: 480, Best: 480}, false},
		{"a broken BOS", "480", 0x0210, []byte{5, typeBOS, 9}, usbhost.Link{Speed: 480, Best: 480}, false},
		{"unknown", "", 0x0200, nil, usbhost.Link{}, false},
	} {
		root := t.TempDir()
		plug(t, root, "1-1", 4, gadget{vendor: 0x18d1, usb: c.usb, speed: c.speed, bos: c.bos, config: 1, interfaces: []function{still}})
		all, err := scan(root)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", c.name, all, err)
		}
		if got := all[0].Interface.Link; got != c.want || got.Slow() != c.slow {
			t.Errorf("%s: %+v, slow %v", c.name, got, got.Slow())
		}
	}
}

func TestWhoHasAFileOpen(t *testing.T) {
	proc, node := t.TempDir(), "/dev/bus/usb/001/007"
	for _, h := range []struct {
		pid, name string
		open      []string
	}{
		{"41", "gvfsd-mtp", []string{"/dev/null", node, node}}, {"42", "bash", []string{"/dev/bus/usb/001/008"}}, {fmt.Sprint(os.Getpid()), "boxd", []string{node}},
	} {
		fd := filepath.Join(proc, h.pid, "fd")
		if err := os.MkdirAll(fd, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, h.pid, "comm"), []byte(h.name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for i, to := range h.open {
			if err := os.Symlink(to, filepath.Join(fd, fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	busy := BusyError{"Pixel 9", holders(proc, node)}
	if got := busy.Error(); got != "gvfsd-mtp (process 41) uses the Pixel 9" {
		t.Error(got)
	}
}

func FuzzParseDescriptors(f *testing.F) {
	f.Add(pixel.raw())
	f.Add(gadget{class: classHub}.raw())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDescriptors(b)
		if err != nil {
			return
		}
		for _, s := range d.settings {
			for _, e := range []endpoint{s.in, s.out, s.event} {
				if e.maxPacket < 0 || e.maxPacket > 2047 {
					t.Errorf("an endpoint of %d bytes", e.maxPacket)
				}
			}
		}
		if len(d.settings) > len(b)/9 {
			t.Errorf("%d settings out of %d bytes", len(d.settings), len(b))
		}
	})
}

func FuzzParseBOS(f *testing.F) {
	f.Add(superSpeed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if best, err := parseBOS(b); err == nil && best != 0 && best != 5000 && best != 10000 {
			t.Errorf("%d Mbit/s", best)
		}
	})
}

// What Linux 6.12 sent when a phone was plugged in, and what must not be taken for it.
var (
	added = "add@/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/usb1/1-1\x00ACTION=add\x00DEVPATH=/devices/platform/4010000000.pcie/pci0000:00/0000:00:02.0/usb1/1-1\x00" +
		"SUBSYSTEM=usb\x00MAJOR=189\x00MINOR=1\x00DEVNAME=bus/usb/001/002\x00DEVTYPE=usb_device\x00PRODUCT=46f4/4/0\x00TYPE=0/0/0\x00BUSNUM=001\x00DEVNUM=002\x00SEQNUM=612\x00"
	others = []string{
		"", "\x00", "add", "add@", "@/x\x00SUBSYSTEM=usb\x00", "libudev\x00\xfe\xed\xca\xfeSUBSYSTEM=usb\x00",
		"add@/devices/x\x00ACTION=add\x00SUBSYSTEM=block\x00", "add@/devices/x\x00ACTION=add\x00SUBSYSTEM=usbmon\x00", "add@/devices/SUBSYSTEM=usb",
	}
)

func TestUevents(t *testing.T) {
	if !concernsUSB([]byte(added)) {
		t.Error("a phone is not noticed")
	}
	for _, msg := range others {
		if concernsUSB([]byte(msg)) {
			t.Errorf("taken for an event of USB: %q", msg)
		}
	}
}

func FuzzUevent(f *testing.F) {
	f.Add([]byte(added))
	for _, msg := range others {
		f.Add([]byte(msg))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := string(msg)
		if concernsUSB(msg) && len(msg) < len("a@/\x00SUBSYSTEM=usb") {
			t.Errorf("%q", msg)
		}
		if string(msg) != before {
			t.Error("the message was changed")
		}
	})
}
