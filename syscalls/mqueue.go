package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/sentry/ipc"
	"gosv.dev/vfs"
)

const (
	mqPrioMax = 32768
	mqMaxSize = 16 << 20 // the most that any queue's messages may have

	sigevSignal = 0
	sigevNone   = 1
)

// mq_open(2)
func mqOpen(t *sentry.Task, addr usermem.Addr, flags, mode uint32, attrAddr usermem.Addr) (uintptr, error) {
	var attr *ipc.MQAttr
	if attrAddr != 0 {
		attr = new(ipc.MQAttr)
		if err := usermem.CopyObjectIn(t.MM(), attrAddr, attr); err != nil {
			return 0, err
		}
	}
	name, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	f, err := ns.MQOpen(t, name, flags, mode, attr)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, true)
}

// mq_unlink(2)
func mqUnlink(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	name, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	ns, err := ipcOf(t)
	if err != nil {
		return 0, err
	}
	return 0, ns.MQUnlink(t, name)
}

// mqFile gets the message queue that a descriptor is; the file is to be given back.
func mqFile(t *sentry.Task, fd int32) (*vfs.File, *ipc.MQFile, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return nil, nil, err
	}
	m, err := ipc.MQOf(f)
	if err != nil {
		f.DecRef()
	}
	return f, m, err
}

// mqDeadline is the point in time at addr; zero for none.
func mqDeadline(t *sentry.Task, addr usermem.Addr) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	var ts unix.Timespec
	if err := usermem.CopyObjectIn(t.MM(), addr, &ts); err != nil {
		return time.Time{}, err
	}
	if !validTimespec(ts) {
		return time.Time{}, unix.EINVAL
	}
	return time.Unix(ts.Sec, ts.Nsec), nil
}

// mq_timedsend(2)
func mqTimedsend(t *sentry.Task, fd int32, msg usermem.Addr, n uint64, prio uint32, timeout usermem.Addr) (uintptr, error) {
	if prio >= mqPrioMax {
		return 0, unix.EINVAL
	}
	deadline, err := mqDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	f, m, err := mqFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if !f.Writable() {
		return 0, unix.EBADF
	}
	if n > mqMaxSize {
		return 0, unix.EMSGSIZE
	}
	data := make([]byte, n)
	if _, err := t.MM().CopyIn(msg, data); err != nil {
		return 0, err
	}
	return 0, m.Send(t, f, data, prio, deadline)
}

// mq_timedreceive(2)
func mqTimedreceive(t *sentry.Task, fd int32, msg usermem.Addr, n uint64, prioAddr, timeout usermem.Addr) (uintptr, error) {
	deadline, err := mqDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	f, m, err := mqFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	data, prio, err := m.Receive(t, f, n, deadline)
	if err != nil {
		return 0, err
	}
	if prioAddr != 0 {
		if err := usermem.CopyObjectOut(t.MM(), prioAddr, &prio); err != nil {
			return 0, err
		}
	}
	_, err = t.MM().CopyOut(msg, data)
	return uintptr(len(data)), err
}

// mq_notify(2)
func mqNotify(t *sentry.Task, fd int32, addr usermem.Addr) (uintptr, error) {
	var ev struct {
		Value         uint64
		Signo, Notify int32
		_             [48]byte
	}
	if addr != 0 {
		if err := usermem.CopyObjectIn(t.MM(), addr, &ev); err != nil {
			return 0, err
		}
		if ev.Notify != sigevSignal && ev.Notify != sigevNone { // SIGEV_THREAD is through a netlink socket
			return 0, unix.EINVAL
		}
		if ev.Notify == sigevSignal && (ev.Signo < 0 || ev.Signo > sentry.NumSignals) {
			return 0, unix.EINVAL
		}
	}
	f, m, err := mqFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if addr == 0 {
		return 0, m.Notify(t, nil)
	}
	p, k, pidns := t.Process(), t.Kernel(), t.PIDNS()
	return 0, m.Notify(t, &ipc.MQNotification{
		Owner: t.TGID(), Signo: ev.Signo, Method: ev.Notify,
		Deliver: func(pid int32, uid uint32) {
			if ev.Notify != sigevSignal || ev.Signo == 0 {
				return
			}
			info := &sentry.SigInfo{Signo: ev.Signo, Code: sentry.SiMesgQ}
			if s := k.Process(k.RootPIDNS(), pid); s != nil {
				info.SetPID(s.PID().In(pidns))
			}
			info.SetUID(uid)
			info.SetValue(ev.Value)
			_ = p.SendSignal(info) // the process may be gone
		},
	})
}

// mq_getsetattr(2)
func mqGetsetattr(t *sentry.Task, fd int32, newAddr, oldAddr usermem.Addr) (uintptr, error) {
	var flags *int64
	if newAddr != 0 {
		var a ipc.MQAttr
		if err := usermem.CopyObjectIn(t.MM(), newAddr, &a); err != nil {
			return 0, err
		}
		flags = &a.Flags
	}
	f, m, err := mqFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	old, err := m.GetSetAttr(t, f, flags)
	if err != nil || oldAddr == 0 {
		return 0, err
	}
	return 0, usermem.CopyObjectOut(t.MM(), oldAddr, &old)
}
