package main

import (
	"bufio"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// part is one thing that the card is made of, as CycloneDX 1.5 calls a component (cyclonedx.org/docs/1.5/json).
type part struct {
	Kind       string      `json:"type"`
	Name       string      `json:"name"`
	Version    string      `json:"version,omitempty"`
	Hashes     []partHash  `json:"hashes,omitempty"`
	Licences   []partTerms `json:"licenses,omitempty"`
	URL        string      `json:"purl,omitempty"`
	Properties []property  `json:"properties,omitempty"`
}

type partHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type partTerms struct {
	Expression string `json:"expression"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func sha(hash string) []partHash { return []partHash{{"SHA-256", hash}} }

// bill lists what the card is made of. It has no date and no number of its own: the same card has the same bill.
func (c contents) bill(modules []module) ([]byte, error) {
	var parts []part
	for _, m := range modules {
		p := part{Kind: "library", Name: m.path, Version: m.version, URL: "pkg:golang/" + m.path + "@" + m.version}
		// A module's h1 is a hash of its files' hashes (golang.org/x/mod/sumdb/dirhash), in base64.
		if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.sum, "h1:")); err == nil && len(b) == sha256.Size {
			p.Hashes = sha(hex.EncodeToString(b))
		}
		parts = append(parts, p)
	}
	sources, err := readSources(c.sources)
	if err != nil {
		return nil, err
	}
	parts = append(parts, sources...)
	for _, name := range slices.Sorted(maps.Keys(c.programs)) {
		sum, err := fileSum(c.programs[name])
		if err != nil {
			return nil, fmt.Errorf("pack: %w", err)
		}
		p := part{Kind: "application", Name: "/" + name, Hashes: sha(sum)}
		if info, err := buildinfo.ReadFile(c.programs[name]); err == nil {
			p.Properties = []property{{"go", info.GoVersion}}
		}
		parts = append(parts, p)
	}
	document := map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"component": part{Kind: "firmware", Name: "phonebackupbox", Version: c.version}},
		"components": parts,
	}
	b, err := json.MarshalIndent(document, "", "  ")
	return append(b, '\n'), err
}

// readSources reads image/sources/list.
func readSources(file string) ([]part, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	defer f.Close()
	var parts []part
	s := bufio.NewScanner(f)
	for s.Scan() {
		words := strings.Fields(s.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if len(words) != 4 && len(words) != 5 {
			return nil, fmt.Errorf("pack: %s: %q is not name, licence, hash, path and perhaps a second hash", file, s.Text())
		}
		// Debian names a release's tarball NAME_VERSION.orig.tar.EXTENSION, and a package for all processors NAME_VERSION_all.deb;
		// what it changed is no part of its own, and the kernel is among the modules.
		_, rest, _ := strings.Cut(path.Base(words[3]), "_")
		version, _, release := strings.Cut(rest, ".orig")
		if !release {
			version, release = strings.CutSuffix(rest, "_all.deb")
		}
		if !release {
			continue
		}
		parts = append(parts, part{Kind: "library", Name: words[0], Version: version, Hashes: sha(words[2]), Licences: []partTerms{{words[1]}}})
	}
	return parts, s.Err()
}

func fileSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
