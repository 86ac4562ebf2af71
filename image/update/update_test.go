package update

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// card is a Medium that ends with the power after so many bytes written.
type card struct {
	b    []byte
	left int
}

var errCut = errors.New("power cut")

func (c *card) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(c.b).ReadAt(p, at) }
func (c *card) WriteAt(p []byte, at int64) (int, error) {
	n := min(len(p), c.left)
	copy(c.b[at:], p[:n])
	if c.left -= n; n < len(p) {
		return n, errCut
	}
	return n, nil
}
func (c *card) Sync() error { return nil }

func made(t *testing.T) ([]byte, Keys, []byte) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	root := bytes.Repeat([]byte("root image "), 300)
	var b bytes.Buffer
	if err := Write(&b, Header{Version: "1.2", Counter: 7}, bytes.NewReader(root), key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), Keys{key.Public().(ed25519.PublicKey)}, root
}

func install(file []byte, keys Keys, to Medium, room int64) error {
	r := bytes.NewReader(file)
	h, err := ReadHeader(r, keys)
	if err != nil {
		return err
	}
	return Install(context.Background(), r, h, to, room, nil)
}

func TestEveryChangedByteIsRefused(t *testing.T) {
	file, keys, root := made(t)
	if err := install(file, keys, &card{make([]byte, 8192), 1 << 20}, 8192); err != nil {
		t.Fatal(err)
	}
	for i := range file {
		bad := slices.Clone(file)
		bad[i] ^= 1
		if install(bad, keys, &card{make([]byte, 8192), 1 << 20}, 8192) == nil {
			t.Fatalf("byte %d changed, and it was installed", i)
		}
		if install(file[:i], keys, &card{make([]byte, 8192), 1 << 20}, 8192) == nil {
			t.Fatalf("cut after %d bytes, and it was installed", i)
		}
	}
	if install(append(slices.Clone(file), 0), keys, &card{make([]byte, 8192), 1 << 20}, 8192) == nil {
		t.Error("more follows, and it was installed")
	}
	if err := install(file, nil, nil, 0); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	if err := install(file, keys, nil, int64(len(root)-1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestACutInstallIsNoInstall(t *testing.T) {
	file, keys, root := made(t)
	for n := range root {
		if err := install(file, keys, &card{make([]byte, 8192), n}, 8192); !errors.Is(err, errCut) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestPoint(t *testing.T) {
	line := []byte("console=tty1 root=PARTUUID=b0c5b0c5-02 ro   \n")
	c := &card{slices.Clone(line), 1}
	if err := Point(c, SlotB); err != nil {
		t.Fatal(err)
	}
	if disk, slot, err := Root(c.b); disk != "b0c5b0c5" || slot != SlotB || err != nil {
		t.Error(disk, slot, err)
	}
	if c.left != 0 {
		t.Error("nothing was written")
	}
}

func TestTrial(t *testing.T) {
	r := Record{Trial: &Trial{"2", 9, SlotB, 1}}
	if s, _ := r.Booted(SlotB, SlotA); s != OnTrial {
		t.Error(s)
	}
	if s, _ := r.Booted(SlotA, SlotA); s != TryAgain {
		t.Error(s)
	}
	r.Trial.Tries = MaxTries
	if s, _ := r.Booted(SlotA, SlotA); s != RolledBack || r.Accepts(Header{Counter: 9}, 1, "") == nil {
		t.Error(s)
	}
	r = Record{Trial: &Trial{"2", 9, SlotB, 1}}
	if s, _ := r.Booted(SlotB, SlotB); s != Proven || !errors.Is(r.Accepts(Header{Counter: 9}, 1, ""), ErrOld) {
		t.Error(s, r)
	}
	if r.Accepts(Header{Counter: 10}, 1, "") != nil {
		t.Error("a newer one is refused")
	}
}

func TestProve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if err := Prove(t.Context(), func(context.Context) error { return nil }); err != nil || time.Since(begin) < HealthyFor {
			t.Error(err, time.Since(begin))
		}
		bad := errors.New("no page")
		begin = time.Now()
		n := 0
		err := Prove(t.Context(), func(context.Context) error {
			if n++; n%20 == 0 {
				return bad
			}
			return nil
		})
		if !errors.Is(err, bad) || time.Since(begin) != HealthBy {
			t.Error(err, time.Since(begin))
		}
	})
}
