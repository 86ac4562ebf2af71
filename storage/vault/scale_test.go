package vault

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	scaleDir   = flag.String("scale", "", "`folder` to make a great vault in, for .ci/scale")
	scaleFiles = flag.Int("scale-files", 1_000_000, "files of that vault, 1,000 a folder")
	scaleChunk = flag.Uint("scale-chunk", 140_000, "mean `bytes` of a chunk: 1,360,000 make 2 TB")
)

// What a great vault is made of: a folder has one video of many chunks, the others are photos of one. A pack of ours holds
// four chunks of 4 MiB or thirteen photos; here are seven or eight of either, so that 1.5 million blobs are 200,000 packs.
const (
	scaleFolder = 1000 // files
	scaleChunks = 501  // of a video
)

// TestScaleVault writes a vault of a million files into the folder that -scale names: repo/ is a restic repository but for
// the packs of files, which repo/packs lists with their sizes and nobody will read, and phone/ the phone's files, which are
// holes.
func TestScaleVault(t *testing.T) {
	if *scaleDir == "" {
		t.Skip("only for make scale")
	}
	m := newMapStore()
	v, err := Create(t.Context(), m, someWords, Options{})
	if err != nil {
		t.Fatal(err)
	}
	phone, err := filepath.Abs(filepath.Join(*scaleDir, "phone"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := v.Begin(t.Context(), Phone{ID: "folder:" + phone, Name: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	s := scaler{t: t, v: v, tree: tree, r: rand.New(rand.NewPCG(1, 2)), phone: phone}
	root, sum := s.folders(*scaleFiles / scaleFolder)
	s.endPack()
	if err := tree.w.flush(); err != nil {
		t.Fatal(err)
	}
	if err := tree.save(); err != nil {
		t.Fatal(err)
	}
	if err := v.writeIndexes(t.Context(), s.nums); err != nil {
		t.Fatal(err)
	}
	if _, err := v.putSnapshot(t.Context(), tree.phone, root, Outcome{Complete: true, Listed: *scaleFiles}, sum); err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	s.write(m)
	t.Logf("%d blobs in %d packs", v.index.count(), v.index.packCount())
}

// scaler makes up what a million files would have left.
type scaler struct {
	t     *testing.T
	v     *Vault
	tree  *Tree
	r     *rand.Rand
	phone string
	trees treeWriter

	blobs []packedBlob // of the pack being filled
	end   uint32       // where it ends
	nums  []uint32     // packs
}

// folders makes the trees.
func (s *scaler) folders(n int) (root hash, sum summary) {
	var dirs []node
	for i := range n {
		d := node{name: fmt.Sprintf("folder-%04d", i), mode: dirMode, mtime: time.Unix(1_700_000_000, 0).UTC()}
		var files []node
		for j := range scaleFolder {
			f := node{name: fmt.Sprintf("IMG_%08d.jpg", i*scaleFolder+j), mode: fileMode, mtime: time.Unix(1_600_000_000+int64(i*scaleFolder+j), 0).UTC()}
			chunks := 1
			if j == scaleFolder-1 {
				chunks = scaleChunks
			}
			for range chunks {
				id, size := s.chunk()
				f.content, f.size = append(f.content, id), f.size+size
			}
			files = append(files, f)
			sum.Bytes += uint64(f.size)
		}
		sum.Files += scaleFolder
		s.phoneFiles(d, files)
		d.subtree = s.store(files)
		dirs = append(dirs, d)
	}
	for i, d := range dirs {
		if err := os.Chtimes(filepath.Join(s.phone, d.name), d.mtime, d.mtime); err != nil {
			s.t.Fatal(i, err)
		}
	}
	return s.store(dirs), sum
}

// store stores a folder's tree.
func (s *scaler) store(nodes []node) hash {
	id, packed, size, err := s.trees.encode(func(yield func(*node) bool) {
		for i := range nodes {
			if !yield(&nodes[i]) {
				return
			}
		}
	})
	if err == nil {
		err = s.tree.w.storePacked(treeBlob, id, packed, uint32(size))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// phoneFiles makes a folder's files.
func (s *scaler) phoneFiles(d node, files []node) {
	dir := filepath.Join(s.phone, d.name)
	err := os.MkdirAll(dir, 0o755)
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err == nil {
			err = os.WriteFile(name, nil, 0o644)
		}
		if err == nil {
			err = os.Truncate(name, f.size)
		}
		if err == nil {
			err = os.Chtimes(name, f.mtime, f.mtime)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// chunk makes a blob up.
func (s *scaler) chunk() (hash, int64) {
	b := packedBlob{id: randomHash(s.r), off: s.end, length: overhead + uint32(*scaleChunk)*5/7 + s.r.Uint32N(uint32(*scaleChunk)*4/7)}
	if b.off+b.length > min(packSize, uint32(*scaleChunk)*15/2) {
		s.endPack()
		b.off = 0
	}
	s.end = b.off + b.length
	s.blobs = append(s.blobs, b)
	return b.id, b.size()
}

func (s *scaler) endPack() {
	s.nums = append(s.nums, s.v.index.addPack(randomHash(s.r), int64(s.end), s.blobs))
	s.blobs, s.end = s.blobs[:0], 0
}

// write writes the repository.
func (s *scaler) write(m *mapStore) {
	repo := filepath.Join(*scaleDir, "repo")
	for name, p := range m.blobs {
		file := filepath.Join(repo, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(file, p, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(repo, "packs"))
	if err != nil {
		s.t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for _, n := range s.nums {
		p := s.v.index.pack(n)
		fmt.Fprintln(w, packName(p.id), p.size+int64(headerSize(len(s.v.index.blobs(n)))))
	}
	if err := w.Flush(); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*scaleDir, "key"), []byte(someWords+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
