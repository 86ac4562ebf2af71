package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

//go:embed config.txt
var configTxt []byte

//go:embed cmdline.txt
var cmdlineTxt []byte

//go:embed box.toml
var boxToml []byte

//go:embed licences.txt
var licencesTxt []byte

// tryOnce ends tryboot.txt, which the bootloader reads in place of config.txt when it was told to try a start once: an update is
// tried with a command line of its own, which names its slot (docs/adr/048-how-an-update-is-tried.md).
const tryOnce = "\n# Read in place of config.txt when an update is tried.\ncmdline=trial.txt\n"

// folders are where the kernel, init and boxd mount something or look for something; the root itself is never written.
var folders = []string{"boot", "dev", "etc", "gokrazy", "mnt", "perm", "proc", "run", "sys", "tmp", "user"}

// plain names, for mksquashfs, the programs that each start waits for. Unpacking them took longer than reading all of them does.
const plain = "uncompressed @ name(boxd) || name(init) || name(e2fsck)"

// texts are the small files of the root.
var texts = map[string]string{
	"etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n",
	"etc/hostname": "backupbox\n",
	"etc/modules":  "", // none: after reading it the kernel takes no module at all
}

// makeBoot makes the FAT partition: what the Pi's bootloader reads.
func (c contents) makeBoot(ctx context.Context, path, dir string) error {
	// mcopy keeps a file's time where it is asked to, and modules in the cache have that of their download: copies have ours.
	stage := filepath.Join(dir, "stage")
	err := os.MkdirAll(filepath.Join(stage, "licences"), 0o755)
	for name, text := range map[string][]byte{
		"config.txt": configTxt, "cmdline.txt": cmdlineTxt, "tryboot.txt": append(slices.Clone(configTxt), tryOnce...), "trial.txt": bytes.Replace(cmdlineTxt, []byte("-02 "), []byte("-03 "), 1),
		"box.toml":            bytes.ReplaceAll(boxToml, []byte("\n"), []byte("\r\n")), // for an editor on Windows, too
		"licences/README.txt": licencesTxt, "licences/go.txt": c.goTerms,
	} {
		err = errors.Join(err, writeFile(filepath.Join(stage, name), text, 0o644))
	}
	for name, file := range c.terms {
		err = errors.Join(err, copyFile(filepath.Join(stage, "licences", name+".txt"), file, 0o644))
	}
	for _, from := range []struct {
		to, dir  string
		patterns []string
	}{
		{"", c.firmware, []string{"bootcode.bin", "start*.elf", "fixup*.dat"}},
		{"", c.kernel, []string{"vmlinuz", "*.dtb"}},
		{"overlays", filepath.Join(c.kernel, "overlays"), []string{"*.dtbo", "overlay_map.dtb"}},
		{"licences", c.firmware, []string{"LICENSE.broadcom"}},
		{"licences", c.kernel, []string{"LICENSE.linux"}},
	} {
		files, merr := match(from.dir, from.patterns...)
		err = errors.Join(err, merr, copyAll(filepath.Join(stage, from.to), files))
	}
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if err := tool(ctx, "dosfstools", "mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-n", "BOXD", "-C", path, strconv.Itoa(bootSize/1024)); err != nil {
		return err
	}
	// File by file, in order: left to itself mcopy takes a folder's files in whatever order this machine's disk has them.
	for _, folder := range []string{"", "licences", "overlays"} {
		if folder != "" {
			if err := tool(ctx, "mtools", "mmd", "-i", path, "::"+folder); err != nil {
				return err
			}
		}
		files, err := plainFiles(filepath.Join(stage, folder))
		if err != nil {
			return err
		}
		if err := tool(ctx, "mtools", "mcopy", append(append([]string{"-i", path, "-m"}, files...), "::"+folder)...); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot makes the root: programs, their folders, and nothing that a stranger could log in to.
func (c contents) makeRoot(ctx context.Context, path, dir string) error {
	stage := filepath.Join(dir, "rootfs")
	var err error
	for _, name := range folders {
		err = errors.Join(err, os.MkdirAll(filepath.Join(stage, name), 0o755))
	}
	for name, text := range texts {
		err = errors.Join(err, writeFile(filepath.Join(stage, name), []byte(text), 0o444))
	}
	err = errors.Join(err, writeFile(filepath.Join(stage, "etc/ssl/certs/ca-certificates.crt"), authorities(), 0o444))
	for name, file := range c.programs {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("pack: %q is no name in the root", name)
		}
		err = errors.Join(err, copyFile(filepath.Join(stage, name), file, 0o555))
	}
	for name, file := range c.files {
		err = errors.Join(err, copyFile(filepath.Join(stage, name), file, 0o444))
	}
	// The name service of the network is known only while the box runs.
	err = errors.Join(err, os.Symlink("/tmp/resolv.conf", filepath.Join(stage, "etc/resolv.conf")))
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	// gzip is what every kernel with squashfs reads. The times come from SOURCE_DATE_EPOCH, which would not go with -all-time.
	return tool(ctx, "squashfs-tools", "mksquashfs", stage, path, "-comp", "gzip", "-b", "256K", "-action", plain, "-all-root", "-no-xattrs", "-noappend", "-no-progress", "-quiet")
}

// match lists the files of dir that patterns name, in order. A pattern without a file is an error: the image would lack it.
func match(dir string, patterns ...string) ([]string, error) {
	var all []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, p))
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("pack: no %s in %s", p, dir)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	slices.Sort(all)
	return all, nil
}

// plainFiles lists the files of dir itself, in order.
func plainFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

func copyAll(dir string, files []string) error {
	for _, f := range files {
		if err := copyFile(filepath.Join(dir, filepath.Base(f)), f, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file, with its folder, and dates it.
func copyFile(to, from string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, b, mode)
}

// writeFile makes a file, with its folder, and dates both.
func writeFile(to string, b []byte, mode fs.FileMode) error {
	dir := filepath.Dir(to)
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(to, b, mode), os.Chmod(to, mode), os.Chtimes(to, made, made), os.Chtimes(dir, made, made))
}
