package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The modules that only files are taken from.
const (
	kernelModule   = "github.com/gokrazy/kernel.rpi"
	firmwareModule = "github.com/gokrazy/firmware"
)

// module is a Go module of which something is on the card.
type module struct {
	path, version, sum string
	dir                string // where its files are
}

// fetch gets modules, of the versions that go.mod pins where a name has none.
func fetch(ctx context.Context, names ...string) ([]module, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"mod", "download", "-json"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("pack: fetch %s: %w: %s", strings.Join(names, ", "), err, out)
	}
	var all []module
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Version, Sum, Dir string }
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("pack: fetch: %w", err)
		}
		all = append(all, module{m.Path, m.Version, m.Sum, m.Dir})
	}
}

// linked lists the modules that are in the programs, by what the go command wrote into them. The kernel's and the firmware's
// are first.
func (c contents) linked(ctx context.Context) ([]module, error) {
	names := map[string]bool{}
	for _, file := range c.programs {
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			continue // in another language
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				return nil, fmt.Errorf("pack: %s is replaced by %s: nobody else could build the same", m.Path, m.Replace.Path)
			}
			names[m.Path+"@"+m.Version] = true
		}
	}
	return fetch(ctx, append([]string{kernelModule, firmwareModule}, slices.Sorted(maps.Keys(names))...)...)
}

// goTerms gathers the licences of Go and of the modules in the programs into one text.
func goTerms(ctx context.Context, modules []module) ([]byte, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	var b bytes.Buffer
	for _, m := range append([]module{{path: "Go and its standard library", dir: strings.TrimSpace(string(root))}}, modules...) {
		files, err := terms(m.dir)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("pack: %s has no licence that could be passed on", m.path)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("pack: %w", err)
			}
			fmt.Fprintf(&b, "==== %s %s: %s\n\n%s\n\n", m.path, m.version, filepath.Base(file), bytes.TrimSpace(text))
		}
	}
	return b.Bytes(), nil
}

// terms lists the files at the top of a module that say how it may be used.
func terms(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.Type().IsRegular() && (strings.HasPrefix(name, "LICEN") || strings.HasPrefix(name, "COPYING") || strings.HasPrefix(name, "NOTICE") || strings.HasPrefix(name, "PATENTS")) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}
