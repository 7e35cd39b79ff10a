package sentry

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

func testKernel() *Kernel {
	k := &Kernel{}
	k.rootNS = &Namespaces{}
	k.rootPIDNS = k.newPIDNamespace(nil, cred.InitUserNS())
	return k
}

func TestPIDNumbers(t *testing.T) {
	k := testKernel()
	root := k.rootPIDNS
	require.NoError(t, root.SetMax(310))
	require.Equal(t, unix.EINVAL, root.SetMax(10))

	// Numbers go up, and come again only after the round.
	for i := int32(1); i < 310; i++ {
		p, err := k.allocPID(root, nil)
		require.NoError(t, err)
		require.Equal(t, i, p.Root())
	}
	_, err := k.allocPID(root, nil)
	require.Equal(t, unix.EAGAIN, err)
	k.freeNumbers(root.findPID(5))
	k.freeNumbers(root.findPID(305))
	p, err := k.allocPID(root, nil)
	require.NoError(t, err)
	require.Equal(t, int32(305), p.Root(), "low numbers are not used again")

	// A nested namespace has numbers of its own; nothing is left over when an outer one has none.
	inner := k.newPIDNamespace(root, cred.InitUserNS())
	_, err = k.allocPID(inner, nil)
	require.Equal(t, unix.EAGAIN, err)
	require.Empty(t, inner.pids)
	k.freeNumbers(root.findPID(306))
	inner.last = 0
	p, err = k.allocPID(inner, []int32{1, 306})
	require.NoError(t, err)
	require.Equal(t, int32(1), p.In(inner))
	require.Equal(t, int32(306), p.In(root))
	require.Equal(t, []int32{306, 1}, p.Numbers(root))
	require.Nil(t, p.Numbers(k.newPIDNamespace(root, cred.InitUserNS())))
	_, err = k.allocPID(inner, []int32{1})
	require.Equal(t, unix.EEXIST, err)
	inner.closed = true
	_, err = k.allocPID(inner, nil)
	require.Equal(t, unix.ENOMEM, err)
}

func TestParseScript(t *testing.T) {
	for _, c := range []struct {
		line, interp, arg string
		hasArg            bool
		err               error
	}{
		{"#!/bin/sh\necho", "/bin/sh", "", false, nil},
		{"#! \t/bin/sh  -e -x \t\n", "/bin/sh", "-e -x", true, nil},
		{"#!/bin/sh", "/bin/sh", "", false, nil},
		{"#!\n", "", "", false, unix.ENOEXEC},
		{"#!   \t ", "", "", false, unix.ENOEXEC},
		{"#!a b", "a", "b", true, nil},
	} {
		var buf [binprmBufSize]byte
		copy(buf[:], c.line)
		i, a, h, err := parseScript(buf[:])
		require.Equal(t, c.err, err, c.line)
		require.Equal(t, []any{c.interp, c.arg, c.hasArg}, []any{i, a, h}, c.line)
	}
	long := make([]byte, binprmBufSize)
	for i := range long {
		long[i] = 'x'
	}
	copy(long, "#!/")
	_, _, _, err := parseScript(long)
	require.Equal(t, unix.ENOEXEC, err, "a name that is cut off")
	long[100] = ' '
	i, a, h, err := parseScript(long)
	require.NoError(t, err, "an argument that is cut off")
	require.Len(t, i, 98)
	require.True(t, h)
	require.Len(t, a, binprmBufSize-1-101)
}

func TestWaitStatus(t *testing.T) {
	s := WaitStatus(3 << 8)
	require.True(t, s.Exited())
	require.Equal(t, 3, s.ExitCode())
	s = WaitStatus(unix.SIGSEGV) | 0x80
	require.True(t, s.Signaled() && s.CoreDump())
	require.Equal(t, unix.SIGSEGV, s.Signal())
	code, v := s.childCode()
	require.Equal(t, [2]int32{cldDumped, 11}, [2]int32{code, v})
}
