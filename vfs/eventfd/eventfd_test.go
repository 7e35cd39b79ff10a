package eventfd

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

func write(f *vfs.File, n uint64) error {
	v := usermem.Bytes(binary.NativeEndian.AppendUint64(nil, n))
	_, err := f.Write(vfs.KernelContext(), &v, 0)
	return err
}

func read(f *vfs.File) (uint64, error) {
	b := make([]byte, 8)
	v := usermem.Bytes(b)
	_, err := f.Read(vfs.KernelContext(), &v, 0)
	return binary.NativeEndian.Uint64(b), err
}

func TestEventfd(t *testing.T) {
	f, err := NewFile(vfs.KernelContext(), 3, unix.EFD_NONBLOCK)
	require.NoError(t, err)
	n, err := read(f)
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	_, err = read(f)
	require.Equal(t, unix.EAGAIN, err)
	require.Equal(t, unix.EINVAL, write(f, math.MaxUint64))
	require.NoError(t, write(f, math.MaxUint64-1))
	require.Equal(t, unix.EAGAIN, write(f, 1))
	require.Equal(t, waitq.In, f.Readiness(waitq.In|waitq.Out|waitq.Err))
	_, err = f.Seek(vfs.KernelContext(), 7, unix.SEEK_SET)
	require.NoError(t, err, "seeking does nothing")
	f.Ops.(*Event).Signal(5)
	require.Equal(t, waitq.In|waitq.Err, f.Readiness(waitq.In|waitq.Out|waitq.Err))
	f.DecRef()

	f, err = NewFile(vfs.KernelContext(), 2, unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE)
	require.NoError(t, err)
	for range 2 {
		n, err = read(f)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
	}
	_, err = read(f)
	require.Equal(t, unix.EAGAIN, err)
	f.DecRef()
}
