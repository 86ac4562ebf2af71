//go:build !rescue

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"encoding/json"

	"phonebackupbox/ui/web"
)

func newSettings(t *testing.T, text string) (*settingsFile, *[]string) {
	t.Helper()
	var did []string
	s := &settingsFile{state: t.TempDir(), live: func(config) { did = append(did, "live") }, again: func() string { did = append(did, "again"); return "" }}
	if text != "" {
		if err := os.WriteFile(filepath.Join(s.state, configName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s, &did
}

func valueOf(t *testing.T, s *settingsFile, name string) web.Setting {
	t.Helper()
	list, err := s.Settings()
	if err != nil {
		t.Fatal(err)
	}
	i := indexOf(list, name)
	if i < 0 {
		t.Fatalf("no setting %s", name)
	}
	return list[i]
}

// A form sends all that it shows: only what differs is written, and what the owner wrote otherwise stays.
func TestAFormChangesOnlyWhatDiffers(t *testing.T) {
	s, did := newSettings(t, "survive = 2 # two\n[retention]\ndaily = 5\n")
	all := map[string]any{}
	list, err := s.Settings()
	if err != nil || len(list) < 15 {
		t.Fatalf("%d settings, %v", len(list), err)
	}
	for _, x := range list {
		all[x.Name] = x.Value
		if x.Title == x.Name {
			t.Logf("%s has no words of its own", x.Name)
		}
	}
	before := readFile(t, filepath.Join(s.state, configName))
	if _, err := s.Change(t.Context(), all); err != nil || readFile(t, filepath.Join(s.state, configName)) != before || len(*did) > 0 {
		t.Errorf("a form that changes nothing: %v, %v", err, *did)
	}
	all["retention.weekly"] = "9"
	if _, err := s.Change(t.Context(), all); err != nil || strings.Join(*did, " ") != "live" {
		t.Errorf("what counts at once: %v, %v", err, *did)
	}
	all["restore_by_button"], all["update.allow"], all["update.url"], all["board.lights"] = "no", "true", "https://example.org/box", "1, 2,3 4 5 6"
	if _, err := s.Change(t.Context(), all); err != nil || strings.Join(*did, " ") != "live live again" {
		t.Errorf("what needs a start: %v, %v", err, *did)
	}
	c, err := readConfig(s.state)
	if err != nil || *c.Survive != 2 || c.Retention.Daily != 5 || c.Retention.Weekly != 9 || c.RestoreByButton != "no" || !c.Update.Allow || len(c.Board.Lights) != 6 {
		t.Errorf("%+v, %v", c, err)
	}
	if strings.Contains(readFile(t, filepath.Join(s.state, configName)), "monthly") {
		t.Error("defaults were written down")
	}
	if _, err := s.Change(t.Context(), map[string]any{"survive": "", "retention": map[string]any{"daily": nil}}); err != nil {
		t.Error(err)
	}
	if c, err := readConfig(s.state); err != nil || c.Survive != nil || c.Retention.Daily != defaults().Retention.Daily {
		t.Errorf("the default again: %+v, %v", c, err)
	}
}

func TestSettingsAsJSON(t *testing.T) {
	s, _ := newSettings(t, "")
	in := map[string]any{"survive": json.Number("1"), "retention": map[string]any{"daily": json.Number("7")}, "update.allow": false, "board": map[string]any{"lights": []any{json.Number("1"), json.Number("2"), json.Number("3"), json.Number("4"), json.Number("5"), json.Number("6")}}}
	if _, err := s.Change(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if got := valueOf(t, s, "retention.daily").Value + valueOf(t, s, "board.lights").Value; got != "71, 2, 3, 4, 5, 6" {
		t.Errorf("%q", got)
	}
}

// What is wrong is refused by its name, and nothing of the rest is done.
func TestWrongSettingsChangeNothing(t *testing.T) {
	s, did := newSettings(t, "survive = 2\n")
	for _, tt := range []struct {
		name  string
		value any
	}{
		{"survivee", "1"}, {"retention.dayly", json.Number("3")}, {"words", "abandon"}, {"survive", "two"}, {"survive", json.Number("1.5")}, {"survive", json.Number("9")}, {"survive", true},
		{"unlock", "door"}, {"unlock", json.Number("1")}, {"update.allow", "perhaps"}, {"board.lights", "1,2"}, {"retention.last", "0"}, {"survive", []any{map[string]any{}}}, {"retention", "x"},
	} {
		_, err := s.Change(t.Context(), map[string]any{"restore_by_button": "no", tt.name: tt.value})
		last := tt.name[strings.LastIndexByte(tt.name, '.')+1:]
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), last) {
			t.Errorf("%s = %v: %v", tt.name, tt.value, err)
		}
	}
	if got := readFile(t, filepath.Join(s.state, configName)); got != "survive = 2\n" || len(*did) > 0 {
		t.Errorf("something is changed: %q, %v", got, *did)
	}
	cut := errors.New("the power failed")
	s.put = func(string, []byte) error { return cut }
	if _, err := s.Change(t.Context(), map[string]any{"survive": "1"}); !errors.Is(err, cut) || len(*did) > 0 {
		t.Errorf("what could not be written counts: %v, %v", err, *did)
	}
	s.fixed = filepath.Join(s.state, configName)
	if _, err := s.Change(t.Context(), map[string]any{"survive": "1"}); err == nil {
		t.Error("the file of --config is written")
	}
}

// A secret is never told, and stays where a form leaves it empty.
func TestSecretsStaySecret(t *testing.T) {
	for name, secret := range map[string]bool{"wifi.passphrase": true, "wifi.psk": true, "wifi.ssid": false, "words": true, "unlock": false} {
		if isSecret(name) != secret {
			t.Errorf("%s: %v", name, !secret)
		}
	}
	s, _ := newSettings(t, "")
	list, err := s.Settings()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if isSecret(x.Name) != (x.Kind == "secret") || x.Kind == "secret" && x.Value != "" {
			t.Errorf("%+v", x)
		}
	}
	if v, err := typed(web.Setting{Kind: "secret"}, ""); err != nil || v != unchanged {
		t.Errorf("an empty field: %v, %v", v, err)
	}
}

// FuzzSettings: whatever is sent, the settings can be read afterwards, and are as before where it was refused.
func FuzzSettings(f *testing.F) {
	f.Add(`{"survive":1}`)
	f.Add(`{"retention":{"daily":"3","last":0}}`)
	f.Add(`{"board.lights":[1,2,3,4,5,6],"unlock":"key\"stick\n"}`)
	f.Add(`{"":{"":{"":[]}},"retention..daily":null}`)
	f.Fuzz(func(t *testing.T, sent string) {
		var in map[string]any
		d := json.NewDecoder(strings.NewReader(sent))
		d.UseNumber()
		if d.Decode(&in) != nil {
			return
		}
		s, _ := newSettings(t, "survive = 2\n")
		_, err := s.Change(t.Context(), in)
		if text := readFile(t, filepath.Join(s.state, configName)); err != nil && text != "survive = 2\n" {
			t.Errorf("%v, and yet %q", err, text)
		}
		if _, err := s.Settings(); err != nil {
			t.Errorf("after %s: %v", sent, err)
		}
	})
}
