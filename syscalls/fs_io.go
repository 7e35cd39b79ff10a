package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/netstack"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// maxRW is the most that one read or write transfers (MAX_RW_COUNT).
const maxRW = 0x7ffff000

// maxIov is IOV_MAX.
const maxIov = 1024

// userRange checks that [addr, addr+n) lies in the guest's part of the address space, as
// Linux's access_ok does.
func userRange(addr usermem.Addr, n uint64) error {
	if uint64(addr) > arch.MaxAddr || n > arch.MaxAddr-uint64(addr) {
		return unix.EFAULT
	}
	return nil
}

// guestIO is the memory side of a transfer of n bytes at addr.
func guestIO(t *sentry.Task, addr usermem.Addr, n uint64) (usermem.IO, error) {
	if int64(n) < 0 {
		return usermem.IO{}, unix.EINVAL
	}
	if err := userRange(addr, n); err != nil {
		return usermem.IO{}, err
	}
	return usermem.Guest(t.MM(), addr, min(n, maxRW)), nil
}

// setGuestIO makes v what guestIO yields.
func setGuestIO(t *sentry.Task, v *usermem.IO, addr usermem.Addr, n uint64) error {
	if int64(n) < 0 {
		return unix.EINVAL
	}
	if err := userRange(addr, n); err != nil {
		return err
	}
	v.SetGuest(t.MM(), addr, min(n, maxRW))
	return nil
}

// iovec is struct iovec.
type iovec struct{ Base, Len uint64 }

// guestVec is the memory side of a vectored transfer.
func guestVec(t *sentry.Task, addr usermem.Addr, n uint64) (usermem.IO, error) {
	rs, err := readIovec(t.MM(), addr, n)
	if err != nil {
		return usermem.IO{}, err
	}
	return usermem.GuestVec(t.MM(), rs).Limit(maxRW), nil
}

// readIovec copies in and checks n struct iovec.
func readIovec(m usermem.Memory, addr usermem.Addr, n uint64) ([]usermem.Range, error) {
	if n > maxIov {
		return nil, unix.EINVAL
	}
	vec, err := usermem.CopySliceIn[iovec](m, addr, int(n))
	if err != nil {
		return nil, err
	}
	rs := make([]usermem.Range, n)
	total := uint64(0)
	for i, v := range vec {
		if int64(v.Len) < 0 {
			return nil, unix.EINVAL
		}
		if err := userRange(usermem.Addr(v.Base), v.Len); err != nil {
			return nil, err
		}
		// Beyond the most that is transferred nothing matters.
		l := min(v.Len, maxRW-total)
		total += l
		rs[i] = usermem.Range{Start: usermem.Addr(v.Base), Len: l}
	}
	return rs, nil
}

// rwfFlags translates RWF_* and checks them for f.
func rwfFlags(f *vfs.File, flags uint32, write bool) (vfs.IOFlags, error) {
	const (
		rwfHipri, rwfDsync, rwfSync, rwfNowait, rwfAppend, rwfNoAppend = 1, 2, 4, 8, 16, 32
	)
	if flags&^(rwfHipri|rwfDsync|rwfSync|rwfNowait|rwfAppend|rwfNoAppend) != 0 {
		return 0, unix.EOPNOTSUPP
	}
	var io vfs.IOFlags
	if flags&rwfNowait != 0 {
		io |= vfs.IONonblock
	}
	if flags&(rwfSync|rwfDsync) != 0 && write {
		io |= vfs.IOSync
	}
	if flags&rwfAppend != 0 {
		if flags&rwfNoAppend != 0 {
			return 0, unix.EINVAL
		}
		if write {
			io |= vfs.IOAppend
		}
	}
	if flags&rwfNoAppend != 0 && f.Flags()&unix.O_APPEND != 0 {
		return 0, unix.EOPNOTSUPP
	}
	return io, nil
}

// readFile reads at f's position. A socket is received from, with its timeout.
func readFile(t *sentry.Task, f *vfs.File, dst *usermem.IO, flags vfs.IOFlags) (int64, error) {
	if _, ok := f.Ops.(netstack.Socket); !ok {
		return f.Read(t, dst, flags)
	}
	if dst.Len() == 0 {
		return 0, nil
	}
	m := netstack.RecvMessage{Data: dst}
	if flags&vfs.IONonblock != 0 {
		m.Flags = unix.MSG_DONTWAIT
	}
	n, err := netstack.Recv(t, f, &m)
	m.Control.Release()
	return n, err
}

// writeFile writes at f's position. To a socket it sends, with its timeout.
func writeFile(t *sentry.Task, f *vfs.File, src *usermem.IO, flags vfs.IOFlags) (int64, error) {
	s, ok := f.Ops.(netstack.Socket)
	if !ok {
		return f.Write(t, src, flags)
	}
	m := netstack.SendMessage{Data: src}
	if flags&vfs.IONonblock != 0 {
		m.Flags = unix.MSG_DONTWAIT
	}
	if _, typ, _ := s.Kind(); typ == unix.SOCK_SEQPACKET {
		m.Flags |= unix.MSG_EOR
	}
	return netstack.Send(t, f, &m)
}

// leafReads and leafWrites tell for which calls of read and write there are leaf calls.
func leafReads(t *sentry.Task, a *[6]uint64) bool  { return t.LeafReads(int32(a[0])) }
func leafWrites(t *sentry.Task, a *[6]uint64) bool { return t.LeafWrites(int32(a[0])) }

// read(2)
func read(t *sentry.Task, fd int32, buf usermem.Addr, n uint64) (uintptr, error) {
	f, err := t.Files().Use(fd)
	if err != nil {
		return 0, err
	}
	dst := t.IO()
	err = setGuestIO(t, dst, buf, n)
	var done int64
	if err == nil {
		done, err = readFile(t, f.File, dst, f.IOFlags())
	} else if !f.Readable() {
		err = unix.EBADF
	}
	f.Done()
	return uintptr(done), err
}

// write(2)
func write(t *sentry.Task, fd int32, buf usermem.Addr, n uint64) (uintptr, error) {
	f, err := t.Files().Use(fd)
	if err != nil {
		return 0, err
	}
	src := t.IO()
	err = setGuestIO(t, src, buf, n)
	var done int64
	if err == nil {
		done, err = writeFile(t, f.File, src, f.IOFlags())
	} else if !f.Writable() {
		err = unix.EBADF
	}
	f.Done()
	return uintptr(done), err
}

// pread64(2)
func pread64(t *sentry.Task, fd int32, buf usermem.Addr, n uint64, off int64) (uintptr, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	f, err := t.Files().Use(fd)
	if err != nil {
		return 0, err
	}
	dst := t.IO()
	err = setGuestIO(t, dst, buf, n)
	var done int64
	if err == nil && n > maxOff-uint64(off) && !f.Ops.Stream() {
		err = unix.EINVAL // the end would not be an offset
	}
	if err == nil {
		done, err = f.PRead(t, dst, off, 0)
	}
	f.Done()
	return uintptr(done), err
}

// pwrite64(2)
func pwrite64(t *sentry.Task, fd int32, buf usermem.Addr, n uint64, off int64) (uintptr, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	f, err := t.Files().Use(fd)
	if err != nil {
		return 0, err
	}
	src := t.IO()
	err = setGuestIO(t, src, buf, n)
	var done int64
	if err == nil && n > maxOff-uint64(off) && !f.Ops.Stream() {
		err = unix.EINVAL
	}
	if err == nil {
		done, err = f.PWrite(t, src, off, 0)
	}
	f.Done()
	return uintptr(done), err
}

// vectored is what the eight vectored calls share. off -1 uses the file's position.
func vectored(t *sentry.Task, fd int32, vec usermem.Addr, n uint64, off int64, flags uint32, out bool) (uintptr, error) {
	if off < -1 {
		return 0, unix.EINVAL
	}
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if off >= 0 && !f.IsPathOnly() && f.Ops.Stream() {
		return 0, unix.ESPIPE
	}
	if out && !f.Writable() || !out && !f.Readable() {
		return 0, unix.EBADF
	}
	v, err := guestVec(t, vec, n)
	if err != nil {
		return 0, err
	}
	fl, err := rwfFlags(f, flags, out)
	if err != nil {
		return 0, err
	}
	if off >= 0 && v.Len() > maxOff-uint64(off) {
		return 0, unix.EINVAL
	}
	var done int64
	switch {
	case out && off < 0:
		done, err = writeFile(t, f, &v, fl)
	case out:
		done, err = f.PWrite(t, &v, off, fl)
	case off < 0:
		done, err = readFile(t, f, &v, fl)
	default:
		done, err = f.PRead(t, &v, off, fl)
	}
	return uintptr(done), err
}

// readv(2)
func readv(t *sentry.Task, fd int32, vec usermem.Addr, n uint64) (uintptr, error) {
	return vectored(t, fd, vec, n, -1, 0, false)
}

// writev(2)
func writev(t *sentry.Task, fd int32, vec usermem.Addr, n uint64) (uintptr, error) {
	return vectored(t, fd, vec, n, -1, 0, true)
}

// preadv(2). The high half of the offset is unused on 64-bit machines.
func preadv(t *sentry.Task, fd int32, vec usermem.Addr, n uint64, off int64) (uintptr, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	return vectored(t, fd, vec, n, off, 0, false)
}

// pwritev(2)
func pwritev(t *sentry.Task, fd int32, vec usermem.Addr, n uint64, off int64) (uintptr, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	return vectored(t, fd, vec, n, off, 0, true)
}

// preadv2(2)
func preadv2(t *sentry.Task, fd int32, vec usermem.Addr, n uint64, off int64, _ uint64, flags uint32) (uintptr, error) {
	return vectored(t, fd, vec, n, off, flags, false)
}

// pwritev2(2)
func pwritev2(t *sentry.Task, fd int32, vec usermem.Addr, n uint64, off int64, _ uint64, flags uint32) (uintptr, error) {
	return vectored(t, fd, vec, n, off, flags, true)
}

// lseek(2)
func lseek(t *sentry.Task, fd int32, off int64, whence uint32) (uintptr, error) {
	f, err := t.Files().Use(fd)
	if err != nil {
		return 0, err
	}
	pos, err := f.Seek(t, off, int(min(whence, unix.SEEK_HOLE+1)))
	f.Done()
	return uintptr(pos), err
}

// ioctl(2). The descriptor's own requests are handled here, all others by the file.
func ioctl(t *sentry.Task, fd int32, cmd uint32, arg uint64) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if f.IsPathOnly() {
		return 0, unix.EBADF
	}
	const fioclex, fionclex, fiosetown, fiogetown = 0x5451, 0x5450, 0x8901, 0x8903
	switch cmd {
	case fioclex, fionclex:
		return 0, t.Files().SetCloexec(fd, cmd == fioclex)
	case unix.SIOCSPGRP, fiosetown:
		var who int32
		if f.Inode().Type() == unix.S_IFSOCK {
			if err := usermem.CopyObjectIn(t.MM(), usermem.Addr(arg), &who); err != nil {
				return 0, err
			}
			return 0, setOwn(t, f, fd, who)
		}
	case unix.SIOCGPGRP, fiogetown:
		if f.Inode().Type() == unix.S_IFSOCK {
			typ, nr := getOwner(t, f)
			if typ == ownerPgrp {
				nr = -nr
			}
			return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(arg), &nr)
		}
	}
	v, err := f.Ioctl(t, cmd, arg)
	return uintptr(v), err
}

// syncFile is what the calls that make one file durable share.
func syncFile(t *sentry.Task, fd int32, off, n int64, dataOnly bool) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if f.IsPathOnly() {
		return 0, unix.EBADF
	}
	return 0, f.Sync(t, off, n, dataOnly)
}

// fsync(2)
func fsync(t *sentry.Task, fd int32) (uintptr, error) { return syncFile(t, fd, 0, maxOff, false) }

// fdatasync(2)
func fdatasync(t *sentry.Task, fd int32) (uintptr, error) { return syncFile(t, fd, 0, maxOff, true) }

const maxOff = 1<<63 - 1

// sync_file_range(2)
func syncFileRange(t *sentry.Task, fd int32, off, n int64, flags uint32) (uintptr, error) {
	if off < 0 || n < 0 || off+n < off || flags&^7 != 0 {
		return 0, unix.EINVAL
	}
	if n == 0 {
		n = maxOff - off
	}
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	switch f.Inode().Type() {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFDIR, unix.S_IFLNK:
	default:
		return 0, unix.ESPIPE
	}
	if flags == 0 {
		return 0, nil
	}
	return 0, f.Sync(t, off, n, true)
}

// sync(2)
func sysSync(t *sentry.Task) (uintptr, error) {
	t.Kernel().Memory.SyncAll() // errors stay with the files, for their fsync
	return 0, nil
}

// syncfs(2)
func syncfs(t *sentry.Task, fd int32) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, t.Kernel().Memory.SyncAll()
}

// fallocate(2)
func fallocate(t *sentry.Task, fd int32, mode uint32, off, n int64) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, f.Allocate(t, mode, off, n)
}

// fadvise64(2): advice about a cache that decides by itself; only the arguments are checked,
// but POSIX_FADV_DONTNEED and WILLNEED are only hints on Linux too.
func fadvise64(t *sentry.Task, fd int32, off, n int64, advice int32) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if f.IsPathOnly() {
		return 0, unix.EBADF
	}
	if ty := f.Inode().Type(); ty == unix.S_IFIFO {
		return 0, unix.ESPIPE
	}
	if n < 0 || advice < 0 || advice > unix.FADV_NOREUSE {
		return 0, unix.EINVAL
	}
	return 0, nil
}

// readahead(2)
func readahead(t *sentry.Task, fd int32, off int64, n uint64) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if !f.Readable() {
		return 0, unix.EBADF
	}
	if !f.Inode().IsRegular() {
		return 0, unix.EINVAL
	}
	return 0, nil
}
