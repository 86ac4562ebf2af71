package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/firmware"
)

// intake is an Updates that takes what begins with "good", and remembers all of it.
type intake struct {
	took   []string
	err    error // of the next Take, at once
	status UpdateStatus
	ends   chan error // what each Take came to, if not nil
}

func (i *intake) Status() UpdateStatus { return i.status }

func (i *intake) Take(_ context.Context, r io.Reader) (version string, err error) {
	if i.ends != nil {
		defer func() { i.ends <- err }()
	}
	if i.err != nil {
		return "", i.err
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || string(head) != "good" {
		return "", errors.Join(err, errors.New("not signed"))
	}
	b, err := io.ReadAll(r)
	i.took = append(i.took, string(head)+string(b))
	return "1.2", err
}

func (i *intake) handler() *Handler {
	return New(newSource(household()), Options{Allowed: FromThisComputer, Updates: i, Do: func(context.Context, firmware.Command) error { return nil }})
}

// sent sends an update to a handler: by PUT, or as a form that says token and then the file.
func sent(h http.Handler, method, from, token, file string, headers ...string) *httptest.ResponseRecorder {
	body, kind := bytes.NewBufferString(file), "application/octet-stream"
	if method == http.MethodPost {
		body.Reset()
		form := multipart.NewWriter(body)
		_ = form.WriteField("do", token) // to memory
		part, err := form.CreateFormFile("file", "boxd-1.2.update")
		if err == nil {
			_, err = io.WriteString(part, file)
		}
		if err = errors.Join(err, form.Close()); err != nil {
			panic(err)
		}
		kind = form.FormDataContentType()
	}
	r := httptest.NewRequest(method, "/update", body)
	r.Host, r.RemoteAddr = "localhost", from
	r.Header.Set("Content-Type", kind)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnUpdateIsUploaded(t *testing.T) {
	big := "good" + strings.Repeat("update", 1<<18)
	in := &intake{}
	h := in.handler()
	if w := sent(h, "PUT", here, "", big); w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), `"said":"Version 1.2 came whole.`) {
		t.Error(w.Code, w.Body)
	}
	if w := sent(h, "POST", here, h.updateToken(), big); w.Code != http.StatusSeeOther {
		t.Error(w.Code, w.Body)
	}
	if len(in.took) != 2 || in.took[0] != big || in.took[1] != big {
		t.Errorf("took %.40q", in.took)
	}
	for _, tt := range []struct {
		err  error
		file string
		code int
		says string
	}{
		{nil, "bad", http.StatusUnprocessableEntity, "Not taken: "},
		{nil, "bad update", http.StatusUnprocessableEntity, "Not taken: not signed."},
		{fmt.Errorf("oh: %w", ErrBusy), "good", http.StatusConflict, ErrBusy.Error()},
		{ErrNoRoom, "good", http.StatusInsufficientStorage, ErrNoRoom.Error()},
		{errors.New("\x1b<b>"), "good", http.StatusUnprocessableEntity, "�"},
	} {
		in.err = tt.err
		for _, w := range []*httptest.ResponseRecorder{sent(h, "PUT", here, "", tt.file), sent(h, "POST", here, h.updateToken(), tt.file)} {
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%v, %q: %d %s", tt.err, tt.file, w.Code, w.Body)
			}
		}
	}
}

func TestWhoMayNotUpload(t *testing.T) {
	in := &intake{}
	h := in.handler()
	for name, w := range map[string]*httptest.ResponseRecorder{
		"from elsewhere":   sent(h, "PUT", elsewhere, "", "good"),
		"a form from else": sent(h, "POST", elsewhere, h.updateToken(), "good"),
		"cross-site":       sent(h, "PUT", here, "", "good", "Sec-Fetch-Site: cross-site"),
		"cross-site form":  sent(h, "POST", here, h.updateToken(), "good", "Origin: http://evil.example"),
	} {
		if w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"no token":          sent(h, "POST", here, "", "good"),
		"another's token":   sent(h, "POST", here, in.handler().updateToken(), "good"),
		"an ordinary form":  visit(h, "POST", "/update", here, nil),
		"a form of nothing": visit(h, "POST", "/update", here, nil, "Content-Type: multipart/form-data; boundary=x"),
	} {
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if len(in.took) > 0 {
		t.Errorf("took %q", in.took)
	}
	none := New(newSource(household()), Options{Allowed: FromThisComputer, Do: func(context.Context, firmware.Command) error { return nil }})
	if w := sent(none, "PUT", here, "", "good"); w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}

func TestThePageTellsOfUpdates(t *testing.T) {
	in := &intake{status: UpdateStatus{Version: "1.1<b>", Slot: "A", Waiting: "1.2", Trial: true, Arriving: &Arriving{"1.3", 25, 100}}}
	h := in.handler()
	page := visit(h, "GET", "/", here, nil).Body.String()
	for _, want := range []string{"It runs version 1.1&lt;b&gt; from the card&#39;s slot A.", "being tried", "Version 1.2 is installed when", "Version 1.3 is coming in", `value="25"`, `name="file"`, h.updateToken()} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	var s UpdateStatus
	if w := visit(h, "GET", "/update", here, nil); json.Unmarshal(w.Body.Bytes(), &s) != nil || s.Waiting != "1.2" || *s.Arriving != *in.status.Arriving {
		t.Error(w.Code, w.Body)
	}
	if w := visit(h, "GET", "/update", elsewhere, nil); w.Code != http.StatusForbidden {
		t.Error(w.Code, w.Body)
	}
	if page := visit(h, "GET", "/", elsewhere, nil).Body.String(); strings.Contains(page, "1.1") || strings.Contains(page, `name="file"`) {
		t.Errorf("a stranger sees:\n%s", page)
	}
	in.status = UpdateStatus{Version: "1.1", Refuses: "this box takes no updates"}
	if page := visit(h, "GET", "/", here, nil).Body.String(); strings.Contains(page, `name="file"`) || !strings.Contains(page, "This box takes no updates.") {
		t.Errorf("a box without a key shows:\n%s", page)
	}
}

func TestTexts(t *testing.T) {
	h := New(newSource(household()), Options{Allowed: FromThisComputer, Do: func(context.Context, firmware.Command) error { return nil },
		Texts: []Text{{"report", "A report", func() string { return "<all well>" }}}})
	if w := visit(h, "GET", "/text/report.txt", here, nil); w.Code != http.StatusOK || w.Body.String() != "<all well>" ||
		!strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || !strings.Contains(w.Header().Get("Content-Disposition"), "boxd-report.txt") {
		t.Error(w.Code, w.Header(), w.Body)
	}
	if page := visit(h, "GET", "/", here, nil).Body.String(); !strings.Contains(page, `<a href="/text/report.txt" download>A report</a>`) {
		t.Errorf("the page has no link:\n%s", page)
	}
	for path, code := range map[string]int{"/text/report": 404, "/text/log.txt": 404, "/text/": 404} {
		if w := visit(h, "GET", path, here, nil); w.Code != code {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := visit(h, "GET", "/text/report.txt", elsewhere, nil); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "well") {
		t.Error(w.Code, w.Body)
	}
}

// oneLine is a listener of one connection, which needs no network: a bubble of fake time has none.
type oneLine struct {
	conn chan net.Conn
	over chan struct{}
}

func (l oneLine) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}
func (l oneLine) Close() error   { close(l.over); return nil }
func (l oneLine) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// pipe is one end of a connection from this computer.
type pipe struct{ net.Conn }

func (pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000} }

// uploading has a server that is in the middle of an upload of size bytes, of which it has got some.
func uploading(t *testing.T, in *intake, size int, some string, then func(srv *http.Server, conn net.Conn)) {
	h := in.handler()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	srv.RegisterOnShutdown(h.Close)
	l, served := oneLine{make(chan net.Conn, 1), make(chan struct{})}, make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	far, near := net.Pipe()
	l.conn <- pipe{near}
	if _, err := fmt.Fprintf(far, "PUT /update HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size, some); err != nil {
		t.Fatal(err)
	}
	then(srv, far)
	if err := errors.Join(far.Close(), srv.Close()); err != nil {
		t.Error(err)
	}
	<-served
}

// A sender that falls silent, and a box that is to stop, end an upload: neither waits for the rest.
func TestAnUploadHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &intake{ends: make(chan error, 1)}
		uploading(t, in, 1000, "good and", func(_ *http.Server, _ net.Conn) {
			begin := time.Now()
			if err := <-in.ends; err == nil || time.Since(begin) != quietWithin {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		in := &intake{ends: make(chan error, 1)}
		uploading(t, in, 1000, "good and", func(srv *http.Server, conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }() // its answer
			synctest.Wait()                                  // it is in the middle of it
			begin := time.Now()
			if err := srv.Shutdown(t.Context()); err != nil || time.Since(begin) > 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			if err := <-in.ends; err == nil {
				t.Error("half of an update was taken")
			}
		})
	})
}

// A browser hears nothing before it has sent all: what is refused is read to its end, and the connection can be used on.
func TestARefusalIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 3 << 20
		uploading(t, &intake{}, size, "evil", func(_ *http.Server, conn net.Conn) {
			if _, err := io.Copy(conn, io.LimitReader(zeros{}, size-4)); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || res.StatusCode != http.StatusUnprocessableEntity || res.Close {
				t.Errorf("%+v, %v", res, err)
			}
		})
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
