package mtp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/mtp"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

var june = time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)

// zone is where the tests' phones are: half an hour off, so that a lost zone shows.
var zone = time.FixedZone("test", 5*3600+1800)

const gib = 1 << 30

// rig is a simulated phone and the driver on the other end of its cable.
type rig struct {
	*vmtp.Phone
	store  *vphone.Storage
	driver *mtp.Phone
	pipe   *steps // that the driver talks through
	opts   mtp.Options
}

// steps counts the bulk transfers of a pipe and does something before one of them.
type steps struct {
	usbhost.Pipe
	n, at int // at < 0: never
	do    func()
}

func (s *steps) Read(ctx context.Context, p []byte) (int, error) {
	s.step()
	return s.Pipe.Read(ctx, p)
}

func (s *steps) Write(ctx context.Context, p []byte) (int, error) {
	s.step()
	return s.Pipe.Write(ctx, p)
}

func (s *steps) step() {
	if s.n == s.at {
		s.do()
	}
	s.n++
}

// plug makes a phone of one storage, filled by fill, and opens it.
func plug(t testing.TB, cfg vmtp.Config, fill func(s *vphone.Storage)) *rig {
	t.Helper()
	r := &rig{opts: mtp.Options{Location: zone}}
	if cfg.Storages == nil {
		cfg.Storages = []*vphone.Storage{vphone.NewStorage("Internal shared storage", 64*gib, nil)}
	}
	if cfg.Location == nil {
		cfg.Location = zone
	}
	r.store = cfg.Storages[0]
	if fill != nil {
		fill(r.store)
	}
	r.Phone = vmtp.NewPhone(cfg)
	t.Cleanup(func() {
		if r.driver != nil {
			if err := r.driver.Close(); err != nil {
				t.Error(err)
			}
		}
		r.Phone.Unplug()
	})
	r.replug(t)
	return r
}

// replug pulls the phone out and in and opens it anew.
func (r *rig) replug(t testing.TB) {
	t.Helper()
	if r.driver != nil {
		r.Phone.Unplug()
		if err := r.driver.Close(); err != nil {
			t.Error(err)
		}
	}
	dev := r.Phone.Plug()
	r.pipe = &steps{Pipe: dev.Pipe, at: -1, do: r.Phone.Unplug}
	dev.Pipe = r.pipe
	d, err := mtp.Open(t.Context(), dev, r.opts)
	if err != nil {
		t.Fatal(err)
	}
	r.driver = d
}

func (r *rig) backup(t testing.TB, tree *vphone.Tree) usbhost.Report {
	t.Helper()
	report, err := r.driver.Backup(t.Context(), tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Unaccounted(); n != 0 {
		t.Errorf("%d files unaccounted for in %+v", n, report)
	}
	return report
}

// put puts a file on a storage.
func put(t testing.TB, s *vphone.Storage, path string, mod time.Time, c vphone.Content) {
	t.Helper()
	if err := s.Put(path, mod, c); err != nil {
		t.Fatal(err)
	}
}

// sizes are the lengths where something changes: packets of 64, 512 and 1024 bytes with and without the header of 12,
// buffers of 1 MiB, windows.
func sizes() []int64 {
	all := []int64{0, 1, 7_654_321}
	for _, edge := range []int64{64, 512, 1024, 64 << 10, 1 << 20} {
		for _, off := range []int64{-512 - 12, -512, -256, -13, -12, -11, -1, 0, 1, 12} {
			if edge+off > 0 {
				all = append(all, edge+off)
			}
		}
	}
	for _, off := range []int64{-512, -256, -12, 0} {
		all = append(all, 3<<20+off, 4<<20+off)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pattern is content that costs no more than copying, which matters under the race detector: one block, repeated with a
// period that no packet, buffer or window divides.
func pattern(seed uint64, size int64) vphone.Content {
	return vphone.FromReaderAt(repeated{int64(seed)}, size)
}

var block = func() []byte {
	b := make([]byte, 1<<20+7)
	if _, err := vphone.Generated(1, int64(len(b))).ReadAt(b, 0); err != nil && err != io.EOF {
		panic(err)
	}
	return b
}()

type repeated struct{ seed int64 }

func (r repeated) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], block[(off+int64(n)+r.seed*1001)%int64(len(block)):])
	}
	return n, nil
}

// fillSizes puts a file of each size up to limit on the phone.
func fillSizes(t testing.TB, s *vphone.Storage, limit int64) int {
	all := slices.DeleteFunc(sizes(), func(n int64) bool { return n > limit })
	for i, n := range all {
		put(t, s, fmt.Sprintf("DCIM/size %d/%d.bin", n%7, n), june.Add(time.Duration(i)*time.Second), pattern(uint64(n), n))
	}
	return len(all)
}

// awkward names, as Android allows them.
var awkward = []string{"plain.jpg", "Plain.JPG", "Ünïcödé 📷.jpg", "日本語.txt", "back\\slash", "new\nline", "a:b*c?", " spaces ", "...", "100%", "%2F", "%2525", ".hidden", strings.Repeat("n", 250)}

func fillAwkward(t testing.TB, s *vphone.Storage) {
	for i, n := range awkward {
		put(t, s, "Names/"+n, june.Add(time.Duration(i)*time.Hour), vphone.Text(n))
	}
	if err := s.Mkdir("Empty folder/in another", june); err != nil {
		t.Fatal(err)
	}
}

// wantTree is what a backup of the storages must hold, from the simulator's own listing.
func wantTree(t testing.TB, rename func(string) string, storages ...*vphone.Storage) []string {
	t.Helper()
	tree := vphone.NewTree()
	for _, s := range storages {
		if err := tree.Mkdir(rename(s.Name()), time.Time{}); err != nil {
			t.Fatal(err)
		}
		for _, e := range s.Entries() {
			name := rename(s.Name() + "/" + e.Path)
			var err error
			if e.Folder {
				err = tree.Mkdir(name, e.ModTime)
			} else {
				err = tree.Create(name, e.Size, e.ModTime, opened(t, e))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return tree.Files()
}

func opened(t testing.TB, e vphone.Entry) io.Reader {
	t.Helper()
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func diff(t testing.TB, what string, got, want []string) {
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

func TestBackupHoldsEverySizeNameAndTimeWhateverThePhoneIs(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{
		"aosp":                 {},
		"samsung":              vmtp.Samsung(),
		"no partial 64":        {NoPartial64: true},
		"no partial":           {NoPartial: true, NoPartial64: true},
		"no bulk list":         {NoBulkList: true},
		"per folder only":      {PerFolderOnly: true},
		"hang on full packet":  {HangOnFullPacket: true},
		"response instead zlp": {ResponseInsteadZLP: true},
		"header alone":         {HeaderAlone: true},
		"strict":               {Strict: true},
		"umtp-responder":       {InfoNeedsSession: true, IgnoresDepth: true, Strict: true},
		"lists its roots at once, and calls it all": {ListsRootsOnly: true},
		"header alone, no zlp":                      {HeaderAlone: true, ResponseInsteadZLP: true, NoBulkList: true},
		"sony":                                      vmtp.Sony(),
		"huawei":                                    vmtp.Huawei(),
		"camera":                                    vmtp.Camera(),
		"old and everything":                        {NoPartial64: true, NoBulkList: true, RootZeroInvalid: true, HangOnFullPacket: true, Strict: true},
	} {
		for _, packet := range []int{64, 512, 1024} {
			if packet != 512 && name != "aosp" && name != "response instead zlp" && name != "header alone" {
				continue
			}
			t.Run(fmt.Sprint(name, packet), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := 0
					r := plug(t, vmtp.Config{Quirks: q, Wire: vphone.Wire{MaxPacket: packet}}, func(s *vphone.Storage) {
						limit := int64(100_000)
						if packet == 512 && !raceDetector && (q.ResponseInsteadZLP || q.NoPartial || q == vmtp.Quirks{}) {
							limit = 8 << 20
						}
						n = fillSizes(t, s, limit) + len(awkward) + 1
						put(t, s, "over a window", june, pattern(5, 3<<20+512-12))
						fillAwkward(t, s)
					})
					tree := vphone.NewTree()
					report := r.backup(t, tree)
					if !report.Complete() || report.Stored != n || report.Listed != n {
						t.Errorf("report %+v", report)
					}
					want := wantTree(t, func(s string) string {
						return strings.Replace(strings.Replace(s, "%2F", "%252F", 1), "%2525", "%252525", 1)
					}, r.store)
					diff(t, "tree", tree.Files(), want)
					r.ResetStats()
					if again := r.backup(t, tree); again.Kept != n || !again.Complete() || again.Removed != 0 {
						t.Errorf("unchanged: %+v", again)
					}
					if sent := r.Stats().Sent(); sent != 0 {
						t.Errorf("unchanged, yet %d bytes of files were read", sent)
					}
				})
			})
		}
	}
}

// TestTenThousandObjectsTakeNineTransactions from OpenSession on, Info included, which knows the storages already.
func TestTenThousandObjectsTakeNineTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
			for i := range 10_000 {
				put(t, s, fmt.Sprintf("DCIM/%d/IMG_%05d.jpg", i/500, i), june, vphone.Text(""))
			}
		})
		if info, err := r.driver.Info(t.Context()); err != nil || info.Locked {
			t.Fatal(info, err)
		}
		tree := vphone.NewTree()
		report := r.backup(t, tree)
		if report.Stored != 10_000 || !report.Complete() {
			t.Errorf("report %d stored, %v", report.Stored, report.Problems)
		}
		ops := r.Stats().Operations
		if n := r.Stats().Transactions; n != 9+ops[vmtp.OpGetDeviceInfo] {
			t.Errorf("%d transactions: %v", n, ops)
		}
	})
}

// TestStoragesThatComeAndGoBetweenInfoAndBackup, on phones that tell of it and on those that do not.
func TestStoragesThatComeAndGoBetweenInfoAndBackup(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"told": {}, "not told": {NoEvents: true}, "not told, folder by folder": {NoEvents: true, PerFolderOnly: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				card := storage("SD card")
				put(t, card, "on card", june, vphone.Text("card"))
				inside := storage("Internal shared storage")
				put(t, inside, "inside", june, vphone.Text("inside"))
				r := plug(t, vmtp.Config{Storages: []*vphone.Storage{inside, card}, Quirks: q}, nil)
				tree := vphone.NewTree()
				backup := func(change func()) usbhost.Report {
					t.Helper()
					if _, err := r.driver.Info(t.Context()); err != nil {
						t.Fatal(err)
					}
					change()
					return r.backup(t, tree)
				}
				if report := backup(func() { r.Eject(card) }); report.Stored != 1 || !report.Complete() {
					t.Errorf("a card was taken out: %+v", report)
				}
				if report := backup(func() { r.Insert(card) }); report.Stored != 1 || !report.Complete() || tree.Nodes["SD card/on card"] == nil {
					t.Errorf("a card was put in: %+v, %q", report, tree.Files())
				}
				if report := backup(func() { r.Eject(card) }); report.Removed != 1 || report.Kept != 1 || !report.Complete() {
					t.Errorf("a card that was backed up was taken out: %+v", report)
				}
				if _, err := r.driver.Info(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.Revoke()
				if _, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrLocked) {
					t.Errorf("no storage is left: %v", err)
				}
				if tree.Nodes[top+"inside"] == nil {
					t.Error("what a locked phone does not show was removed")
				}
				r.Unlock()
				r.Eject(card)
				if report := r.backup(t, tree); report.Kept != 1 || !report.Complete() {
					t.Errorf("unlocked: %+v", report)
				}
			})
		})
	}
}

func TestSmallFilesTakeOneTransactionEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
			for i := range 100 {
				put(t, s, fmt.Sprintf("%d", i), june, vphone.Text("x"))
			}
		})
		r.backup(t, vphone.NewTree())
		if n := r.Stats().Transactions; n > 110 {
			t.Errorf("%d transactions: %v", n, r.Stats().Operations)
		}
	})
}

func TestFourGiBAndMore(t *testing.T) {
	if raceDetector {
		t.Skip("8 GiB take a minute under the race detector, and shorter files take the same paths")
	}
	for name, q := range map[string]vmtp.Quirks{"windows": {}, "at once": {NoPartial: true, NoPartial64: true}, "camera": vmtp.Camera()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 4*gib + 12345
				r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) { put(t, s, "DCIM/long.mp4", june, pattern(1, size)) })
				tree := &countTree{Tree: vphone.NewTree()}
				report, err := r.driver.Backup(t.Context(), tree, nil)
				if err != nil || !report.Complete() || report.Stored != 1 || report.Bytes != size {
					t.Fatalf("%+v, %v", report, err)
				}
				if tree.last != tail(t, pattern(1, size)) || tree.n != size {
					t.Errorf("%d bytes, or the last ones differ", tree.n)
				}
				tree.Nodes[top+"DCIM/long.mp4"] = &vphone.TreeNode{Size: size, ModTime: june}
				if report, err := r.driver.Backup(t.Context(), tree, nil); err != nil || report.Kept != 1 || tree.n != size {
					t.Errorf("unchanged, read again: %+v, %v", report, err)
				}
			})
		})
	}
}

// countTree looks at the last bytes of files only: 4 GiB take long to hash.
type countTree struct {
	*vphone.Tree
	n    int64
	last [4096]byte
}

func (c *countTree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		n, err := r.Read(buf)
		c.n += int64(n)
		if n >= len(c.last) {
			copy(c.last[:], buf[n-len(c.last):])
		} else {
			copy(c.last[:], c.last[n:])
			copy(c.last[len(c.last)-n:], buf[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func tail(t *testing.T, c vphone.Content) (b [4096]byte) {
	if _, err := c.ReadAt(b[:], c.Size()-int64(len(b))); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

func content(t testing.TB, s *vphone.Storage, path string) []byte {
	t.Helper()
	for _, e := range s.Entries() {
		if e.Path == path && !e.Folder {
			b, err := io.ReadAll(opened(t, e))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Errorf("%q is not on the phone", path)
	return nil
}

func TestLockedPhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{Locked: true, Serial: "SER", Maker: "Maker", Model: "Model"}, func(s *vphone.Storage) { put(t, s, "f", june, vphone.Text("x")) })
		info, err := r.driver.Info(t.Context())
		if err != nil || !info.Locked || info.ID != "mtp:SER" || info.Name != "Maker Model" {
			t.Errorf("%+v, %v", info, err)
		}
		tree := vphone.NewTree()
		if _, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrLocked) {
			t.Errorf("Backup: %v", err)
		}
		if _, err := r.driver.Restore(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrLocked) {
			t.Errorf("Restore: %v", err)
		}
		r.Unlock()
		if info, err := r.driver.Info(t.Context()); err != nil || info.Locked || info.Total != 64*gib || info.Free != 64*gib-1 {
			t.Errorf("%+v, %v", info, err)
		}
		if report := r.backup(t, tree); report.Stored != 1 {
			t.Errorf("%+v", report)
		}
		before := tree.Files()
		r.Revoke()
		if _, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, usbhost.ErrLocked) {
			t.Errorf("revoked: %v", err)
		}
		diff(t, "tree", tree.Files(), before)
	})
}

func TestSums(t *testing.T) { // memTree and the simulator must agree on what they compare
	c := pattern(7, 1000)
	b := make([]byte, 1000)
	if _, err := c.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	tree := vphone.NewTree()
	if err := tree.Create("x", 1000, june, bytes.NewReader(b)); err != nil || tree.Nodes["x"].Sum != sha256.Sum256(b) {
		t.Error("memTree does not hash what it stores", err)
	}
}

// resuming is an empty tree that can take every file over, as a vault can after a run that was cut short.
type resuming struct{ *vphone.Tree }

func (resuming) Keep(string, int64, time.Time) error { return nil }

func TestWhatAnInterruptedRunStoredIsNotReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) {
			for _, name := range []string{"a", "DCIM/b", "DCIM/c"} {
				if err := s.Put(name, june, vphone.Text("content of "+name)); err != nil {
					t.Fatal(err)
				}
			}
		})
		report, err := r.driver.Backup(t.Context(), resuming{vphone.NewTree()}, nil)
		if err != nil || report.Kept != 3 || r.Stats().Sent() != 0 {
			t.Errorf("%v, %+v; the phone sent %d bytes of files", err, report, r.Stats().Sent())
		}
	})
}
