package update

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRecordIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "update")
	if r, err := ReadRecord(dir); err != nil || !reflect.DeepEqual(r, Record{}) {
		t.Fatal(r, err)
	}
	want := Record{Floor: 6, Trial: &Trial{"1.2", 7, SlotB, 1}, Failed: []uint64{5}}
	for range 2 { // the second replaces the first
		if err := want.Write(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadRecord(dir); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatal(got, err)
		}
		want.Keep()
		if want.Floor != 7 || want.Trial != nil || len(want.Failed) != 0 {
			t.Fatal(want)
		}
		want = Record{Floor: want.Floor}
	}
	for name, text := range map[string]string{"damaged": "{", "endless": strings.Repeat(" ", maxRecord+1)} {
		if err := os.WriteFile(filepath.Join(dir, recordName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := ReadRecord(dir); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
