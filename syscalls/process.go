package syscalls

import (
	"fmt"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// Processes: making, running and waiting for them, and who they are.

// clone(2)
func clone(t *sentry.Task, flags uint64, stack, parentTID, childTID usermem.Addr, tls uint64) (uintptr, error) {
	flags &= 0xffffffff
	a := &sentry.CloneArgs{
		Flags: flags &^ 0xff, ExitSignal: int32(flags & 0xff), Stack: uint64(stack),
		ParentTID: uint64(parentTID), PidFD: uint64(parentTID), ChildTID: uint64(childTID), TLS: tls,
	}
	if a.Flags&unix.CLONE_PIDFD != 0 && a.Flags&unix.CLONE_PARENT_SETTID != 0 {
		return 0, unix.EINVAL
	}
	nr, err := t.Clone(a)
	return uintptr(nr), err
}

// cloneArgs is struct clone_args.
type cloneArgs struct {
	Flags, PidFD, ChildTID, ParentTID, ExitSignal, Stack, StackSize, TLS uint64
	SetTID, SetTIDSize, Cgroup                                           uint64
}

const (
	cloneArgsVer0   = 64
	cloneIntoCgroup = 0x200000000
	maxPIDLevel     = 32
)

// clone3(2)
func clone3(t *sentry.Task, addr usermem.Addr, size uint64) (uintptr, error) {
	if size > arch.PageSize {
		return 0, unix.E2BIG
	}
	var c cloneArgs
	if err := copyStructIn(t, addr, size, cloneArgsVer0, usermem.AsBytes(&c)); err != nil {
		return 0, err
	}
	if c.SetTIDSize > maxPIDLevel || (c.SetTID == 0) != (c.SetTIDSize == 0) {
		return 0, unix.EINVAL
	}
	if c.ExitSignal&^0xff != 0 || c.ExitSignal > 64 {
		return 0, unix.EINVAL
	}
	const known = 0xffffffff | unix.CLONE_CLEAR_SIGHAND | cloneIntoCgroup
	if c.Flags&^known != 0 || c.Flags&(unix.CLONE_DETACHED|0xff&^unix.CLONE_NEWTIME) != 0 {
		return 0, unix.EINVAL
	}
	if c.Flags&(unix.CLONE_SIGHAND|unix.CLONE_CLEAR_SIGHAND) == unix.CLONE_SIGHAND|unix.CLONE_CLEAR_SIGHAND {
		return 0, unix.EINVAL
	}
	if c.Flags&(unix.CLONE_THREAD|unix.CLONE_PARENT) != 0 && c.ExitSignal != 0 {
		return 0, unix.EINVAL
	}
	if c.Flags&cloneIntoCgroup != 0 {
		if size < 88 || c.Cgroup > 1<<31-1 {
			return 0, unix.EINVAL
		}
		return 0, unix.EOPNOTSUPP
	}
	stack := uint64(0)
	if c.Stack == 0 {
		if c.StackSize > 0 {
			return 0, unix.EINVAL
		}
	} else {
		if c.StackSize == 0 {
			return 0, unix.EINVAL
		}
		if err := userRange(usermem.Addr(c.Stack), c.StackSize); err != nil {
			return 0, unix.EINVAL
		}
		stack = c.Stack + c.StackSize
	}
	setTID, err := usermem.CopySliceIn[int32](t.MM(), usermem.Addr(c.SetTID), int(c.SetTIDSize))
	if err != nil {
		return 0, err
	}
	nr, err := t.Clone(&sentry.CloneArgs{
		Flags: c.Flags, PidFD: c.PidFD, ChildTID: c.ChildTID, ParentTID: c.ParentTID,
		ExitSignal: int32(c.ExitSignal), Stack: stack, TLS: c.TLS, SetTID: setTID, Clone3: true,
	})
	return uintptr(nr), err
}

// fork(2)
func fork(t *sentry.Task) (uintptr, error) {
	nr, err := t.Fork()
	return uintptr(nr), err
}

// vfork(2)
func vfork(t *sentry.Task) (uintptr, error) {
	nr, err := t.VFork()
	return uintptr(nr), err
}

// copyStrings reads a NULL-terminated array of strings (argv, envp). limit bounds what is
// read in all, so that a guest cannot make the sentry allocate more than exec takes.
func copyStrings(t *sentry.Task, addr usermem.Addr, limit *int) ([]string, error) {
	if addr == 0 {
		return nil, nil
	}
	var out []string
	for {
		var p uint64
		if err := usermem.CopyObjectIn(t.MM(), addr, &p); err != nil {
			return nil, err
		}
		if p == 0 {
			return out, nil
		}
		s, err := usermem.CopyInString(t.MM(), usermem.Addr(p), maxArgString-1)
		if err == unix.ENAMETOOLONG {
			return nil, unix.E2BIG
		}
		if err != nil {
			return nil, err
		}
		if *limit -= len(s) + 1 + 8; *limit < 0 {
			return nil, unix.E2BIG
		}
		out = append(out, s)
		addr += 8
	}
}

const (
	maxArgString = 128 << 10
	maxArgs      = 6 << 20
)

func exec(t *sentry.Task, a *sentry.ExecArgs, argv, envp usermem.Addr) (uintptr, error) {
	limit := maxArgs + 64<<10
	var err error
	if a.Argv, err = copyStrings(t, argv, &limit); err != nil {
		return 0, err
	}
	if a.Envv, err = copyStrings(t, envp, &limit); err != nil {
		return 0, err
	}
	return 0, t.Exec(a)
}

// execve(2)
func execve(t *sentry.Task, path, argv, envp usermem.Addr) (uintptr, error) {
	name, err := copyPath(t, path)
	if err != nil {
		return 0, err
	}
	return exec(t, &sentry.ExecArgs{Path: name, Flags: vfs.LookupFollow}, argv, envp)
}

// execveat(2)
func execveat(t *sentry.Task, dirfd int32, path, argv, envp usermem.Addr, flags int32) (uintptr, error) {
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, unix.EINVAL
	}
	name, err := copyPath(t, path)
	if err != nil {
		return 0, err
	}
	if name == "" && flags&unix.AT_EMPTY_PATH == 0 {
		return 0, unix.ENOENT
	}
	a := &sentry.ExecArgs{Path: name}
	if flags&unix.AT_SYMLINK_NOFOLLOW == 0 {
		a.Flags |= vfs.LookupFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		a.Flags |= vfs.LookupEmpty
	}
	if dirfd != unix.AT_FDCWD && (name == "" || name[0] != '/') {
		f, cloexec, err := t.Files().GetFlags(dirfd)
		if err != nil {
			return 0, err
		}
		defer f.DecRef()
		a.Start = f.Path
		a.Inaccessible = cloexec
		a.Name = fmt.Sprintf("/dev/fd/%d", dirfd)
		if name != "" {
			a.Name += "/" + name
		}
	}
	return exec(t, a, argv, envp)
}

// exit(2)
func exit(t *sentry.Task, code int32) (uintptr, error) { return 0, t.ExitThread(code) }

// exit_group(2)
func exitGroup(t *sentry.Task, code int32) (uintptr, error) { return 0, t.ExitGroup(code) }

// wait4(2)
func wait4(t *sentry.Task, pid int32, status usermem.Addr, options uint32, rusage usermem.Addr) (uintptr, error) {
	const known = unix.WNOHANG | unix.WUNTRACED | unix.WCONTINUED | unix.WNOTHREAD | unix.WCLONE | unix.WALL
	if options&^uint32(known) != 0 {
		return 0, unix.EINVAL
	}
	if pid == -1<<31 {
		return 0, unix.ESRCH
	}
	o := &sentry.WaitOptions{Flags: options | unix.WEXITED}
	o.Which, o.ID = t.WaitID(pid)
	res, err := t.Wait(o)
	if err != nil || res == nil {
		return 0, err
	}
	if status != 0 {
		st := int32(res.Status)
		if err := usermem.CopyObjectOut(t.MM(), status, &st); err != nil {
			return 0, err
		}
	}
	if rusage != 0 {
		ru := res.Usage.Rusage()
		if err := usermem.CopyObjectOut(t.MM(), rusage, &ru); err != nil {
			return 0, err
		}
	}
	return uintptr(res.PID), nil
}

// What waitid waits for.
const (
	waitPAll = iota
	waitPPID
	waitPPGID
	waitPPIDFD
)

// waitid(2)
func waitid(t *sentry.Task, which int32, id int32, infop usermem.Addr, options uint32, rusage usermem.Addr) (uintptr, error) {
	const known = unix.WNOHANG | unix.WNOWAIT | unix.WEXITED | unix.WSTOPPED | unix.WCONTINUED |
		unix.WNOTHREAD | unix.WCLONE | unix.WALL
	if options&^uint32(known) != 0 || options&(unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED) == 0 {
		return 0, unix.EINVAL
	}
	o := &sentry.WaitOptions{Flags: options}
	nonblock := false
	switch which {
	case waitPAll:
		o.Which = sentry.WaitAll
	case waitPPID:
		if id <= 0 {
			return 0, unix.EINVAL
		}
		o.Which, o.ID = sentry.WaitPID, t.FindPID(id)
	case waitPPGID:
		if id < 0 {
			return 0, unix.EINVAL
		}
		if id == 0 {
			o.Which, o.ID = t.WaitID(0)
		} else {
			o.Which, o.ID = sentry.WaitPGID, t.FindPID(id)
		}
	case waitPPIDFD:
		if id < 0 {
			return 0, unix.EINVAL
		}
		f, err := t.Files().Get(id)
		if err != nil {
			return 0, err
		}
		pid, _, err := sentry.PIDOfFile(f)
		nonblock = f.Nonblocking()
		f.DecRef()
		if err != nil {
			return 0, err
		}
		o.Which, o.ID = sentry.WaitPID, pid
	default:
		return 0, unix.EINVAL
	}
	if nonblock {
		o.Flags |= unix.WNOHANG
	}
	res, err := t.Wait(o)
	if err != nil {
		return 0, err
	}
	if res == nil && nonblock && options&unix.WNOHANG == 0 {
		return 0, unix.EAGAIN
	}
	var u sentry.Usage
	if res != nil {
		u = res.Usage
	}
	if rusage != 0 && res != nil {
		ru := u.Rusage()
		if err := usermem.CopyObjectOut(t.MM(), rusage, &ru); err != nil {
			return 0, err
		}
	}
	if infop != 0 {
		// signo, errno, code, (padding), pid, uid, status
		var info [7]int32
		if res != nil {
			info = [7]int32{int32(unix.SIGCHLD), 0, res.Code, 0, res.PID, int32(res.UID), res.Value}
		}
		// Linux does not write the padding.
		if err := usermem.CopySliceOut(t.MM(), infop, info[:3]); err != nil {
			return 0, err
		}
		if err := usermem.CopySliceOut(t.MM(), infop+16, info[4:]); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// getpid(2)
func getpid(t *sentry.Task) (uintptr, error) {
	return uintptr(t.Process().PID().In(t.PIDNS())), nil
}

// gettid(2)
func gettid(t *sentry.Task) (uintptr, error) { return uintptr(t.PID().In(t.PIDNS())), nil }

// getppid(2): 0 if the parent is not in the caller's namespace.
func getppid(t *sentry.Task) (uintptr, error) {
	p := t.Process().Parent()
	if p == nil {
		return 0, nil
	}
	return uintptr(p.PID().In(t.PIDNS())), nil
}

// set_tid_address(2)
func setTIDAddress(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	t.SetTIDAddress(uint64(addr))
	return gettid(t)
}

// setpgid(2)
func setpgid(t *sentry.Task, pid, pgid int32) (uintptr, error) { return 0, t.SetPGID(pid, pgid) }

// getpgid(2)
func getpgid(t *sentry.Task, pid int32) (uintptr, error) {
	nr, err := t.GetPGID(pid)
	return uintptr(nr), err
}

// getpgrp(2)
func getpgrp(t *sentry.Task) (uintptr, error) { return getpgid(t, 0) }

// getsid(2)
func getsid(t *sentry.Task, pid int32) (uintptr, error) {
	nr, err := t.GetSID(pid)
	return uintptr(nr), err
}

// setsid(2)
func setsid(t *sentry.Task) (uintptr, error) {
	nr, err := t.SetSID()
	return uintptr(nr), err
}
