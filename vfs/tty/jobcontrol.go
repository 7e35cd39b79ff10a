package tty

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// Group is a process group. Values are comparable: the same group is equal to itself.
type Group interface {
	// Signal sends sig to every member.
	Signal(sig unix.Signal)
	// Orphaned tells whether no member has a parent in another group of the same session.
	Orphaned() bool
	// Session is the session that the group belongs to.
	Session() Session
	// PID is the group's id as the caller's pid namespace sees it, 0 if it does not.
	PID(ctx vfs.Context) int32
}

// Session is a session. Values are comparable.
type Session interface {
	// PID is the session's id as the caller's pid namespace sees it, 0 if it does not.
	PID(ctx vfs.Context) int32
	// SetTerminal makes t the controlling terminal of all processes of the session; nil for none.
	SetTerminal(t *TTY)
	// HangUp tells that the terminal has gone: the leader gets SIGHUP and SIGCONT, all
	// processes lose it; and when the leader exits, fg (which may be nil) gets both signals.
	HangUp(fg Group)
}

// JobControl is the calling process, as terminals see it.
type JobControl interface {
	Group() Group
	Session() Session
	// Leader tells whether the caller leads its session.
	Leader() bool
	// Terminal is the caller's controlling terminal, or nil.
	Terminal() *TTY
	// DropTerminal makes only the calling process lose its controlling terminal.
	DropTerminal()
	// FindGroup is the process group with this id in the caller's pid namespace, or nil.
	FindGroup(pid int32) Group
	// Ignores tells whether the calling thread ignores or blocks sig.
	Ignores(sig unix.Signal) bool
}

// A Caller is a vfs.Context that takes part in job control: the sentry's tasks.
type Caller interface {
	JobControl() JobControl
}

func jobControl(ctx vfs.Context) JobControl {
	if c, ok := ctx.(Caller); ok {
		return c.JobControl()
	}
	return nil
}

// Of is the controlling terminal of the caller, or nil.
func Of(ctx vfs.Context) *TTY {
	if jc := jobControl(ctx); jc != nil {
		return jc.Terminal()
	}
	return nil
}

// checkChange says whether the caller may use t now, being in the background or not
// (Linux: tty_check_change). If not it has signalled the caller's group.
func (t *TTY) checkChange(ctx vfs.Context, sig unix.Signal) error {
	jc := jobControl(ctx)
	if jc == nil || jc.Terminal() != t {
		return nil
	}
	g := jc.Group()
	t.mu.Lock()
	fg := t.foreground
	t.mu.Unlock()
	if fg == nil || g == fg {
		return nil
	}
	if jc.Ignores(sig) {
		if sig == unix.SIGTTIN {
			return unix.EIO
		}
		return nil
	}
	if g.Orphaned() {
		return unix.EIO
	}
	g.Signal(sig)
	return vfs.ErrRestartSys
}

// OpenedBy is called when a slave has been opened: a session leader without a
// controlling terminal gets t for it, unless the file is O_NOCTTY or not readable or
// t has a session already.
func (t *TTY) OpenedBy(ctx vfs.Context, flags uint32) {
	if flags&unix.O_NOCTTY != 0 || flags&unix.O_ACCMODE == unix.O_WRONLY {
		return
	}
	jc := jobControl(ctx)
	if jc == nil || !jc.Leader() || jc.Terminal() != nil {
		return
	}
	t.mu.Lock()
	if t.session != nil {
		t.mu.Unlock()
		return
	}
	t.session, t.foreground = jc.Session(), jc.Group()
	t.mu.Unlock()
	jc.Session().SetTerminal(t)
}

// setControlling is TIOCSCTTY.
func (t *TTY) setControlling(ctx vfs.Context, f *vfs.File, steal bool) error {
	jc := jobControl(ctx)
	if jc == nil {
		return unix.EPERM
	}
	s := jc.Session()
	t.mu.Lock()
	old := t.session
	t.mu.Unlock()
	if jc.Leader() && old != nil && old == s {
		return nil
	}
	if !jc.Leader() || jc.Terminal() != nil {
		return unix.EPERM
	}
	if old != nil {
		if !steal || !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
			return unix.EPERM
		}
		old.SetTerminal(nil)
	}
	if f != nil && f.Flags()&unix.O_ACCMODE == unix.O_WRONLY && !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	t.mu.Lock()
	t.session, t.foreground = s, jc.Group()
	t.mu.Unlock()
	s.SetTerminal(t)
	return nil
}

// notty is TIOCNOTTY. Of a session leader it frees the terminal from the session.
func (t *TTY) notty(ctx vfs.Context) error {
	jc := jobControl(ctx)
	if jc == nil || jc.Terminal() != t {
		return unix.ENOTTY
	}
	if jc.Leader() {
		t.Disassociate(false)
	}
	jc.DropTerminal()
	return nil
}

// Disassociate takes t from its session, whose leader gives it up or (onExit) exits:
// the sentry calls it then. The foreground group gets SIGHUP, and SIGCONT unless onExit.
func (t *TTY) Disassociate(onExit bool) {
	t.mu.Lock()
	s, fg := t.session, t.foreground
	t.session, t.foreground = nil, nil
	t.mu.Unlock()
	if fg != nil {
		fg.Signal(unix.SIGHUP)
		if !onExit {
			fg.Signal(unix.SIGCONT)
		}
	}
	if s != nil {
		s.SetTerminal(nil)
	}
}

// foregroundID is TIOCGPGRP.
func (t *TTY) foregroundID(ctx vfs.Context, asMaster bool) (int32, error) {
	if !asMaster {
		if jc := jobControl(ctx); jc != nil && jc.Terminal() != t {
			return 0, unix.ENOTTY
		}
	}
	t.mu.Lock()
	fg := t.foreground
	t.mu.Unlock()
	if fg == nil {
		return 0, nil
	}
	return fg.PID(ctx), nil
}

// setForeground is TIOCSPGRP.
func (t *TTY) setForeground(ctx vfs.Context, pid int32, asMaster bool) error {
	jc := jobControl(ctx)
	if jc == nil {
		return unix.ENOTTY
	}
	if !asMaster {
		if err := t.checkChange(ctx, unix.SIGTTOU); err != nil {
			if err == unix.EIO {
				return unix.ENOTTY
			}
			return err
		}
	}
	t.mu.Lock()
	s := t.session
	t.mu.Unlock()
	if jc.Terminal() != t || s == nil || s != jc.Session() {
		return unix.ENOTTY
	}
	if pid < 0 {
		return unix.EINVAL
	}
	g := jc.FindGroup(pid)
	if g == nil {
		return unix.ESRCH
	}
	if g.Session() != s {
		return unix.EPERM
	}
	t.mu.Lock()
	t.foreground = g
	t.mu.Unlock()
	return nil
}

// GroupGone is called by the sentry when a process group has lost its last member.
func (t *TTY) GroupGone(g Group) {
	t.mu.Lock()
	if t.foreground == g {
		t.foreground = nil
	}
	t.mu.Unlock()
}

// sessionID is TIOCGSID.
func (t *TTY) sessionID(ctx vfs.Context, asMaster bool) (int32, error) {
	if !asMaster {
		if jc := jobControl(ctx); jc != nil && jc.Terminal() != t {
			return 0, unix.ENOTTY
		}
	}
	t.mu.Lock()
	s := t.session
	t.mu.Unlock()
	if s == nil {
		return 0, unix.ENOTTY
	}
	return s.PID(ctx), nil
}

// Foreground is the foreground process group, for /proc/PID/stat; nil if there is none.
func (t *TTY) Foreground() Group {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.foreground
}

// Session is the session that t controls, or nil.
func (t *TTY) Session() Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.session
}
