package mtp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
	"phonebackupbox/usbhost/vphone"
	vmtp "phonebackupbox/usbhost/vphone/mtp"
)

const top = "Internal shared storage/"

// fillFew puts a few files and folders on the phone: 8 files.
func fillFew(t testing.TB, s *vphone.Storage) {
	for i, path := range []string{"DCIM/Camera/1.jpg", "DCIM/Camera/2.jpg", "DCIM/Screenshots/3.png", "Download/4.pdf", "5.txt", "DCIM/Camera/empty"} {
		put(t, s, path, june.Add(time.Duration(i)*time.Minute), vphone.Text(strings.Repeat("x", 1000*i+1)))
	}
	put(t, s, "DCIM/Camera/large.mp4", june, pattern(1, 4<<20))
	put(t, s, "Download/large.zip", june, pattern(2, 50_000))
}

const few = 8

// problems are the report's, as "path: reason" with "!" for listed files and "*" for stale ones.
func problems(r usbhost.Report) (lines []string) {
	for _, p := range r.Problems {
		line := strings.TrimPrefix(p.Name, top)
		if p.Listed {
			line += "!"
		}
		if p.Stale {
			line += "*"
		}
		lines = append(lines, line+": "+p.Reason)
	}
	return lines
}

// TestWhatGoesWrongWithOneFileIsReportedAndTheRestIsStored: each row spoils one file of eight, after a first good backup
// and, for the second run, a change to the file.
func TestWhatGoesWrongWithOneFileIsReportedAndTheRestIsStored(t *testing.T) {
	rows := []struct {
		name, path string
		quirks     vmtp.Quirks
		spoil      func(p *vmtp.Phone, path string)
		reason     string
	}{
		{"a stall in the middle of a large file", "DCIM/Camera/large.mp4", vmtp.Quirks{}, func(p *vmtp.Phone, path string) { p.FailingAt(path, 2<<20+512) }, "failed to read"},
		{"a stall in a small file", "5.txt", vmtp.Quirks{}, func(p *vmtp.Phone, path string) { p.FailingAt(path, 600) }, "failed to read"},
		{"an error in the middle of a large file", "DCIM/Camera/large.mp4", vmtp.Quirks{NoStall: true}, func(p *vmtp.Phone, path string) { p.FailingAt(path, 2<<20+512) }, "general error"},
		{"an error in a large file read at once", "DCIM/Camera/large.mp4", vmtp.Quirks{NoStall: true, NoPartial: true, NoPartial64: true}, func(p *vmtp.Phone, path string) { p.FailingAt(path, 2<<20+512) }, "general error"},
		{"an object that cannot be read", "DCIM/Camera/2.jpg", vmtp.Quirks{}, func(p *vmtp.Phone, path string) { p.FailingObject(path) }, ""},
		{"a large file that ends early", "DCIM/Camera/large.mp4", vmtp.Quirks{}, func(p *vmtp.Phone, path string) { p.ShortFile(path, 2<<20) }, ""},
		{"a small file that ends early", "DCIM/Camera/2.jpg", vmtp.Quirks{}, func(p *vmtp.Phone, path string) { p.ShortFile(path, 100) }, ""},
		{"a large file that grows", "DCIM/Camera/large.mp4", vmtp.Quirks{}, func(p *vmtp.Phone, path string) { p.GrowsWhileRead(path, -1) }, "changed"},
		{"a large file that grows, read at once", "DCIM/Camera/large.mp4", vmtp.Quirks{NoPartial: true, NoPartial64: true}, func(p *vmtp.Phone, path string) { p.GrowsWhileRead(path, -1) }, "changed"},
		{"a cancelled phone wedges", "DCIM/Camera/large.mp4", vmtp.Quirks{Wedge: true}, func(p *vmtp.Phone, path string) { p.FailingAt(path, 2<<20+512) }, "failed to read"},
	}
	for _, row := range rows {
		for _, header := range []bool{false, true} {
			if header && raceDetector {
				continue
			}
			t.Run(fmt.Sprint(row.name, header), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					row.quirks.HeaderAlone = header
					r := plug(t, vmtp.Config{Quirks: row.quirks}, func(s *vphone.Storage) { fillFew(t, s) })
					row.spoil(r.Phone, row.path)
					tree := vphone.NewTree()
					report := r.backup(t, tree)
					if len(report.Problems) != 1 || report.Stored != few-1 || !strings.HasPrefix(problems(report)[0], row.path+"!:") || !strings.Contains(problems(report)[0], row.reason) {
						t.Fatalf("first backup: %d stored, %q", report.Stored, problems(report))
					}
					if tree.Nodes[top+row.path] != nil {
						t.Error("the bad file is in the tree")
					}
					r.Heal(row.path)
					if report = r.backup(t, tree); !report.Complete() || report.Kept != few-1 {
						t.Fatalf("healed: %+v", report)
					}
					former := *tree.Nodes[top+row.path]
					put(t, r.store, row.path, june.Add(time.Hour), pattern(9, former.Size+1000))
					row.spoil(r.Phone, row.path)
					report = r.backup(t, tree)
					if len(report.Problems) != 1 || !report.Problems[0].Stale || tree.Nodes[top+row.path].Sum != former.Sum {
						t.Errorf("the former version: %q", problems(report))
					}
				})
			})
		}
	}
}

func TestAFolderThatCannotBeListedKeepsWhatItHad(t *testing.T) {
	for name, spoil := range map[string]func(p *vmtp.Phone){
		"folder": func(p *vmtp.Phone) { p.FailingFolder("DCIM/Camera") },
		"object": func(p *vmtp.Phone) { p.PoisonObject("DCIM/Camera/2.jpg") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillFew(t, s) })
				tree := vphone.NewTree()
				r.backup(t, tree)
				before := tree.Files()
				spoil(r.Phone)
				report := r.backup(t, tree)
				lines := problems(report)
				if len(lines) != 1 || !strings.HasPrefix(lines[0], "DCIM/Camera*: ") || report.Removed != 0 || report.Complete() {
					t.Errorf("report %+v", report)
				}
				diff(t, "tree", tree.Files(), before)
				if name == "object" && report.Kept != few-1 {
					t.Errorf("the others in the folder: %+v", report)
				}
				if err := r.store.Remove("Download/4.pdf"); err != nil {
					t.Fatal(err)
				}
				if report := r.backup(t, tree); report.Removed != 1 {
					t.Errorf("what is gone elsewhere: %+v", report)
				}
			})
		})
	}
}

func TestHostileAndDoubleNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillFew(t, s) })
		for path, told := range map[string]string{
			"5.txt": "../../etc/passwd", "DCIM/Camera/1.jpg": "..", "DCIM/Camera/2.jpg": "2/../.jpg", "Download": ".", "Download/4.pdf": "%-",
			"DCIM/Screenshots": "Camera",
		} {
			r.ToldName(path, told)
		}
		tree := vphone.NewTree()
		report := r.backup(t, tree)
		if report.Stored != few || len(report.Problems) != 1 {
			t.Errorf("report %+v", report)
		}
		for _, name := range []string{"..%2F..%2Fetc%2Fpasswd", "DCIM/Camera/%2E%2E", "DCIM/Camera/2%2F..%2F.jpg", "%2E/%25-", "%2E/large.zip"} {
			if tree.Nodes[top+name] == nil {
				t.Errorf("%q is missing from %q", name, tree.Files())
			}
		}
		if report := r.backup(t, tree); report.Kept != few || report.Removed != 0 {
			t.Errorf("again: %+v", report)
		}
	})
}

func TestDatesThatAreNoneAndThoseWithAZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillFew(t, s) })
		r.JunkDate("5.txt", "20480000T000000")
		r.JunkDate("DCIM/Camera/1.jpg", "yesterday at noon")
		r.JunkDate("DCIM/Camera/2.jpg", "20200102T030405Z")
		r.JunkDate("Download/4.pdf", "20200102T030405.5+0100")
		tree := vphone.NewTree()
		if report := r.backup(t, tree); !report.Complete() {
			t.Errorf("report %+v", report)
		}
		for name, want := range map[string]time.Time{
			"5.txt": {}, "DCIM/Camera/1.jpg": {}, "DCIM/Camera/2.jpg": time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
			"Download/4.pdf": time.Date(2020, 1, 2, 2, 4, 5, 5e8, time.UTC),
		} {
			if got := tree.Nodes[top+name].ModTime; !got.Equal(want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		if report := r.backup(t, tree); report.Kept != few-2 || report.Stored != 2 {
			t.Errorf("files of unknown time are read again: %+v", report)
		}
	})
}

func TestStubbornPhones(t *testing.T) {
	for name, spoil := range map[string]struct {
		quirks vmtp.Quirks
		do     func(p *vmtp.Phone)
	}{
		"ignores the first two OpenSessions": {quirks: vmtp.Quirks{IgnoredOpens: 2, Strict: true}},
		"takes two minutes to list":          {do: func(p *vmtp.Phone) { p.Delay(vmtp.OpGetObjectPropList, 2*time.Minute) }},
		"takes ten seconds for all":          {quirks: vmtp.Quirks{FirstByte: 10 * time.Second}},
		"never lists at once":                {do: func(p *vmtp.Phone) { p.Delay(vmtp.OpGetObjectPropList, time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: spoil.quirks}, func(s *vphone.Storage) { fillFew(t, s) })
				if spoil.do != nil {
					spoil.do(r.Phone)
				}
				tree := vphone.NewTree()
				if report := r.backup(t, tree); !report.Complete() || report.Stored != few {
					t.Errorf("report %+v", report)
				}
				diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store))
			})
		})
	}
}

func TestAPhoneThatNoLongerAnswersEndsTheRun(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"aosp": {}, "wedge": {Wedge: true, ResetKills: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) {
					for i := range 100 {
						put(t, s, fmt.Sprint(i), june, vphone.Text("x"))
					}
				})
				r.Delay(vmtp.OpGetObject, time.Hour)
				began := time.Now()
				report, err := r.driver.Backup(t.Context(), vphone.NewTree(), nil)
				if err == nil || report.Stored != 0 {
					t.Errorf("%+v, %v", report, err)
				}
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("it took %v to notice", took)
				}
			})
		})
	}
}

// TestAPhoneWhoseControlEndpointHangsEndsTheRun: a control transfer cannot be taken back, only waited for. One phone that
// answers none, and hangs in a transaction of any kind besides, must end its run soon, and let go.
func TestAPhoneWhoseControlEndpointHangsEndsTheRun(t *testing.T) {
	for name, op := range map[string]uint16{"storages": vmtp.OpGetStorageIDs, "listing": vmtp.OpGetObjectPropList, "handles": vmtp.OpGetObjectHandles, "object": vmtp.OpGetObjectInfo, "file": vmtp.OpGetObject} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := vmtp.Quirks{MuteControl: true, NoBulkList: op == vmtp.OpGetObjectHandles || op == vmtp.OpGetObjectInfo}
				r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) {
					for i := range 1000 {
						put(t, s, fmt.Sprintf("DCIM/%d/%d.jpg", i/100, i), june, vphone.Text("x"))
					}
				})
				r.Delay(op, 1000*time.Hour)
				began := time.Now()
				report, err := r.driver.Backup(t.Context(), vphone.NewTree(), nil)
				if err == nil && report.Complete() {
					t.Errorf("called complete: %+v", report)
				}
				if err != nil && strings.Contains(err.Error(), "deadline") {
					t.Errorf("an error that says nothing: %v", err)
				}
				if took := time.Since(began); took > 6*time.Minute {
					t.Errorf("it took %v to end", took)
				} else {
					t.Log(took)
				}
				began = time.Now()
				err = r.driver.Close()
				if took := time.Since(began); err != nil || took > 10*time.Second {
					t.Errorf("Close took %v: %v", took, err)
				}
				r.driver = nil
			})
		})
	}
}

func sumOf(t testing.TB, s *vphone.Storage, path string) [32]byte {
	t.Helper()
	for _, e := range s.Entries() {
		if e.Path == path {
			sum, err := e.SHA256()
			if err != nil {
				t.Fatal(err)
			}
			return sum
		}
	}
	t.Fatalf("%q is not on the phone", path)
	return [32]byte{}
}

// cancelTree cancels a run when a file's first byte is stored.
type cancelTree struct {
	*vphone.Tree
	at     string
	cancel context.CancelFunc
}

func (c *cancelTree) Create(name string, size int64, mtime time.Time, r io.Reader) error {
	if name == c.at {
		if _, err := r.Read(make([]byte, 1)); err != nil {
			return err
		}
		c.cancel()
		_, err := io.Copy(io.Discard, r)
		return err
	}
	return c.Tree.Create(name, size, mtime, r)
}

func TestCancelLeavesThePhoneReady(t *testing.T) {
	for name, q := range map[string]vmtp.Quirks{"windows": {}, "at once": {NoPartial: true, NoPartial64: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, vmtp.Config{Quirks: q}, func(s *vphone.Storage) {
					fillFew(t, s)
					put(t, s, "long.mp4", june, pattern(3, 20<<20))
				})
				ctx, cancel := context.WithCancel(t.Context())
				_, err := r.driver.Backup(ctx, &cancelTree{vphone.NewTree(), top + "long.mp4", cancel}, nil)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
				if sent := r.Stats().Files["long.mp4"].Sent; sent > 15<<20 {
					t.Errorf("%d bytes were read after all", sent)
				}
				if report := r.backup(t, vphone.NewTree()); !report.Complete() || report.Stored != few+1 {
					t.Errorf("after the cancelled run: %+v", report)
				}
			})
		})
	}
}

func TestATreeThatFailsEndsTheRunAndLeavesThePhoneReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillFew(t, s) })
		tree := vphone.NewTree()
		tree.Down = errors.New("no drive")
		if _, err := r.driver.Backup(t.Context(), tree, nil); !errors.Is(err, tree.Down) {
			t.Errorf("error %v", err)
		}
		tree.Down = nil
		if report := r.backup(t, tree); !report.Complete() {
			t.Errorf("report %+v", report)
		}
	})
}

func TestSecondBackupFollowsThePhone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := storage("SD card")
		twin := storage("SD card")
		put(t, card, "on card", june, vphone.Text("card"))
		put(t, twin, "on card", june, vphone.Text("twin"))
		cfg := vmtp.Config{Storages: []*vphone.Storage{storage("Internal shared storage"), card, twin}}
		r := plug(t, cfg, func(s *vphone.Storage) { fillFew(t, s) })
		tree := vphone.NewTree()
		if report := r.backup(t, tree); report.Stored != few+2 || string(tree.Nodes["SD card (2)/on card"].Data) != "twin" {
			t.Errorf("first: %+v", report)
		}
		for _, path := range []string{"DCIM/Camera", "5.txt"} {
			if err := r.store.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		put(t, r.store, "DCIM/Camera", june, vphone.Text("now a file"))
		put(t, r.store, "5.txt/now a folder", june, vphone.Text("x"))
		report := r.backup(t, tree)
		if report.Removed != 5 || report.Stored != 2 || report.Kept != 5 {
			t.Errorf("second: %+v", report)
		}
		diff(t, "tree", tree.Files(), wantTree(t, func(s string) string { return s }, r.store, card, renamed(t, "SD card (2)", "on card", "twin")))

		alone := plug(t, vmtp.Config{Storages: cfg.Storages[:1]}, nil) // both cards were taken out
		if report := alone.backup(t, tree); report.Removed != 2 || !report.Complete() {
			t.Errorf("without cards: %+v", report)
		}
	})
}

func renamed(t *testing.T, name, path, text string) *vphone.Storage {
	s := storage(name)
	put(t, s, path, june, vphone.Text(text))
	return s
}

func TestCloseEndsARunUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, vmtp.Config{}, func(s *vphone.Storage) { fillFew(t, s) })
		r.Delay(vmtp.OpGetObjectPropList, time.Hour)
		done := make(chan error, 1)
		go func() {
			_, err := r.driver.Backup(t.Context(), vphone.NewTree(), nil)
			done <- err
		}()
		synctest.Wait()
		if err := r.driver.Close(); err != nil {
			t.Logf("Close: %v", err)
		}
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Backup: %v", err)
		}
		<-r.driver.Gone()
		r.driver = nil
	})
}
