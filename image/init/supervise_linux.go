package main

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// again is how long a service that ended stays down. It is less than what the watchdog gives boxd to take it over.
const again = time.Second

// reaper waits for every process that ends: those that were started here, and those that their parents left behind.
type reaper struct {
	mu   sync.Mutex // guards what follows, and is held while a process is started
	ends map[int]chan unix.WaitStatus
}

func newReaper() *reaper {
	r := &reaper{ends: make(map[int]chan unix.WaitStatus)}
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	go func() {
		for range died {
			r.reap()
		}
	}()
	return r
}

func (r *reaper) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		r.mu.Lock()
		end := r.ends[pid]
		delete(r.ends, pid)
		r.mu.Unlock()
		if end != nil {
			end <- status
		}
	}
}

// start starts a program with the console as its output. How it ends comes over the channel.
func (r *reaper) start(t task) (pid int, end <-chan unix.WaitStatus, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, err
	}
	defer null.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := t.start(&os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/user:/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/perm", "LANG=C.UTF-8"},
		Files: []*os.File{null, os.Stdout, os.Stderr}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, nil, err
	}
	c := make(chan unix.WaitStatus, 1)
	r.ends[p.Pid] = c
	pid = p.Pid
	return pid, c, p.Release()
}

// run runs a program to its end and returns its exit code, -1 if a signal ended it.
func (r *reaper) run(args ...string) (int, error) {
	_, end, err := r.start(task{args: args})
	if err != nil {
		return 0, err
	}
	status := <-end
	return status.ExitStatus(), nil
}

// service is a program that is started anew whenever it ends, however it ends.
type service struct {
	name string
	mu   sync.Mutex // guards what follows
	pid  int        // 0 while it does not run
	last bool       // it is not to be started any more
	over chan struct{}
}

func (r *reaper) supervise(t task) *service {
	s := &service{name: t.name(), over: make(chan struct{})}
	go func() {
		defer close(s.over)
		for s.once(r, t) {
			time.Sleep(again)
		}
	}()
	return s
}

// once runs the service until it ends, and reports whether it is to run again.
func (s *service) once(r *reaper, t task) bool {
	s.mu.Lock()
	if s.last {
		s.mu.Unlock()
		return false
	}
	pid, end, err := r.start(t)
	s.pid = pid
	s.mu.Unlock()
	if err != nil {
		say("%s: %v", s.name, err)
		return true
	}
	if s.name != boxd {
		giveWay(pid)
	}
	status := <-end
	s.mu.Lock()
	s.pid = 0
	last := s.last
	s.mu.Unlock()
	switch {
	case last:
		say("%s has ended", s.name)
	case status.Signaled():
		say("%s was ended by signal %d (%v) and is started again", s.name, status.Signal(), status.Signal())
	default:
		say("%s ended with %d and is started again", s.name, status.ExitStatus())
	}
	return !last
}

// signal sends the service's processes a signal; from now on it is not started again.
func (s *service) signal(sig unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = true
	if s.pid > 0 {
		_ = unix.Kill(-s.pid, sig) // it may just have ended
	}
}
