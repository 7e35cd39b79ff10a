package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed testdata/guest.c
var guestSource []byte

// row is one thing to measure.
type row struct {
	name, what, unit string
	compare          comparison
	measure          func(c column) (float64, error)
}

// comparison is how a cell relates to the native one.
type comparison int

const (
	ratio comparison = iota // how many times as much
	more                    // how much more
	alone                   // not at all
)

// operations are those that testdata/guest.c times from inside.
var operations = [][2]string{
	{"call", "empty call (getppid)"},
	{"lseek", "lseek in a tmpfs file"},
	{"sigprocmask", "rt_sigprocmask that changes nothing"},
	{"futex-wake", "futex wake, nobody waits"},
	{"sched-yield", "sched_yield, alone"},
	{"clock-gettime", "clock_gettime as a system call"},
	{"getcpu", "getcpu as a system call"},
	{"brk", "brk that changes no page"},
	{"read-event", "read of an eventfd that has a count"},
	{"read-zero", "read 1 byte of /dev/zero"},
	{"write-null", "write 1 byte to /dev/null"},
	{"pipe-own", "write and read 1 byte of a pipe"},
	{"pread-4k", "pread 4 KiB of a tmpfs file"},
	{"read-zero-1m", "read 1 MiB of /dev/zero"},
	{"pread-1m", "pread 1 MiB of a tmpfs file"},
	{"pwrite-1m", "pwrite 1 MiB to a tmpfs file"},
	{"vm-readv-1m", "process_vm_readv 1 MiB"},
	{"open-close", "open and close a tmpfs file"},
	{"open-close-host", "open and close /usr/bin/true"},
	{"stat", "stat a tmpfs file"},
	{"stat-host", "stat /usr/bin/true"},
	{"mmap-4k", "mmap, touch, munmap 4 KiB"},
	{"mmap-1m", "mmap, touch, munmap 1 MiB"},
	{"pipe-threads", "pipe round trip, two threads"},
	{"pipe-programs", "pipe round trip, two programs"},
	{"pipe-processes", "pipe round trip, parent and child"},
	{"futex", "futex round trip, two threads"},
	{"sleep", "nanosleep of 50 us"},
	{"thread-join", "thread create, join"},
	{"fork-wait", "fork, exit, wait"},
	{"vfork-exec", "vfork, exec of a small program, wait"},
	{"spawn-exec", "posix_spawn of true, wait"},
	{"fork-exec", "fork, exec of true, wait"},
	{"signal-self", "signal to self"},
	{"fault", "SIGSEGV caught"},
	{"python-start", "start-up of python3"},
	{"python-loop", "python3, a loop that computes"},
}

// allRows are the operations and what can only be seen from outside.
func allRows() []row {
	var rows []row
	for _, o := range operations {
		rows = append(rows, row{o[0], o[1], "us", ratio, func(c column) (float64, error) { return inside(c, o[0]) }})
	}
	return append(rows,
		row{"compile", "compile of 50 C files", "ms", ratio, func(c column) (float64, error) {
			return wall(c, filepath.Join(c.dir, "project"), "/bin/sh", "-c", "rm -f *.o && make -s -j4")
		}},
		row{"start-up", "start-up of true, ms more than native", "ms", more, func(c column) (float64, error) { return wall(c, c.dir, "/bin/true") }},
		row{"idle-memory", "memory of an idle sandbox", "MB", alone, func(c column) (float64, error) { return idle(c, "2", memory) }},
		row{"idle-cpu", "processor time of an idle sandbox", "us/s", alone, func(c column) (float64, error) { return idle(c, "4", processorTime) }},
	)
}

// build makes in dir the programs that the rows run, and the project that they compile.
func build(dir string) error {
	for name, source := range map[string][]byte{"guest": guestSource, "small": []byte("int main(void) { return 0; }\n")} {
		src := filepath.Join(dir, name+".c")
		if err := os.WriteFile(src, source, 0o644); err != nil {
			return err
		}
		if out, err := exec.Command("gcc", "-O2", "-pthread", "-fPIE", "-pie", "-o", filepath.Join(dir, name), src).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc: %w\n%s", err, out)
		}
	}
	return writeProject(filepath.Join(dir, "project"))
}

// writeProject makes a C project of 50 files and a makefile.
func writeProject(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var objs []string
	for i := range 50 {
		src := fmt.Sprintf("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int n) { char b[64]; snprintf(b, sizeof b, \"%%d\", n); return atoi(b) + (int)strlen(b) + %d; }\n", i, i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.c", i)), []byte(src), 0o644); err != nil {
			return err
		}
		objs = append(objs, fmt.Sprintf("f%d.o", i))
	}
	mk := "all: " + strings.Join(objs, " ") + "\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n"
	return os.WriteFile(filepath.Join(dir, "Makefile"), []byte(mk), 0o644)
}

// inside is what an operation takes as the guest program sees it, in microseconds.
func inside(c column, operation string) (float64, error) {
	out, err := c.output(c.dir, "./guest", operation, strconv.Itoa(ms))
	if err != nil {
		return 0, err
	}
	var mean, fastest float64
	if _, err := fmt.Sscan(string(out), &mean, &fastest); err != nil {
		return 0, fmt.Errorf("%w: %q", err, out)
	}
	if best {
		return fastest / 1000, nil
	}
	return mean / 1000, nil
}

// wall is how long a command takes as its caller sees it, in milliseconds.
func wall(c column, dir string, argv ...string) (float64, error) {
	start := time.Now()
	if _, err := c.output(dir, argv...); err != nil {
		return 0, err
	}
	return float64(time.Since(start).Microseconds()) / 1000, nil
}

// idle measures the processes of a sandbox that sleeps for some seconds.
func idle(c column, seconds string, measure func(pids func() []int) float64) (float64, error) {
	cmd, err := c.cmd(c.dir, "/bin/sleep", seconds)
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	time.Sleep(1500 * time.Millisecond)
	v := measure(func() []int { return descendants(cmd.Process.Pid) })
	return v, cmd.Wait()
}

// memory is what processes have in memory together, in megabytes; a page shared by n processes counts 1/n for each.
func memory(pids func() []int) float64 {
	kb := 0
	for _, pid := range pids() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range bytes.Lines(b) {
			if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Pss:" {
				n, _ := strconv.Atoi(string(f[1]))
				kb += n
			}
		}
	}
	return float64(kb) / 1000
}

// processorTime is what processes compute while nobody asks anything of them, in microseconds a second.
func processorTime(pids func() []int) float64 {
	used := func() (ns float64) {
		for _, pid := range pids() {
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
			for _, t := range tasks {
				b, _ := os.ReadFile(t)
				if f := bytes.Fields(b); len(f) > 0 {
					n, _ := strconv.ParseFloat(string(f[0]), 64)
					ns += n
				}
			}
		}
		return ns
	}
	before, start := used(), time.Now()
	time.Sleep(2 * time.Second)
	return (used() - before) / 1000 / time.Since(start).Seconds()
}

// descendants are pid and the processes below it.
func descendants(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				all = append(all, descendants(n)...)
			}
		}
	}
	return all
}
