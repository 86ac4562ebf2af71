package array_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"phonebackupbox/storage"
)

// TestRereadSeesEveryFile rots each file of a blob in turn, parity too, which no Get reads: the blob can be had, so it is
// no error, and Health knows of the damage. When more is gone than parity makes up for, it is one.
func TestRereadSeesEveryFile(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(n, " drives"), func(t *testing.T) {
			name, size := packName(1), 1<<20+12345
			for i := 0; ; i++ {
				var buf []byte
				if i%2 == 1 {
					buf = make([]byte, 3<<19)
				}
				r := newRig(t, 7, n, min(1, n-1))
				mustPut(t, r.a, name, pack(size, 1))
				mustSync(t, r.a)
				if err := r.a.Reread(t.Context(), name, buf); err != nil {
					t.Fatal(err)
				}
				drives, files := r.holding(name)
				if i == len(files) {
					for j := range files {
						r.drives[drives[j]].Lose(files[j])
					}
					if err := r.a.Reread(t.Context(), name, buf); err == nil {
						t.Error("all files are gone, yet the blob was read")
					}
					break
				}
				if !r.drives[drives[i]].Rot(files[i], 70_000*8) {
					t.Fatalf("%s did not rot", files[i])
				}
				if err := r.a.Reread(t.Context(), name, buf); err != nil {
					t.Errorf("%s is rotten: %v", files[i], err)
				}
				if h, err := r.a.Health(t.Context()); err != nil || h.Damaged != 1 {
					t.Errorf("%s is rotten, yet %d files count as damaged (%v)", files[i], h.Damaged, err)
				}
			}
		})
	}
	r := newRig(t, 8, 2, 1)
	if err := r.a.Reread(t.Context(), packName(9), nil); !errors.Is(err, storage.ErrNotExist) {
		t.Error(err)
	}
}

// holding finds the files of a blob: for each the number of its drive, and its name there.
func (r *rig) holding(blob string) (drives []int, files []string) {
	for i, d := range r.drives {
		for info, err := range d.List(r.t.Context(), "") {
			if err != nil {
				r.t.Fatal(err)
			}
			if strings.Contains(info.Name, blob) {
				drives, files = append(drives, i), append(files, info.Name)
			}
		}
	}
	return drives, files
}
