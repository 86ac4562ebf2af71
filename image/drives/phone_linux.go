package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// perGeneration is how many files a phone gets between two backups.
const perGeneration = 12

// content is what a file must hold, which its name decides: nothing needs to be kept to check it.
func content(name string) []byte {
	var seed [32]byte
	copy(seed[:], name)
	r := rand.NewChaCha8(seed)
	p := make([]byte, 1000+r.Uint64()%300_000)
	_, _ = r.Read(p) // never fails
	return p
}

func names(generation int) []string {
	var out []string
	for i := range perGeneration {
		out = append(out, fmt.Sprintf("%03d/IMG_%02d.jpg", generation, i))
	}
	return out
}

// grow makes the folder dir a phone of that generation: all files of those up to it.
func grow(dir string, generation int) error {
	for g := range generation + 1 {
		for _, name := range names(g) {
			path := filepath.Join(dir, name)
			if _, err := os.Stat(path); err == nil {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, content(name), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare returns an error unless dir holds the phone of that generation, and nothing else.
func compare(dir string, generation int) error {
	want := make(map[string]bool)
	for g := range generation + 1 {
		for _, name := range names(g) {
			want[name] = true
		}
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !want[name] || !bytes.Equal(p, content(name)) {
			return fmt.Errorf("%s is not as it was on the phone", name)
		}
		delete(want, name)
		return nil
	})
	if err == nil && len(want) > 0 {
		err = fmt.Errorf("%d files of generation %d are missing", len(want), generation)
	}
	return err
}
