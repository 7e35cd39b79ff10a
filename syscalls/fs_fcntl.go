package syscalls

import (
	"math"
	"runtime"
	"sync"
	"weak"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/pipe"
	"gosv.dev/vfs/tmpfs"
)

// Requests and values of fcntl(2) that package unix does not have.
const (
	fGetOwnerUIDs = 17
	fCreatedQuery = 1028 // F_CREATED_QUERY

	ownerTID  = 0 // F_OWNER_TID
	ownerPID  = 1 // F_OWNER_PID
	ownerPgrp = 2 // F_OWNER_PGRP

	maxWriteLife = 5 // RWH_WRITE_LIFE_EXTREME
)

// fcntl(2)
func fcntl(t *sentry.Task, fd int32, cmd uint32, arg uint64) (uintptr, error) {
	f, cloexec, err := t.Files().GetFlags(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		limit := t.Limit(unix.RLIMIT_NOFILE)
		if uint64(uint32(arg)) >= limit || uint32(arg) > math.MaxInt32 {
			return 0, unix.EINVAL
		}
		n, err := t.Files().Dup(t, fd, int32(arg), cmd == unix.F_DUPFD_CLOEXEC, limit)
		return uintptr(n), err
	case unix.F_GETFD:
		if cloexec {
			return unix.FD_CLOEXEC, nil
		}
		return 0, nil
	case unix.F_SETFD:
		return 0, t.Files().SetCloexec(fd, arg&unix.FD_CLOEXEC != 0)
	case unix.F_GETFL:
		return uintptr(f.Flags()), nil
	case unix.F_DUPFD_QUERY:
		o, err := t.Files().Get(int32(arg))
		if err != nil {
			return 0, err
		}
		defer o.DecRef()
		if o == f {
			return 1, nil
		}
		return 0, nil
	case fCreatedQuery:
		if f.Created() {
			return 1, nil
		}
		return 0, nil
	}
	if f.IsPathOnly() {
		return 0, unix.EBADF
	}
	addr := usermem.Addr(arg)
	switch cmd {
	case unix.F_SETFL:
		return 0, f.SetFlags(t, uint32(arg))
	case unix.F_GETLK, unix.F_OFD_GETLK:
		return 0, getLock(t, f, cmd == unix.F_OFD_GETLK, addr)
	case unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		var fl unix.Flock_t
		if err := usermem.CopyObjectIn(t.MM(), addr, &fl); err != nil {
			return 0, err
		}
		ofd := cmd == unix.F_OFD_SETLK || cmd == unix.F_OFD_SETLKW
		wait := cmd == unix.F_SETLKW || cmd == unix.F_OFD_SETLKW
		return 0, f.SetLock(t, t.Files(), ofd, wait, &fl)
	case unix.F_SETOWN:
		return 0, setOwn(t, f, fd, int32(arg))
	case unix.F_GETOWN:
		typ, nr := getOwner(t, f)
		if typ == ownerPgrp {
			nr = -nr
		}
		return uintptr(nr), nil
	case unix.F_SETOWN_EX:
		var ex [2]int32 // struct f_owner_ex: type, pid
		if err := usermem.CopyObjectIn(t.MM(), addr, &ex); err != nil {
			return 0, err
		}
		return 0, setOwner(t, f, fd, ex[0], ex[1])
	case unix.F_GETOWN_EX:
		typ, nr := getOwner(t, f)
		ex := [2]int32{typ, nr}
		return 0, usermem.CopyObjectOut(t.MM(), addr, &ex)
	case fGetOwnerUIDs:
		o, ns := f.Owner(), t.Cred().UserNS
		ids := [2]uint32{ns.ShowUID(o.UID), ns.ShowUID(o.EUID)}
		return 0, usermem.CopyObjectOut(t.MM(), addr, &ids)
	case unix.F_SETSIG:
		if arg > sentry.NumSignals {
			return 0, unix.EINVAL
		}
		o := f.Owner()
		o.Signal = int32(arg)
		f.SetOwner(o)
		return 0, nil
	case unix.F_GETSIG:
		return uintptr(f.Owner().Signal), nil
	case unix.F_SETLEASE:
		return 0, f.SetLease(t, int16(arg), ownerOf(t, t.Process().PID(), ownerPID, fd))
	case unix.F_GETLEASE:
		return uintptr(f.GetLease()), nil
	case unix.F_NOTIFY:
		if f.Inode().IsDir() && arg != 0 && f.Owner().ID == 0 {
			o := ownerOf(t, t.Process().PID(), ownerPID, fd)
			o.Signal = f.Owner().Signal
			f.SetOwner(o)
		}
		return 0, f.Notify(t, t.Files(), fd, uint32(arg))
	case unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ:
		p := pipe.Of(f)
		if p == nil {
			return 0, unix.EBADF
		}
		if cmd == unix.F_GETPIPE_SZ {
			return uintptr(p.Size()), nil
		}
		n, err := p.SetSize(t.Cred(), uint64(uint32(arg)), pipeLimit(t))
		return uintptr(n), err
	case unix.F_ADD_SEALS:
		return 0, tmpfs.AddSeals(f, uint32(arg))
	case unix.F_GET_SEALS:
		s, err := tmpfs.GetSeals(f)
		return uintptr(s), err
	case unix.F_GET_RW_HINT, unix.F_SET_RW_HINT:
		return 0, writeHint(t, f.Inode(), addr, cmd == unix.F_SET_RW_HINT)
	}
	return 0, unix.EINVAL
}

// getLock is F_GETLK and F_OFD_GETLK.
func getLock(t *sentry.Task, f *vfs.File, ofd bool, addr usermem.Addr) error {
	var fl unix.Flock_t
	if err := usermem.CopyObjectIn(t.MM(), addr, &fl); err != nil {
		return err
	}
	if err := f.GetLock(t, t.Files(), ofd, &fl); err != nil {
		return err
	}
	if fl.Type != unix.F_UNLCK && fl.Pid > 0 {
		fl.Pid = localPID(t, fl.Pid)
	}
	return usermem.CopyObjectOut(t.MM(), addr, &fl)
}

// localPID is the caller's number for a process of the initial pid namespace; 0 if it sees none.
func localPID(t *sentry.Task, root int32) int32 {
	k := t.Kernel()
	if t.PIDNS() == k.RootPIDNS() {
		return root
	}
	if p := k.Process(k.RootPIDNS(), root); p != nil {
		return p.PID().In(t.PIDNS())
	}
	return 0
}

// setOwn is F_SETOWN: a process, or a process group as a negative number; 0 for nobody.
func setOwn(t *sentry.Task, f *vfs.File, fd, who int32) error {
	switch {
	case who == math.MinInt32:
		return unix.EINVAL
	case who < 0:
		return setOwner(t, f, fd, ownerPgrp, -who)
	}
	return setOwner(t, f, fd, ownerPID, who)
}

// setOwner says who gets signals about f.
func setOwner(t *sentry.Task, f *vfs.File, fd, typ, nr int32) error {
	if typ < ownerTID || typ > ownerPgrp {
		return unix.EINVAL
	}
	sig := f.Owner().Signal
	if nr == 0 {
		f.SetOwner(vfs.FileOwner{Type: typ, Signal: sig})
		return nil
	}
	pid := t.FindPID(nr)
	if nr < 0 || pid == nil {
		return unix.ESRCH
	}
	o := ownerOf(t, pid, typ, fd)
	o.Signal = sig
	f.SetOwner(o)
	return nil
}

// getOwner is the owner of f as the caller's number.
func getOwner(t *sentry.Task, f *vfs.File) (typ, nr int32) {
	o := f.Owner()
	if o.ID == 0 {
		return o.Type, 0
	}
	k := t.Kernel()
	if t.PIDNS() == k.RootPIDNS() {
		return o.Type, o.ID
	}
	if x := k.Task(k.RootPIDNS(), o.ID); x != nil {
		return o.Type, x.PID().In(t.PIDNS())
	}
	return o.Type, 0
}

// ownerOf makes pid the owner of a file on behalf of t.
func ownerOf(t *sentry.Task, pid *sentry.PID, typ, fd int32) vfs.FileOwner {
	k, c := t.Kernel(), t.Cred()
	may := func(o *sentry.Task) bool {
		oc := o.Cred()
		return c.EUID == 0 || c.EUID == oc.SUID || c.EUID == oc.UID || c.UID == oc.SUID || c.UID == oc.UID
	}
	return vfs.FileOwner{
		Type: typ, ID: pid.Root(), UID: c.UID, EUID: c.EUID,
		Send: func(sig unix.Signal, code int32, band int64, from int32) {
			if from < 0 {
				from = fd
			}
			info := sentry.KernelInfo(sig)
			if sig != unix.SIGIO {
				info.Code = code
				info.SetBand(band)
				info.SetFD(from)
			}
			switch typ {
			case ownerTID:
				if o := k.Task(k.RootPIDNS(), pid.Root()); o != nil && o.PID() == pid && may(o) {
					_ = o.SendSignal(info) // it may be gone, or its queue full: as Linux
				}
			case ownerPID:
				if p := k.Process(k.RootPIDNS(), pid.Root()); p != nil && p.PID() == pid && may2(p, may) {
					_ = p.SendSignal(info)
				}
			case ownerPgrp:
				for _, p := range k.Processes(k.RootPIDNS()) {
					if p.PGID() == pid && may2(p, may) {
						_ = p.SendSignal(info)
					}
				}
			}
		},
	}
}

func may2(p *sentry.Process, may func(*sentry.Task) bool) bool {
	l := p.Leader()
	return l != nil && may(l)
}

// writeHints are what F_SET_RW_HINT has said about inodes of a kernel, for F_GET_RW_HINT. An
// entry goes when its inode does.
type writeHints struct {
	mu sync.Mutex
	m  map[weak.Pointer[vfs.Inode]]uint64
}

func writeHint(t *sentry.Task, i *vfs.Inode, addr usermem.Addr, set bool) error {
	tb, ok := t.Kernel().Syscalls.(*Table)
	if !ok {
		return unix.EINVAL
	}
	h := &tb.hints
	key := weak.Make(i)
	var v uint64
	if !set {
		h.mu.Lock()
		v = h.m[key]
		h.mu.Unlock()
		return usermem.CopyObjectOut(t.MM(), addr, &v)
	}
	if err := usermem.CopyObjectIn(t.MM(), addr, &v); err != nil {
		return err
	}
	if v > maxWriteLife {
		return unix.EINVAL
	}
	if !vfs.OwnerOrCapable(t, i) {
		return unix.EPERM
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.m[key]; !known {
		if h.m == nil {
			h.m = make(map[weak.Pointer[vfs.Inode]]uint64)
		}
		runtime.AddCleanup(i, func(k weak.Pointer[vfs.Inode]) {
			h.mu.Lock()
			delete(h.m, k)
			h.mu.Unlock()
		}, key)
	}
	h.m[key] = v
	return nil
}

// flock(2)
func flock(t *sentry.Task, fd, op int32) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, f.Flock(t, int(op))
}
