package syscalls

import (
	"math"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/pipe"
)

// newFDs gives two files descriptors and writes their numbers to addr. It takes over both references.
func newFDs(t *sentry.Task, a, b *vfs.File, cloexec bool, addr usermem.Addr) error {
	fa, err := newFD(t, a, cloexec)
	if err != nil {
		b.DecRef()
		return err
	}
	fb, err := newFD(t, b, cloexec)
	if err != nil {
		t.Files().Close(t, int32(fa))
		return err
	}
	fds := [2]int32{int32(fa), int32(fb)}
	if err := usermem.CopyObjectOut(t.MM(), addr, &fds); err != nil {
		t.Files().Close(t, fds[0])
		t.Files().Close(t, fds[1])
		return err
	}
	return nil
}

// pipeLimit is how large the caller may make a pipe.
func pipeLimit(t *sentry.Task) uint64 {
	if t.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
		return math.MaxUint64
	}
	return uint64(t.Kernel().VFS.PipeMaxSize.Load())
}

// pipe2(2)
func pipe2(t *sentry.Task, addr usermem.Addr, flags uint32) (uintptr, error) {
	r, w, err := pipe.NewFiles(t, t.Kernel().VFS, flags)
	if err != nil {
		return 0, err
	}
	return 0, newFDs(t, r, w, flags&unix.O_CLOEXEC != 0, addr)
}

// pipe(2)
func sysPipe(t *sentry.Task, addr usermem.Addr) (uintptr, error) { return pipe2(t, addr, 0) }

// twoFiles gets the files of two descriptors.
func twoFiles(t *sentry.Task, a, b int32) (fa, fb *vfs.File, err error) {
	if fa, err = openFile(t, a); err != nil {
		return nil, nil, err
	}
	if fb, err = openFile(t, b); err != nil {
		fa.DecRef()
		return nil, nil, err
	}
	return fa, fb, nil
}

// offset is an offset that a guest passes by address: none if the address is 0.
type offset struct {
	addr  usermem.Addr
	value int64
}

// read copies the offset in; the result is nil without one.
func (o *offset) read(t *sentry.Task) (*int64, error) {
	if o.addr == 0 {
		return nil, nil
	}
	if err := usermem.CopyObjectIn(t.MM(), o.addr, &o.value); err != nil {
		return nil, err
	}
	return &o.value, nil
}

func (o *offset) write(t *sentry.Task) error {
	if o.addr == 0 {
		return nil
	}
	return usermem.CopyObjectOut(t.MM(), o.addr, &o.value)
}

// splice(2)
func splice(t *sentry.Task, fdIn int32, offIn usermem.Addr, fdOut int32, offOut usermem.Addr, n uint64, flags uint32) (uintptr, error) {
	if n == 0 {
		return 0, nil
	}
	if flags&^(unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MORE|unix.SPLICE_F_GIFT) != 0 {
		return 0, unix.EINVAL
	}
	in, out, err := twoFiles(t, fdIn, fdOut)
	if err != nil {
		return 0, err
	}
	defer in.DecRef()
	defer out.DecRef()
	// A pipe has no offsets, even unreadable ones.
	if offIn != 0 && pipe.Of(in) != nil || offOut != 0 && pipe.Of(out) != nil {
		return 0, unix.ESPIPE
	}
	oi, oo := offset{addr: offIn}, offset{addr: offOut}
	pi, err := oi.read(t)
	if err != nil {
		return 0, err
	}
	po, err := oo.read(t)
	if err != nil {
		return 0, err
	}
	done, err := pipe.Splice(t, in, pi, out, po, int64(min(n, maxRW)), flags)
	if err != nil {
		return 0, err
	}
	if err := oi.write(t); err != nil {
		return 0, err
	}
	return uintptr(done), oo.write(t)
}

// tee(2)
func tee(t *sentry.Task, fdIn, fdOut int32, n uint64, flags uint32) (uintptr, error) {
	if flags&^(unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MORE|unix.SPLICE_F_GIFT) != 0 {
		return 0, unix.EINVAL
	}
	if n == 0 {
		return 0, nil
	}
	in, out, err := twoFiles(t, fdIn, fdOut)
	if err != nil {
		return 0, err
	}
	defer in.DecRef()
	defer out.DecRef()
	done, err := pipe.Tee(t, in, out, int64(min(n, maxRW)), flags)
	return uintptr(done), err
}

// vmsplice(2)
func vmsplice(t *sentry.Task, fd int32, iov usermem.Addr, n uint64, flags uint32) (uintptr, error) {
	if flags&^(unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MORE|unix.SPLICE_F_GIFT) != 0 {
		return 0, unix.EINVAL
	}
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	v, err := guestVec(t, iov, n)
	if err != nil {
		return 0, err
	}
	if v.Len() == 0 {
		return 0, nil
	}
	done, err := pipe.VMSplice(t, f, &v, flags)
	return uintptr(done), err
}

// sendfile(2)
func sendfile(t *sentry.Task, fdOut, fdIn int32, offAddr usermem.Addr, n uint64) (uintptr, error) {
	o := offset{addr: offAddr}
	off, err := o.read(t)
	if err != nil {
		return 0, err
	}
	in, err := openFile(t, fdIn)
	if err != nil {
		return 0, err
	}
	defer in.DecRef()
	if !in.Readable() {
		return 0, unix.EBADF
	}
	if off != nil && in.Ops.Stream() {
		return 0, unix.ESPIPE
	}
	out, err := openFile(t, fdOut)
	if err != nil {
		return 0, err
	}
	defer out.DecRef()
	if !out.Writable() {
		return 0, unix.EBADF
	}
	if int64(n) < 0 || off != nil && *off < 0 {
		return 0, unix.EINVAL
	}
	done, err := pipe.SendFile(t, out, in, off, int64(min(n, maxRW)))
	if err != nil {
		return 0, err
	}
	return uintptr(done), o.write(t)
}

// copyBuffer is how much copy_file_range moves at a time.
const copyBuffer = 256 << 10

// copy_file_range(2)
func copyFileRange(t *sentry.Task, fdIn int32, offIn usermem.Addr, fdOut int32, offOut usermem.Addr, n uint64, flags uint32) (uintptr, error) {
	in, out, err := twoFiles(t, fdIn, fdOut)
	if err != nil {
		return 0, err
	}
	defer in.DecRef()
	defer out.DecRef()
	oi, oo := offset{addr: offIn}, offset{addr: offOut}
	if _, err := oi.read(t); err != nil {
		return 0, err
	}
	if _, err := oo.read(t); err != nil {
		return 0, err
	}
	if flags != 0 {
		return 0, unix.EINVAL
	}
	switch ii, io := in.Inode(), out.Inode(); {
	case ii.IsDir() || io.IsDir():
		return 0, unix.EISDIR
	case !ii.IsRegular() || !io.IsRegular():
		return 0, unix.EINVAL
	case !in.Readable() || !out.Writable() || out.Flags()&unix.O_APPEND != 0:
		return 0, unix.EBADF
	case ii.SB != io.SB && ii.SB.Type != io.SB.Type:
		return 0, unix.EXDEV
	}
	if offIn == 0 {
		if oi.value, err = in.Seek(t, 0, unix.SEEK_CUR); err != nil {
			return 0, err
		}
	}
	if offOut == 0 {
		if oo.value, err = out.Seek(t, 0, unix.SEEK_CUR); err != nil {
			return 0, err
		}
	}
	if uint64(oi.value)+n < n || uint64(oo.value)+n < n {
		return 0, unix.EOVERFLOW
	}
	if oi.value < 0 || oo.value < 0 {
		return 0, unix.EINVAL
	}
	st, err := in.Path.Stat(t)
	if err != nil {
		return 0, err
	}
	n = min(n, maxRW, uint64(max(st.Size-oi.value, 0)))
	if in.Inode() == out.Inode() && oi.value < oo.value+int64(n) && oo.value < oi.value+int64(n) {
		return 0, unix.EINVAL // they overlap
	}
	if n == 0 {
		return 0, nil
	}
	done, err := copyData(t, in, oi.value, out, oo.value, n)
	if done == 0 {
		return 0, err
	}
	oi.value += done
	oo.value += done
	if offIn == 0 {
		in.Seek(t, oi.value, unix.SEEK_SET)
	} else if err := oi.write(t); err != nil {
		return 0, err
	}
	if offOut == 0 {
		out.Seek(t, oo.value, unix.SEEK_SET)
	} else if err := oo.write(t); err != nil {
		return 0, err
	}
	return uintptr(done), nil
}

func copyData(t *sentry.Task, in *vfs.File, oi int64, out *vfs.File, oo int64, n uint64) (int64, error) {
	buf := make([]byte, min(n, copyBuffer))
	var done int64
	for uint64(done) < n && !t.Interrupted() {
		b := buf[:min(uint64(len(buf)), n-uint64(done))]
		dst := usermem.Bytes(b)
		got, err := in.PRead(t, &dst, oi+done, 0)
		if err != nil || got == 0 {
			return done, err
		}
		src := usermem.Bytes(b[:got])
		put, err := out.PWrite(t, &src, oo+done, 0)
		done += put
		if err != nil || put < got {
			return done, err
		}
	}
	if done == 0 {
		return 0, vfs.ErrRestartSys
	}
	return done, nil
}
