package apps

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var (
	tonight = time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	atTwo   = time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
)

const day = 24 * time.Hour

// A phone is what a snapshot holds, told in lines "path size age", the age since 02:00 of the night.
func phone(lines ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, line := range lines {
		f := strings.Split(line, "|")
		if len(f) == 1 {
			m[f[0]] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
			continue
		}
		var size int
		fmt.Sscan(f[1], &size)
		age, err := time.ParseDuration(f[2])
		if err != nil {
			panic(err)
		}
		m[f[0]] = &fstest.MapFile{Data: make([]byte, size), ModTime: atTwo.Add(-age), Mode: 0o644}
	}
	return m
}

func appsIn(t *testing.T, fsys fs.FS) []App {
	t.Helper()
	found, err := Look(fsys, tonight)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatIsKnownOfApps(t *testing.T) {
	const (
		wa  = "Internal shared storage/Android/media/com.whatsapp/WhatsApp/"
		biz = "Internal shared storage/Android/media/com.whatsapp.w4b/WhatsApp Business/"
	)
	for _, tt := range []struct {
		name  string
		files []string
		app   string
		state State
		age   time.Duration // of the backup; -1: none
		size  int64
		media int64
	}{
		{"a backup of this night", []string{wa + "Databases/msgstore.db.crypt15|100|0s", wa + "Media/WhatsApp Images/a.jpg|7|1h", wa + "Media/b|3|1h"},
			"WhatsApp", Good, 0, 100, 10},
		{"crypt14 before Android 11", []string{"Card/WhatsApp/Databases/msgstore.db.crypt14|5|24h"}, "WhatsApp", Good, day, 5, 0},
		{"a plain card or folder", []string{"WhatsApp/Databases/msgstore.db.crypt12|5|24h"}, "WhatsApp", Good, day, 5, 0},
		{"Business", []string{biz + "Databases/msgstore.db.crypt14|5|2h"}, "WhatsApp Business", Good, 2 * time.Hour, 5, 0},
		{"Business before Android 11", []string{"S/WhatsApp Business/Databases/msgstore.db.crypt14|5|2h"}, "WhatsApp Business", Good, 2 * time.Hour, 5, 0},
		{"the newest of several", []string{wa + "Databases/msgstore-2026-11-24.1.db.crypt15|5|24h", wa + "Databases/msgstore.db.crypt15|6|0s",
			wa + "Databases/msgstore-2026-11-23.1.db.crypt15|4|48h"}, "WhatsApp", Good, 0, 15, 0},
		{"a rolling copy alone is whole", []string{wa + "Databases/msgstore-2026-11-24.1.db.crypt15|5|24h"}, "WhatsApp", Good, day, 5, 0},
		{"an increment with its full file", []string{wa + "Databases/msgstore.db.crypt15|5|48h", wa + "Databases/msgstore-increment-1.db.crypt15|1|0s"},
			"WhatsApp", Good, 0, 6, 0},
		{"an increment's other form", []string{wa + "Databases/msgstore.db.crypt14|5|48h",
			wa + "Databases/msgstore-increment-99-2026-03-07-nm.crypt14|1|0s"}, "WhatsApp", Good, 0, 6, 0},
		{"increments without the full file", []string{wa + "Databases/msgstore-increment-1.db.crypt15|1|0s"}, "WhatsApp", Fragments, -1, 1, 0},
		{"an increment beside an older place's full file", []string{wa + "Databases/msgstore-increment-1.db.crypt15|1|0s",
			"Internal shared storage/WhatsApp/Databases/msgstore.db.crypt14|5|48h"}, "WhatsApp", Good, 2 * day, 6, 0},
		{"media and no backup", []string{wa + "Media/b|3|1h"}, "WhatsApp", Missing, -1, 0, 3},
		{"an empty backup is none", []string{wa + "Databases/msgstore.db.crypt15|0|0s"}, "WhatsApp", Missing, -1, 0, 0},
		{"another database is none", []string{wa + "Databases/msgstore.db.crypt15.tmp|9|0s", wa + "Databases/wa.db.crypt15|9|0s"}, "WhatsApp", Missing, -1, 18, 0},
		{"settings count with the backup", []string{wa + "Backups/wa.db.crypt15|9|0s", wa + "Databases/msgstore.db.crypt15|1|0s"}, "WhatsApp", Good, 0, 10, 0},
		{"installed and never used", []string{wa[:len(wa)-1]}, "WhatsApp", Missing, -1, 0, 0},
		{"three days are not old", []string{wa + "Databases/msgstore.db.crypt15|1|72h", "S/DCIM/Camera/a.jpg|1|0s"}, "WhatsApp", Good, 3 * day, 1, 0},
		{"more are", []string{wa + "Databases/msgstore.db.crypt15|1|73h", "S/DCIM/Camera/a.jpg|1|0s"}, "WhatsApp", Old, 73 * time.Hour, 1, 0},
		{"a phone that lay in a drawer", []string{wa + "Databases/msgstore.db.crypt15|1|2400h", "S/DCIM/Camera/a.jpg|1|2390h"}, "WhatsApp", Good, 100 * day, 1, 0},
		{"a date in the far future is no measure", []string{wa + "Databases/msgstore.db.crypt15|1|1h", "S/DCIM/Camera/a.jpg|1|-99999h"}, "WhatsApp", Good, time.Hour, 1, 0},

		{"Signal in files", []string{"S/Signal/Backups/signal-2026-11-24-02-00-00.backup|50|24h", "S/Signal/Backups/signal-2026-11-23-02-00-00.backup|40|48h"},
			"Signal", Good, day, 90, 0},
		{"Signal in a folder", []string{"S/Documents/SignalBackups/signal-backup-2026-11-25-02-00-00/main|50|0s", "S/Documents/SignalBackups/files/ab/cd|7|9h"},
			"Signal", Good, 0, 57, 0},
		{"Signal, not switched on", []string{"S/Android/media/org.thoughtcrime.securesms"}, "Signal", Missing, -1, 0, 0},
		{"Signal, saved pictures alone", []string{"S/Pictures/Signal/a.jpg|9|1h"}, "Signal", Missing, -1, 0, 9},

		{"Telegram", []string{"S/Android/media/org.telegram.messenger.web/Telegram/Telegram Images/a|4|1h", "S/Download/Telegram/b|5|1h"}, "Telegram", NoBackups, -1, 0, 9},
		{"Telegram before Android 11", []string{"S/Telegram/Telegram Video/a|4|1h"}, "Telegram", NoBackups, -1, 0, 4},
		{"Instagram", []string{"S/Pictures/Instagram/a|4|1h", "S/Movies/Instagram/b|5|1h"}, "Instagram", NoBackups, -1, 0, 9},
		{"Facebook", []string{"S/DCIM/Facebook/a|4|1h", "S/Pictures/Facebook/b|5|1h"}, "Facebook", NoBackups, -1, 0, 9},
		{"Messenger", []string{"S/Pictures/Messenger/a|4|1h"}, "Messenger", NoBackups, -1, 0, 4},
		{"Viber", []string{"S/viber/media/Viber Images/a|4|1h"}, "Viber", NoBackups, -1, 0, 4},
		{"LINE", []string{"S/Pictures/LINE/a|4|1h"}, "LINE", NoBackups, -1, 0, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := appsIn(t, phone(tt.files...))
			if len(found) != 1 || found[0].Name != tt.app {
				t.Fatalf("found %+v", found)
			}
			a := found[0]
			age := time.Duration(-1)
			if !a.Backup.IsZero() {
				age = atTwo.Sub(a.Backup)
			}
			if a.State != tt.state || age != tt.age || a.Size != tt.size || a.Media != tt.media {
				t.Errorf("%s, %v old, %d bytes of backups, %d of media", a.State, age, a.Size, a.Media)
			}
			if wrong := a.State != Good && a.State != NoBackups; wrong != (a.Hint() != "") {
				t.Errorf("%s: hint %q", a.State, a.Hint())
			}
			if (a.State == NoBackups) != (a.Chats() != "") || len(a.Steps()) == 0 {
				t.Errorf("chats %q, steps %q", a.Chats(), a.Steps())
			}
		})
	}
}

func TestWhatIsNoApp(t *testing.T) {
	for _, files := range [][]string{
		{"S/DCIM/Camera/a.jpg|9|0s", "S/Android/media/com.example/a|1|0s", "S/Download/WhatsApp.apk|1|0s"},
		{"S/Pictures/Telegram", "S/WhatsApp/Media", "S/Signal/Backups"}, // left over, empty
		{"S/DCIM/x/WhatsApp/Databases/msgstore.db.crypt15|9|0s"},        // somebody's own copy
		{"WhatsApp|9|0s", "S/Telegram|9|0s"},                            // files of these names
		{},
	} {
		if found := appsIn(t, phone(files...)); len(found) != 0 {
			t.Errorf("%q: %+v", files, found)
		}
	}
}

// The key that only the owner has is spoken of where it will be asked for, and Signal's two forms are told apart.
func TestStepsFitTheBackup(t *testing.T) {
	for _, tt := range []struct{ file, has, lacks string }{
		{"WhatsApp/Databases/msgstore.db.crypt15|9|0s", "64-digit", "cannot"},
		{"WhatsApp/Databases/msgstore.db.crypt14|9|0s", "same telephone number", "64-digit"},
		{"WhatsApp/Databases/msgstore-increment-1.db.crypt15|9|0s", "cannot be restored", "tap Restore"},
		{"Signal/Backups/signal-2026-11-24-02-00-00.backup|9|0s", "30-digit", "recovery key"},
		{"SignalBackups/signal-backup-2026-11-24-02-00-00/main|9|0s", "recovery key", "30-digit"},
		{"Pictures/Signal/a|9|0s", "cannot be restored", "install"},
		{"Telegram/a|9|0s", "cloud", ""},
		{"Pictures/Instagram/a|9|0s", "gallery", ""},
	} {
		steps := strings.Join(appsIn(t, phone(tt.file))[0].Steps(), "\n")
		if !strings.Contains(steps, tt.has) || tt.lacks != "" && strings.Contains(steps, tt.lacks) {
			t.Errorf("%s: %s", tt.file, steps)
		}
	}
}

// A folder that cannot be listed hides nothing of the others.
func TestAFolderThatCannotBeRead(t *testing.T) {
	broken := unreadable{phone("S/WhatsApp/Databases/msgstore.db.crypt15|9|0s", "S/WhatsApp/Media/x|5|0s", "S/Pictures/Instagram/a|4|1h"), "S/WhatsApp/Media"}
	found, err := Look(broken, tonight)
	if err == nil || len(found) != 2 || found[0].State != Good {
		t.Errorf("%v, %+v", err, found)
	}
}

type unreadable struct {
	fstest.MapFS
	dir string
}

func (u unreadable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == u.dir {
		return nil, fmt.Errorf("damaged")
	}
	return u.MapFS.ReadDir(name)
}

// Of a thousand folders at the top each is read, decrypted and forgotten again: so it is looked into at one go.
func TestTheTopFoldersAreLookedIntoOneAfterTheOther(t *testing.T) {
	var files []string
	for i := range 50 {
		files = append(files, fmt.Sprintf("folder-%02d/a|1|0s", i))
	}
	turns := &turnsFS{MapFS: phone(files...)}
	if _, err := Look(turns, tonight); err != nil {
		t.Fatal(err)
	}
	if turns.n > 52 { // the root's own places come first
		t.Errorf("it went to and fro between 50 folders %d times", turns.n)
	}
}

// turnsFS counts how often somebody asks for something in another top folder than before.
type turnsFS struct {
	fstest.MapFS
	last string
	n    int
}

func (f *turnsFS) Stat(name string) (fs.FileInfo, error) {
	if top, _, _ := strings.Cut(name, "/"); top != f.last && strings.HasPrefix(name, "folder-") {
		f.last = top
		f.n++
	}
	return f.MapFS.Stat(name)
}
