package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// column is one way to run a program: in the directory of the benchmark's own programs, with that environment.
type column struct {
	name    string
	dir     string
	command func(dir string, argv []string) ([]string, error) // what to run instead of argv
}

var environment = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8", "HOME=/"}

// cmd is the command that runs argv in a directory below that of the column.
func (c column) cmd(dir string, argv ...string) (*exec.Cmd, error) {
	all, err := c.command(dir, argv)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Dir = dir
	cmd.Env = environment
	return cmd, nil
}

// output runs argv to its end and yields what it printed. What it said on standard error is in the error.
func (c column) output(dir string, argv ...string) ([]byte, error) {
	cmd, err := c.cmd(dir, argv...)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
	}
	return out, err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// findColumns are native and the sandboxes that can run here. The others are named on standard error with what they said.
func findColumns(gosv, dir string, platforms, wanted []string) ([]column, error) {
	before := func(prefix ...string) func(string, []string) ([]string, error) {
		return func(_ string, argv []string) ([]string, error) { return slices.Concat(prefix, argv), nil }
	}
	native := column{"native", dir, before()}
	var others []column
	for _, p := range platforms {
		others = append(others, column{"gosv " + p, dir, before(gosv, "do", "--platform="+p, "--")})
	}
	if runsc, err := exec.LookPath("runsc"); err == nil {
		for _, p := range []string{"ptrace", "systrap"} {
			others = append(others, column{"runsc " + p, dir,
				before(runsc, "--platform="+p, "--network=none", "--ignore-cgroups", "do", "--")})
		}
	}
	if runc, err := exec.LookPath("runc"); err == nil {
		c, err := runcColumn(runc, dir)
		if err != nil {
			return nil, err
		}
		others = append(others, c)
	}
	columns := []column{native}
	for _, c := range others {
		if wanted != nil && !slices.ContainsFunc(wanted, func(w string) bool { return strings.HasPrefix(c.name, w) }) {
			continue
		}
		if _, err := c.output(dir, "/bin/true"); err != nil {
			fmt.Fprintf(os.Stderr, "bench: without %s: %v\n", c.name, err)
			continue
		}
		columns = append(columns, c)
	}
	return columns, nil
}

// runcColumn runs programs with runc in a root of its own: the host's /usr and /etc read-only, the benchmark's directory
// with it. Namespaces but no seccomp filter, since an OCI bundle has none of itself.
func runcColumn(runc, dir string) (column, error) {
	bundle := filepath.Join(dir, "bundle")
	root := filepath.Join(bundle, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return column{}, err
	}
	type mount struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options,omitempty"`
	}
	mounts := []mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"},
	}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc"} {
		if target, err := os.Readlink(d); err == nil {
			if err := os.Symlink(target, filepath.Join(root, d)); err != nil {
				return column{}, err
			}
		} else if _, err := os.Stat(d); err == nil {
			mounts = append(mounts, mount{d, "bind", d, []string{"rbind", "ro"}})
		}
	}
	mounts = append(mounts, mount{dir, "bind", dir, []string{"rbind", "rw"}})
	type object map[string]any
	config := func(cwd string, argv []string) object {
		return object{
			"ociVersion": "1.0.2",
			"process":    object{"user": object{"uid": 0, "gid": 0}, "args": argv, "env": environment, "cwd": cwd},
			"root":       object{"path": "root"},
			"mounts":     mounts,
			"linux": object{"namespaces": []object{
				{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"},
			}},
		}
	}
	return column{"runc", dir, func(cwd string, argv []string) ([]string, error) {
		b, err := json.Marshal(config(cwd, argv))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(bundle, "config.json"), b, 0o644); err != nil {
			return nil, err
		}
		return []string{runc, "run", "--bundle", bundle, filepath.Base(dir)}, nil
	}}, nil
}
