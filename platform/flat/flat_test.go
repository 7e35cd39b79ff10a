package flat

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform"
	"gosv.dev/platform/platformtest"
	"gosv.dev/platform/ptrace"
)

func newPlatform(t testing.TB, mem *os.File) *Platform {
	stubs, err := ptrace.New(ptrace.Options{Memory: mem})
	require.NoError(t, err)
	p, err := New(Options{Memory: mem, Stubs: stubs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestConformance(t *testing.T) {
	platformtest.Run(t, func(t *testing.T, mem *os.File) platform.Platform { return newPlatform(t, mem) })
}
