package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// step is one thing that is measured.
type step struct {
	task, tool string // what is done, and by whom
	name       string // the command
	args       []string
	dir        string   // where it runs
	env        []string // beside this process's
	writes     bool     // much
	skip       string   // why it cannot be measured here
}

// The tasks, in the order of the tables.
var tasks = []string{"first backup", "unchanged backup", "restore", "restore, a drive missing", "read everything back", "scrub without the key"}

// plan lists the steps in order: each task by every tool, one after the other.
func plan(dir, source, boxd, restic string) ([]step, error) {
	p := planner{dir: dir, source: source}
	password := p.in("password")
	if err := os.WriteFile(password, []byte("bench\n"), 0o600); err != nil {
		return nil, err
	}
	var err error
	if boxd, err = filepath.Abs(boxd); err != nil {
		return nil, err
	}
	if restic, err = filepath.Abs(restic); err != nil {
		return nil, err
	}
	arrayOnly := []string{"--drive", p.in("drive1"), "--drive", p.in("drive2"), "--drive", p.in("drive3"), "--state", p.in("state")}
	three := append(arrayOnly, "--key-file", p.in("key"))
	two := append([]string{}, three[2:]...)
	box := func(task string, drives []string, args ...string) step {
		return step{task: task, tool: "boxd", name: boxd, args: append(args, drives...)}
	}
	res := func(task string, args ...string) step {
		return step{task: task, tool: "restic", name: restic, args: append(args, "--quiet", "--repo", p.in("restic"), "--password-file", password, "--cache-dir", p.in("cache"))}
	}
	verified := res("restore", "restore", "latest", "--verify", "--target", p.in("restic-verified"))
	verified.tool = "restic+"
	steps := []step{
		res("make the vault", "init"),
		box("make the vault", three, "vault", "create", "--survive", "1"),
		p.borg("make the vault", "init", "--encryption", "repokey-blake2", p.in("borg")),
		p.rsync("first backup", source+"/", p.in("rsync")),
		p.flushed("first backup"),
		res("first backup", "backup", "--compression", "off", source),
		p.borg("first backup", "create", "--compression", "none", p.in("borg")+"::first", source),
		box("first backup", three, "backup", "folder:"+source),
		p.rsync("unchanged backup", source+"/", p.in("rsync")),
		res("unchanged backup", "backup", "--compression", "off", source),
		p.borg("unchanged backup", "create", "--compression", "none", p.in("borg")+"::second", source),
		box("unchanged backup", three, "backup", "folder:"+source),
		p.rsync("restore", p.in("rsync")+"/", p.in("rsync-restored")),
		res("restore", "restore", "latest", "--target", p.in("restic-restored")),
		verified,
		p.borg("restore", "extract", p.in("borg")+"::second"),
		box("restore", three, "restore", "latest", "--to", p.in("box-restored")),
		box("restore, a drive missing", two, "restore", "latest", "--to", p.in("box-degraded")),
		res("read everything back", "check", "--read-data"),
		p.borg("read everything back", "check", "--verify-data", p.in("borg")),
		box("read everything back", three, "vault", "verify"),
		box("scrub without the key", arrayOnly, "vault", "scrub"),
	}
	for i := range steps {
		steps[i].writes = strings.HasPrefix(steps[i].task, "first") || strings.HasPrefix(steps[i].task, "restore")
	}
	return steps, nil
}

// planner makes the steps of one run.
type planner struct{ dir, source string }

func (p planner) in(name string) string { return filepath.Join(p.dir, name) }

func (p planner) rsync(task string, args ...string) step {
	return here(step{task: task, tool: "rsync", name: "rsync", args: append([]string{"-a"}, args...)})
}

// flushed is rsync that returns when all is on the drive, as boxd and restic do.
func (p planner) flushed(task string) step {
	s := here(step{task: task, tool: "rsync+", name: "rsync"})
	s.name, s.args = "sh", []string{"-c", `rsync -a "$1" "$2" && sync -f "$2"`, "sh", p.source + "/", p.in("rsync-flushed")}
	return s
}

func (p planner) borg(task string, args ...string) step {
	return here(step{task: task, tool: "borg", name: "borg", args: args, dir: p.dir, env: []string{
		"BORG_PASSPHRASE=bench", "BORG_BASE_DIR=" + p.in("borg-home"), "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING=YES",
	}})
}

// here skips a step whose command is not installed.
func here(s step) step {
	if _, err := exec.LookPath(s.name); err != nil {
		s.skip = s.name + " is not installed"
	}
	return s
}

// versions says which tools are measured.
func versions(ctx context.Context, s settings) []string {
	var out []string
	for _, cmd := range [][]string{{s.restic, "version"}, {"borg", "--version"}, {"rsync", "--version"}} {
		b, err := exec.CommandContext(ctx, cmd[0], cmd[1:]...).Output()
		if err != nil {
			out = append(out, fmt.Sprintf("%s: not measured", filepath.Base(cmd[0])))
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if name, rest, ok := strings.Cut(line, " compiled"); ok && rest != "" {
			line = name
		}
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}
