// Package layout holds one test: it reads the import graph and keeps the parts of the box apart, as DESIGN §2 draws them.
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "phonebackupbox"

// onlyUser names the one package that may import what begins with the key.
var onlyUser = map[string]string{
	"github.com/google/gousb":          "usbhost/libusb",
	"periph.io/":                       "hal/rpi",
	"go.bug.st/serial":                 "hal/rpi",
	"github.com/klauspost/reedsolomon": "storage/array",
	"github.com/rclone/":               "storage/cloud",
	"C":                                "usbhost/libusb",
	"testing":                          "nothing but tests",
	"net/http/httptest":                "nothing but tests",
	"github.com/restic/restic":         "nothing: its format is ours to write",
}

// forbidden are names that say nothing about what is in a package.
var forbidden = []string{"util", "utils", "common", "internal", "pkg", "types", "models", "mocks", "helpers", "misc"}

// testUses lists the further packages of ours that only the tests of a package may import.
var testUses = map[string][]string{
	"storage/vault":  {"storage/vdrive", "storage/vdrive/old"},
	"storage/array":  {"storage/vdrive", "storage/vdrive/old"},
	"storage/drive":  {"storage/vdrive/old"},
	"storage/plain":  {"storage/vdrive/old"},
	"storage/cloud":  {"storage/vdrive"},
	"usbhost/mtp":    {"usbhost/vphone", "usbhost/vphone/mtp"},
	"usbhost/apple":  {"usbhost/vphone", "usbhost/vphone/apple"},
	"usbhost/adb":    {"usbhost/vphone", "usbhost/vphone/adb"},
	"usbhost/folder": {"usbhost/vphone"},
	"usbhost/libusb": {"usbhost/vphone"},
	"hal/rpi":        {"hal/rpi/pty"},
	"ui/led":         {"hal/vboard"},
}

type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

// mayImport says whether from may import to; both are paths inside the module ("" is its root).
func mayImport(from, to string) bool {
	part, _, child := strings.Cut(from, "/")
	switch {
	case part == "cmd" || part == "image":
		return true
	case from == "firmware":
		return to == "usbhost" || to == "storage"
	case part == "ui":
		// usbhost's names (ID, Report) are in firmware's State, so whoever shows a State may need them.
		return to == "firmware" || to == "usbhost" || from == "ui/led" && to == "hal"
	case from == "usbhost/vphone/redir":
		return strings.HasPrefix(to, "usbhost/vphone/") || to == "usbhost/vphone" || to == "usbhost"
	case part == "hal" || part == "usbhost" || part == "storage":
		return child && strings.HasPrefix(from, to+"/") // a parent
	}
	return false
}

func mayImportInTest(from, to string) bool {
	return from == to || mayImport(from, to) || slices.Contains(testUses[from], to)
}

// foreign says which package alone may import path, if there is such a rule; "" if anyone may.
func foreign(path string) string {
	for prefix, user := range onlyUser {
		if path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/") {
			return user
		}
	}
	return ""
}

// list runs go list over the module with the given build tags.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-json=ImportPath,Standard,Imports,TestImports,XTestImports"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // to see files that need cgo; nothing is compiled
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// inside turns an import path into one inside the module.
func inside(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestLayout(t *testing.T) {
	pkgs := list(t, "-tags=libusb,hardware", "./...")
	if len(pkgs) < 8 {
		t.Fatalf("go list names only %d packages", len(pkgs))
	}
	for _, p := range pkgs {
		from, ok := inside(p.ImportPath)
		if !ok || from == "" {
			continue // the root has only this test
		}
		for _, elem := range strings.Split(from, "/") {
			if slices.Contains(forbidden, elem) {
				t.Errorf("%s: %q says nothing about what a package holds", from, elem)
			}
		}
		check(t, from, p.Imports, mayImport)
		check(t, from, slices.DeleteFunc(append(p.TestImports, p.XTestImports...), func(s string) bool {
			return foreign(s) == "nothing but tests"
		}), mayImportInTest)
	}
}

// check reports every import of from that breaks a rule.
func check(t *testing.T, from string, imports []string, may func(from, to string) bool) {
	t.Helper()
	for _, path := range imports {
		if to, ours := inside(path); ours {
			if !may(from, to) {
				t.Errorf("%s must not import %s", from, to)
			}
			continue
		}
		if user := foreign(path); user != "" && user != from && !strings.HasPrefix(from, user+"/") {
			t.Errorf("%s must not import %s; allowed: %s", from, path, user)
		}
	}
}

// TestNoTestingInTheProduct looks at all that boxd is made of, not only at our own packages.
func TestNoTestingInTheProduct(t *testing.T) {
	deps := list(t, "-deps", "./cmd/boxd")
	if len(deps) < 20 {
		t.Fatalf("go list names only %d packages", len(deps))
	}
	for _, p := range deps {
		if p.ImportPath == "testing" || strings.HasPrefix(p.ImportPath, "testing/") || p.ImportPath == "net/http/httptest" {
			t.Errorf("boxd holds package %s", p.ImportPath)
		}
	}
}

// TestRules tests the rules themselves: a guard that lets everything pass guards nothing.
func TestRules(t *testing.T) {
	for _, r := range []struct{ from, to string }{
		{"usbhost/mtp", "usbhost"}, {"usbhost/vphone/mtp", "usbhost/vphone"}, {"firmware", "storage"},
		{"ui/led", "hal"}, {"ui/web", "usbhost"}, {"ui/web", "firmware"}, {"cmd/boxd", "storage/vdrive"}, {"image/mkimg", "hal/rpi"},
	} {
		if !mayImport(r.from, r.to) {
			t.Errorf("%s may import %s, yet it is refused", r.from, r.to)
		}
	}
	for _, r := range []struct{ from, to string }{
		{"usbhost", "storage"}, {"usbhost", "usbhost/mtp"}, {"usbhost/mtp", "usbhost/folder"}, {"usbhost/mtp", "storage"},
		{"usbhost/mtp", "usbhost/vphone"}, {"storage/vault", "storage/array"}, {"storage/vault", "storage/vdrive"},
		{"firmware", "hal"}, {"firmware", "storage/vault"}, {"ui/web", "hal"}, {"ui/web", "usbhost/mtp"}, {"ui/web", "storage"}, {"hal/vboard", "firmware"},
	} {
		if mayImport(r.from, r.to) {
			t.Errorf("%s must not import %s, yet it is let through", r.from, r.to)
		}
	}
	if foreign("github.com/klauspost/reedsolomon") != "storage/array" || foreign("periph.io/x/conn/v3/gpio") != "hal/rpi" ||
		foreign("testing/fstest") == "" || foreign("github.com/klauspost/compress/zstd") != "" {
		t.Error("the table of foreign packages does not bite")
	}
}
