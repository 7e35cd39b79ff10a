package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// Every row can be measured, natively and in a sandbox.
func TestRows(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, build(dir))
	ms = 1
	columns, err := findColumns(harness.Gosv(t), dir, harness.Platforms(), []string{"gosv"})
	require.NoError(t, err)
	require.Len(t, columns, 1+len(harness.Platforms()))
	for _, r := range allRows() {
		if r.name == "python-loop" {
			continue // computes, and nothing else
		}
		for _, c := range columns {
			v, err := r.measure(c)
			require.NoError(t, err, "%s, %s", r.name, c.name)
			if r.name != "idle-cpu" {
				require.Positive(t, v, "%s, %s", r.name, c.name)
			}
		}
	}
}

// The chart is XML, and shows what can be shown.
func TestChart(t *testing.T) {
	rows := []row{{"a", "a < b", "us", ratio, nil}, {"b", "half", "us", ratio, nil}, {"c", "other", "ms", more, nil}}
	columns := []column{{name: "native"}, {name: "gosv ptrace"}, {name: "gosv flat"}}
	svg := string(chart("R&D", rows, columns, [][]float64{{2, 20, 0.2}, {0.5, -1, 0.25}, {1, 2, 3}}))
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, s := range []string{">a &lt; b<", ">half<", ">R&amp;D", ">10.0<", ">0.10<", ">0.50<", ">gosv flat<"} {
		require.Contains(t, svg, s)
	}
	require.NotContains(t, svg, ">other<")
	require.Equal(t, 2+3, strings.Count(svg, `class="gosv-`), "two in the legend, three bars")
}

// An idle sandbox is small and computes nothing.
func TestIdle(t *testing.T) {
	columns, err := findColumns(harness.Gosv(t), t.TempDir(), harness.Platforms(), []string{"gosv"})
	require.NoError(t, err)
	for _, c := range columns[1:] {
		t.Run(c.name, func(t *testing.T) {
			mb, err := idle(c, "2", memory)
			require.NoError(t, err)
			us, err := idle(c, "4", processorTime)
			require.NoError(t, err)
			t.Logf("%.1f MB, %.0f us/s", mb, us)
			require.Less(t, mb, 25.0)
			require.Less(t, us, 10_000.0)
		})
	}
}

// A guest that touches 1 GiB in a random order is few mappings for the host, which allows 65,530 of them.
func TestHostMappings(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.Command("gcc", "-O2", "-o", dir+"/touch", "testdata/touch.c").CombinedOutput()
	require.NoError(t, err, "%s", out)
	columns, err := findColumns(harness.Gosv(t), dir, harness.Platforms(), []string{"gosv"})
	require.NoError(t, err)
	for _, c := range columns[1:] {
		t.Run(c.name, func(t *testing.T) {
			cmd, err := c.cmd(dir, "./touch")
			require.NoError(t, err)
			cmd.Stderr = os.Stderr
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer func() {
				stdin.Close()
				require.NoError(t, cmd.Wait())
			}()
			// It says that it is done and waits.
			said := make([]byte, 5)
			_, err = io.ReadFull(stdout, said)
			require.NoError(t, err)
			require.Equal(t, "done\n", string(said))
			shown := 0
			for _, pid := range descendants(cmd.Process.Pid) {
				maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
				require.NoError(t, err)
				all, memory := bytes.Count(maps, []byte("\n")), bytes.Count(maps, []byte("gosv-memory"))
				t.Logf("process %d: %d mappings, %d of them of the sandbox's memory", pid, all, memory)
				require.Less(t, all, 100)
				shown = max(shown, memory)
			}
			require.Positive(t, shown)
		})
	}
}
