package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/vfork"
)

// namespaces are those that the sentry's process has of its own.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// needed are the capabilities, in its user namespace, that the sentry's process begins with: EnterRoot uses them.
const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_DAC_OVERRIDE

// firstFile is the descriptor that the first of Start's files has in the process.
const firstFile = 3

// Process is the sentry's, as its parent sees it.
type Process struct{ pid int }

// Start runs this program again with an argument in new namespaces. The process has the caller's standard descriptors, and files from descriptor
// firstFile on; nothing of the caller's environment is its business. It dies with its parent's thread, so the caller must stay on a
// locked one. What ids look like in its user namespace is known when Start returns, which the caller must tell it.
//
// It has a single thread when it loses what capabilities it could have at most (its bounding set). Later that takes a call on every thread for each of
// them.
func Start(id Identity, arg string, files ...*os.File) (*Process, error) {
	// In the process they have numbers that are in nobody's way.
	fds := make([]int, len(files))
	for i, f := range files {
		var err error
		if fds[i], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, firstFile+len(files)); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		defer unix.Close(fds[i])
	}
	runtime.KeepAlive(files)
	calls, keep, err := startCalls(fds, []string{"gosv", arg}, environment)
	if err != nil {
		return nil, err
	}
	pid, err := vfork.Start(namespaces, calls)
	runtime.KeepAlive(keep)
	if e := (*vfork.Error)(nil); errors.As(err, &e) {
		if e.Index == len(calls)-1 && e.Errno == unix.EACCES {
			return startMapped(id, arg, files)
		}
		err = e.Errno
	}
	if err != nil {
		return nil, startError(err)
	}
	p := &Process{pid}
	if err := p.mapIDs(id); err != nil {
		unix.Kill(pid, unix.SIGKILL)
		p.Wait()
		return nil, startError(err)
	}
	return p, nil
}

// startMapped is Start where it takes root's rights to execute the program, for which the file's owner must have an id in the user namespace. It leaves
// the bounding set to DropCapabilities.
func startMapped(id Identity, arg string, files []*os.File) (*Process, error) {
	cmd := exec.Command("/proc/self/exe", arg)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, GidMappingsEnableSetgroups: !id.Rootless,
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_SETPCAP, unix.CAP_DAC_OVERRIDE},
		UidMappings: []syscall.SysProcIDMap{id.mapping(id.UID)}, GidMappings: []syscall.SysProcIDMap{id.mapping(id.GID)},
	}
	cmd.Env, cmd.Args[0] = environment, "gosv"
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, files
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Process{cmd.Process.Pid}, nil
}

// environment is what the sentry's process has as its environment: it begins with few threads.
var environment = []string{"GOMAXPROCS=1"}

func startError(err error) error {
	return &fs.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: err}
}

// Wait waits for the end of the process.
func (p *Process) Wait() (ws unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(p.pid, &ws, 0, nil); err != unix.EINTR {
			return ws, os.NewSyscallError("wait4", err)
		}
	}
}

// mapping is how ids of the host look in the user namespace: all, or one's own if that is all that one may map.
func (id Identity) mapping(own uint32) syscall.SysProcIDMap {
	if id.Rootless {
		return syscall.SysProcIDMap{ContainerID: ownID, HostID: int(own), Size: 1}
	}
	return syscall.SysProcIDMap{Size: 1<<32 - 1}
}

// mapIDs writes how ids of the host look in the process's user namespace.
func (p *Process) mapIDs(id Identity) error {
	line := func(m syscall.SysProcIDMap) string { return fmt.Sprint(m.ContainerID, " ", m.HostID, " ", m.Size) }
	setgroups := "allow"
	if id.Rootless {
		setgroups = "deny" // whoever may not map others' ids must give it up, too
	}
	proc := "/proc/" + strconv.Itoa(p.pid) + "/"
	for _, w := range []struct{ name, text string }{{"uid_map", line(id.mapping(id.UID))}, {"setgroups", setgroups}, {"gid_map", line(id.mapping(id.GID))}} {
		fd, err := unix.Open(proc+w.name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, []byte(w.text))
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
