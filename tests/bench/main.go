// Command bench measures the same operations natively, on each platform of gosv, and under runsc and runc where they are
// installed, in one run, and prints a table with ratios to native.
//
//	go run ./tests/bench [-runs 3] [-ms 200] [-best] [-gosv bin/gosv] [-platforms ptrace,flat]
//	    [-only call,stat] [-columns gosv,runsc] [-markdown] [-svg docs/performance.svg]
//
// A cell is the median of the runs, or with -best the fastest (memory and idle time excepted); the runs of the columns take turns, so that what else the
// machine does meets all of them.
//
// columns.go says how programs are run, rows.go what is measured, chart.go draws.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	runs, ms          int
	best, markdown    bool
	gosv, platforms   string
	only, onlyColumns string
	svg               string
)

func main() {
	flag.IntVar(&runs, "runs", 3, "measurements of each cell; the median counts")
	flag.IntVar(&ms, "ms", 200, "milliseconds a measurement takes")
	flag.BoolVar(&best, "best", false, "the fastest measurement counts instead of the median: for a machine that is busy with other things")
	flag.StringVar(&gosv, "gosv", "bin/gosv", "the gosv to measure")
	flag.StringVar(&platforms, "platforms", "ptrace,flat", "its platforms, with commas between")
	flag.StringVar(&only, "only", "", "rows to measure, with commas between (all)")
	flag.StringVar(&onlyColumns, "columns", "", "columns besides native, by the beginnings of their names, with commas between (all)")
	flag.BoolVar(&markdown, "markdown", false, "print for docs/performance.md")
	flag.StringVar(&svg, "svg", "", "draw the ratios as a bar chart into this `file`")
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	gosvPath, err := filepath.Abs(gosv)
	if err != nil {
		return err
	}
	if _, err := os.Stat(gosvPath); err != nil {
		return fmt.Errorf("%w; build it with make, or name it with -gosv", err)
	}
	dir, err := os.MkdirTemp("", "gosv-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		return err
	}
	columns, err := findColumns(gosvPath, dir, list(platforms), list(onlyColumns))
	if err != nil {
		return err
	}
	rows := allRows()
	if wanted := list(only); wanted != nil {
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(wanted, r.name) })
	}
	title := fmt.Sprintf("%s, %d CPUs, %s of %d", machine(), runtime.NumCPU(), which(), runs)
	fmt.Printf("%s\n\n", title)
	figures := table(rows, columns)
	if svg == "" {
		return nil
	}
	return os.WriteFile(svg, chart(title, rows, columns, figures), 0o644)
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func which() string {
	if best {
		return "fastest"
	}
	return "median"
}

// table measures and prints, a row as soon as it is there. It returns the figures by row and column, negative where there
// is none.
func table(rows []row, columns []column) [][]float64 {
	const first, width = 40, 19
	sep := "  "
	if markdown {
		sep = " | "
	}
	line := func(cells []string) {
		s := fmt.Sprintf("%-*s", first, cells[0])
		for _, c := range cells[1:] {
			s += sep + fmt.Sprintf("%*s", width, c)
		}
		if markdown {
			s = "| " + s + " |"
		}
		fmt.Println(strings.TrimRight(s, " "))
	}
	head := []string{"what"}
	for _, c := range columns {
		head = append(head, c.name)
	}
	line(head)
	if markdown {
		fmt.Println("|---|" + strings.Repeat("---:|", len(columns)))
	}
	var figures [][]float64
	for i, r := range rows {
		values := measure(r, columns, fmt.Sprintf("%d/%d %s", i+1, len(rows), r.what))
		figures = append(figures, values)
		cells := []string{r.what}
		for k, v := range values {
			cells = append(cells, cell(r, v, values[0], k == 0))
		}
		line(cells)
	}
	return figures
}

// measure yields a figure for each column; one that fails says why on standard error and yields -1.
func measure(r row, columns []column, progress string) []float64 {
	samples := make([][]float64, len(columns))
	failed := make([]error, len(columns))
	for n := range runs {
		for i, c := range columns {
			say("%s: run %d of %d, %s", progress, n+1, runs, c.name)
			v, err := r.measure(c)
			if err != nil {
				failed[i] = err
				continue
			}
			samples[i] = append(samples[i], v)
		}
	}
	say("")
	values := make([]float64, len(columns))
	for i, s := range samples {
		if len(s) == 0 {
			fmt.Fprintf(os.Stderr, "bench: %s, %s: %v\n", r.what, columns[i].name, failed[i])
			values[i] = -1
			continue
		}
		slices.Sort(s)
		values[i] = s[len(s)/2]
		if best && r.compare != alone {
			values[i] = s[0]
		}
	}
	return values
}

// cell is a figure with what it is beside the native one.
func cell(r row, v, native float64, isNative bool) string {
	if v < 0 {
		return "failed"
	}
	s := fmt.Sprintf("%.*f %s", digits(v), v, r.unit)
	switch {
	case isNative || native < 0 || r.compare == alone:
		return s
	case r.compare == more:
		return fmt.Sprintf("%s %+8.1f", s, v-native)
	}
	return s + fmt.Sprintf(" %7.*fx", max(digits(v/native), 1), v/native)
}

func digits(v float64) int {
	switch {
	case v < 0.1:
		return 3
	case v < 10:
		return 2
	case v < 100:
		return 1
	}
	return 0
}

// say shows what is being measured, on one line that is written over. Nobody sees it where standard error is not a terminal.
func say(format string, args ...any) {
	if _, err := unix.IoctlGetTermios(2, unix.TCGETS); err == nil {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}

// machine names the processor and the kernel.
func machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range bytes.Lines(b) {
			if k, v, ok := bytes.Cut(l, []byte(":")); ok && string(bytes.TrimSpace(k)) == "model name" {
				cpu = string(bytes.TrimSpace(v))
				break
			}
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, Linux %s", cpu, bytes.TrimSpace(release))
}
