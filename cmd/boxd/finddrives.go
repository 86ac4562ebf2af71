package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"phonebackupbox/storage/drive"
)

// autoDrives, in place of a drive's folder, stands for all attached drives of the vault.
const autoDrives = "auto"

// resolveDrives puts the attached drives in the place of "auto": those of the vault that the other folders belong to, or of
// the only vault that is attached.
func resolveDrives(dirs []string) ([]string, error) {
	if !slices.Contains(dirs, autoDrives) {
		return dirs, nil
	}
	named := slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d == autoDrives })
	// It takes no time to speak of, and nothing waits for it that could be stopped.
	found, err := drive.Find(context.Background(), named...)
	if err != nil {
		return nil, err
	}
	return chooseDrives(named, found)
}

func chooseDrives(named []string, found []drive.Found) ([]string, error) {
	if len(found) == 0 {
		return nil, hintError{fmt.Errorf("no drive of a box is attached"), "no-drive",
			"plug the drives in and mount them, or name their folders with --drive DIR"}
	}
	vault := found[0].Vault
	at := make(map[string][]string)
	for _, f := range found {
		at[f.Vault] = append(at[f.Vault], f.Dir)
		if slices.Contains(named, f.Dir) {
			vault = f.Vault
		}
	}
	if len(at) > 1 && len(named) == 0 {
		var each []string
		for _, dirs := range at {
			each = append(each, strings.Join(dirs, ", "))
		}
		slices.Sort(each)
		return nil, hintError{fmt.Errorf("drives of %d vaults are attached: %s", len(at), strings.Join(each, "; ")), "ambiguous",
			"name one of the vault's drives as well: --drive DIR --drive auto"}
	}
	for _, dir := range at[vault] {
		if !slices.Contains(named, dir) {
			named = append(named, dir)
		}
	}
	return named, nil
}
