// Command sign makes a signed update file of a root image.
//
//	openssl genpkey -algorithm ed25519 -out update-key.pem      once; the file never leaves its owner
//	sign -key update-key.pem -public                            prints what UPDATE_KEY= is to be when images are built
//	sign -key update-key.pem -root root.squashfs -version 1.2 -counter 7 -kernel 6.12.47-v8+ -out boxd-1.2.update
package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
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
	if *root == "" || *to == "" {
		return errors.New("give -root FILE and -out FILE, or -public")
	}
	return write(*to, h, *root, key)
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
func write(to string, h update.Header, root string, key ed25519.PrivateKey) (err error) {
	in, err := os.Open(root)
	if err != nil {
		return err
	}
	defer in.Close()
	part := to + ".part"
	out, err := os.Create(part)
	if err != nil {
		return err
	}
	if err := errors.Join(update.Write(out, h, in, key), out.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, to)
}
