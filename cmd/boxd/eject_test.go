//go:build !rescue

package main

import (
	"strings"
	"testing"
)

func TestEjectRefusals(t *testing.T) {
	dir := t.TempDir()
	for which, want := range map[string]string{
		dir + "/none":                          "no drive",
		"8f6b0e5c-0000-4000-8000-000000000001": "no drive",
		"/proc":                                "not on a drive that can be unplugged",
	} {
		code, out, errs := boxd(t, "drive", "eject", which)
		if code != exitFailed || !strings.Contains(errs, want) || strings.Contains(out, "safe") {
			t.Errorf("%s: %d, %s %s", which, code, out, errs)
		}
	}
	if code, _, _ := boxd(t, "drive", "eject"); code != exitUsage {
		t.Errorf("no drive named: %d", code)
	}
}
