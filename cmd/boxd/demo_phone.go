//go:build !rescue

package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"time"

	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
	"phonebackupbox/usbhost/vphone/samples"
)

// What the demonstration's phones hold.
const (
	internalStorage = "Internal shared storage" // as Android names it
	phoneCapacity   = 128e9                     // bytes
	smallFiles      = 3000
	bigVideo        = "DCIM/Camera/VID_20260815_211503.mp4"
	bigVideoSize    = 4<<30 + 4321 // bytes: past what FAT32 and 32-bit sizes can hold
)

// cutAtLeast is the smallest file, in bytes, that the cable comes out in: the last such in its folder, so that much has
// been copied by then.
const cutAtLeast = 1 << 20

// roll is what is on the first phone, and what of it the story needs.
type roll struct {
	set     samples.Set
	storage *vphone.Storage
	big     vphone.Content // the generated video
	cut     samples.File   // the file in whose middle the cable comes out
	files   int
	bytes   int64
}

// fill gathers the pictures and puts everything on the storage of a phone. photos is the owner's folder or "".
func fill(ctx context.Context, cache, photos string, videoSize int64) (*roll, error) {
	r := &roll{storage: vphone.NewStorage(internalStorage, phoneCapacity, nil), big: vphone.Generated(2026, videoSize)}
	var err error
	if photos != "" {
		r.set, err = samples.Folder(photos)
	} else {
		r.set, err = samples.Get(ctx, cache, nil)
	}
	if err != nil {
		return nil, err
	}
	for _, f := range append(r.set.Files, samples.Extras(smallFiles)...) {
		content, err := f.Open()
		if err != nil {
			return nil, err
		}
		if err := r.put(f.Name, f.Time, vphone.FromReaderAt(content, f.Size)); err != nil {
			return nil, err
		}
		if f.Size > cutAtLeast && f.Name > r.cut.Name && path.Dir(f.Name) == path.Dir(bigVideo) {
			r.cut = f
		}
	}
	if r.cut.Name == "" {
		r.cut = slices.MaxFunc(r.set.Files, func(a, b samples.File) int { return cmp.Compare(a.Size, b.Size) })
	}
	return r, r.put(bigVideo, time.Date(2026, 8, 15, 21, 15, 3, 0, time.UTC), r.big)
}

func (r *roll) put(name string, at time.Time, c vphone.Content) error {
	if err := r.storage.Put(name, at, c); err != nil {
		return fmt.Errorf("demo: %s: %w", name, err)
	}
	r.files++
	r.bytes += c.Size()
	return nil
}

// photoSize is the size of a new photo, in bytes.
const photoSize = 3_456_789

// photo puts a new one on the phone: bytes as a camera makes them, for which nobody needs a camera.
func (r *roll) photo(name string, at time.Time) error {
	return r.put(name, at, vphone.Generated(uint64(at.Unix()), photoSize))
}

// describe says what is on the phone.
func (r *roll) describe() string {
	s := fmt.Sprintf("%s: %s, %s", plural(r.files, "file", "files"), plural(r.set.Count(".jpg", ".jpeg"), "JPEG", "JPEGs"), plural(r.set.Count(".heic", ".heif"), "HEIC", "HEICs"))
	return s + fmt.Sprintf(", %s, a %s video, %s small files; %s", plural(r.set.Count(".mp4", ".mov"), "clip", "clips"), size(r.big.Size()), count(smallFiles), size(r.bytes))
}

// oldPhone is the phone that is backed up; newPhone the empty one that everything is restored to. What the new phone
// receives goes to a file in dir; the generated video is recognised and costs nothing.
func oldPhone(r *roll) *mtp.Phone {
	return mtp.NewPhone(mtp.Config{Serial: "DEMO0001", Maker: "Google", Model: "Pixel 9", FriendlyName: "Anna's phone", Storages: []*vphone.Storage{r.storage}})
}

func newPhone(r *roll, dir string) (*mtp.Phone, *vphone.Spool) {
	spool := &vphone.Spool{Dir: dir, Memory: 16 << 20, Known: []vphone.Content{r.big}}
	storage := vphone.NewStorage(internalStorage, phoneCapacity, spool)
	return mtp.NewPhone(mtp.Config{Serial: "DEMO0002", Maker: "Google", Model: "Pixel 10", FriendlyName: "Anna's new phone", Storages: []*vphone.Storage{storage}}), spool
}

// samplesDir is where drawn or unpacked pictures lie while the demonstration runs.
func samplesDir(base string) string { return filepath.Join(base, "pictures") }
