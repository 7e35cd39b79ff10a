// Command bench measures the same operations natively, under gosv, and under runsc and runc where they
// are installed, in one run, and prints a table with ratios to native.
//
//	go run ./tests/bench [-ms 200] [-runs 3] [-gosv bin/gosv] [-only call,stat] [-best] [-markdown]
//
// A cell is the median of the runs, or with -best the fastest; the runs of the columns take turns, so that what else the
// machine does meets all of them.
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

//go:embed testdata/guest.c
var guestSource []byte

var (
	ms       = flag.Int("ms", 200, "milliseconds a measurement takes")
	runs     = flag.Int("runs", 3, "measurements of each cell; the median counts")
	gosv     = flag.String("gosv", "bin/gosv", "the gosv to measure")
	only     = flag.String("only", "", "rows to measure, separated by commas")
	best     = flag.Bool("best", false, "the fastest measurement counts instead of the median: for a machine that is busy with other things")
	markdown = flag.Bool("markdown", false, "print for docs/performance.md")
)

// column is one way to run a program.
type column struct {
	name string
	argv []string // put before the program
}

// row is one thing to measure.
type row struct {
	name, what, unit string
	measure          func(c column) (float64, error)
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "gosv-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	gosvPath, err := filepath.Abs(*gosv)
	if err != nil {
		return err
	}
	if _, err := os.Stat(gosvPath); err != nil {
		return fmt.Errorf("%w; build it with make, or name it with -gosv", err)
	}
	guest := filepath.Join(dir, "guest")
	src := filepath.Join(dir, "guest.c")
	if err := os.WriteFile(src, guestSource, 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("gcc", "-O2", "-pthread", "-o", guest, src).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, out)
	}
	project, err := writeProject(dir)
	if err != nil {
		return err
	}

	columns := []column{{"native", nil}, {"gosv ptrace", []string{gosvPath, "do", "--platform=ptrace", "--"}}}
	if p, err := exec.LookPath("runsc"); err == nil {
		for _, platform := range []string{"ptrace", "systrap"} {
			columns = append(columns, column{"runsc " + platform,
				[]string{p, "--platform=" + platform, "--network=none", "--ignore-cgroups", "do", "--"}})
		}
	}
	rows := operations(guest, dir)
	rows = append(rows,
		row{"start-up", "start-up of true", "ms", func(c column) (float64, error) { return wall(c, dir, "/bin/true") }},
		row{"idle-memory", "resident memory of an idle sandbox", "MB", func(c column) (float64, error) { return idleMemory(c) }},
		row{"compile", "compile of 50 C files", "ms", func(c column) (float64, error) {
			return wall(c, project, "/bin/sh", "-c", "rm -f *.o && make -s -j4")
		}},
	)
	return table(rows, columns)
}

// operations are those that testdata/guest.c times.
func operations(guest, dir string) []row {
	var rows []row
	for _, o := range [][2]string{
		{"call", "empty call (getppid)"},
		{"read-zero", "read 1 byte of /dev/zero"},
		{"write-null", "write 1 byte to /dev/null"},
		{"pipe-processes", "pipe round trip, two processes"},
		{"pipe-threads", "pipe round trip, two threads"},
		{"open-close", "open and close"},
		{"stat", "stat"},
		{"pread-4k", "pread 4 KiB"},
		{"mmap-4k", "mmap, touch, munmap 4 KiB"},
		{"mmap-1m", "mmap, touch, munmap 1 MiB"},
		{"fork-wait", "fork, exit, wait"},
		{"fork-exec", "fork, exec of true, wait"},
		{"spawn-exec", "posix_spawn of true, wait"},
		{"thread-join", "thread create, join"},
		{"signal-self", "signal to self"},
	} {
		rows = append(rows, row{o[0], o[1], "us", func(c column) (float64, error) {
			out, err := command(c, dir, guest, o[0], strconv.Itoa(*ms)).Output()
			if err != nil {
				return 0, fmt.Errorf("%s: %w", c.name, err)
			}
			ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
			return ns / 1000, err
		}})
	}
	return rows
}

func command(c column, dir string, argv ...string) *exec.Cmd {
	all := append(append([]string(nil), c.argv...), argv...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	return cmd
}

// wall is how long a command takes, in milliseconds.
func wall(c column, dir string, argv ...string) (float64, error) {
	start := time.Now()
	if err := command(c, dir, argv...).Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	return float64(time.Since(start).Microseconds()) / 1000, nil
}

// idleMemory is what the processes of a sleeping sandbox have in memory together (proportional set size), in megabytes.
func idleMemory(c column) (float64, error) {
	cmd := command(c, "/", "/bin/sleep", "5")
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	time.Sleep(time.Second)
	kb := 0
	for _, pid := range descendants(cmd.Process.Pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for _, line := range bytes.Split(b, []byte("\n")) {
			if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Pss:" {
				n, _ := strconv.Atoi(string(f[1]))
				kb += n
			}
		}
	}
	if kb == 0 {
		return 0, fmt.Errorf("%s: no memory found", c.name)
	}
	return float64(kb) / 1000, nil
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

// writeProject makes a C project of 50 files and a makefile.
func writeProject(dir string) (string, error) {
	p := filepath.Join(dir, "project")
	if err := os.Mkdir(p, 0o755); err != nil {
		return "", err
	}
	var objs []string
	for i := range 50 {
		src := fmt.Sprintf("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int n) { char b[64]; snprintf(b, sizeof b, \"%%d\", n); return atoi(b) + (int)strlen(b) + %d; }\n", i, i)
		if err := os.WriteFile(filepath.Join(p, fmt.Sprintf("f%d.c", i)), []byte(src), 0o644); err != nil {
			return "", err
		}
		objs = append(objs, fmt.Sprintf("f%d.o", i))
	}
	mk := "all: " + strings.Join(objs, " ") + "\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n"
	return p, os.WriteFile(filepath.Join(p, "Makefile"), []byte(mk), 0o644)
}

// table measures and prints, a row as soon as it is there.
func table(rows []row, columns []column) error {
	wanted := map[string]bool{}
	for _, n := range strings.Split(*only, ",") {
		if n != "" {
			wanted[n] = true
		}
	}
	sep, edge := "  ", ""
	if *markdown {
		sep, edge = " | ", "|"
	}
	which := "median"
	if *best {
		which = "fastest"
	}
	fmt.Printf("%s, %d CPUs, %s of %d\n\n", machine(), runtime.NumCPU(), which, *runs)
	line := func(cells []string) {
		s := fmt.Sprintf("%-36s", cells[0])
		for _, c := range cells[1:] {
			s += sep + fmt.Sprintf("%22s", c)
		}
		if edge != "" {
			s = edge + " " + s + " " + edge
		}
		fmt.Println(strings.TrimRight(s, " "))
	}
	head := []string{"what"}
	for _, c := range columns {
		head = append(head, c.name)
	}
	line(head)
	if *markdown {
		fmt.Println("|---" + strings.Repeat("|---:", len(columns)) + "|")
	}
	for _, r := range rows {
		if len(wanted) > 0 && !wanted[r.name] {
			continue
		}
		samples := make([][]float64, len(columns))
		errs := make([]error, len(columns))
		for range *runs {
			for i, c := range columns {
				v, err := r.measure(c)
				if err != nil {
					errs[i] = err
					continue
				}
				samples[i] = append(samples[i], v)
			}
		}
		cells := []string{r.what}
		var native float64
		for i := range columns {
			if len(samples[i]) == 0 {
				fmt.Fprintf(os.Stderr, "bench: %s: %v\n", r.name, errs[i])
				cells = append(cells, "failed")
				continue
			}
			sort.Float64s(samples[i])
			v := samples[i][len(samples[i])/2]
			if *best {
				v = samples[i][0]
			}
			cell := fmt.Sprintf("%.*f %s", digits(v), v, r.unit)
			if i == 0 {
				native = v
			} else if native > 0 {
				cell += fmt.Sprintf(" %7.2fx", v/native)
			}
			cells = append(cells, cell)
		}
		line(cells)
	}
	return nil
}

func digits(v float64) int {
	switch {
	case v < 10:
		return 2
	case v < 100:
		return 1
	}
	return 0
}

// machine names the processor and the kernel.
func machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, l := range strings.Split(string(b), "\n") {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	release := ""
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release = strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%s, Linux %s", cpu, release)
}
