package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], here, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "flash:", err)
		os.Exit(1)
	}
}

// run writes what the arguments name to where they say, once the answer read from in agrees.
func run(ctx context.Context, args []string, m machine, in io.Reader, out io.Writer) error {
	var file, device string
	flags := pflag.NewFlagSet("flash", pflag.ContinueOnError)
	flags.StringVar(&file, "image", "bin/card.img", "the image's `file`")
	flags.StringVar(&device, "device", "", "the card, as /dev/sdX or /dev/mmcblkN")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if device == "" {
		return errors.New("which card? make flash DEV=/dev/sdX (lsblk lists what is there)")
	}
	src, err := os.Open(file)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	d, err := m.find(device)
	if err == nil {
		err = m.fit(d, info.Size())
	}
	if err != nil {
		return err
	}
	// With O_EXCL the kernel itself refuses a disk that anything of it is in use.
	to, err := os.OpenFile(d.path, os.O_RDWR|os.O_EXCL, 0)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: only root may write to a card (sudo)", err)
	}
	if err != nil {
		return err
	}
	defer to.Close()
	held, err := look(ctx, to, d)
	if err != nil {
		return err
	}
	if held == ourDrive {
		return fmt.Errorf("%s is a drive of a phone backup box: there may be backups on it. If they are not needed, erase it first (wipefs -a, on each of its partitions, too, and blkdiscard or dd)", d)
	}
	if err := ask(d, held, in, out); err != nil {
		return err
	}
	image, err := newOwn(src)
	if err != nil {
		return err
	}
	c := inReader{to}
	if err := write(ctx, c, image, info.Size(), out); err != nil {
		return err
	}
	c.show()
	fmt.Fprintf(out, "Written and read back: %s holds the box now. Take it out and put it into the Raspberry Pi.\n", d)
	return nil
}

// ask has the person name the card and its size, which they can read on it.
func ask(d disk, held content, in io.Reader, out io.Writer) error {
	fmt.Fprintf(out, "All that is on this one will be gone:\n\n    %s\n\n", d)
	if held == ourCard {
		fmt.Fprint(out, "It is the card of a phone backup box, with the key to its backups. Without the 24 words or the key stick they cannot be read again.\n\n")
	}
	want := d.name + " " + size(d.size)
	fmt.Fprintf(out, "If that is right, type its name and size: %s\n> ", want)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.Join(strings.Fields(line), " ") != want {
		return errors.New("nothing was written")
	}
	return nil
}
