package drive

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// made makes a drive and closes it.
func made(t *testing.T, dir, vault string) Found {
	t.Helper()
	d, err := Create(dir, vault)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return Found{dir, d.ID(), vault}
}

func TestFind(t *testing.T) {
	top := t.TempDir()
	in := func(elem ...string) string { return filepath.Join(append([]string{top}, elem...)...) }
	one, two := newUUID(), newUUID()
	a := made(t, in("a"), one)
	b := made(t, in("b", "box"), two) // a folder on a drive that holds other things, too
	made(t, in("c", "deep", "deeper"), one)
	bad := made(t, in("bad"), one)
	write(t, filepath.Join(bad.Dir, identityName), "{")
	write(t, in("empty", "photo.jpg"), "mine")
	twin := in("twin")
	if err := os.CopyFS(twin, os.DirFS(a.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(a.Dir, in("again")); err != nil {
		t.Fatal(err)
	}
	got, err := findIn(t.Context(), []string{in("a"), in("again"), in("b"), in("c"), in("bad"), in("empty"), in("none"), twin, in("a")})
	if want := []Found{a, b, {twin, a.Drive, a.Vault}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("found %+v, %v; want %+v", got, err, want)
	}
}
