package drive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// roomy stands for FAT on a drive with room for all folders; fat is too full for them.
var roomy = Options{format: &Format{Name: "FAT32", Fragile: true, cluster: 1 << 20}}

// unprepared returns the folder of a drive on FAT that nothing was put on.
func unprepared(t *testing.T) string {
	t.Helper()
	d := fragile(t)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return d.dir
}

// tree is what folders and files lie in dir.
func tree(t *testing.T, dir string) (folders, files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, rerr := filepath.Rel(dir, path)
		if e.IsDir() {
			folders = append(folders, name)
		} else {
			files = append(files, name)
		}
		return errors.Join(err, rerr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders, files
}

// On FAT no folder is made or removed once something lies on the drive.
func TestFoldersStayOnFragile(t *testing.T) {
	ctx := t.Context()
	d := reopened(t, unprepared(t), roomy)
	before, _ := tree(t, d.dir)
	id := strings.Repeat("ab", 32)
	blobs := []string{"ledger/0123", "ledger-copy/0123", "vault/keys/" + id, "heal/vault/index/" + id}
	for _, top := range []string{"vault/", "parity/", "shards/"} {
		blobs = append(blobs, top+"index/"+id, top+"snapshots/"+id, top+"data/ab/"+id)
	}
	for _, b := range blobs {
		if err := d.Put(ctx, b, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if err := d.Delete(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if after, _ := tree(t, d.dir); !slices.Equal(after, before) {
		t.Errorf("%d folders, and then %d", len(before), len(after))
	}
}

// A folder is as large as it will be before the first blob: it holds names enough, and none of them stays. What a power cut
// left of that is finished, and a folder that nobody thought of is durable before it holds anything.
func TestFoldersAreFilled(t *testing.T) {
	ctx, small := t.Context(), Options{format: &Format{Name: "FAT32", Fragile: true, cluster: 32 << 10}}
	dir := unprepared(t)
	left := filepath.Join(dir, "vault", "index", fillName(3))
	write(t, left, "")
	d := reopened(t, dir, small)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that only fills stays: %v", err)
	}
	grown, err := os.Stat(filepath.Dir(left)) // here too folders do not shrink: ext4
	if f, ferr := FormatOf(d.dir); ferr == nil && f.Type == "ext4" && (err != nil || grown.Size() < 64<<10/minEntry*264) {
		t.Errorf("vault/index: %v, %v; want room for 107 long names", grown, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.dir, "shards", "data", "7f")); err != nil {
		t.Fatal(err)
	}
	d = reopened(t, d.dir, small)
	if err := errors.Join(d.Put(ctx, "shards/data/7f/x", []byte("x")), d.Sync(ctx), d.Close()); err != nil {
		t.Fatal(err)
	}
}

// What takes a drive's place has folders of its own, or none.
func TestFoldersAfterSwitch(t *testing.T) {
	ctx := t.Context()
	d := reopened(t, unprepared(t), roomy)
	next, err := d.Next("7c9e6679-7425-40de-944b-e07fc1f90ae7")
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []*Drive{d, next} {
		if err := errors.Join(on.Put(ctx, "vault/config", []byte(on.Vault())), on.Sync(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(next.Close(), d.Switch(), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = reopened(t, d.dir, roomy)
	if _, err := os.Stat(filepath.Join(d.dir, "shards", "data", "ff")); err != nil {
		t.Error(err)
	}
}

// A drive that is too full for the folders works, and so does one that another version prepared.
func TestFoldersWithoutRoom(t *testing.T) {
	ctx := t.Context()
	d := fragile(t)
	if err := errors.Join(d.Put(ctx, "vault/config", []byte("first")), d.Sync(ctx), d.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, foldersName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("marked as prepared: %v", err)
	}
	write(t, filepath.Join(d.dir, foldersName), "0\n")
	d = reopened(t, d.dir, roomy)
	if err := errors.Join(d.Put(ctx, "vault/new", []byte("second")), d.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	if done, err := d.prepared(); err != nil || !done {
		t.Errorf("prepared: %v, %v", done, err)
	}
}

// Where only a check of the file system helps, the error says which one.
func TestTornFileSystemNeedsCheck(t *testing.T) {
	f := formatOf("vfat")
	f.Device = "/dev/sdx1"
	d := &Drive{format: f}
	for _, torn := range []error{syscall.EIO, syscall.EROFS} {
		err := d.classify(&fs.PathError{Op: "mkdir", Path: "vault/data/ab", Err: torn})
		if !errors.Is(err, torn) || !strings.Contains(err.Error(), "fsck.vfat -a /dev/sdx1") {
			t.Errorf("%v", err)
		}
	}
	if err := d.classify(syscall.ENOSPC); strings.Contains(err.Error(), "fsck") {
		t.Errorf("a full drive: %v", err)
	}
	if err := (&Drive{format: formatOf("ext4")}).classify(syscall.EIO); strings.Contains(err.Error(), "fsck") {
		t.Errorf("ext4: %v", err)
	}
}

// On drives as they are sold nearly all folders are large enough with one cluster, and Open is quick; a large FAT drive with
// small clusters gets folders for all the packs that fit.
func TestFoldersFill(t *testing.T) {
	for _, tt := range []struct {
		name           string
		total, cluster int64 // bytes
		names, leaf    int   // at most in all, and in a folder of packs
	}{
		{"a stick of 8 GB, FAT32", 8e9, 4 << 10, 3000, 0},
		{"a stick of 64 GB, exFAT", 64e9, 128 << 10, 0, 0},
		{"a drive of 500 GB, FAT32", 500e9, 32 << 10, 3000, 0},
		{"a drive of 2 TB, FAT32", 2e12, 32 << 10, 200_000, (2e12 >> 24) / minEntry},
	} {
		names, leaf := 0, 0
		for _, f := range folders(tt.total) {
			names += f.fill(tt.cluster)
			if f.name == "vault/data/7f" {
				leaf = f.fill(tt.cluster)
			}
		}
		if names > tt.names || leaf < tt.leaf {
			t.Errorf("%s: %d names, %d in vault/data/7f; want at most %d, and at least %d", tt.name, names, leaf, tt.names, tt.leaf)
		}
	}
}
