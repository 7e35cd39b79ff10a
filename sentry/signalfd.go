package sentry

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// signalfd(2): reading takes signals that are pending to the reader. Whether there are any to read, which
// poll asks without saying who asks, is answered for the task that made the file or last read it.

type signalFile struct {
	vfs.DefaultFileOps
	queue waitq.Queue
	// relay passes on what happens in the owner's process.
	relay waitq.Entry

	mu    sync.Mutex
	mask  SigSet
	owner *Task
}

const signalfdInfoSize = 128

// Signalfd is signalfd4(2).
func (t *Task) Signalfd(fd int32, mask SigSet, flags uint32) (int32, error) {
	if flags&^(unix.SFD_CLOEXEC|unix.SFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	mask &^= sigsOnlyKernel
	if fd == -1 {
		s := &signalFile{mask: mask}
		s.relay.Notify = func(waitq.Events) bool {
			s.queue.Notify(waitq.Readable)
			return true
		}
		s.setOwner(t)
		f := vfs.NewAnonFile("anon_inode:[signalfd]", s, unix.O_RDWR|flags&unix.SFD_NONBLOCK, t.Cred())
		n, err := t.files.NewFD(0, f, flags&unix.SFD_CLOEXEC != 0, t.Limit(unix.RLIMIT_NOFILE))
		if err != nil {
			f.DecRef()
		}
		return n, err
	}
	f, err := t.files.Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	s, ok := f.Ops.(*signalFile)
	if !ok {
		return 0, unix.EINVAL
	}
	s.mu.Lock()
	s.mask = mask
	s.mu.Unlock()
	s.queue.Notify(waitq.Readable)
	return fd, nil
}

// SignalfdMask is the mask of a signalfd, for /proc/PID/fdinfo.
func SignalfdMask(f *vfs.File) (SigSet, bool) {
	s, ok := f.Ops.(*signalFile)
	if !ok {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mask, true
}

func (s *signalFile) setOwner(t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == t {
		return
	}
	if s.owner == nil || s.owner.proc != t.proc {
		if s.owner != nil {
			s.owner.proc.signalfds.EventUnregister(&s.relay)
		}
		t.proc.signalfds.EventRegister(&s.relay, waitq.Readable)
	}
	s.owner = t
}

// Readiness implements vfs.FileOps.
func (s *signalFile) Readiness(mask waitq.Events) waitq.Events {
	s.mu.Lock()
	t, want := s.owner, s.mask
	s.mu.Unlock()
	if own, shared := t.PendingSignals(); (own|shared)&want != 0 {
		return mask & waitq.Readable
	}
	return 0
}

// EventRegister implements vfs.FileOps.
func (s *signalFile) EventRegister(e *waitq.Entry, mask waitq.Events) { s.queue.EventRegister(e, mask) }

// EventUnregister implements vfs.FileOps.
func (s *signalFile) EventUnregister(e *waitq.Entry) { s.queue.EventUnregister(e) }

// Read implements vfs.FileOps.
func (s *signalFile) Read(ctx vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	t, ok := ctx.(*Task)
	if !ok || dst.Len() < signalfdInfoSize {
		return 0, unix.EINVAL
	}
	s.setOwner(t)
	s.mu.Lock()
	mask := s.mask
	s.mu.Unlock()
	var done int64
	for dst.Len() >= signalfdInfoSize {
		var info SigInfo
		sh := t.proc.lockSig()
		sig := t.dequeueMaskLocked(mask, &info, nil)
		if sig != 0 {
			t.recalcLocked()
		}
		sh.mu.Unlock()
		if sig == 0 {
			break
		}
		b := info.signalfd()
		if _, err := dst.Write(b[:]); err != nil {
			if done > 0 {
				return done, nil
			}
			return 0, err
		}
		done += signalfdInfoSize
	}
	if done == 0 {
		return 0, unix.EAGAIN
	}
	return done, nil
}

// Stream implements vfs.FileOps.
func (s *signalFile) Stream() bool { return true }

// Seek implements vfs.FileOps: it does nothing, as in Linux.
func (*signalFile) Seek(_ vfs.Context, _ *vfs.File, pos, _ int64, _ int) (int64, error) {
	return pos, nil
}

// Release implements vfs.FileOps.
func (s *signalFile) Release(*vfs.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner.proc.signalfds.EventUnregister(&s.relay)
}

// signalfd is i as struct signalfd_siginfo.
func (i *SigInfo) signalfd() (b [signalfdInfoSize]byte) {
	le := binary.LittleEndian
	put := func(off int, v uint32) { le.PutUint32(b[off:], v) }
	put(0, uint32(i.Signo))
	put(4, uint32(i.Errno))
	put(8, uint32(i.Code))
	value := func() {
		put(44, uint32(i.Value()))
		le.PutUint64(b[48:], i.Value())
	}
	switch i.layout() {
	case layoutKill:
		put(12, uint32(i.PID()))
		put(16, i.UID())
	case layoutTimer:
		put(24, uint32(i.TimerID()))
		put(32, uint32(i.Overrun()))
		value()
	case layoutPoll:
		put(28, uint32(i.Band()))
		put(20, uint32(i.FD()))
	case layoutFault:
		le.PutUint64(b[72:], i.Addr())
	case layoutChild:
		put(12, uint32(i.PID()))
		put(16, i.UID())
		put(40, uint32(i.Status()))
		le.PutUint64(b[56:], i.get64(32))
		le.PutUint64(b[64:], i.get64(40))
	case layoutRT:
		put(12, uint32(i.PID()))
		put(16, i.UID())
		value()
	case layoutSys:
		le.PutUint64(b[88:], i.get64(16))
		put(84, i.get32(24))
		put(96, i.get32(28))
	}
	return b
}
