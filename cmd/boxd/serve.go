package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"phonebackupbox/storage/serve"
)

// servePort is that of restic's own REST server.
const servePort = "127.0.0.1:8000"

func vaultServeCommand(flags *pflag.FlagSet) action {
	dirs := flags.StringArray("drive", nil, "a drive's `folder`; once for each drive, missing ones left out")
	ignoreKey(flags)
	listen := flags.String("listen", servePort, "the `address` to serve on; other computers reach it if it is not 127.0.0.1")
	auth := flags.String("auth-file", "", "a `file` with USER:PASSWORD in one line, which clients must give")
	return func(ctx context.Context, c *call, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		user, password, err := readAuth(*auth)
		if err != nil {
			return err
		}
		now, err := openCurrent(ctx, *dirs)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, now.close()) }()
		if err := c.warnOfAway(ctx, now.view.rack); err != nil {
			return err
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
		if err != nil {
			return hintError{fmt.Errorf("serve on %s: %w", *listen, err), "listen", "is another program there? give another --listen ADDRESS:PORT"}
		}
		s := served{c: c, now: now, listener: l, user: user, password: password}
		return s.run(ctx)
	}
}

// minPassword is the shortest password that clients may be asked for: it is all that stands between the network and the
// sealed backups.
const minPassword = 12

// readAuth reads USER:PASSWORD from a file; nothing if there is none.
func readAuth(file string) (user, password string, err error) {
	if file == "" {
		return "", "", nil
	}
	p, err := readSmall(file, maxKeyFile)
	if err != nil {
		return "", "", hintError{fmt.Errorf("--auth-file %s: %w", file, err), "auth", "write USER:PASSWORD into it, on one line"}
	}
	user, password, ok := strings.Cut(strings.TrimSpace(string(p)), ":")
	if !ok || user == "" || len(password) < minPassword || strings.Contains(password, "\n") {
		return "", "", hintError{fmt.Errorf("--auth-file %s does not hold USER:PASSWORD", file), "auth",
			fmt.Sprintf("one line, and a password of at least %d characters", minPassword)}
	}
	return user, password, nil
}

// warnOfAway says what cannot be read with the drives that were named.
func (c *call) warnOfAway(ctx context.Context, r *rack) error {
	h, err := r.array.Health(ctx)
	if err == nil && (h.Unreadable > 0 || len(h.Lost) > 0 || h.LedgerIncomplete) {
		fmt.Fprintf(c.err, "note: not all of it can be read: %s\n", protection(h))
	}
	return err
}

// served is one run of vault serve.
type served struct {
	c              *call
	now            *current
	listener       net.Listener
	user, password string
}

// grace is how long clients may go on after an interrupt.
const grace = 5 * time.Second

// run serves until ctx ends. That is how it is meant to end, so it is no error.
func (s *served) run(ctx context.Context) error {
	addr, _ := s.listener.Addr().(*net.TCPAddr)
	local := addr != nil && addr.IP.IsLoopback()
	if !local && s.user == "" {
		s.user, s.password = "boxd", strings.ToLower(rand.Text())
	}
	failures := failures{w: s.c.err, seen: map[string]bool{}}
	srv := &http.Server{
		Handler: serve.New(s.now, serve.Options{
			User: s.user, Password: s.password, LocalOnly: local, Refresh: s.now.refresh, Failed: failures.tell,
		}),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:          slog.NewLogLogger(slog.NewTextHandler(s.c.err, nil), slog.LevelWarn),
	}
	if err := s.announce(addr, local); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(s.listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // whoever reads still must read again
	}
	if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

type serveJSON struct {
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
}

// announce says where the vault is, once clients can come. A password that was made for this run is shown here only.
func (s *served) announce(addr *net.TCPAddr, local bool) error {
	out := serveJSON{URL: "rest:http://" + reachable(addr) + "/", User: s.user, Password: s.password}
	return s.c.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "the vault is served, read-only, until Ctrl-C:\n  restic -r %s --password-file KEY snapshots\n", out.URL)
		if s.user != "" {
			fmt.Fprintf(w, "  with RESTIC_REST_USERNAME=%s RESTIC_REST_PASSWORD=%s\n", printable(s.user), printable(s.password))
		}
		if !local {
			fmt.Fprint(w, "  Other computers reach it. This password crosses the network unencrypted; the backups are sealed, whoever reads along.\n")
		}
	})
}

// reachable is an address that a client can use where addr may mean all of this computer's.
func reachable(addr *net.TCPAddr) string {
	if addr == nil || !addr.IP.IsUnspecified() {
		return addr.String()
	}
	all, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range all {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
				return net.JoinHostPort(ip.IP.String(), fmt.Sprint(addr.Port))
			}
		}
	}
	return addr.String()
}

// failures prints each blob that cannot be read, once.
type failures struct {
	w    io.Writer
	mu   sync.Mutex // guards seen, and lines against each other
	seen map[string]bool
}

// maxFailures is how many are printed: whoever sees a hundred needs drives, not lines.
const maxFailures = 100

func (f *failures) tell(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[name] || len(f.seen) >= maxFailures {
		return
	}
	f.seen[name] = true
	fmt.Fprintf(f.w, "cannot be read: %s\n", printable(oneLine(err)))
}
