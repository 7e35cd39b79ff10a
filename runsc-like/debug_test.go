package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runtimeProgram is a Go program that is no part of gosv.
func runtimeProgram(t *testing.T) string {
	name, err := exec.LookPath("gofmt")
	require.NoError(t, err)
	return name
}

// TestDebugSites: a program has sites, and nearly all can be rewritten.
func TestDebugSites(t *testing.T) {
	var out strings.Builder
	require.NoError(t, printSites(&out, runtimeProgram(t), true))
	require.Regexp(t, `(?m)^0x[0-9a-f]+\t.*\tmov$`, out.String())
	require.Regexp(t, `(?m)^  rewritten +[1-9][0-9]* +(100|9[7-9])\.[0-9] %$`, out.String())

	name := filepath.Join(t.TempDir(), "no-elf")
	require.NoError(t, os.WriteFile(name, []byte("no ELF file"), 0o644))
	require.Error(t, printSites(&out, name, false))
}
