//go:build !rescue

package main

import (
	"slices"
	"strings"
	"testing"

	"phonebackupbox/storage/drive"
)

func TestChooseDrives(t *testing.T) {
	a, b, c := drive.Found{Dir: "/m/a", Drive: "1", Vault: "v"}, drive.Found{Dir: "/m/b", Drive: "2", Vault: "v"}, drive.Found{Dir: "/m/c", Drive: "3", Vault: "w"}
	for _, tt := range []struct {
		name         string
		named        []string
		found        []drive.Found
		want, refuse string
	}{
		{"all of the only vault", nil, []drive.Found{a, b}, "/m/a /m/b", ""},
		{"a copy of a drive is there for the array to refuse", nil, []drive.Found{a, {Dir: "/m/d", Drive: "1", Vault: "v"}}, "/m/a /m/d", ""},
		{"nothing attached", nil, nil, "", "no drive of a box is attached"},
		{"two vaults", nil, []drive.Found{a, b, c}, "", "drives of 2 vaults are attached: /m/a, /m/b; /m/c"},
		{"two vaults, one of them named", []string{"/m/c"}, []drive.Found{a, b, c}, "/m/c", ""},
		{"one named, its companions found", []string{"/m/b"}, []drive.Found{b, a}, "/m/b /m/a", ""},
	} {
		got, err := chooseDrives(tt.named, tt.found)
		if tt.refuse != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refuse) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

func TestAuto(t *testing.T) {
	code, _, errs := boxd(t, "vault", "create", "--drive", "auto", "--key-file", t.TempDir()+"/key")
	if code != exitUsage || !strings.Contains(errs, "finds drives that a vault has") {
		t.Errorf("create: %d, %s", code, errs)
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	key := t.TempDir() + "/key"
	must(t, exitOK, "vault", "create", "--drive", dirs[0], "--drive", dirs[1], "--key-file", key)
	// The drives lie deep in a folder here, where none is looked for: naming one adds what else is attached of its vault.
	code, out, errs := boxd(t, "vault", "status", "--drive", dirs[0], "--drive", "auto", "--key-file", key)
	if code != exitIncomplete || !strings.Contains(out, "away") {
		t.Errorf("status: %d, %s %s", code, out, errs)
	}
}
