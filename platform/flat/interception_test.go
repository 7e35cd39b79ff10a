package flat

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		wanted   Interception
		dispatch error
		want     Interception
		err      string
	}{
		{Auto, nil, Dispatch, ""},
		{Auto, unix.EINVAL, Seccomp, ""}, // Linux 5.9 and 5.10
		{Auto, unix.EPERM, Seccomp, ""},  // refused by somebody else's filter
		{Dispatch, nil, Dispatch, ""},
		{Dispatch, unix.EINVAL, 0, "the host has no Syscall User Dispatch (Linux 5.11): invalid argument"},
		{Seccomp, nil, Seccomp, ""},
		{Seccomp, unix.EINVAL, Seccomp, ""},
	} {
		got, err := choose(tt.wanted, tt.dispatch)
		require.Equal(t, tt.want, got, tt)
		if tt.err == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, tt.err)
		}
	}
	for name, want := range map[string]Interception{"auto": Auto, "dispatch": Dispatch, "seccomp": Seccomp} {
		got, err := ParseInterception(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ParseInterception("hope")
	require.EqualError(t, err, `there is no way of interception "hope"; choose auto, dispatch or seccomp`)
}

// TestLacks: the first thing that a host lacks is what is said of it.
func TestLacks(t *testing.T) {
	good := cpu{xsave: true, xgetbv1: true, enabled: xcrX87 | xcrSSE | xcrAVX, size: 832}
	require.NoError(t, good.lacks())
	for _, tt := range []struct {
		spoil func(*cpu)
		want  string
	}{
		{func(c *cpu) { c.xsave, c.enabled, c.xgetbv1 = false, 0, false }, "the processor has no XSAVE"},
		{func(c *cpu) { c.enabled = xcrX87 | xcrSSE; c.xgetbv1 = false }, "the processor has no AVX"},
		{func(c *cpu) { c.xgetbv1 = false }, "the processor does not tell what is in use (XGETBV with ECX=1)"},
	} {
		c := good
		tt.spoil(&c)
		require.EqualError(t, c.lacks(), tt.want)
	}
}

// TestSentryText: what a filter is to take for the sentry's is.
func TestSentryText(t *testing.T) {
	lo, hi := sentryText()
	all := codeAddrs()
	for _, a := range []uintptr{all.lo, all.hi, all.answer, all.answered, all.leave, all.sigentry, all.restorer} {
		require.True(t, lo < a && a < hi, "%#x in %#x to %#x", a, lo, hi)
	}
}
