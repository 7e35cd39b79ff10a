package tty

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Master is the open file of a pair's master.
type Master struct {
	vfs.DefaultFileOps
	t *TTY
	// onClose runs after the master has been closed; the owner frees the number.
	onClose func()
	// peer opens the slave for TIOCGPTPEER.
	peer func(ctx vfs.Context, flags uint32) (*vfs.File, error)
}

// OpenMaster returns the master's file operations; there is only one. onClose is called
// when it is closed; peer opens the slave by TIOCGPTPEER. Both may be nil.
func (t *TTY) OpenMaster(onClose func(), peer func(vfs.Context, uint32) (*vfs.File, error)) *Master {
	return &Master{t: t, onClose: onClose, peer: peer}
}

// TTY is the terminal that m is the master of.
func (m *Master) TTY() *TTY { return m.t }

// Readiness implements vfs.FileOps.
func (m *Master) Readiness(mask waitq.Events) waitq.Events {
	t := m.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var ev waitq.Events
	if t.output.len() > 0 {
		ev |= waitq.Readable
	}
	if t.packet && t.status != 0 {
		ev |= waitq.Readable | waitq.Pri
	}
	if t.slaveGone {
		ev |= waitq.Hup
	}
	if t.pending.free() > 0 {
		ev |= waitq.Writable
	}
	return ev & (mask | waitq.Always)
}

// EventRegister implements vfs.FileOps.
func (m *Master) EventRegister(e *waitq.Entry, mask waitq.Events) {
	m.t.masterQueue.EventRegister(e, mask)
}

// EventUnregister implements vfs.FileOps.
func (m *Master) EventUnregister(e *waitq.Entry) { m.t.masterQueue.EventUnregister(e) }

// Stream implements vfs.FileOps.
func (m *Master) Stream() bool { return true }

// Read implements vfs.FileOps.
func (m *Master) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	t := m.t
	t.mu.Lock()
	defer t.unlock()
	if dst.Len() == 0 {
		return 0, nil
	}
	var done int64
	if t.packet {
		if t.status != 0 {
			t.scratch[0] = t.status
			if _, err := dst.Write(t.scratch[:1]); err != nil {
				return 0, unix.EFAULT
			}
			t.status = 0
			return 1, nil
		}
		if t.output.len() > 0 {
			t.scratch[0] = unix.TIOCPKT_DATA
			if _, err := dst.Write(t.scratch[:1]); err != nil {
				return 0, unix.EFAULT
			}
			done = 1
		}
	}
	if t.output.len() == 0 {
		if t.slaveGone {
			return 0, unix.EIO
		}
		return 0, unix.EAGAIN
	}
	for got := 0; t.output.len() > 0 && dst.Len() > 0 && got < masterChunk; {
		b := t.output.first(min(masterChunk-got, int(min(dst.Len(), masterChunk))))
		n, err := dst.Write(b)
		t.output.drop(n)
		got += n
		done += int64(n)
		if err != nil {
			if done == 0 {
				return 0, unix.EFAULT
			}
			break
		}
	}
	t.flushEcho()
	if !t.stopped {
		t.events.slave |= waitq.Writable
	}
	return done, nil
}

// Write implements vfs.FileOps.
func (m *Master) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	t := m.t
	t.mu.Lock()
	defer t.unlock()
	if src.Len() == 0 {
		return 0, 0, nil
	}
	var done int64
	for src.Len() > 0 && t.pending.free() > 0 {
		b := t.scratch[:min(len(t.scratch), t.pending.free(), int(min(src.Len(), 1<<20)))]
		n, err := src.Read(b)
		t.pending.push(b[:n])
		done += int64(n)
		t.receive()
		if err != nil {
			if done == 0 {
				return 0, 0, unix.EFAULT
			}
			break
		}
	}
	if done == 0 {
		return 0, 0, unix.EAGAIN
	}
	return done, 0, nil
}

// Release implements vfs.FileOps.
func (m *Master) Release(*vfs.File) {
	t := m.t
	t.mu.Lock()
	t.masterClosed = true
	t.packet, t.status = false, 0
	t.output.truncate(0)
	if t.vtime.timer != nil {
		t.vtime.timer.Stop()
	}
	t.mu.Unlock()
	t.hangup()
	if m.onClose != nil {
		m.onClose()
	}
}
