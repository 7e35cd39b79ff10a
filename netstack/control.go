package netstack

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

const (
	cmsgHeader = 16
	// maxRights is the most descriptors of one message (SCM_MAX_FD).
	maxRights = 253
	// maxControl is the most ancillary data of one message that is looked at.
	maxControl = 20480

	scmPIDFD = 4 // SCM_PIDFD
)

// Control is ancillary data, taken apart. It owns the references of its files.
type Control struct {
	Rights []*vfs.File
	// Creds is SCM_CREDENTIALS, checked when sent.
	Creds *Creds
	// PIDFD asks for a pidfd of the process Creds (SO_PASSPIDFD).
	PIDFD bool
	// Others are messages of the families' own.
	Others []ControlMessage
}

// ControlMessage is one piece of ancillary data.
type ControlMessage struct {
	Level, Type int32
	Data        []byte
}

// Any tells whether there is something.
func (c *Control) Any() bool {
	return len(c.Rights) > 0 || c.Creds != nil || len(c.Others) > 0
}

// Release drops the files.
func (c *Control) Release() {
	for _, f := range c.Rights {
		f.DecRef()
	}
	c.Rights = nil
}

// ParseControl takes apart ancillary data of a guest's sendmsg. file finds an open file and
// takes a reference. On error nothing is held.
func ParseControl(ctx vfs.Context, b []byte, file func(fd int32) (*vfs.File, error)) (c Control, err error) {
	if len(b) > maxControl {
		return c, unix.ENOBUFS
	}
	defer func() {
		if err != nil {
			c.Release()
			c = Control{}
		}
	}()
	for len(b) >= cmsgHeader {
		n := binary.NativeEndian.Uint64(b)
		if n < cmsgHeader || n > uint64(len(b)) {
			return c, unix.EINVAL
		}
		level := int32(binary.NativeEndian.Uint32(b[8:]))
		typ := int32(binary.NativeEndian.Uint32(b[12:]))
		data := b[cmsgHeader:n]
		switch {
		case level != unix.SOL_SOCKET:
			c.Others = append(c.Others, ControlMessage{level, typ, append([]byte(nil), data...)})
		case typ == unix.SCM_RIGHTS:
			if len(c.Rights)+len(data)/4 > maxRights {
				return c, unix.EINVAL
			}
			for ; len(data) >= 4; data = data[4:] {
				f, err := file(int32(binary.NativeEndian.Uint32(data)))
				if err != nil {
					return c, unix.EBADF
				}
				c.Rights = append(c.Rights, f)
			}
		case typ == unix.SCM_CREDENTIALS:
			if len(data) != 12 {
				return c, unix.EINVAL
			}
			if c.Creds, err = checkCreds(ctx, data); err != nil {
				return c, err
			}
		default:
			return c, unix.EINVAL
		}
		n = (n + 7) &^ 7
		if n >= uint64(len(b)) {
			break
		}
		b = b[n:]
	}
	return c, nil
}

// checkCreds says whether the caller may send these credentials: its own, or any with
// privilege over its namespaces.
func checkCreds(ctx vfs.Context, data []byte) (*Creds, error) {
	pid := int32(binary.NativeEndian.Uint32(data))
	me := ctx.Cred()
	uid := me.UserNS.MapUIDToKernel(binary.NativeEndian.Uint32(data[4:]))
	gid := me.UserNS.MapGIDToKernel(binary.NativeEndian.Uint32(data[8:]))
	if uid == cred.Invalid || gid == cred.Invalid {
		return nil, unix.EINVAL
	}
	tgid := pid
	if m, ok := ctx.(PIDMapper); ok {
		tgid = m.InitialPID(pid)
	}
	okPID := tgid == ctx.TGID() || me.Has(unix.CAP_SYS_ADMIN)
	okUID := uid == me.UID || uid == me.EUID || uid == me.SUID || me.Has(unix.CAP_SETUID)
	okGID := gid == me.GID || gid == me.EGID || gid == me.SGID || me.Has(unix.CAP_SETGID)
	if !okPID || !okUID || !okGID {
		return nil, unix.EPERM
	}
	if tgid <= 0 {
		return nil, unix.ESRCH
	}
	return &Creds{TGID: tgid, UID: uid, GID: gid, Cred: me}, nil
}

// ControlInstaller gives the caller descriptors for what comes with a message. Its
// methods take over the reference of a file when they succeed.
type ControlInstaller interface {
	InstallFD(f *vfs.File, cloexec bool) (int32, error)
	// OpenPIDFD makes a pidfd of a process of the initial pid namespace.
	OpenPIDFD(tgid int32) (int32, error)
}

// BuildControl makes the ancillary data that a guest's recvmsg gets into space bytes, and
// installs the descriptors. What does not fit is dropped; flags (MSG_CTRUNC) says so. The
// files of c are released.
func BuildControl(ctx vfs.Context, c *Control, space uint64, in ControlInstaller, cloexec bool) (b []byte, flags int) {
	defer c.Release()
	put := func(level, typ int32, data []byte) {
		left := int64(space) - int64(len(b))
		if left < cmsgHeader {
			flags |= unix.MSG_CTRUNC
			return
		}
		if int64(len(data)) > left-cmsgHeader {
			flags |= unix.MSG_CTRUNC
			data = data[:left-cmsgHeader]
		}
		b = binary.NativeEndian.AppendUint64(b, uint64(cmsgHeader+len(data)))
		b = binary.NativeEndian.AppendUint32(b, uint32(level))
		b = binary.NativeEndian.AppendUint32(b, uint32(typ))
		b = append(b, data...)
		for len(b)%8 != 0 && uint64(len(b)) < space {
			b = append(b, 0)
		}
	}
	for _, o := range c.Others {
		put(o.Level, o.Type, o.Data)
	}
	if c.Creds != nil {
		u := c.Creds.Ucred(ctx)
		put(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, usermem.AsBytes(&u))
		if c.PIDFD && in != nil {
			if int64(space)-int64(len(b)) < cmsgHeader+4 {
				flags |= unix.MSG_CTRUNC
			} else {
				fd, err := in.OpenPIDFD(c.Creds.TGID)
				if err != nil {
					if e, ok := err.(unix.Errno); ok {
						fd = -int32(e)
					} else {
						fd = -int32(unix.ESRCH)
					}
				}
				put(unix.SOL_SOCKET, scmPIDFD, binary.NativeEndian.AppendUint32(nil, uint32(fd)))
			}
		}
	}
	if len(c.Rights) > 0 {
		room := (int64(space) - int64(len(b)) - cmsgHeader) / 4
		var fds []byte
		n := 0
		for ; n < len(c.Rights) && int64(n) < room && in != nil; n++ {
			f := c.Rights[n]
			f.IncRef()
			fd, err := in.InstallFD(f, cloexec)
			if err != nil {
				f.DecRef()
				break
			}
			fds = binary.NativeEndian.AppendUint32(fds, uint32(fd))
		}
		if n < len(c.Rights) {
			flags |= unix.MSG_CTRUNC
		}
		if n > 0 {
			put(unix.SOL_SOCKET, unix.SCM_RIGHTS, fds)
		}
	}
	return b, flags
}
