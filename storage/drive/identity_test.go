package drive

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"phonebackupbox/storage"
	"phonebackupbox/storage/vdrive/old"
)

func FuzzParseIdentity(f *testing.F) {
	good, err := newIdentity("0f8fad5b-d9cb-469f-a165-70867728950e").encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format":1,"vault":"","drive":"","createdBy":"boxd","check":"00000000"}`))
	f.Add([]byte(`{"format":99999999999999999999}`))
	f.Add([]byte(`[`))
	seeds, err := old.Files(func(name string) bool { return strings.HasSuffix(name, "/"+identityName) })
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range seeds {
		if _, err := parseIdentity(p); err != nil {
			f.Errorf("%s: %v", p, err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		i, err := parseIdentity(p)
		if err != nil {
			if !errors.Is(err, errIdentity) {
				t.Errorf("%v is not errIdentity", err)
			}
			return
		}
		q, err := i.encode()
		if err != nil {
			t.Fatal(err)
		}
		if j, err := parseIdentity(q); err != nil || i != j {
			t.Errorf("%+v came back as %+v, %v", i, j, err)
		}
	})
}

// No flipped bit may make another drive or vault of an identity.
func TestIdentityBits(t *testing.T) {
	want := newIdentity("0f8fad5b-d9cb-469f-a165-70867728950e")
	good, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(good) * 8 {
		p := append([]byte{}, good...)
		p[bit/8] ^= 1 << (bit % 8)
		if i, err := parseIdentity(p); err == nil && (i.Vault != want.Vault || i.Drive != want.Drive) {
			t.Fatalf("bit %d: %+v", bit, i)
		}
	}
}

func TestClassify(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.ENOSPC: storage.ErrFull,
		syscall.EDQUOT: storage.ErrFull,
		syscall.EROFS:  storage.ErrReadOnly,
		syscall.EACCES: storage.ErrReadOnly,
		syscall.EIO:    storage.ErrUnavailable,
		syscall.ENODEV: storage.ErrUnavailable,
		syscall.ENOENT: storage.ErrNotExist,
	} {
		err := classify(fmt.Errorf("x: %w", &fs.PathError{Op: "open", Path: "p", Err: errno}))
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v gives %v; want %v", errno, err, want)
		}
	}
}
