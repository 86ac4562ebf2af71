//go:build !rescue

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/attach"
	"phonebackupbox/storage/vault"
)

// cardOf makes a state folder and a FAT partition with an owner's file.
func cardOf(t *testing.T, text string) (state, fat string, p *bootPart) {
	t.Helper()
	state, fat = filepath.Join(t.TempDir(), "box"), t.TempDir()
	p, err := openBootPart(fat)
	if err = errors.Join(err, os.Mkdir(state, 0o700), os.WriteFile(filepath.Join(fat, configName), []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return state, fat, p
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func someWords(t *testing.T) string {
	t.Helper()
	words, err := vault.NewWords()
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// The owner's file is taken over however an editor has saved it; words are kept apart and erased on the partition, every other line
// stays where it was; what was taken over once is left alone.
func TestTheOwnersFileIsTakenOver(t *testing.T) {
	words := someWords(t)
	lines := strings.ReplaceAll(words, " ", "\r\n")
	for name, text := range map[string]string{
		"as on Linux":           "survive = 2\nwords = \"" + words + "\"\n[retention]\nlast = 5\n",
		"as on Windows":         "\xef\xbb\xbfwords = '" + words + "'\r\nsurvive = 2\r\n[retention]\r\nlast = 5",
		"words on many lines":   "survive = 2\r\nwords = \"\"\"\r\n" + lines + "\"\"\"\r\n[retention]\r\nlast = 5\r\n",
		"written as on a sheet": "\"words\"=\"" + strings.ToUpper(words) + "\" # mine\nsurvive=2\n[retention]\nlast=5\n",
	} {
		t.Run(name, func(t *testing.T) {
			state, fat, p := cardOf(t, text)
			if err := p.takeOver(state); err != nil {
				t.Fatal(err)
			}
			c, err := readConfig(state)
			if err != nil || c.Survive == nil || *c.Survive != 2 || c.Retention.Last != 5 || c.Retention.Daily != defaults().Retention.Daily {
				t.Errorf("settings: %+v, %v", c, err)
			}
			if got, err := readWords(filepath.Join(state, wordsName)); err != nil || got != words {
				t.Errorf("words: %v", err)
			}
			left := read(t, fat, configName)
			for w := range strings.FieldsSeq(words) {
				if regexp.MustCompile(`(?i)\b` + w + `\b`).MatchString(left + read(t, state, configName)) {
					t.Errorf("%q is still there:\n%s", w, left)
				}
			}
			if len(left) != len(text) || strings.Count(left, "\n") != strings.Count(text, "\n") {
				t.Errorf("%d bytes became %d", len(text), len(left))
			}
			if err := os.Remove(filepath.Join(state, configName)); err != nil {
				t.Fatal(err)
			}
			if err := p.takeOver(state); err != nil || read(t, state, configName) != "" {
				t.Errorf("taken over twice: %v", err)
			}
		})
	}
}

// The power fails after each step of taking over: done again, everything is where it should be.
func TestTakingOverIsCutShort(t *testing.T) {
	words := someWords(t)
	state, fat, p := cardOf(t, "survive = 2\nwords = \""+words+"\"\n")
	cut := errors.New("cut")
	if err := takeOverSettings(state, []byte(read(t, fat, configName)), func([]byte) error { return cut }); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	if got, err := readWords(filepath.Join(state, wordsName)); err != nil || got != words || !strings.Contains(read(t, state, configName), "survive = 2") {
		t.Errorf("before anything is erased, the words are kept: %v", err)
	}
	for _, left := range []string{wordsName, configName, takenName} { // whatever of it had become durable
		_ = os.Remove(filepath.Join(state, left))
		if err := p.takeOver(state); err != nil {
			t.Fatal(err)
		}
		if left != configName && strings.Contains(read(t, fat, configName), "words") {
			t.Error("not erased")
		}
		if got := read(t, state, configName); !strings.Contains(got, "survive = 2") && left != configName {
			t.Errorf("settings: %q", got)
		}
	}
}

// What is wrong is told with its line, and the settings from before stay; a file that chooses nothing counts for nothing, unless there
// was one before.
func TestAnOwnersFileThatIsWrong(t *testing.T) {
	for text, say := range map[string]string{
		"survive = 1\r\nretentoin = 3\r\n":      `line 2: "retentoin" is no setting`,
		"survive = \r\n":                        "line 1",
		"survive = 9\n":                         "0 to 3",
		"words = \"abandon ability\"\n":         "words",
		"\xff\xfes\x00u\x00":                    "save it as UTF-8",
		strings.Repeat("# long\n", maxConfig/6): "bytes",
	} {
		state, fat, p := cardOf(t, text)
		if err := putStateFile(state, configName, []byte("survive = 3\n")); err != nil {
			t.Fatal(err)
		}
		err := p.takeOver(state)
		if err == nil || !strings.Contains(oneLine(err), say) {
			t.Errorf("%.20q: %v, want %q", text, err, say)
		}
		if read(t, state, configName) != "survive = 3\n" || read(t, fat, configName) != text {
			t.Errorf("%.20q: something was changed", text)
		}
		if status := string(statusText(firmware.State{}, nil, err)); !strings.Contains(status, say) {
			t.Errorf("the status does not say %q:\n%s", say, status)
		}
	}
	state, fat, p := cardOf(t, "# nothing\n")
	if err := p.takeOver(state); err != nil || read(t, state, configName) != "" {
		t.Errorf("nothing chosen: %v", err)
	}
	for _, text := range []string{"survive = 0\n", "# nothing any more\n"} {
		if err := os.WriteFile(filepath.Join(fat, configName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := p.takeOver(state); err != nil || read(t, state, configName) != text {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The file that cards are shipped with chooses nothing, and every setting that it shows is one.
func TestTheShippedFile(t *testing.T) {
	text := read(t, "..", "..", "image", "pack", configName)
	if text == "" {
		t.Fatal("there is none")
	}
	if o, err := parseOwnerFile([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil || o.Survive != nil || o.Words != "" {
		t.Errorf("%+v, %v", o, err)
	}
	all := regexp.MustCompile(`(?m)^#(\[|[a-z_]+ = )`).ReplaceAllString(text, "$1")
	if all == text {
		t.Fatal("it shows no settings")
	}
	if o, err := parseOwnerFile([]byte(all)); err != nil || o.Survive == nil {
		t.Errorf("with all that it shows: %v\n%s", err, all)
	}
}

// A blank card with the words in the owner's file is the box that it was, and the words are not kept twice.
func TestWordsInTheOwnersFileOpenTheVault(t *testing.T) {
	s := newSite(t, 2, 1)
	key, err := readKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	state, _, p := cardOf(t, "words = \""+key+"\"\n")
	if err := p.takeOver(state); err != nil {
		t.Fatal(err)
	}
	b, table := blankBays(t, state)
	if _, err := b.Health(t.Context()); !errors.Is(err, firmware.ErrStickAlone) {
		t.Errorf("without drives: %v", err)
	}
	for i, dir := range s.drives {
		table.drives = append(table.drives, attach.Drive{N: i + 1, Dir: dir, Name: filepath.Base(dir)})
	}
	if h, err := b.Health(t.Context()); err != nil || h.NoVault || len(h.Drives) != 2 {
		t.Errorf("with them: %+v, %v", h, err)
	}
	if got, err := readKey(filepath.Join(state, cardKeyName)); err != nil || got != key || read(t, state, wordsName) != "" {
		t.Errorf("kept: %v", err)
	}
}

// The status file is written when something has changed, at most every ten minutes, and once more at the end.
func TestTheStatusFile(t *testing.T) {
	_, fat, p := cardOf(t, "")
	synctest.Test(t, func(t *testing.T) {
		states, ended := make(chan firmware.State), make(chan error, 1)
		go func() { ended <- p.follow(states, "", nil) }()
		says := func(words string) {
			t.Helper()
			synctest.Wait()
			if got := read(t, fat, statusName); !strings.Contains(got, words) || words == "" && got != "" {
				t.Errorf("want %q:\n%s", words, got)
			}
		}
		states <- firmware.State{Phase: firmware.Starting}
		says("")
		full, missing := firmware.Fault{Code: "B-11", Sentence: "The drives are full."}, firmware.Fault{Code: "B-10", Sentence: "A drive is missing."}
		states <- firmware.State{Phase: firmware.Problem, Faults: []firmware.Fault{full}}
		says("B-11 The drives are full.")
		states <- firmware.State{Phase: firmware.Problem, Faults: []firmware.Fault{missing}}
		says("B-11")
		time.Sleep(11 * time.Minute)
		says("B-10")
		anna := firmware.Phone{Name: "Anna", LastComplete: &firmware.Backup{Time: time.Unix(1764200000, 0)}}
		states <- firmware.State{Phase: firmware.Off, Phones: []firmware.Phone{anna}}
		close(states)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		says("Anna: everything was backed up on 26 November 2025")
		if b := []byte(read(t, fat, statusName)); bytes.Count(b, []byte("\n")) != bytes.Count(b, []byte("\r\n")) {
			t.Error("its lines do not end as Windows' do")
		}
	})
}

// FuzzOwnersFile: nothing that an owner writes breaks the box, and secrets that were taken over are in the file no more.
func FuzzOwnersFile(f *testing.F) {
	f.Add("survive = 2\nwords = \"x\"\n")
	f.Add("\xef\xbb\xbfwords = '''\r\nabandon'''\r\n")
	f.Add("words = \"" + strings.Repeat("abandon ", 23) + "art\"\n[retention]\nlast = 1\n")
	f.Add("[wifi]\nssid = \"x\"\ncountry = \"DE\"\npassphrase = '''\ncorrect horse'''\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOwnerFile([]byte(text))
		if err != nil || !o.hasSecrets() {
			return
		}
		bare, err := withoutSecrets([]byte(text))
		if err != nil {
			return // refused, and told
		}
		if again, err := parseOwnerFile(bare); err != nil || again.hasSecrets() || len(bare) != len(text) {
			t.Errorf("%q became %q: %+v, %v", text, bare, again, err)
		}
	})
}
