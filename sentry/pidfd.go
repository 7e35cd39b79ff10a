package sentry

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// Pidfds: files that stand for a process or, with PIDFD_THREAD, a thread.

const (
	pidfdReadable = waitq.Readable
	pidfdHup      = waitq.Hup

	// PidfdThread is PIDFD_THREAD.
	PidfdThread = unix.O_EXCL

	pidfsIoctlMagic = 0xff
	pidfdGetInfo    = 11 // number of the ioctl; its size varies
)

type pidfdFile struct {
	vfs.DefaultFileOps
	k   *Kernel
	pid *PID
}

// newPidfd makes an open file for a PID.
func (k *Kernel) newPidfd(pid *PID, flags uint32, c *cred.Cred) *vfs.File {
	i := pseudoInode(k.pidfs, pid.ino, unix.S_IFREG|0o700, vfs.DefaultInodeOps{})
	f := vfs.NewAnonFileInode("anon_inode:[pidfd]", i, &pidfdFile{k: k, pid: pid}, unix.O_RDWR|flags&(unix.O_NONBLOCK|PidfdThread), c)
	i.DecRef()
	return f
}

// PidfdOpen is pidfd_open(2).
func (t *Task) PidfdOpen(nr int32, flags uint32) (int32, error) {
	if flags&^uint32(unix.O_NONBLOCK|PidfdThread) != 0 || nr <= 0 {
		return 0, unix.EINVAL
	}
	k := t.k
	k.tasks.RLock()
	pid := t.PIDNS().findPID(nr)
	ok, isTask := false, false
	if pid != nil {
		isTask = pid.task != nil
		ok = pid.proc != nil
	}
	k.tasks.RUnlock()
	if pid == nil || !ok && !isTask {
		return 0, unix.ESRCH
	}
	if !ok && flags&PidfdThread == 0 {
		return 0, unix.ENOENT
	}
	return t.installPidfd(pid, flags)
}

func (t *Task) installPidfd(pid *PID, flags uint32) (int32, error) {
	f := t.k.newPidfd(pid, flags, t.Cred())
	fd, err := t.files.NewFD(0, f, true, t.Limit(unix.RLIMIT_NOFILE))
	if err != nil {
		f.DecRef()
	}
	return fd, err
}

// PIDOfFile is the PID that a pidfd stands for; EBADF for other files. thread tells that
// it stands for a thread only.
func PIDOfFile(f *vfs.File) (pid *PID, thread bool, err error) {
	p, ok := f.Ops.(*pidfdFile)
	if !ok {
		return nil, false, unix.EBADF
	}
	return p.pid, f.Flags()&PidfdThread != 0, nil
}

// PidfdFDInfo is what /proc/PID/fdinfo shows for a pidfd besides what every file has, seen
// from ns; empty for other files.
func PidfdFDInfo(f *vfs.File, ns *PIDNamespace) string {
	p, ok := f.Ops.(*pidfdFile)
	if !ok {
		return ""
	}
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	if p.pid.freed {
		return "Pid:\t-1\nNSpid:\t-1\n"
	}
	nr := p.pid.In(ns)
	var b strings.Builder
	fmt.Fprintf(&b, "Pid:\t%d\nNSpid:\t%d", nr, nr)
	if l := p.pid.Numbers(ns); len(l) > 1 {
		for _, n := range l[1:] {
			fmt.Fprintf(&b, "\t%d", n)
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// Readiness implements waitq.Waitable: readable when the process has ended, hung up when it
// was waited for too.
func (p *pidfdFile) Readiness(mask waitq.Events) waitq.Events {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	var ev waitq.Events
	switch proc, task := p.pid.proc, p.pid.task; {
	case proc == nil && task == nil:
		ev = pidfdReadable | pidfdHup
	case proc != nil && proc.zombie, proc == nil && task.dead:
		ev = pidfdReadable
	}
	return ev & (mask | waitq.Always)
}

// EventRegister implements waitq.Waitable.
func (p *pidfdFile) EventRegister(e *waitq.Entry, m waitq.Events) { p.pid.exit.EventRegister(e, m) }

// EventUnregister implements waitq.Waitable.
func (p *pidfdFile) EventUnregister(e *waitq.Entry) { p.pid.exit.EventUnregister(e) }

// pidfdInfo is struct pidfd_info.
type pidfdInfo struct {
	Mask, CgroupID                                   uint64
	PID, TGID, PPID                                  uint32
	RUID, RGID, EUID, EGID, SUID, SGID, FSUID, FSGID uint32
	ExitCode                                         int32
}

const (
	pidfdInfoPID   = 1 << 0
	pidfdInfoCreds = 1 << 1
	pidfdInfoExit  = 1 << 3
	pidfdInfoVer0  = 64
)

// Kinds of namespaces by the number of the PIDFD_GET_*_NAMESPACE ioctl.
var pidfdNamespaces = [...]string{1: "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time",
	"time_for_children", "user", "uts"}

// Ioctl implements vfs.FileOps.
func (p *pidfdFile) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	t, ok := ctx.(*Task)
	if !ok || cmd>>8&0xff != pidfsIoctlMagic {
		return 0, unix.ENOTTY
	}
	nr := cmd & 0xff
	if nr == pidfdGetInfo {
		return 0, p.getInfo(t, arg, cmd>>16&0x3fff)
	}
	if nr == 0 || int(nr) >= len(pidfdNamespaces) {
		return 0, unix.ENOTTY
	}
	if arg != 0 {
		return 0, unix.EINVAL
	}
	x := p.task()
	if x == nil {
		return 0, unix.ESRCH
	}
	if !t.PtraceMayAccess(x, PtraceRead|PtraceRealCreds) {
		return 0, unix.EPERM
	}
	n := x.Namespace(pidfdNamespaces[nr])
	if n == nil {
		return 0, unix.ESRCH
	}
	f := p.k.OpenNamespace(n, unix.O_RDONLY, ctx.Cred())
	fd, err := t.files.NewFD(0, f, true, t.Limit(unix.RLIMIT_NOFILE))
	if err != nil {
		f.DecRef()
		return 0, err
	}
	return uint64(fd), nil
}

func (p *pidfdFile) task() *Task {
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	if p.pid.task != nil {
		return p.pid.task
	}
	if p.pid.proc != nil {
		return p.pid.proc.leader
	}
	return nil
}

func (p *pidfdFile) getInfo(t *Task, arg uint64, size uint32) error {
	if arg == 0 || size < pidfdInfoVer0 {
		return unix.EINVAL
	}
	var in pidfdInfo
	if err := usermem.CopyObjectIn(t.mm, usermem.Addr(arg), &in.Mask); err != nil {
		return err
	}
	want := in.Mask
	in = pidfdInfo{}
	x := p.task()
	if x == nil {
		e := p.pid.exitInfo.Load()
		if e == nil || want&pidfdInfoExit == 0 {
			return unix.ESRCH
		}
		in.Mask = pidfdInfoExit
		in.ExitCode = int32(e.status)
	} else {
		c, ns := x.Cred(), t.Cred().UserNS
		in.Mask = pidfdInfoPID | pidfdInfoCreds
		in.RUID, in.EUID, in.SUID, in.FSUID = ns.ShowUID(c.UID), ns.ShowUID(c.EUID), ns.ShowUID(c.SUID), ns.ShowUID(c.FSUID)
		in.RGID, in.EGID, in.SGID, in.FSGID = ns.ShowGID(c.GID), ns.ShowGID(c.EGID), ns.ShowGID(c.SGID), ns.ShowGID(c.FSGID)
		pns := t.PIDNS()
		in.PID, in.TGID = uint32(x.PID().In(pns)), uint32(x.proc.tgid.In(pns))
		if parent := x.proc.Parent(); parent != nil {
			in.PPID = uint32(parent.tgid.In(pns))
		}
		if in.PID == 0 {
			return unix.ESRCH
		}
	}
	return usermem.CopyObjectOut(t.mm, usermem.Addr(arg), &in)
}

// PidfdGetFD is pidfd_getfd(2): a copy of another process's descriptor.
func (t *Task) PidfdGetFD(f *vfs.File, fd int32) (int32, error) {
	p, ok := f.Ops.(*pidfdFile)
	if !ok {
		return 0, unix.EBADF
	}
	x := p.task()
	if x == nil {
		return 0, unix.ESRCH
	}
	if !t.PtraceMayAccess(x, PtraceAttach|PtraceRealCreds) {
		return 0, unix.EPERM
	}
	files := x.GetFiles()
	if files == nil {
		return 0, unix.ESRCH
	}
	defer files.DecRef(t)
	file, err := files.Get(fd)
	if err != nil {
		return 0, err
	}
	nfd, err := t.files.NewFD(0, file, true, t.Limit(unix.RLIMIT_NOFILE))
	if err != nil {
		file.DecRef()
		return 0, err
	}
	return nfd, nil
}
