//go:build !rescue

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestSelftest(t *testing.T) {
	dir := t.TempDir()
	code, out, errs := boxd(t, "selftest", "--drive", dir, "--most", "16")
	if code != exitOK || !strings.Contains(out, dir+": ok") || !strings.Contains(out, "came back as written") {
		t.Errorf("%d: %s %s", code, out, errs)
	}
	code, out, errs = boxd(t, "selftest", "--drive", dir, "--drive", dir+"/none", "--most", "16", "--json")
	var res []selftestResult
	if err := json.Unmarshal([]byte(out), &res); code != exitFailed || err != nil || len(res) != 2 {
		t.Fatalf("%d: %v: %s %s", code, err, out, errs)
	}
	if !res[0].OK || res[0].Capacity.Tried < 8<<20 || res[1].OK || !strings.Contains(res[1].Error, dir+"/none") {
		t.Errorf("%s", out)
	}
	if e, err := os.ReadDir(dir); err != nil || len(e) > 0 {
		t.Errorf("left behind: %v, %v", e, err)
	}
}
