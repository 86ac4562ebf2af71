package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var crashing = flag.Bool("crash", false, "crash with the keys in scope; for TestCrashTellsNoSecret, which reads what is left")

const passphrase = "Kirschbaum-auf-dem-Dach-1987"

// secretsOf are all that must never be seen of a vault: its master key in every notation that Go prints bytes in.
func secretsOf(v *Vault, password string) map[string]string {
	all, own := map[string]string{"the password": password}, v.key.keys()
	words := strings.Fields(password)
	for i := 0; i+3 <= len(words); i++ { // three words in a row are too many, too
		all[fmt.Sprintf("words %d to %d", i+1, i+3)] = strings.Join(words[i:i+3], " ")
	}
	for what, k := range map[string][]byte{"encryption key": own.encrypt[:], "MAC key": own.k[:], "MAC mask": own.r[:]} {
		all[what+", hex"], all[what+", base64"] = hex.EncodeToString(k), base64.StdEncoding.EncodeToString(k)
		all[what+", decimal"] = strings.Trim(fmt.Sprint(k[:8]), "[]")
		all[what+", Go syntax"] = strings.TrimPrefix(fmt.Sprintf("%#v", k[:4]), "[]byte{")[:20]
		all[what+", raw"] = string(k)
	}
	return all
}

func leaks(t *testing.T, where, text string, secrets map[string]string) {
	t.Helper()
	for what, s := range secrets {
		if strings.Contains(strings.ToLower(text), strings.ToLower(s)) {
			t.Errorf("%s tells %s", where, what)
		}
	}
}

func TestKeysAreNeverPrinted(t *testing.T) {
	v, words := newVault(t, newMapStore())
	secrets := secretsOf(v, words)
	own := v.key.keys()
	m := masterKey{Encrypt: own.encrypt[:]}
	m.MAC.K, m.MAC.R = own.k[:], own.r[:]
	if len(secrets) < 30 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, value := range []any{v.key, m, &m, v, []any{v.key}, struct{ K *sealer }{v.key}, map[string]masterKey{"k": m}, &Tree{v: v}, v.newSource()} {
			leaks(t, fmt.Sprintf("%s of %T", verb, value), fmt.Sprintf(verb, value), secrets)
		}
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("what a careless programmer writes", "sealer", v.key, "vault", v, "options", v.o)
	}
	leaks(t, "a log", log.String(), secrets)
	if !strings.Contains(log.String(), redacted) {
		t.Errorf("the log shows %s", log.String())
	}
}

// TestErrorsAndLogsTellNoSecret lets everything fail that can, and reads each error and each line of the log.
func TestErrorsAndLogsTellNoSecret(t *testing.T) {
	for _, password := range []string{someWords, passphrase} {
		var log bytes.Buffer
		o := Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		m := newMapStore()
		v, err := Create(t.Context(), m, password, o)
		if err != nil {
			t.Fatal(err)
		}
		secrets := secretsOf(v, password)
		for _, s := range []string{"DCIM/holiday-in-Rome.jpg", pixel.ID, pixel.Name} {
			secrets[s] = s
		}
		backup(t, v, pixel, []phoneFile{{"DCIM/holiday-in-Rome.jpg", []byte("x"), time.Unix(1, 0)}})
		if _, err := v.Begin(t.Context(), pixel); err != nil {
			t.Fatal(err)
		}
		_, begin := v.Begin(t.Context(), pixel)
		errs := []error{begin, v.Close()}
		_, err = Create(t.Context(), m, password, o)
		errs = append(errs, err)
		_, err = ParseWords(password + " x")
		errs = append(errs, err)
		for _, name := range slices.Sorted(func(yield func(string) bool) {
			for name := range m.blobs {
				if !yield(name) {
					return
				}
			}
		}) {
			for _, spoil := range []func(p []byte) []byte{
				func(p []byte) []byte { return nil },
				func(p []byte) []byte { return p[:len(p)/2] },
				func(p []byte) []byte { q := bytes.Clone(p); q[len(q)/2] ^= 1; return q },
			} {
				harmed := m.restart(func(string) bool { return true })
				harmed.blobs[name] = spoil(m.blobs[name])
				w, err := Open(t.Context(), harmed, password, o)
				if errs = append(errs, err); err != nil {
					continue
				}
				report, err := w.Verify(t.Context(), nil)
				errs = append(errs, err)
				for _, d := range report.Damaged {
					errs = append(errs, d.Err)
				}
				if tree, err := w.Begin(t.Context(), pixel); err == nil {
					_, err = tree.Open("DCIM")
					errs = append(errs, err, tree.Close())
				} else {
					errs = append(errs, err)
				}
				errs = append(errs, w.Close())
			}
		}
		_, wrong := Open(t.Context(), m, password+"!", o)
		said := errors.Join(append(errs, wrong)...).Error()
		if len(said) < 500 || log.Len() == 0 {
			t.Fatalf("hardly anything failed: %q and %q", said, log.String())
		}
		delete(secrets, "DCIM/holiday-in-Rome.jpg")
		leaks(t, "an error", said, secrets)
		leaks(t, "the log", log.String(), secrets)
	}
}

// TestPassphraseIsNotRepeated gives a passphrase where words are wanted: the error does not quote it.
func TestPassphraseIsNotRepeated(t *testing.T) {
	for _, s := range []string{passphrase, "correct horse battery staple", strings.Repeat(passphrase+" ", 24)} {
		_, err := ParseWords(s)
		if !errors.Is(err, ErrWords) {
			t.Errorf("%v", err)
		}
		for w := range strings.FieldsSeq(strings.ToLower(s)) {
			if len(w) > 5 && strings.Contains(err.Error(), w) {
				t.Errorf("the error repeats %q: %v", w, err)
			}
		}
	}
}

// crashStore panics when a pack is put, with the keys on the stack.
type crashStore struct{ *mapStore }

func (s crashStore) Put(_ context.Context, name string, _ []byte) error {
	if strings.HasPrefix(name, "index/") {
		panic("a bug")
	}
	return nil
}

// TestCrashTellsNoSecret lets a process of its own crash in three places and reads the traces.
func TestCrashTellsNoSecret(t *testing.T) {
	if *crashing {
		crash(t)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashTellsNoSecret$", "-crash")
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("goroutine ")) || !bytes.Contains(out, []byte("crashKey")) {
		t.Fatalf("no crash: %v\n%s", err, out)
	}
	key, err := newSealer(crashKey())
	if err != nil {
		t.Fatal(err)
	}
	secrets := secretsOf(&Vault{key: key}, someWords)
	// A trace shows arguments as words of eight bytes.
	for i := 0; i+8 <= 64; i += 8 {
		for _, p := range [][]byte{crashKey()[i : i+8]} {
			q := slices.Clone(p)
			slices.Reverse(q)
			secrets[fmt.Sprintf("key bytes %d", i)] = hex.EncodeToString(p)
			secrets[fmt.Sprintf("key bytes %d, reversed", i)] = hex.EncodeToString(q)
		}
	}
	leaks(t, "a crash", string(out), secrets)
}

// crashKey is 64 bytes that look like nothing else.
func crashKey() *[64]byte {
	var k [64]byte
	for i := range k {
		k[i] = byte(0x81 + 37*i)
	}
	return &k
}

func crash(t *testing.T) {
	s, err := newSealer(crashKey())
	if err != nil {
		t.Fatal(err)
	}
	v := &Vault{s: crashStore{newMapStore()}, key: s, index: newIndex()}
	if err := v.zip.init(); err != nil {
		t.Fatal(err)
	}
	kf, err := newKeyFile(s, someWords, time.Now())
	if err != nil || len(kf) == 0 {
		t.Fatal(err)
	}
	crashInside(v, someWords, s)
}

//go:noinline
func crashInside(v *Vault, password string, key *sealer) {
	defer func() {
		// As a careless deferred function would: the panic is passed on with what was at hand.
		panic(fmt.Sprintf("%v, password of %d bytes, crashKey %v, vault %+v", recover(), len(password), key, v))
	}()
	if _, err := v.writeDocument(context.Background(), "index", []byte("{}")); err != nil {
		panic(err)
	}
}

// TestScryptMemory opens a vault with the twentieth of twenty passphrases. They are tried one by one: 32 MiB each, and
// what the collector has not taken back yet, but never 20 times that.
func TestScryptMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("derives 21 keys")
	}
	m := newMapStore()
	v, err := Create(t.Context(), m, passphrase, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKeys - 1 {
		kf, err := newKeyFile(v.key, fmt.Sprintf("%s %d", passphrase, i), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		m.blobs["keys/"+sum(kf).String()] = kf
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	peak, stop := make(chan uint64), make(chan struct{})
	go func() {
		var top uint64
		var ms runtime.MemStats
		for {
			select {
			case <-stop:
				peak <- top
				return
			case <-time.After(2 * time.Millisecond):
				runtime.ReadMemStats(&ms)
				top = max(top, ms.HeapInuse)
			}
		}
	}()
	start := time.Now()
	_, err = Open(t.Context(), m, "none of these 1", Options{})
	took := time.Since(start)
	close(stop)
	top := <-peak
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrWrongKey) {
		t.Fatal(err)
	}
	used := int64(top) - int64(before.HeapInuse)
	t.Logf("%d tries in %v: %v each, at most %d MiB in use, %d MiB allocated in all", maxKeys, took, took/maxKeys, used>>20, (after.TotalAlloc-before.TotalAlloc)>>20)
	if used > 80<<20 {
		t.Errorf("%d MiB in use at once", used>>20)
	}
}
