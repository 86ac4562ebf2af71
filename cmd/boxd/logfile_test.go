//go:build !rescue

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A log never grows beyond its bounds, goes on where it ended, and its newest record is always there.
func TestLogsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	record := bytes.Repeat([]byte("x"), 99_999)
	for i := range 5 {
		l, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 13 {
			if _, err := l.Write(append(record, '\n')); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() == 0 || info.Size() > maxLog {
				t.Fatalf("%v, %v", info, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if old, err := os.Stat(path + ".1"); err != nil || old.Size() > maxLog || old.Size() < maxLog-100_000 {
			t.Fatalf("round %d: the log before: %v, %v", i, old, err)
		}
	}
	if _, err := openLog(t.TempDir()); err == nil {
		t.Error("a folder is a log")
	}
}
