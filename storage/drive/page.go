//go:build !rescue

package drive

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// pageText explains the drive to whoever finds it.
//
//go:embed README.html
var pageText string

// otherPage is where our page goes if the owner has a README.html of their own.
const otherPage = "README-phone-backup-box.html"

// maxPage bounds what is read as a page of ours, in bytes; it has about 7,000.
const maxPage = 64 << 10

// Page is what the page on a drive tells of the box. It names no phone and nobody.
type Page struct {
	Drives   int      `json:"drives"`   // that the box has, away ones too; 0: not known yet
	Needed   int      `json:"needed"`   // how many of them, whichever, are enough to get everything back
	Complete bool     `json:"complete"` // this drive alone is enough
	Programs []string `json:"programs"` // files in its folder rescue, in name order
}

// pageFacts is what a page was made from; it is written into the page.
type pageFacts struct {
	Page
	Box     string `json:"box"`
	Drive   string `json:"drive"`
	Text    string `json:"text"`              // which text, by its hash
	Changed string `json:"changed,omitempty"` // the day; "" if the clock was not set
	Since   string `json:"since,omitempty"`   // the day from which on the drive was complete
}

// clockFrom is the earliest year that a page believes: a board without a clock wakes in 1970.
const clockFrom = 2025

// firstPage is for a drive of which nothing is known yet.
func firstPage(i Identity) ([]byte, error) { return pageOf(newFacts(i, Page{})) }

func newFacts(i Identity, p Page) pageFacts {
	return pageFacts{Page: p, Box: i.Vault[:8], Drive: i.Drive[:8], Text: textSum()}
}

// ShowPage makes the page on the drive say what p says. A page that says so already is left alone, and so is one that is not
// ours or was edited: ours has another name then. It reports whether it wrote.
func (d *Drive) ShowPage(p Page, now time.Time) (changed bool, err error) {
	if err := d.writable(); err != nil {
		return false, fmt.Errorf("drive: page of %s: %w", d.dir, err)
	}
	for i, name := range []string{pageName, otherPage} {
		old, ours, err := d.readPage(name)
		if err == nil && !ours {
			continue
		}
		if err == nil {
			changed, err = d.writePage(name, old, p, now)
		}
		if err == nil && i == 0 {
			err = d.dropPage(otherPage) // from when the owner had one
		}
		if err != nil {
			return changed, fmt.Errorf("drive: page of %s: %w", d.dir, classify(err))
		}
		return changed, nil
	}
	return false, fmt.Errorf("drive: page of %s: both %s and %s are the owner's", d.dir, pageName, otherPage)
}

func (d *Drive) writePage(name string, old pageFacts, p Page, now time.Time) (bool, error) {
	f := newFacts(d.ident, p)
	if f.says(old) {
		return false, nil
	}
	if now.Year() >= clockFrom {
		f.Changed = now.Format(time.DateOnly)
	}
	if f.Since = f.Changed; old.Complete && old.Since != "" {
		f.Since = old.Since
	}
	if !p.Complete {
		f.Since = ""
	}
	data, err := pageOf(f)
	if err != nil {
		return false, err
	}
	return true, writeDurably(d.root, name, data)
}

// says reports whether two pages say the same, but for the dates.
func (f pageFacts) says(g pageFacts) bool {
	return f.Text == g.Text && f.Box == g.Box && f.Drive == g.Drive && f.Drives == g.Drives && f.Needed == g.Needed &&
		f.Complete == g.Complete && slices.Equal(f.Programs, g.Programs)
}

// dropPage removes a page of ours that is not needed any more.
func (d *Drive) dropPage(name string) error {
	if _, ours, err := d.readPage(name); err != nil || !ours {
		return err
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readPage reads what a page was made from. A file that is absent is ours to write; one that we did not write, or that was
// changed since, is not.
func (d *Drive) readPage(name string) (f pageFacts, ours bool, err error) {
	file, err := d.root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return f, true, nil
	}
	if err != nil {
		return f, false, err
	}
	p, err := io.ReadAll(io.LimitReader(file, maxPage+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return f, false, err
	}
	f, ours = parsePage(p)
	return f, ours, nil
}

var (
	factsIn = regexp.MustCompile(`<meta name="phone-backup-box" content="([^"]*)">`)
	sumAt   = regexp.MustCompile(`<!-- ([0-9a-f]{64}) -->\n$`)
)

// firstText is the SHA-256 of the page that drives got before pages told anything of their box.
const firstText = "e1c4c515ddba1546460c15ef5610425376c85734f360500affc0d342577eca4c"

// parsePage finds out whether a page is ours, unchanged, and what it was made from.
func parsePage(p []byte) (f pageFacts, ours bool) {
	if len(p) > maxPage {
		return f, false
	}
	if fmt.Sprintf("%x", sha256.Sum256(p)) == firstText {
		return f, true
	}
	at := sumAt.FindSubmatchIndex(p)
	if at == nil || fmt.Sprintf("%x", sha256.Sum256(p[:at[0]])) != string(p[at[2]:at[3]]) {
		return f, false
	}
	if m := factsIn.FindSubmatch(p); m != nil && json.Unmarshal([]byte(html.UnescapeString(string(m[1]))), &f) != nil {
		f = pageFacts{}
	}
	return f, true
}

// textSum names the text of the page, so that a page of an older boxd is written anew.
var textSum = sync.OnceValue(func() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(pageText)))[:16] })

var pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New(pageName).Parse(pageText)) })

// pageOf makes the page. Its last line is the hash of all before it, by which it is known as ours.
func pageOf(f pageFacts) ([]byte, error) {
	facts, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	has := func(part string) bool {
		return slices.ContainsFunc(f.Programs, func(name string) bool { return strings.Contains(name, part) })
	}
	view := struct {
		Page
		Facts, Drive, Box, Changed, Since, Command string
		Windows, Mac, Linux                        bool
	}{f.Page, string(facts), f.Drive, f.Box, longDate(f.Changed), longDate(f.Since), "boxd", has("windows"), has("mac"), has("linux")}
	if len(f.Programs) > 0 {
		view.Command = "rescue-linux"
	}
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, view); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "<!-- %x -->\n", sha256.Sum256(b.Bytes()))
	return b.Bytes(), nil
}

// longDate is a day as people write it.
func longDate(day string) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return ""
	}
	return t.Format("2 January 2006")
}
