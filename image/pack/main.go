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
	var programs []string
	flags := pflag.NewFlagSet("pack", pflag.ContinueOnError)
	flags.StringVar(&c.kernel, "kernel", "", "the kernel's `folder`; default: the module that go.mod pins")
	flags.StringVar(&c.firmware, "firmware", "", "the firmware's `folder`; default: the module that go.mod pins")
	flags.StringArrayVar(&programs, "program", nil, "`NAME=FILE`: a program and its name in the root, such as user/boxd=bin/arm64/boxd")
	flags.StringVar(&c.out, "out", "", "the image `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || c.out == "" || len(programs) == 0 {
		return errors.New("usage: pack --program gokrazy/init=FILE --program user/boxd=FILE ... --out IMAGE")
	}
	c.programs = make(map[string]string)
	for _, p := range programs {
		name, file, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("pack: --program %s is not NAME=FILE", p)
		}
		c.programs[name] = file
	}
	var err error
	if c.kernel == "" {
		c.kernel, err = module(ctx, kernelModule)
	}
	if err == nil && c.firmware == "" {
		c.firmware, err = module(ctx, firmwareModule)
	}
	if err != nil {
		return err
	}
	return c.write(ctx)
}
