package folder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/folder"
	"phonebackupbox/usbhost/vphone"
)

// awkward are names that Linux allows and other systems choke on.
var awkward = []string{
	"plain.jpg", "PLAIN.JPG", "Ünïcödé 📷.jpg", "日本語.txt", "latin-1 \xe9\xff.txt", "back\\slash", "new\nline", "-rf", "a:b*c?.txt",
	" leading and trailing ", "...", "CON", "\x01\x7f", strings.Repeat("n", 255),
}

func open(t *testing.T, dir string) *folder.Phone {
	t.Helper()
	p, err := folder.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func write(t *testing.T, dir, name, content string, mtime time.Time) {
	t.Helper()
	full := dir + "/" + name
	if err := os.MkdirAll(full[:strings.LastIndexByte(full, '/')], 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(full, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

var june = time.Date(2024, 6, 1, 12, 0, 0, 123456789, time.UTC)

// fill makes a folder with awkward names, an empty file, an empty directory and a deep one.
func fill(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range awkward {
		write(t, dir, "odd \xfe names/"+name, strings.Repeat(name, 1+i*100), june.Add(time.Duration(i)))
	}
	write(t, dir, "DCIM/Camera/empty.jpg", "", june)
	write(t, dir, "DCIM/Camera/big.mp4", strings.Repeat("0123456789abcdef", 100_000), june)
	write(t, dir, "before 1970", "x", time.Unix(-5000, 7))
	for d := range strings.SplitSeq("empty dir,DCIM/Camera,DCIM,odd \xfe names", ",") {
		if err := os.MkdirAll(dir+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir+"/"+d, june, june.Add(time.Duration(len(d)))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const filled = 17 // files that fill makes

func backup(t *testing.T, p *folder.Phone, tree *vphone.Tree) usbhost.Report {
	t.Helper()
	r, err := p.Backup(t.Context(), tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Unaccounted(); n != 0 {
		t.Errorf("%d files unaccounted for in %+v", n, r)
	}
	return r
}

// look lists a real directory as vphone.Tree.Files does.
func look(t *testing.T, dir string) []string {
	t.Helper()
	tree := vphone.NewTree()
	if r := backup(t, open(t, dir), tree); !r.Complete() {
		t.Errorf("looking at %s: %+v", dir, r.Problems)
	}
	return tree.Files()
}

func diff(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: unexpected %s", what, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: missing %s", what, line)
		}
	}
}

func TestBackupHoldsEveryNameTimeAndByte(t *testing.T) {
	dir := fill(t)
	tree := vphone.NewTree()
	r := backup(t, open(t, dir), tree)
	if !r.Complete() || r.Listed != filled || r.Stored != filled {
		t.Fatalf("report %+v", r)
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		node := tree.Nodes[name]
		info, err := e.Info()
		if err != nil {
			return err
		}
		if node == nil || node.Dir != e.IsDir() || !node.ModTime.Equal(info.ModTime()) {
			t.Errorf("%q is %+v in the tree", name, node)
			return nil
		}
		n++
		if !e.IsDir() {
			if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, node.Data) {
				t.Errorf("%q has other bytes (%v)", name, err)
			}
		}
		return nil
	})
	if err != nil || n != len(tree.Nodes)-1 {
		t.Errorf("%d names on disk, %d in the tree (%v)", n, len(tree.Nodes)-1, err)
	}
}

func TestSecondBackupKeepsReadsAndRemoves(t *testing.T) {
	dir := fill(t)
	tree, p := vphone.NewTree(), open(t, dir)
	backup(t, p, tree)
	if r := backup(t, p, tree); r.Kept != filled || r.Moved != 0 || r.Stored+r.Removed != 0 {
		t.Errorf("unchanged: %+v", r)
	}

	write(t, dir, "DCIM/Camera/empty.jpg", "grown", june.Add(time.Hour))
	write(t, dir, "new", "new", june)
	for _, name := range []string{"odd \xfe names", "before 1970", "DCIM/Camera/big.mp4", "empty dir"} {
		if err := os.RemoveAll(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "before 1970/now a folder", "x", june)
	write(t, dir, "empty dir", "now a file", june)
	r := backup(t, p, tree)
	if r.Kept != 0 || r.Stored != 4 || r.Removed != filled-1 || !r.Complete() {
		t.Errorf("changed: %+v", r)
	}
	diff(t, "tree", tree.Files(), look(t, dir))
}

func TestWhatIsNoFileIsRemarkedAndNotFollowed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside, "secret", "secret", june)
	write(t, dir, "file", "x", june)
	if err := errors.Join(
		os.Symlink(outside, dir+"/link"),
		os.Symlink("file", dir+"/inner"),
		syscall.Mkfifo(dir+"/pipe", 0o600),
	); err != nil {
		t.Fatal(err)
	}
	tree := vphone.NewTree()
	r := backup(t, open(t, dir), tree)
	var names []string
	for _, p := range r.Problems {
		if p.Listed {
			t.Errorf("%+v counts as a listed file", p)
		}
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"inner", "link", "pipe"}) || r.Stored != 1 || len(tree.Nodes) != 2 {
		t.Errorf("report %+v, tree %q", r, tree.Files())
	}
}

func TestUnreadableFilesAndFoldersKeepTheirFormerVersions(t *testing.T) {
	if os.Geteuid() == 0 { // who reads everything: try it as nobody
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Dir = "/"
		cmd.Env = []string{"TMPDIR=" + os.TempDir()}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
			t.Errorf("as nobody: %v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	write(t, dir, "secret/a", "a", june)
	write(t, dir, "b", "b", june)
	tree, p := vphone.NewTree(), open(t, dir)
	backup(t, p, tree)
	write(t, dir, "b", "bb", june)
	if err := errors.Join(os.Chmod(dir+"/secret", 0), os.Chmod(dir+"/b", 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir+"/secret", 0o755) })
	r := backup(t, p, tree)
	if len(r.Problems) != 2 || !r.Problems[0].Listed || !r.Problems[0].Stale || r.Problems[1].Listed || r.Removed != 0 {
		t.Errorf("report %+v", r)
	}
	if tree.Nodes["secret/a"] == nil || string(tree.Nodes["b"].Data) != "b" {
		t.Errorf("tree %q", tree.Files())
	}
}

// touchy is a tree that does something to the folder when a file's first byte is read.
type touchy struct {
	*vphone.Tree
	do func(name string)
}

func (t *touchy) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	first := make([]byte, min(size, 1))
	if _, err := io.ReadFull(r, first); err != nil {
		return err
	}
	t.do(name)
	return t.Tree.Create(name, size, mtime, io.MultiReader(bytes.NewReader(first), r))
}

func TestAFileThatChangesWhileItIsReadIsReadAgainThenReported(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for what, change := range map[string]func(path string, try int) error{
		"touched": func(path string, try int) error { return os.Chtimes(path, june, june.Add(time.Duration(try))) },
		"grown":   func(path string, try int) error { return os.WriteFile(path, []byte(long+long[:try]), 0o644) },
		"shrunk":  func(path string, try int) error { return os.Truncate(path, int64(1<<19-try)) },
	} {
		for _, times := range []int{1, 2} {
			t.Run(fmt.Sprint(what, times), func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "f", "former", june.Add(-time.Hour))
				tree, p := vphone.NewTree(), open(t, dir)
				backup(t, p, tree)
				write(t, dir, "f", long, june)
				tries := 0
				r, err := p.Backup(t.Context(), &touchy{tree, func(string) {
					if tries++; tries <= times {
						if err := change(dir+"/f", tries); err != nil {
							t.Error(err)
						}
					}
				}}, nil)
				if err != nil || tries != 2 || r.Unaccounted() != 0 {
					t.Fatalf("%d tries, %+v, %v", tries, r, err)
				}
				if times == 1 {
					if !r.Complete() || r.Stored != 1 {
						t.Errorf("report %+v", r)
					}
					diff(t, "tree", tree.Files(), look(t, dir))
				} else if len(r.Problems) != 1 || !r.Problems[0].Stale || !strings.Contains(r.Problems[0].Reason, "changed") || string(tree.Nodes["f"].Data) != "former" {
					t.Errorf("report %+v, tree %q", r, tree.Files())
				}
			})
		}
	}
}

func TestAFileThatVanishesIsNotListed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "a", june)
	write(t, dir, "b", "b", june)
	tree, p := vphone.NewTree(), open(t, dir)
	backup(t, p, tree)
	write(t, dir, "a", "aa", june)
	write(t, dir, "b", "bb", june)
	r, err := p.Backup(t.Context(), &touchy{tree, func(string) { // whichever comes first takes both away
		for _, n := range []string{"a", "b"} {
			if err := os.Remove(dir + "/" + n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	}}, nil)
	if err != nil || r.Unaccounted() != 0 || r.Listed+r.Removed != 2 || r.Listed != r.Stored {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestACardPulledOutIsNotAnEmptyCard(t *testing.T) {
	dir := fill(t)
	tree, p := vphone.NewTree(), open(t, dir)
	backup(t, p, tree)
	before := tree.Files()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil { // the empty mount point
		t.Fatal(err)
	}
	if _, err := p.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrUnplugged) {
		t.Errorf("error %v", err)
	}
	<-p.Gone()
	diff(t, "tree", tree.Files(), before)
	if _, err := p.Info(t.Context()); !errors.Is(err, usbhost.ErrUnplugged) {
		t.Errorf("Info: %v", err)
	}
	if _, err := p.Restore(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrUnplugged) {
		t.Errorf("Restore: %v", err)
	}
}

func TestATreeThatFailsEndsTheRun(t *testing.T) {
	tree := vphone.NewTree()
	tree.Down = errors.New("no drive")
	_, err := open(t, fill(t)).Backup(t.Context(), tree, nil)
	if !errors.Is(err, tree.Down) {
		t.Errorf("error %v", err)
	}
}

func TestCancelEndsTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := open(t, fill(t))
	tree := vphone.NewTree()
	if _, err := p.Backup(ctx, &touchy{tree, func(string) { cancel() }}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup: %v", err)
	}
	backup(t, p, tree)
	dir := t.TempDir()
	if _, err := open(t, dir).Restore(ctx, tree, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Restore: %v", err)
	}
	if left := look(t, dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestInfo(t *testing.T) {
	dir := t.TempDir()
	info, err := open(t, dir).Info(t.Context())
	if err != nil || info.ID != usbhost.ID("folder:"+dir) || info.Free <= 0 || info.Total < info.Free || info.Locked {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := folder.Open(dir + "/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	write(t, dir, "file", "", june)
	if _, err := folder.Open(dir + "/file"); err == nil {
		t.Error("a file opens as a folder")
	}
}
