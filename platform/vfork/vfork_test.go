package vfork

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// vector is a vector of strings for execve.
func vector(t *testing.T, s ...string) []*byte {
	v, err := syscall.SlicePtrFromStrings(s)
	require.NoError(t, err)
	return v
}

// TestStart executes a shell whose standard output is a pipe.
func TestStart(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	argv, envp := vector(t, "/bin/sh", "-c", "echo $A; exit 7"), vector(t, "A=hello")
	pid, err := Start(0, []Call{
		{Nr: unix.SYS_CLOSE, Args: [6]uintptr{999}, May: unix.EBADF},
		{Nr: unix.SYS_DUP3, Args: [6]uintptr{w.Fd(), 1}},
		{Nr: unix.SYS_EXECVE, Args: [6]uintptr{uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0]))}},
	})
	runtime.KeepAlive(argv)
	runtime.KeepAlive(envp)
	require.NoError(t, err)
	w.Close()
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(out))
	var ws unix.WaitStatus
	_, err = unix.Wait4(pid, &ws, 0, nil)
	require.NoError(t, err)
	require.Equal(t, 7, ws.ExitStatus())
}

// TestFailure: what fails is told, and no process is left.
func TestFailure(t *testing.T) {
	path := vector(t, "/does/not/exist")
	pid, err := Start(0, []Call{
		{Nr: unix.SYS_GETPID},
		{Nr: unix.SYS_EXECVE, Args: [6]uintptr{uintptr(unsafe.Pointer(path[0])), uintptr(unsafe.Pointer(&path[1])), uintptr(unsafe.Pointer(&path[1]))}},
	})
	runtime.KeepAlive(path)
	require.Zero(t, pid)
	require.ErrorIs(t, err, unix.ENOENT)
	var e *Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, 1, e.Index)

	_, err = Start(unix.CLONE_THREAD, []Call{{Nr: unix.SYS_GETPID}}) // not without CLONE_SIGHAND
	require.Equal(t, error(unix.EINVAL), err)
	_, err = Start(0, nil)
	require.Equal(t, error(unix.EINVAL), err)
}
