package mtp_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

// TestAPhotoThatChangesWhileItIsReadIsReadAgain: photos are read in one transaction each and not asked for one by one, and yet
// none is stored as half of two versions.
func TestAPhotoThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	const photos = 8
	for name, row := range map[string]struct {
		quirks    vmtp.Quirks
		others    int // empty files
		questions int // GetObjectInfo
	}{
		"one list for all":                   {vmtp.Quirks{}, 0, 2},
		"few photos among many files":        {vmtp.Quirks{}, 32 * photos, photos + 2},
		"phone that cannot be listed at all": {vmtp.Quirks{NoBulkList: true}, 0, 2*photos + 2 + 2},
		"Samsung":                            {vmtp.Samsung(), 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: row.quirks}, func(s *vphone.Storage) {
					for i := range photos {
						put(t, s, fmt.Sprintf("DCIM/Camera/%d.jpg", i), june, pattern(uint64(i), 4_000_000))
					}
					for i := range row.others {
						put(t, s, fmt.Sprintf("Download/%d", i), june, vphone.Text(""))
					}
				})
				r.GrowsWhileRead("DCIM/Camera/2.jpg", 1)
				r.GrowsWhileRead("DCIM/Camera/6.jpg", 2)
				tree := vphone.NewTree()
				report := r.backup(t, tree)
				if len(report.Problems) != 1 || report.Problems[0].Name != top+"DCIM/Camera/6.jpg" || !report.Problems[0].Listed || report.Problems[0].Stale {
					t.Errorf("the photo that changes each time: %q", problems(report))
				}
				if want := int64(photos-1)*4_000_000 + 1000; report.Stored != photos-1+row.others || report.Bytes != want {
					t.Errorf("%d stored, %d bytes, want %d", report.Stored, report.Bytes, want)
				}
				if tree.Nodes[top+"DCIM/Camera/6.jpg"] != nil {
					t.Error("half of two versions is in the tree")
				}
				if n := r.Stats().Operations[vmtp.OpGetObjectInfo]; n != row.questions {
					t.Errorf("%d questions, want %d", n, row.questions)
				}
				r.Heal("DCIM/Camera/6.jpg")
				if report := r.backup(t, tree); !report.Complete() || report.Stored != 1 {
					t.Errorf("the next run: %+v", report)
				}
				diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
			})
		})
	}
}
