package netstack

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// Socket is a socket of any family. Addresses are struct sockaddr of the family as
// bytes, with the length that the guest gave or is told.
type Socket interface {
	vfs.FileOps

	// Kind is the family, the type (SOCK_STREAM ...) and the protocol.
	Kind() (family, typ, protocol int)

	Bind(ctx vfs.Context, addr []byte) error
	Listen(ctx vfs.Context, backlog int) error
	// Accept takes a connection; EAGAIN if none waits.
	Accept(ctx vfs.Context) (Socket, error)
	// Connect begins to connect. EAGAIN: try again when writable. EINPROGRESS: when it
	// is writable, SO_ERROR tells the result.
	Connect(ctx vfs.Context, addr []byte) error
	// Shutdown is shutdown(2) with SHUT_*.
	Shutdown(ctx vfs.Context, how int) error

	// SendMsg sends what it can. If it sends anything it takes over m.Control's files, and
	// clears them. It sends no SIGPIPE.
	SendMsg(ctx vfs.Context, m *SendMessage) (int64, error)
	// RecvMsg receives what is there.
	RecvMsg(ctx vfs.Context, m *RecvMessage) (int64, error)

	GetSockOpt(ctx vfs.Context, level, name int, arg OptArg) ([]byte, error)
	SetSockOpt(ctx vfs.Context, level, name int, val []byte) error

	GetSockName(ctx vfs.Context) ([]byte, error)
	// GetPeerName: ENOTCONN if there is no peer.
	GetPeerName(ctx vfs.Context) ([]byte, error)

	// Timeouts are SO_RCVTIMEO and SO_SNDTIMEO; negative: none.
	Timeouts() (recv, send time.Duration)
}

// OptArg is what getsockopt gets from the guest besides the name: the buffer's length and
// (for options that read it) its contents.
type OptArg struct {
	Len  int
	Data []byte
}

// SendMessage is what sendmsg(2) is about.
type SendMessage struct {
	Data    *usermem.IO
	To      []byte // destination, nil for the peer
	Control Control
	Flags   int // MSG_*
}

// RecvMessage is what recvmsg(2) is about.
type RecvMessage struct {
	Data  *usermem.IO
	Flags int // MSG_*

	// Results.
	From     []byte
	Control  Control
	OutFlags int // MSG_TRUNC, MSG_CTRUNC, MSG_EOR ...
}

// Family makes sockets of one family in one network namespace.
type Family interface {
	// Socket makes a socket; ESOCKTNOSUPPORT, EPROTONOSUPPORT for what there is not.
	Socket(ctx vfs.Context, typ, protocol int) (Socket, error)
	// Pair makes two connected sockets; EOPNOTSUPP if the family cannot.
	Pair(ctx vfs.Context, typ, protocol int) (a, b Socket, err error)
}

// Registry is the socket families of one network namespace.
type Registry struct {
	mu       sync.RWMutex
	families map[int]Family
}

// Register makes family known.
func (r *Registry) Register(family int, f Family) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.families == nil {
		r.families = make(map[int]Family)
	}
	r.families[family] = f
}

// Family is the family with this number, or nil.
func (r *Registry) Family(family int) Family {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.families[family]
}

const (
	typeMask = 0xf
	maxProto = 512
	afMax    = 46
)

func (r *Registry) find(family, typ int) (Family, error) {
	if typ&^(typeMask|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		return nil, unix.EINVAL
	}
	if family < 0 || family >= afMax {
		return nil, unix.EAFNOSUPPORT
	}
	if typ&typeMask > unix.SOCK_PACKET {
		return nil, unix.EINVAL
	}
	f := r.Family(family)
	if f == nil {
		return nil, unix.EAFNOSUPPORT
	}
	return f, nil
}

// Socket is socket(2): typ may have SOCK_NONBLOCK and SOCK_CLOEXEC (which is the
// descriptor's). The file's reference is the caller's.
func (r *Registry) Socket(ctx vfs.Context, family, typ, protocol int) (*vfs.File, error) {
	f, err := r.find(family, typ)
	if err != nil {
		return nil, err
	}
	s, err := f.Socket(ctx, typ&typeMask, protocol)
	if err != nil {
		return nil, err
	}
	return NewFile(ctx, s, uint32(typ)&unix.SOCK_NONBLOCK), nil
}

// SocketPair is socketpair(2).
func (r *Registry) SocketPair(ctx vfs.Context, family, typ, protocol int) (a, b *vfs.File, err error) {
	f, err := r.find(family, typ)
	if err != nil {
		return nil, nil, err
	}
	x, y, err := f.Pair(ctx, typ&typeMask, protocol)
	if err != nil {
		return nil, nil, err
	}
	flags := uint32(typ) & unix.SOCK_NONBLOCK
	return NewFile(ctx, x, flags), NewFile(ctx, y, flags), nil
}

// inodeSetter is a Socket that wants to know the inode it is reached by.
type inodeSetter interface{ SetInode(i *vfs.Inode) }

// NewFile makes the open file of a socket. flags is O_NONBLOCK or 0.
func NewFile(ctx vfs.Context, s Socket, flags uint32) *vfs.File {
	i := vfs.NewAnonInode(unix.S_IFSOCK|0777, ctx.Cred())
	defer i.DecRef()
	if x, ok := s.(inodeSetter); ok {
		x.SetInode(i)
	}
	return vfs.NewAnonFileInode("socket:[]", i, s, unix.O_RDWR|flags, ctx.Cred())
}

// Of is the socket that f is; ENOTSOCK if it is none.
func Of(f *vfs.File) (Socket, error) {
	if s, ok := f.Ops.(Socket); ok {
		return s, nil
	}
	return nil, unix.ENOTSOCK
}

// waitFor calls try until it returns something else than EAGAIN, waiting for one of the
// events on s in between.
func waitFor(ctx vfs.Context, s waitq.Waitable, events waitq.Events, timeout time.Duration, try func() error) error {
	err := try()
	if err != unix.EAGAIN {
		return err
	}
	var deadline time.Time
	if timeout >= 0 {
		deadline = time.Now().Add(timeout)
	}
	w := waitq.GetWaiter()
	defer w.Put()
	s.EventRegister(&w.Entry, events)
	defer s.EventUnregister(&w.Entry)
	for {
		if err := try(); err != unix.EAGAIN {
			return err
		}
		left := time.Duration(-1)
		if timeout >= 0 {
			if left = time.Until(deadline); left <= 0 {
				return unix.EAGAIN
			}
		}
		switch err := w.Wait(ctx, left); {
		case err == unix.ETIMEDOUT:
			return unix.EAGAIN
		case err != nil:
			if timeout >= 0 && err == vfs.ErrRestartSys {
				return unix.EINTR // with a timeout the call is not restarted
			}
			return err
		}
	}
}

// Accept is accept4(2): it waits for a connection unless f is non-blocking. flags are
// SOCK_NONBLOCK and SOCK_CLOEXEC. peer is the address of the other side.
func Accept(ctx vfs.Context, f *vfs.File, flags int) (file *vfs.File, peer []byte, err error) {
	if flags&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC) != 0 {
		return nil, nil, unix.EINVAL
	}
	s, err := Of(f)
	if err != nil {
		return nil, nil, err
	}
	var n Socket
	try := func() (err error) {
		n, err = s.Accept(ctx)
		return err
	}
	if f.Nonblocking() {
		err = try()
	} else {
		recv, _ := s.Timeouts()
		err = waitFor(ctx, s, waitq.Readable|waitq.Hup, recv, try)
	}
	if err != nil {
		return nil, nil, err
	}
	if peer, err = n.GetPeerName(ctx); err != nil {
		peer = nil
	}
	return NewFile(ctx, n, uint32(flags)&unix.SOCK_NONBLOCK), peer, nil
}

// Connect is connect(2).
func Connect(ctx vfs.Context, f *vfs.File, addr []byte) error {
	s, err := Of(f)
	if err != nil {
		return err
	}
	if f.Nonblocking() {
		return s.Connect(ctx, addr)
	}
	_, send := s.Timeouts()
	pending := false
	return waitFor(ctx, s, waitq.Writable|waitq.Hup, send, func() error {
		if pending {
			if s.Readiness(waitq.Writable|waitq.Err|waitq.Hup) == 0 {
				return unix.EAGAIN
			}
			b, err := s.GetSockOpt(ctx, unix.SOL_SOCKET, unix.SO_ERROR, OptArg{Len: 4})
			if err != nil {
				return err
			}
			if n := Int(b); n != 0 {
				return unix.Errno(n)
			}
			return nil
		}
		err := s.Connect(ctx, addr)
		if err == unix.EINPROGRESS {
			pending = true
			return unix.EAGAIN
		}
		return err
	})
}

// Send is sendmsg(2): it waits for room unless f is non-blocking or MSG_DONTWAIT is
// set, and sends SIGPIPE for EPIPE on streams unless MSG_NOSIGNAL is set.
func Send(ctx vfs.Context, f *vfs.File, m *SendMessage) (int64, error) {
	s, err := Of(f)
	if err != nil {
		m.Control.Release()
		return 0, err
	}
	_, typ, _ := s.Kind()
	var done int64
	try := func() error {
		n, err := s.SendMsg(ctx, m)
		done += n
		if err == nil && typ == unix.SOCK_STREAM && m.Data.Len() > 0 {
			return unix.EAGAIN
		}
		return err
	}
	if f.Nonblocking() || m.Flags&unix.MSG_DONTWAIT != 0 {
		err = try()
	} else {
		_, send := s.Timeouts()
		err = waitFor(ctx, s, waitq.Writable|waitq.Hup|waitq.Err, send, try)
	}
	m.Control.Release() // what has not been sent
	if done > 0 {
		return done, nil
	}
	if err == unix.EPIPE && typ == unix.SOCK_STREAM && m.Flags&unix.MSG_NOSIGNAL == 0 {
		ctx.Signal(unix.SIGPIPE)
	}
	return 0, err
}

// Recv is recvmsg(2): it waits for data unless f is non-blocking or MSG_DONTWAIT is set,
// on streams with MSG_WAITALL until all is there.
func Recv(ctx vfs.Context, f *vfs.File, m *RecvMessage) (int64, error) {
	s, err := Of(f)
	if err != nil {
		return 0, err
	}
	_, typ, _ := s.Kind()
	all := m.Flags&unix.MSG_WAITALL != 0 && m.Flags&unix.MSG_PEEK == 0 && typ == unix.SOCK_STREAM
	var done int64
	try := func() error {
		if done > 0 && m.Control.Any() {
			return nil // ancillary data belong to what came with them
		}
		n, err := s.RecvMsg(ctx, m)
		done += n
		if err == nil && all && n > 0 && m.Data.Len() > 0 {
			return unix.EAGAIN
		}
		return err
	}
	if f.Nonblocking() || m.Flags&unix.MSG_DONTWAIT != 0 {
		for {
			before := done
			if err = try(); err != unix.EAGAIN || done == before {
				break
			}
		}
	} else {
		recv, _ := s.Timeouts()
		err = waitFor(ctx, s, waitq.Readable|waitq.RdHup|waitq.Hup|waitq.Err|waitq.Pri, recv, try)
	}
	if done > 0 {
		return done, nil
	}
	return 0, err
}

// Creds are who sent something or made a connection. TGID is in the initial pid namespace.
type Creds struct {
	TGID     int32
	UID, GID uint32 // kernel ids
	Cred     *cred.Cred
}

// CredsOf are the caller's.
func CredsOf(ctx vfs.Context) Creds {
	c := ctx.Cred()
	return Creds{TGID: ctx.TGID(), UID: c.EUID, GID: c.EGID, Cred: c}
}

// A PIDMapper is a vfs.Context whose caller may be in a pid namespace of its own: the
// sentry's tasks. 0 stands for a process that the other side cannot see.
type PIDMapper interface {
	// LocalPID is the caller's number for a process of the initial pid namespace.
	LocalPID(initial int32) int32
	// InitialPID is the initial namespace's number for a process of the caller's.
	InitialPID(local int32) int32
}

// Ucred is creds as ctx's caller sees them.
func (c Creds) Ucred(ctx vfs.Context) unix.Ucred {
	u := unix.Ucred{Pid: c.TGID, Uid: cred.Overflow, Gid: cred.Overflow}
	if c.Cred == nil && c.TGID == 0 {
		return u
	}
	if m, ok := ctx.(PIDMapper); ok && c.TGID != 0 {
		u.Pid = m.LocalPID(c.TGID)
	}
	ns := ctx.Cred().UserNS
	if id := ns.MapUIDFromKernel(c.UID); id != cred.Invalid {
		u.Uid = id
	}
	if id := ns.MapGIDFromKernel(c.GID); id != cred.Invalid {
		u.Gid = id
	}
	return u
}
