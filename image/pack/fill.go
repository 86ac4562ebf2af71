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
	"time"
)

//go:embed config.txt
var configTxt []byte

//go:embed cmdline.txt
var cmdlineTxt []byte

// folders are where the kernel, init and boxd mount something or look for something; the root itself is never written.
var folders = []string{"boot", "dev", "etc", "gokrazy", "mnt", "perm", "proc", "run", "sys", "tmp", "user"}

// texts are the small files of the root.
var texts = map[string]string{
	"etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n",
	"etc/hostname": "backupbox\n",
	"etc/modules":  "", // none: after reading it the kernel takes no module at all
}

// makeBoot makes the FAT partition: what the Pi's bootloader reads.
func (c contents) makeBoot(ctx context.Context, path, dir string) error {
	// An update is started with tryboot.txt, and so with trial.txt (docs/adr/048-how-an-update-is-tried.md).
	for name, text := range map[string][]byte{"config.txt": configTxt, "cmdline.txt": cmdlineTxt,
		"tryboot.txt": append(bytes.Clone(configTxt), "cmdline=trial.txt\n"...), "trial.txt": bytes.Replace(cmdlineTxt, []byte("-02 "), []byte("-03 "), 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("pack: %w", err)
		}
	}
	top, err := match(dir, "config.txt", "cmdline.txt", "tryboot.txt", "trial.txt")
	for _, from := range []struct {
		dir      string
		patterns []string
	}{
		{c.firmware, []string{"bootcode.bin", "start*.elf", "fixup*.dat", "LICENSE.broadcom"}},
		{c.kernel, []string{"vmlinuz", "*.dtb", "LICENSE.linux"}},
	} {
		files, merr := match(from.dir, from.patterns...)
		top, err = append(top, files...), errors.Join(err, merr)
	}
	overlays, oerr := match(filepath.Join(c.kernel, "overlays"), "*.dtbo", "overlay_map.dtb")
	if err = errors.Join(err, oerr); err != nil {
		return err
	}
	// mcopy keeps a file's time where it is asked to, and modules in the cache have that of their download: copies have ours.
	stage := filepath.Join(dir, "stage")
	if err := errors.Join(copyAll(stage, top), copyAll(filepath.Join(stage, "overlays"), overlays)); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	entries, err := match(stage, "*")
	if err != nil {
		return err
	}
	return errors.Join(
		tool(ctx, "dosfstools", "mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-n", "BOXD", "-C", path, strconv.Itoa(bootSize/1024)),
		tool(ctx, "mtools", "mcopy", append(append([]string{"-i", path, "-s", "-m"}, entries...), "::")...))
}

// makeRoot makes the root: programs, their folders, and nothing that a stranger could log in to.
func (c contents) makeRoot(ctx context.Context, path, dir string) error {
	stage := filepath.Join(dir, "rootfs")
	var err error
	for _, name := range folders {
		err = errors.Join(err, os.MkdirAll(filepath.Join(stage, name), 0o755))
	}
	for name, text := range texts {
		err = errors.Join(err, os.WriteFile(filepath.Join(stage, name), []byte(text), 0o444))
	}
	for name, file := range c.programs {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("pack: %q is no name in the root", name)
		}
		err = errors.Join(err, copyFile(filepath.Join(stage, name), file, 0o555))
	}
	// The name service of the network is known only while the box runs.
	err = errors.Join(err, os.Symlink("/tmp/resolv.conf", filepath.Join(stage, "etc/resolv.conf")))
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	// gzip is what every kernel with squashfs reads. The times come from SOURCE_DATE_EPOCH, which would not go with -all-time.
	return tool(ctx, "squashfs-tools", "mksquashfs", stage, path, "-comp", "gzip", "-b", "256K", "-all-root", "-no-xattrs", "-noappend", "-no-progress", "-quiet")
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

func copyAll(dir string, files []string) error {
	for _, f := range files {
		if err := copyFile(filepath.Join(dir, filepath.Base(f)), f, 0o644); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(epoch, 10, 64)
	t := time.Unix(n, 0)
	return errors.Join(err, os.Chtimes(dir, t, t))
}

// copyFile copies a file, with its folder, and dates it.
func copyFile(to, from string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(epoch, 10, 64)
	t := time.Unix(n, 0)
	return errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, mode), os.Chmod(to, mode), os.Chtimes(to, t, t))
}
