// Command pack writes the SD card image: an MBR, the FAT boot partition, two slots for squashfs roots, and /perm. It needs no root
// and no loop devices, and the same input gives the same bytes. Debian's squashfs-tools, mtools, dosfstools and e2fsprogs do the
// file systems (docs/adr/040-packer.md).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run packs what the arguments name.
func run(ctx context.Context, args []string) error {
	var c contents
	var programs, terms []string
	var bill, radio string
	flags := pflag.NewFlagSet("pack", pflag.ContinueOnError)
	flags.StringArrayVar(&programs, "program", nil, "`NAME=FILE`: a program and its name in the root, such as user/boxd=bin/arm64/boxd")
	flags.StringArrayVar(&terms, "licence", nil, "`NAME=FILE`: what must be said of a part that is neither Go's nor the kernel's")
	flags.StringVar(&radio, "radio", "", "the `folder` of what goes into /lib/firmware; with it, the radios' driver goes onto the card, too")
	flags.StringVar(&c.sources, "sources", "image/sources/list", "the `file` that names the sources of such parts")
	flags.StringVar(&c.version, "version", "development", "the `name` of what is on the card")
	flags.StringVar(&bill, "bill", "", "also write a `file` that lists all parts (CycloneDX, JSON)")
	flags.StringVar(&c.out, "out", "", "the image `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || c.out == "" || len(programs) == 0 {
		return errors.New("usage: pack --program gokrazy/init=FILE --program user/boxd=FILE ... --out IMAGE")
	}
	var err error
	if c.programs, err = pairs(programs); err != nil {
		return err
	}
	if c.terms, err = pairs(terms); err != nil {
		return err
	}
	modules, err := c.linked(ctx)
	if err != nil {
		return err
	}
	c.kernel, c.firmware = modules[0].dir, modules[1].dir
	if radio != "" {
		if c.files, err = radioFiles(c.kernel, radio); err != nil {
			return err
		}
	}
	if c.goTerms, err = goTerms(ctx, modules[2:]); err != nil {
		return err
	}
	if bill != "" {
		text, err := c.bill(modules)
		if err == nil {
			err = os.WriteFile(bill, text, 0o644)
		}
		if err != nil {
			return fmt.Errorf("pack: %w", err)
		}
	}
	return c.write(ctx)
}

func pairs(list []string) (map[string]string, error) {
	m := make(map[string]string)
	for _, p := range list {
		name, file, ok := strings.Cut(p, "=")
		if !ok {
			return nil, fmt.Errorf("pack: %s is not NAME=FILE", p)
		}
		m[name] = file
	}
	return m, nil
}
