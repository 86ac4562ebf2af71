package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
)

// radioModules are the kernel's modules that the card has, below lib/modules/RELEASE/kernel/drivers/net/wireless/broadcom/brcm80211:
// the driver of the boards' own radios. init loads them only where the owner wants Wi-Fi.
var radioModules = []string{"brcmutil/brcmutil.ko", "brcmfmac/brcmfmac.ko", "brcmfmac/wcc/brcmfmac-wcc.ko", "brcmfmac/cyw/brcmfmac-cyw.ko"}

// radioFiles are what Wi-Fi needs in the root, by their names there: the kernel's modules, and all that firmware holds.
func radioFiles(kernel, firmware string) (map[string]string, error) {
	releases, err := match(kernel, "lib/modules/*")
	if err == nil && len(releases) != 1 {
		err = fmt.Errorf("pack: %d kernels' modules in %s", len(releases), kernel)
	}
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, m := range radioModules {
		files[path.Join("lib/modules", filepath.Base(releases[0]), path.Base(m))] = filepath.Join(releases[0], "kernel/drivers/net/wireless/broadcom/brcm80211", m)
	}
	err = filepath.WalkDir(firmware, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(firmware, file)
		files[path.Join("lib/firmware", filepath.ToSlash(name))] = file
		return err
	})
	if err == nil && len(files) == len(radioModules) {
		err = errors.New("no firmware in " + firmware)
	}
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return files, nil
}
