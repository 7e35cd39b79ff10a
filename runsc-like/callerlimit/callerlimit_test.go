package callerlimit_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/runsc-like/callerlimit"
)

// TestNoFile runs itself under a limit that the runtime raises.
func TestNoFile(t *testing.T) {
	if os.Getenv("SHOW_NOFILE") != "" {
		println(callerlimit.NoFile[0], callerlimit.NoFile[1])
		os.Exit(0)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 100; ulimit -Hn 200; exec "$0" -test.run TestNoFile`, os.Args[0])
	cmd.Env = append(os.Environ(), "SHOW_NOFILE=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "100 200\n", string(out))
}
