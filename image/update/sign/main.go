// Command sign makes a signed update file of a root image.
//
//	openssl genpkey -algorithm ed25519 -out update-key.pem      once; the file never leaves its owner
//	sign -key update-key.pem -public                            prints what UPDATE_KEY= is to be when images are built
//	sign -key update-key.pem -image card.img -version 1.2 -counter 7 -out boxd-1.2.update
//	sign -key update-key.pem -root root.squashfs -version 1.2 -counter 7 -kernel 6.12.47-v8+ -out boxd-1.2.update
package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"phonebackupbox/image/update"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sign:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sign", flag.ContinueOnError)
	var h update.Header
	keyFile := flags.String("key", "", "the private key's `file`: PKCS #8 in PEM, as openssl genpkey -algorithm ed25519 makes it")
	public := flags.Bool("public", false, "print the public key and end")
	root := flags.String("root", "", "the root image's `file`, a squashfs")
	image := flags.String("image", "", "the `file` of a card's image, whose first root is taken")
	to := flags.String("out", "", "the update's `file`")
	flags.StringVar(&h.Version, "version", "", "`name` of the version, for people")
	flags.Uint64Var(&h.Counter, "counter", 0, "`number` that grows with every release")
	flags.StringVar(&h.Kernel, "kernel", "", "`release` of the kernel that the root's modules are for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := readKey(*keyFile)
	if err != nil {
		return err
	}
	if *public {
		_, err := fmt.Fprintln(out, base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
		return err
	}
	if (*root == "") == (*image == "") || *to == "" {
		return errors.New("give -root FILE or -image FILE, and -out FILE; or -public")
	}
	in, err := os.Open(*root + *image)
	if err != nil {
		return err
	}
	defer in.Close()
	if *root != "" {
		return write(*to, h, in, key)
	}
	found, err := rootOf(in)
	if err != nil {
		return fmt.Errorf("%s: %w", *image, err)
	}
	return write(*to, h, found, key)
}

func readKey(path string) (ed25519.PrivateKey, error) {
	if path == "" {
		return nil, errors.New("whose update is it? Give -key FILE, the private key (make update UPDATE_PRIVATE_KEY=FILE)")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key in PEM; openssl genpkey -algorithm ed25519 -out %s makes one", path, path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not a key for ed25519", path)
	}
	return key, nil
}

// write makes the update under another name first: a half-written one is never found under its own.
func write(to string, h update.Header, root io.ReadSeeker, key ed25519.PrivateKey) (err error) {
	part := to + ".part"
	out, err := os.Create(part)
	if err != nil {
		return err
	}
	if err := errors.Join(update.Write(out, h, root, key), out.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, to)
}

// rootOf finds the first root on a card's image: what the squashfs in its second partition says that it is long.
func rootOf(image io.ReaderAt) (io.ReadSeeker, error) {
	mbr, super := make([]byte, 512), make([]byte, 96)
	if _, err := image.ReadAt(mbr, 0); err != nil {
		return nil, err
	}
	entry := mbr[446+16:]
	at, room := int64(binary.LittleEndian.Uint32(entry[8:]))*512, int64(binary.LittleEndian.Uint32(entry[12:]))*512
	if mbr[510] != 0x55 || mbr[511] != 0xaa || room == 0 {
		return nil, errors.New("no card's image: it has no partition table")
	}
	if _, err := image.ReadAt(super, at); err != nil {
		return nil, err
	}
	// The superblock of squashfs 4.0 begins with "hsqs" and has the file system's length at 40 (Linux, fs/squashfs/squashfs_fs.h).
	size := binary.LittleEndian.Uint64(super[40:])
	if string(super[:4]) != "hsqs" || size == 0 || size > uint64(room) {
		return nil, errors.New("its second partition holds no squashfs")
	}
	const block = 4096 // what mksquashfs makes the length a multiple of
	return io.NewSectionReader(image, at, min((int64(size)+block-1)/block*block, room)), nil
}
