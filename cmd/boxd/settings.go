//go:build !rescue

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"phonebackupbox/firmware"
	"phonebackupbox/storage/vault"
	"phonebackupbox/ui/web"
)

// settingsFile is box.toml in the state folder, for the page.
type settingsFile struct {
	state string
	fixed string                            // the file that --config names: it is not ours to write; "" without
	live  func(config)                      // what changes at once
	again func() (said string)              // has the box started anew, as soon as that harms nothing
	mu    sync.Mutex                        // one change at a time
	put   func(name string, p []byte) error // writes a file of state; nil: putStateFile
}

// settingWords are what the page says of settings; one that is missing here is called by its name.
var settingWords = map[string]web.Setting{
	"survive":                  {Group: "Protection", Title: "How many drives may die without anything being lost", Help: "0 to 3."},
	"unlock":                   {Group: "Protection", Title: "Where the key is when the box starts", Choices: []string{"card", "keystick"}, Help: "On its card; or on the key stick, which must then be plugged in after every start."},
	"restore_by_button":        {Group: "Protection", Title: "May the button bring backups to a phone?", Choices: []string{"yes", "keystick", "no"}, Help: "keystick: only while the key stick is plugged in."},
	"retention.last":           {Group: "How many backups of each phone stay", Title: "The newest"},
	"retention.daily":          {Group: "How many backups of each phone stay", Title: "One a day"},
	"retention.weekly":         {Group: "How many backups of each phone stay", Title: "One a week"},
	"retention.monthly":        {Group: "How many backups of each phone stay", Title: "One a month"},
	"retention.yearly":         {Group: "How many backups of each phone stay", Title: "One a year"},
	"phone_clock":              {Group: "Phones", Title: "How a phone's time zone is found out", Choices: []string{"auto", "probe", "box"}, Help: "probe: a file of 37 bytes is put on the phone for a moment. box: it lives in the box's zone."},
	"update.allow":             {Group: "New software", Title: "May the box look for new software once a day?", Help: "It takes only what its maker signed."},
	"update.url":               {Group: "New software", Title: "Where", Help: "https://…"},
	"wifi.ssid":                {Group: "Network", Title: "Name of the Wi-Fi"},
	"wifi.country":             {Group: "Network", Title: "Country", Help: "Two letters."},
	"board.chip":               {Group: "Lights and button", Title: "GPIO chip"},
	"board.lights":             {Group: "Lights and button", Title: "GPIO numbers of lights 1 to 5 and the amber one", Help: "Six numbers."},
	"board.button":             {Group: "Lights and button", Title: "GPIO number of the button"},
	"board.lights_active_low":  {Group: "Lights and button", Title: "The lights are between 3.3 V and their pins"},
	"board.button_active_high": {Group: "Lights and button", Title: "The button is between 3.3 V and its pin"},
}

// isSecret reports whether a setting is never shown.
func isSecret(name string) bool {
	for _, word := range []string{"pass", "psk", "secret", "token", "key", "words"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// isLive reports whether a changed setting counts at once.
func isLive(name string) bool { return strings.HasPrefix(name, "retention.") }

// eachSetting visits the fields of config by their names in box.toml.
func eachSetting(v reflect.Value, table string, visit func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && name == "":
			eachSetting(v.Field(i), table, visit)
		case f.Type.Kind() == reflect.Struct:
			eachSetting(v.Field(i), table+name+".", visit)
		default:
			visit(table+name, v.Field(i))
		}
	}
}

// Settings implements web.Settings.
func (s *settingsFile) Settings() ([]web.Setting, error) {
	c, err := readConfig(s.state)
	if s.fixed != "" {
		c, err = runOptions{config: s.fixed}.settings(s.state)
	}
	if err != nil {
		return nil, err
	}
	var list []web.Setting
	eachSetting(reflect.ValueOf(c), "", func(name string, v reflect.Value) {
		w, known := settingWords[name]
		if !known {
			w = web.Setting{Group: "Other", Title: name}
		}
		w.Name, w.Live = name, isLive(name)
		w.Kind, w.Value = shown(v)
		switch {
		case v.Kind() == reflect.Bool:
			w.Choices = []string{"true", "false"}
		case isSecret(name):
			w.Kind, w.Set, w.Value = "secret", w.Value != "", ""
		case len(w.Choices) > 0:
			w.Kind = "choice"
		}
		list = append(list, w)
	})
	return list, nil
}

// shown is a setting as a form has it.
func shown(v reflect.Value) (kind, text string) {
	if v.Kind() == reflect.Pointer {
		if kind, _ = shown(reflect.Zero(v.Type().Elem())); v.IsNil() {
			return kind, ""
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Bool:
		return "choice", strconv.FormatBool(v.Bool())
	case reflect.Int:
		return "number", strconv.FormatInt(v.Int(), 10)
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, fmt.Sprint(v.Index(i).Interface()))
		}
		return "numbers", strings.Join(parts, ", ")
	}
	return "text", v.String()
}

// Change implements web.Settings.
func (s *settingsFile) Change(_ context.Context, changed map[string]any) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed != "" {
		return "", fmt.Errorf("the settings are in %s, which only its owner writes", printable(s.fixed))
	}
	list, err := s.Settings()
	if err != nil {
		return "", err
	}
	tree, err := s.tree()
	if err != nil {
		return "", err
	}
	restart, any := false, false
	for name, value := range flat("", changed) {
		i := indexOf(list, name)
		if i < 0 {
			return "", fmt.Errorf("%.60q is no setting", printable(name))
		}
		value, err := typed(list[i], value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if value == unchanged {
			continue
		}
		set(tree, strings.Split(name, "."), value)
		restart, any = restart || !list[i].Live, true
	}
	if !any {
		return "Nothing is changed.", nil
	}
	text, err := toml.Marshal(tree)
	if err != nil {
		return "", err
	}
	c, err := parseConfig("the settings", text)
	if err != nil {
		return "", err
	}
	put := s.put
	if put == nil {
		put = func(name string, p []byte) error { return putStateFile(s.state, name, p) }
	}
	if err := put(configName, text); err != nil {
		return "", fmt.Errorf("the card: %w", err)
	}
	s.live(c)
	if restart {
		return "Kept. " + s.again(), nil
	}
	return "Kept, and counts from now on.", nil
}

// tree is what box.toml says, as it says it.
func (s *settingsFile) tree() (map[string]any, error) {
	tree := map[string]any{}
	b, err := readSmall(filepath.Join(s.state, configName), maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return tree, nil
	}
	if err != nil {
		return nil, err
	}
	return tree, decodeSettings(configName, b, &tree)
}

func indexOf(list []web.Setting, name string) int {
	for i, s := range list {
		if s.Name == name {
			return i
		}
	}
	return -1
}

// flat names what is in tables by their names and a dot, as forms do.
func flat(table string, in map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range in {
		if inner, ok := v.(map[string]any); ok {
			for k, v := range flat(table+name+".", inner) {
				out[k] = v
			}
			continue
		}
		out[table+name] = v
	}
	return out
}

// unchanged is what typed returns for a value that is the setting's already.
var unchanged any = new(int)

// typed is a form's text, or JSON's value, as box.toml has it; nil for the default.
func typed(s web.Setting, value any) (any, error) {
	if text, ok := value.(string); ok {
		switch {
		case text == s.Value: // a secret's is always ""
			return unchanged, nil
		case text == "":
			return nil, nil
		}
		return fromText(s, text)
	}
	yesNo := len(s.Choices) == 2 && s.Choices[0] == "true"
	switch v := value.(type) {
	case nil:
		return nil, nil
	case bool:
		if yesNo {
			return v, nil
		}
	case json.Number:
		if s.Kind == "number" {
			return fromText(s, v.String())
		}
	case []any:
		if s.Kind == "numbers" {
			return fromText(s, strings.Trim(fmt.Sprint(v), "[]"))
		}
	}
	return nil, fmt.Errorf("that is no %s", map[bool]string{true: "true or false", false: s.Kind}[yesNo])
}

// fromText is what a person typed, in the type that the setting has.
func fromText(s web.Setting, text string) (any, error) {
	number := func(text string) (any, error) {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%.20q is no whole number", printable(text))
		}
		return n, nil
	}
	switch {
	case s.Kind == "number":
		return number(text)
	case s.Kind == "numbers":
		var list []any
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == ';' }) {
			n, err := number(part)
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		return list, nil
	case s.Kind == "choice" && len(s.Choices) == 2 && s.Choices[0] == "true":
		return strconv.ParseBool(text)
	}
	return text, nil
}

// set puts a value into a tree of tables, or takes it out.
func set(tree map[string]any, path []string, value any) {
	for ; len(path) > 1; path = path[1:] {
		inner, ok := tree[path[0]].(map[string]any)
		if !ok {
			inner = map[string]any{}
			tree[path[0]] = inner
		}
		tree = inner
	}
	if value == nil {
		delete(tree, path[0])
		return
	}
	tree[path[0]] = value
}

// openSettings are for the page. On the box a change that needs it has boxd end, which init starts again: see startAnew.
func (a *appliance) openSettings(state, fixed string) {
	a.anew = make(chan struct{}, 1)
	a.settings = &settingsFile{state: state, fixed: fixed, live: func(c config) { a.bays.keepAs(vault.Policy(c.Retention)) }, again: func() string {
		if a.term != nil {
			return "That counts when boxd is started again."
		}
		select {
		case a.anew <- struct{}{}:
		default: // it is to be done already
		}
		return "The box starts anew with that as soon as it copies nothing."
	}}
}

// startAnew calls stop once changed settings want it and nothing is being copied, at most.
func (a *appliance) startAnew(ctx context.Context, stop func()) {
	select {
	case <-a.anew:
	case <-ctx.Done():
		return
	}
	states, leave := a.box.Subscribe()
	defer leave()
	for s := range states {
		if s.Restore == nil && s.Job.Kind != firmware.JobBackup && s.Job.Kind != firmware.JobUpdate {
			a.screen.say("  the settings were changed: the box starts anew")
			stop()
			return
		}
	}
}
