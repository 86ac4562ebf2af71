package redir

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

func TestThePhoneIsAnnounced(t *testing.T) {
	for _, tt := range []struct {
		packet int
		speed  byte
	}{{64, 1}, {512, 2}, {1024, 3}} {
		phone := mtp.NewPhone(mtp.Config{Wire: vphone.Wire{MaxPacket: tt.packet}})
		g := connect(t, t.Context(), func() *vphone.Attachment { phone.Plug(); return phone.Attachment() })
		ep := g.want(5).body
		if len(ep) != 96+64 || ep[1] != 2 || ep[17] != 2 || ep[18] != 3 || ep[2] != 255 || ep[32+18] == 0 {
			t.Errorf("endpoints %x", ep)
		}
		if got := binary.LittleEndian.Uint16(ep[96+2*17:]); int(got) != tt.packet {
			t.Errorf("packets of %d bytes, want %d", got, tt.packet)
		}
		if i := g.want(4).body; len(i) != 132 || i[0] != 1 || i[36] != 6 || i[68] != 1 || i[100] != 1 {
			t.Errorf("interface %x", i)
		}
		if c := g.want(1).body; len(c) != 10 || c[0] != tt.speed || binary.LittleEndian.Uint32(c[4:]) != 0x4ee118d1 {
			t.Errorf("device %x", c)
		}
	}
}

// The descriptors' lengths and counts must agree, since hosts believe them; what lsusb says of them is for image/phones.
func TestDescriptors(t *testing.T) {
	for _, packet := range []int{64, 512, 1024} {
		g := scripted(t, vphone.Wire{MaxPacket: packet}, sends())
		st, device := g.control(0x80, 6, 0x0100, 0, 64)
		if st != 0 || len(device) != 18 || device[0] != 18 || device[17] != 1 {
			t.Fatalf("device descriptor: %d %x", st, device)
		}
		_, nine := g.control(0x80, 6, 0x0200, 0, 9)
		total := int(binary.LittleEndian.Uint16(nine[2:]))
		_, config := g.control(0x80, 6, 0x0200, 0, 255)
		if len(nine) != 9 || len(config) != total {
			t.Fatalf("configuration of %d bytes says %d", len(config), total)
		}
		kinds := map[byte]int{}
		for b := config; len(b) > 0; b = b[b[0]:] {
			kinds[b[1]]++
			if b[1] == 5 && b[3] == 2 && int(binary.LittleEndian.Uint16(b[4:])) != packet {
				t.Errorf("bulk endpoint %x, packets of %d bytes", b[:7], packet)
			}
		}
		if kinds[2] != 1 || kinds[4] != 1 || kinds[5] != 3 || (packet == 1024) != (kinds[48] == 3) {
			t.Errorf("descriptors %v", kinds)
		}
		st, bos := g.control(0x80, 6, 0x0f00, 0, 255)
		if (st == 0) != (packet == 1024) || len(bos) > 0 && (len(bos) != 22 || bos[2] != 22 || int(bos[0]+bos[5]+bos[12]) != 22) {
			t.Errorf("%d bytes a packet: BOS %d %x", packet, st, bos)
		}
		if st, q := g.control(0x80, 6, 0x0600, 0, 10); (st == 0) != (packet == 512) || st == 0 && len(q) != 10 {
			t.Errorf("qualifier %d %x", st, q)
		}
		for index, want := range map[uint16]string{1: "M\x00a\x00k\x00e\x00r\x00", 2: "M\x00o\x00d\x00\xe8\x00l\x00e\x00 \x00\x3d\xd8\x00\xde", 3: "S\x00", 4: "M\x00T\x00P\x00", 0xee: "M\x00S\x00F\x00T\x001\x000\x000\x00\x01\x00"} {
			if st, s := g.control(0x80, 6, 0x0300|index, 0x0409, 255); st != 0 || len(s) != int(s[0]) || string(s[2:]) != want {
				t.Errorf("string %d: %d %q", index, st, s)
			}
		}
		if st, s := g.control(0x80, 6, 0x0309, 0x0409, 255); st != 4 || len(s) != 0 {
			t.Errorf("a string that there is not: %d %x", st, s)
		}
		if st, b := g.control(0xc0, 1, 0, 4, 255); st != 0 || len(b) != 40 || b[0] != 40 || string(b[18:21]) != "MTP" {
			t.Errorf("compatible ID: %d %x", st, b)
		}
	}
}

// A host sees of the bulk endpoints what it would see on a bus (USB 2.0, 5.8.3).
func TestTransfersEndAsOnABus(t *testing.T) {
	const ok, babbled = 0, 6
	for _, tt := range []struct {
		name   string
		packet int
		sent   []int
		asked  []int
		want   []int
		status byte
	}{
		{"a short packet ends a transfer", 512, []int{12, 100}, []int{4096, 4096}, []int{12, 100}, ok},
		{"full packets run on into what follows", 512, []int{512, 1024, 10}, []int{4096}, []int{1546}, ok},
		{"an empty packet ends a transfer of full packets", 512, []int{1024, 0, 12}, []int{4096, 4096}, []int{1024, 12}, ok},
		{"an empty packet after a full transfer is one of its own", 512, []int{1024, 0, 12}, []int{1024, 1024, 1024}, []int{1024, 0, 12}, ok},
		{"a transfer that is no whole packets takes a short packet", 512, []int{12}, []int{100}, []int{12}, ok},
		{"a packet that does not fit is babble", 512, []int{512}, []int{100}, []int{100}, babbled},
		{"the second packet that does not fit is babble", 512, []int{1024}, []int{600}, []int{600}, babbled},
		{"full speed", 64, []int{130}, []int{64, 64, 64}, []int{64, 64, 2}, ok},
		{"SuperSpeed", 1024, []int{512, 12}, []int{4096, 4096}, []int{512, 12}, ok},
		{"more than 16 bits of length", 512, []int{200_001}, []int{300_000}, []int{200_001}, ok},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := scripted(t, vphone.Wire{MaxPacket: tt.packet}, sends(tt.sent...))
			for _, n := range tt.asked { // all at once: they wait for one another
				g.submit(0x81, n, nil)
			}
			var at byte
			for k, want := range tt.want {
				r := g.result()
				if r.status != tt.status || r.n != want {
					t.Fatalf("transfer %d: status %d, %d bytes, want %d", k, r.status, r.n, want)
				}
				for _, b := range r.data {
					if b != at {
						t.Fatalf("transfer %d: byte %d where %d was sent", k, b, at)
					}
					at++
				}
			}
		})
	}
}

func TestWhatTheHostSendsArrivesAsSent(t *testing.T) {
	got := make(chan int, 10)
	g := scripted(t, vphone.Wire{}, func(p *vphone.Port) {
		b := make([]byte, 4096)
		for {
			n, err := p.Read(b)
			if err != nil {
				return
			}
			got <- n
		}
	})
	for _, n := range []int{1024, 512, 7, 512, 0} {
		if r := g.bulkOut(make([]byte, n)); r.status != 0 || r.n != n {
			t.Fatalf("%d bytes: %+v", n, r)
		}
	}
	for _, want := range []int{1543, 512} {
		if n := <-got; n != want {
			t.Fatalf("the phone read %d bytes, want %d", n, want)
		}
	}
}

// A stall stays until the host clears it, on each endpoint for itself.
func TestStallLastsUntilItIsCleared(t *testing.T) {
	g := scripted(t, vphone.Wire{}, func(p *vphone.Port) {
		if _, err := p.Read(make([]byte, 512)); err == nil {
			p.Stall()
			sends(12)(p)
		}
	})
	g.bulkOut([]byte{1})
	halted := func(address uint16) bool {
		t.Helper()
		st, b := g.control(0x82, 0, 0, address, 2)
		if st != 0 || len(b) != 2 {
			t.Fatalf("status of %#x: %d %x", address, st, b)
		}
		return b[0] == 1
	}
	for range 2 {
		if r := g.bulkIn(512); r.status != 4 || r.n != 0 {
			t.Fatalf("%+v", r)
		}
	}
	if r := g.bulkOut([]byte{1}); r.status != 4 {
		t.Fatalf("%+v", r)
	}
	if !halted(0x81) || !halted(0x01) || halted(0x82) {
		t.Fatal("the endpoints do not say that they are halted")
	}
	if st, _ := g.control(0x02, 1, 0, 0x81, 0); st != 0 {
		t.Fatalf("clear halt: %d", st)
	}
	if halted(0x81) || !halted(0x01) {
		t.Fatal("clearing one endpoint clears the other, or none")
	}
	if r := g.bulkIn(512); r.status != 0 || r.n != 12 {
		t.Fatalf("after the halt: %+v", r)
	}
}

// Whatever a machine cancels, waiting, under way or answered already, it gets every byte once and in order, in the transfers
// that the phone sent: QEMU throws away what a transfer brought that it has cancelled.
func TestCancelledTransfersLoseNothing(t *testing.T) {
	const packet = 64
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		var lengths []int
		for range 40 {
			lengths = append(lengths, []int{0, 12, packet, 3 * packet, r.IntN(5 * packet)}[r.IntN(5)])
		}
		lengths = append(lengths, 1) // so that it ends in a short packet
		g := scripted(t, vphone.Wire{MaxPacket: packet}, sends(lengths...))
		var want, got []byte
		var ends, gotEnds []int // after how many bytes a short packet came
		for _, n := range lengths {
			for range n {
				want = append(want, byte(len(want)))
			}
			if n%packet != 0 || n == 0 {
				ends = append(ends, len(want))
			}
		}
		for len(gotEnds) < len(ends) {
			asked := map[uint64]int{}
			var ids []uint64
			for range 1 + r.IntN(4) {
				n := packet * (1 + r.IntN(4))
				id := g.submit(0x81, n, nil)
				asked[id], ids = n, append(ids, id)
			}
			stop := r.IntN(1 + min(len(ids), len(ends)-len(gotEnds))) // more could wait for ever
			seen := r.IntN(stop + 1)                                  // so many answers come before the machine cancels all from stop on
			for range seen {
				take(g.result(), asked, &got, &gotEnds)
			}
			for _, i := range r.Perm(len(ids) - stop) {
				g.sendAs(21, ids[stop+i], nil)
			}
			thrown := map[uint64]bool{}
			for _, id := range ids[stop:] {
				thrown[id] = true
			}
			for range len(ids) - seen {
				res := g.result()
				if !thrown[res.id] {
					take(res, asked, &got, &gotEnds)
				}
			}
		}
		if !bytes.Equal(got, want) || fmt.Sprint(gotEnds) != fmt.Sprint(ends) {
			t.Fatalf("seed %d: got %d bytes with ends at %v, want %d with %v", seed, len(got), gotEnds, len(want), ends)
		}
	}
}

func take(r result, asked map[uint64]int, got *[]byte, ends *[]int) {
	*got = append(*got, r.data...)
	if r.n < asked[r.id] {
		*ends = append(*ends, len(*got))
	}
}

// The machine gets the bytes that crossed before the cable was pulled, an error, and then hears that the phone is gone.
func TestUnpluggedAtEveryByte(t *testing.T) {
	for n := int64(1); n < 200; n++ {
		var a *vphone.Attachment
		g := connect(t, t.Context(), func() *vphone.Attachment {
			a = vphone.Plug(script{serve: func(p *vphone.Port) {
				if _, err := p.Read(make([]byte, 64)); err == nil {
					sends(64, 100, 36)(p)
				}
			}}, vphone.Wire{MaxPacket: 64})
			return a
		})
		g.connected()
		a.UnplugAfter(n)
		const reads = 4
		for range reads {
			g.submit(0x81, 128, nil)
		}
		begin := g.submit(0x01, 1, []byte{1})
		var got int64
		for range reads + 1 {
			r := g.result()
			if r.id == begin {
				continue
			}
			got += int64(r.n)
			if (r.status == 0) == (got == n) {
				t.Fatalf("pulled after %d bytes: status %d after %d", n, r.status, got)
			}
		}
		if got != n {
			t.Fatalf("pulled after %d bytes, the machine has %d", n, got)
		}
		g.want(2)
		if err := <-g.done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndOfContextUnplugs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	phone := mtp.NewPhone(mtp.Config{})
	g := connect(t, ctx, func() *vphone.Attachment { phone.Plug(); return phone.Attachment() })
	g.connected()
	g.submit(0x81, 512, nil)
	g.control(0x80, 0, 0, 0, 2) // what came before has been taken up
	cancel()
	if r := g.result(); r.status == 0 {
		t.Fatalf("%+v", r)
	}
	g.want(2)
	if err := <-g.done; err != nil {
		t.Fatal(err)
	}
	<-phone.Attachment().Gone()
}

// A machine that stands still does not keep a phone from being pulled out.
func TestMachineThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ours, theirs := net.Pipe()
		defer ours.Close()
		done := make(chan error, 1)
		go func() {
			done <- Serve(ctx, theirs, func() *vphone.Attachment { return vphone.Plug(script{serve: sends()}, vphone.Wire{}) })
		}()
		if _, err := io.CopyN(io.Discard, ours, 80); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write(helloOf(0xf2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it wants to tell what was plugged in
		cancel()
		begin := time.Now()
		<-done
		if d := time.Since(begin); d > 2*parting {
			t.Fatalf("it took %v", d)
		}
	})
}

func command(code uint16, transaction uint32, params ...uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(12+4*len(params)))
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint32(b, transaction)
	for _, p := range params {
		b = binary.LittleEndian.AppendUint32(b, p)
	}
	return b
}

func TestResetBeginsTheServerAnew(t *testing.T) {
	const openSession, alreadyOpen, ok = 0x1002, 0x201e, 0x2001
	phone := mtp.NewPhone(mtp.Config{})
	plugs := 0
	g := connect(t, t.Context(), func() *vphone.Attachment { plugs++; phone.Plug(); return phone.Attachment() })
	g.connected()
	open := func() uint16 {
		t.Helper()
		if r := g.bulkOut(command(openSession, 0, 1)); r.status != 0 {
			t.Fatalf("%+v", r)
		}
		r := g.bulkIn(512)
		if r.status != 0 || r.n < 12 {
			t.Fatalf("%+v", r)
		}
		return binary.LittleEndian.Uint16(r.data[6:])
	}
	g.send(3) // a reset before anything was asked, as every host does when a device appears
	g.configure()
	if plugs != 1 {
		t.Fatal("a phone that nobody used begins anew")
	}
	if code := open(); code != ok {
		t.Fatalf("%#x", code)
	}
	if code := open(); code != alreadyOpen {
		t.Fatalf("%#x", code)
	}
	waiting := g.submit(0x81, 512, nil)
	g.send(3)
	if r := g.result(); r.id != waiting || r.status != 1 {
		t.Fatalf("the transfer that was under way: %+v", r)
	}
	if st := g.bulkIn(512).status; st != 2 {
		t.Fatalf("a phone that is not configured answers: status %d", st)
	}
	g.configure()
	if code := open(); code != ok || plugs != 2 {
		t.Fatalf("after a reset: %#x, plugged in %d times", code, plugs)
	}
	g.configure()
	if code := open(); code != ok || plugs != 3 {
		t.Fatalf("after a new configuration: %#x, plugged in %d times", code, plugs)
	}
}

func TestEventsComeWhileTheHostListens(t *testing.T) {
	const openSession, batteryEvent = 0x1002, 0x4006
	phone := mtp.NewPhone(mtp.Config{})
	g := connect(t, t.Context(), func() *vphone.Attachment { phone.Plug(); return phone.Attachment() })
	g.connected()
	g.bulkOut(command(openSession, 0, 1))
	g.bulkIn(512)
	listen := func(kind uint32) {
		t.Helper()
		id := g.send(kind, 0x82)
		if r := g.want(17); r.id != id || !bytes.Equal(r.body, []byte{0, 0x82}) {
			t.Fatalf("%x", r.body)
		}
	}
	listen(15)
	phone.SetBattery(50)
	if b := <-g.ints; b[0] != 0x82 || b[1] != 0 || int(b[2]) != len(b)-4 || binary.LittleEndian.Uint16(b[4+6:]) != batteryEvent {
		t.Fatalf("event %x", b)
	}
	listen(16)
	phone.SetBattery(51)
	g.control(0x80, 0, 0, 0, 2) // an answer behind which an event would have come
	if len(g.ints) != 0 {
		t.Fatal("an event came though nobody listens")
	}
	listen(15)
	<-g.ints // that one has waited
	g.send(15, 0x83)
	if r := g.want(17); r.body[0] == 0 {
		t.Fatal("events of an endpoint that there is not")
	}
}

func TestClassRequestsReachThePhone(t *testing.T) {
	var asked []usbhost.Setup
	g := connect(t, t.Context(), func() *vphone.Attachment {
		return vphone.Plug(script{serve: sends(), control: func(_ *vphone.Port, u usbhost.Setup, p []byte) (int, error) {
			asked = append(asked, u)
			if u.Request == 0x66 {
				return 0, usbhost.ErrStalled
			}
			return copy(p, "status"), nil
		}}, vphone.Wire{})
	})
	g.connected()
	if st, b := g.control(0xa1, 0x67, 0, 0, 32); st != 0 || string(b) != "status" {
		t.Fatalf("%d %q", st, b)
	}
	if st, _ := g.control(0x21, 0x64, 0, 0, 6, 1, 2, 3, 4, 5, 6); st != 0 {
		t.Fatal(st)
	}
	if st, _ := g.control(0x21, 0x66, 0, 0, 0); st != 4 {
		t.Fatal(st)
	}
	if len(asked) != 3 || asked[1] != (usbhost.Setup{RequestType: 0x21, Request: 0x64}) {
		t.Fatalf("%+v", asked)
	}
}

// TestARequestThatIsNeverAnsweredLastsUntilItIsCancelled, and holds nothing else up.
func TestARequestThatIsNeverAnsweredLastsUntilItIsCancelled(t *testing.T) {
	g := connect(t, t.Context(), func() *vphone.Attachment {
		return vphone.Plug(script{serve: sends(), control: func(*vphone.Port, usbhost.Setup, []byte) (int, error) {
			return 0, vphone.ErrNoAnswer
		}}, vphone.Wire{})
	})
	g.connected()
	request := []byte{0x80, 0x67, 0xa1, 0, 0, 0, 0, 0, 32, 0}
	first, second := g.send(100, request...), g.send(100, request...)
	if st, _ := g.control(0x80, 6, 0x100, 0, 18); st != 0 { // the machine itself answers for its descriptors
		t.Fatalf("another request: status %d", st)
	}
	for _, id := range []uint64{second, first} {
		g.sendAs(21, id, nil)
		if r := g.want(100); r.id != id || r.body[3] != 1 || len(r.body) != 10 {
			t.Errorf("cancelled: %d, want %d: %x", r.id, id, r.body)
		}
	}
}

func TestBrokenMachinesAreRefused(t *testing.T) {
	head := func(kind, length uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, kind)
		return append(binary.LittleEndian.AppendUint32(b, length), make([]byte, 8)...)
	}
	for _, tt := range []struct {
		name  string
		hello []byte
		send  []byte
		want  string
	}{
		{"an old QEMU", helloOf(0x12), nil, "0x60"},
		{"no hello", head(3, 0), nil, "instead of a hello"},
		{"a hello without end", func() []byte { b := helloOf(0xf2); b[7] = 0xff; return b }(), nil, "instead of a hello"},
		{"a packet of the host's kinds", helloOf(0xf2), head(1, 10), "packet 1"},
		{"a packet of no kind", helloOf(0xf2), head(77, 0), "packet 77"},
		{"a packet that is too long", helloOf(0xf2), head(101, 1<<31), "packet 101"},
		{"a packet that is too short", helloOf(0xf2), head(6, 0), "packet 6"},
		{"a transfer with other data than it says", helloOf(0xf2), append(head(101, 11), 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9), "as long as it says"},
		{"a control transfer likewise", helloOf(0xf2), append(head(100, 11), 0, 0x64, 0x21, 0, 0, 0, 0, 0, 6, 0, 9), "as long as it says"},
		{"a device filter", helloOf(0xf2), head(22, 0), "rejects"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan error, 1)
			go func() {
				done <- Serve(t.Context(), theirs, func() *vphone.Attachment { return vphone.Plug(script{serve: sends()}, vphone.Wire{}) })
			}()
			go io.Copy(io.Discard, ours)
			if _, err := ours.Write(append(tt.hello, tt.send...)); err != nil && tt.send != nil {
				t.Fatal(err)
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want something with %q", err, tt.want)
			}
			ours.Close()
		})
	}
}
