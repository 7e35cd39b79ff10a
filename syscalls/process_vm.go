package syscalls

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Memory of other processes, and comparing what two tasks share.

// vmBuffers are what copies between two address spaces go through.
var vmBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// processVM is process_vm_readv and process_vm_writev: it copies between local and remote
// ranges in order and returns how much it did; an error only if that is nothing.
func processVM(t *sentry.Task, pid int32, lvec usermem.Addr, ln uint64, rvec usermem.Addr, rn uint64, flags uint64, write bool) (uintptr, error) {
	if flags != 0 {
		return 0, unix.EINVAL
	}
	local, err := readIovec(t.MM(), lvec, ln)
	if err != nil {
		return 0, err
	}
	// Remote addresses may be anything: only the copy tells.
	if rn > maxIov {
		return 0, unix.EINVAL
	}
	remote, err := usermem.CopySliceIn[iovec](t.MM(), rvec, int(rn))
	if err != nil {
		return 0, err
	}
	for _, r := range remote {
		if int64(r.Len) < 0 {
			return 0, unix.EINVAL
		}
	}
	o, err := otherTask(t, pid)
	if err != nil {
		return 0, err
	}
	if !t.PtraceMayAccess(o, sentry.PtraceAttach|sentry.PtraceRealCreds) {
		return 0, unix.EPERM
	}
	as := o.GetMM()
	if as == nil {
		return 0, unix.ESRCH
	}
	defer as.DecUsers()
	lio := usermem.GuestVec(t.MM(), local)
	buf := vmBuffers.Get().(*[64 << 10]byte)
	defer vmBuffers.Put(buf)
	done := uintptr(0)
	for _, r := range remote {
		addr, left := usermem.Addr(r.Base), r.Len
		for left > 0 && lio.Len() > 0 {
			n := min(left, lio.Len(), uint64(len(buf)))
			var got int
			if write {
				src := lio
				if got, err = src.Read(buf[:n]); got > 0 {
					var w int
					var werr error
					w, werr = as.CopyOut(addr, buf[:got])
					got = w
					if werr != nil {
						err = werr
					}
				}
				lio = lio.Skip(uint64(got))
			} else {
				if got, err = as.CopyIn(addr, buf[:n]); got > 0 {
					var w int
					var werr error
					w, werr = lio.Write(buf[:got])
					got = w
					if werr != nil {
						err = werr
					}
				}
			}
			done += uintptr(got)
			addr += usermem.Addr(got)
			left -= uint64(got)
			if err != nil {
				if done > 0 {
					return done, nil
				}
				return 0, unix.EFAULT
			}
			if t.Fatal() {
				return done, nil
			}
		}
	}
	return done, nil
}

// process_vm_readv(2)
func processVMReadv(t *sentry.Task, pid int32, lvec usermem.Addr, ln uint64, rvec usermem.Addr, rn uint64, flags uint64) (uintptr, error) {
	return processVM(t, pid, lvec, ln, rvec, rn, flags, false)
}

// process_vm_writev(2)
func processVMWritev(t *sentry.Task, pid int32, lvec usermem.Addr, ln uint64, rvec usermem.Addr, rn uint64, flags uint64) (uintptr, error) {
	return processVM(t, pid, lvec, ln, rvec, rn, flags, true)
}

// kcmp(2)
func kcmp(t *sentry.Task, pid1, pid2, kind int32, idx1, idx2 uint64) (uintptr, error) {
	if pid1 <= 0 || pid2 <= 0 {
		return 0, unix.ESRCH
	}
	a, err := otherTask(t, pid1)
	if err != nil {
		return 0, err
	}
	b, err := otherTask(t, pid2)
	if err != nil {
		return 0, err
	}
	for _, o := range []*sentry.Task{a, b} {
		if !t.PtraceMayAccess(o, sentry.PtraceRead|sentry.PtraceRealCreds) {
			return 0, unix.EPERM
		}
	}
	const sysvsem = 6 // KCMP_SYSVSEM
	if tb, ok := t.Kernel().Syscalls.(*Table); ok && kind == sysvsem {
		return uintptr(t.KcmpObjects(tb.undo.peek(a), tb.undo.peek(b))), nil
	}
	r, err := t.Kcmp(a, b, kind, idx1, idx2)
	return uintptr(r), err
}
