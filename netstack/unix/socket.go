package unix

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/netstack"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

const (
	// maxQueue is how many datagrams wait for a receiver that is not connected to the
	// sender (net.unix.max_dgram_qlen).
	maxQueue = 10
	// maxBacklog is net.core.somaxconn.
	maxBacklog = 4096
)

type state uint8

const (
	closed state = iota
	listening
	connected
)

type shutMask uint8

const (
	shutRecv shutMask = 1 << iota
	shutSend
	shutBoth = shutRecv | shutSend
)

// Socket is a unix socket.
type Socket struct {
	vfs.DefaultFileOps
	netstack.Options

	family *Family // immutable
	id     uint64  // order of creation, for the order of locks; immutable
	typ    int     // immutable
	ino    atomic.Uint64
	file   atomic.Bool // it has an open file (is not waiting to be accepted)

	queue waitq.Queue
	// room is notified when the receive queue or the backlog gets room.
	room waitq.Queue

	// wmem is what the messages that it sent, and nobody received yet, cost.
	wmem atomic.Int64

	// recvMu makes receivers take turns.
	recvMu sync.Mutex

	// mu protects what follows.
	mu       sync.Mutex
	state    state
	dead     bool // closed
	shut     shutMask
	err      unix.Errno
	peer     *Socket
	addr     []byte   // struct sockaddr_un, nil if not bound
	path     vfs.Path // of the node it is bound to
	recv     messageQueue
	pending  []*Socket // not yet accepted
	backlog  int
	creds    netstack.Creds // of the listener
	peerCred netstack.Creds

	// roomMu protects where this socket waits for room.
	roomMu    sync.Mutex
	roomEntry waitq.Entry
	roomOf    *Socket
}

var lastID atomic.Uint64

func newSocket(f *Family, typ int) *Socket {
	s := &Socket{family: f, id: lastID.Add(1), typ: typ, backlog: maxQueue}
	s.Options.Init(unix.AF_UNIX, typ, 0)
	s.roomEntry.Notify = func(waitq.Events) bool {
		s.queue.Notify(waitq.Writable)
		return true
	}
	f.add(s)
	return s
}

// SetInode tells the inode that the socket's file has.
func (s *Socket) SetInode(i *vfs.Inode) {
	s.ino.Store(i.Ino)
	s.file.Store(true)
}

func (s *Socket) stream() bool { return s.typ == unix.SOCK_STREAM }

// connections tells whether the socket's type has connections.
func (s *Socket) connections() bool { return s.typ != unix.SOCK_DGRAM }

func lockTwo(a, b *Socket) {
	if a.id > b.id {
		a, b = b, a
	}
	a.mu.Lock()
	if a != b {
		b.mu.Lock()
	}
}

func unlockTwo(a, b *Socket) {
	a.mu.Unlock()
	if a != b {
		b.mu.Unlock()
	}
}

// waitRoom makes s's queue be notified when other gets room. The caller must look again after it.
func (s *Socket) waitRoom(other *Socket) {
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	if s.roomOf == other {
		return
	}
	if s.roomOf != nil {
		s.roomOf.room.EventUnregister(&s.roomEntry)
	}
	s.roomOf = other
	if other != nil {
		other.room.EventRegister(&s.roomEntry, waitq.Writable)
	}
}

// Readiness implements vfs.FileOps.
func (s *Socket) Readiness(mask waitq.Events) waitq.Events {
	s.mu.Lock()
	var ev waitq.Events
	if s.err != 0 {
		ev |= waitq.Err
	}
	if s.shut == shutBoth {
		ev |= waitq.Hup
	}
	if s.shut&shutRecv != 0 {
		ev |= waitq.RdHup | waitq.Readable
	}
	if !s.recv.empty() || len(s.pending) > 0 {
		ev |= waitq.Readable
	}
	if s.connections() && s.state == closed {
		ev |= waitq.Hup
	}
	writable := s.state != listening && s.wmem.Load()*4 <= s.SendBuffer.Load()
	peer := s.peer
	s.mu.Unlock()
	if writable && !s.connections() && peer != nil && mask&waitq.Writable != 0 && peer.full(s) {
		s.waitRoom(peer)
		writable = !peer.full(s)
	}
	if writable {
		ev |= waitq.Writable | unix.EPOLLWRBAND
	}
	return ev & (mask | waitq.Always)
}

// full tells whether s's queue has no room for a datagram from sender.
func (s *Socket) full(sender *Socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullLocked(sender)
}

func (s *Socket) fullLocked(sender *Socket) bool {
	return s != sender && s.peer != sender && s.recv.n > s.backlog && !s.dead && s.shut&shutRecv == 0
}

// EventRegister implements vfs.FileOps.
func (s *Socket) EventRegister(e *waitq.Entry, mask waitq.Events) { s.queue.EventRegister(e, mask) }

// EventUnregister implements vfs.FileOps.
func (s *Socket) EventUnregister(e *waitq.Entry) { s.queue.EventUnregister(e) }

// Stream implements vfs.FileOps.
func (s *Socket) Stream() bool { return true }

// Listen implements netstack.Socket.
func (s *Socket) Listen(ctx vfs.Context, backlog int) error {
	if !s.connections() {
		return unix.EOPNOTSUPP
	}
	if backlog < 0 || backlog > maxBacklog {
		backlog = maxBacklog
	}
	s.mu.Lock()
	if s.addr == nil || s.state == connected {
		s.mu.Unlock()
		return unix.EINVAL
	}
	s.state = listening
	s.backlog = backlog
	s.creds = netstack.CredsOf(ctx)
	s.peerCred = s.creds
	s.mu.Unlock()
	s.room.Notify(waitq.Writable)
	return nil
}

// Accept implements netstack.Socket.
func (s *Socket) Accept(vfs.Context) (netstack.Socket, error) {
	if !s.connections() {
		return nil, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	switch {
	case s.state != listening:
		s.mu.Unlock()
		return nil, unix.EINVAL
	case len(s.pending) == 0:
		err := unix.EAGAIN
		if s.shut&shutRecv != 0 {
			err = unix.EINVAL
		}
		s.mu.Unlock()
		return nil, err
	}
	n := s.pending[0]
	s.pending[0] = nil
	s.pending = s.pending[1:]
	s.mu.Unlock()
	s.room.Notify(waitq.Writable)
	return n, nil
}

// Connect implements netstack.Socket.
func (s *Socket) Connect(ctx vfs.Context, raw []byte) error {
	a, err := parseAddr(raw)
	if err != nil {
		if !s.connections() && len(raw) >= 2 && addrFamily(raw) == unix.AF_UNSPEC {
			s.setPeer(nil)
			return nil
		}
		return err
	}
	if a.unnamed() {
		return unix.EINVAL
	}
	if s.PassCred.Load() {
		if err := s.autobind(); err != nil {
			return err
		}
	}
	other, err := s.family.find(ctx, a, s.typ)
	if err != nil {
		return err
	}
	if !s.connections() {
		other.mu.Lock()
		bad := other.peer != nil && other.peer != s
		other.mu.Unlock()
		if bad {
			return unix.EPERM
		}
		s.setPeer(other)
		s.mu.Lock()
		s.peerCred = netstack.Creds{}
		s.mu.Unlock()
		return nil
	}

	n := newSocket(s.family, s.typ)
	n.state = connected
	n.peer = s
	n.peerCred = netstack.CredsOf(ctx)
	lockTwo(s, other)
	err = nil
	switch {
	case s.state == connected:
		err = unix.EISCONN
	case s.state == listening:
		err = unix.EINVAL
	case other.state != listening || other.dead || other.shut&shutRecv != 0:
		err = unix.ECONNREFUSED
	case len(other.pending) > other.backlog:
		err = unix.EAGAIN
	}
	if err != nil {
		unlockTwo(s, other)
		s.family.remove(n)
		if err == unix.EAGAIN {
			s.waitRoom(other)
		}
		return err
	}
	n.addr = other.addr
	n.Options.CopyFrom(&other.Options)
	s.peer, s.state, s.peerCred = n, connected, other.creds
	other.pending = append(other.pending, n)
	unlockTwo(s, other)
	s.waitRoom(nil)
	other.queue.Notify(waitq.Readable)
	s.queue.Notify(waitq.Writable)
	return nil
}

// setPeer connects a datagram socket anew, or (nil) disconnects it.
func (s *Socket) setPeer(p *Socket) {
	s.recvMu.Lock() // no receiver may be looking at what is thrown away
	s.mu.Lock()
	old := s.peer
	s.peer = p
	s.state = closed
	if p != nil {
		s.state = connected
	}
	var gone *message
	if old != nil && old != p {
		gone = s.recv.takeAll()
	}
	s.mu.Unlock()
	s.recvMu.Unlock()
	s.waitRoom(nil)
	s.drop(gone)
	if old != nil && old != p && old != s {
		old.mu.Lock()
		told := old.peer == s && !old.dead
		if told {
			old.err = unix.ECONNRESET
		}
		old.mu.Unlock()
		if told {
			old.queue.Notify(waitq.Err)
		}
		s.room.Notify(waitq.Writable)
	}
}

// connectPair makes both connected to each other.
func connectPair(ctx vfs.Context, a, b *Socket) {
	c := netstack.CredsOf(ctx)
	a.peer, b.peer = b, a
	a.state, b.state = connected, connected
	a.peerCred, b.peerCred = c, c
}

// Shutdown implements netstack.Socket.
func (s *Socket) Shutdown(_ vfs.Context, how int) error {
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	mask := shutMask(how + 1)
	s.mu.Lock()
	s.shut |= mask
	peer := s.peer
	isListening := s.state == listening
	s.mu.Unlock()
	if peer != nil && s.connections() {
		var pm shutMask
		if mask&shutRecv != 0 {
			pm |= shutSend
		}
		if mask&shutSend != 0 {
			pm |= shutRecv
		}
		peer.mu.Lock()
		peer.shut |= pm
		peer.mu.Unlock()
		peer.stateChanged()
	}
	s.stateChanged()
	if isListening {
		s.room.Notify(waitq.Writable)
	}
	return nil
}

// stateChanged wakes everybody who waits for s.
func (s *Socket) stateChanged() {
	ev := waitq.Readable | waitq.Writable | waitq.RdHup
	s.mu.Lock()
	if s.shut == shutBoth {
		ev |= waitq.Hup
	}
	if s.err != 0 {
		ev |= waitq.Err
	}
	s.mu.Unlock()
	s.queue.Notify(ev)
}

// takeError returns the pending error and clears it. s.mu is held.
func (s *Socket) takeError() error {
	if s.err == 0 {
		return nil
	}
	e := s.err
	s.err = 0
	return e
}

// Release implements vfs.FileOps.
func (s *Socket) Release(*vfs.File) {
	s.close()
	if flight.any() {
		gc.schedule()
	}
}

func (s *Socket) close() {
	s.mu.Lock()
	if s.dead {
		s.mu.Unlock()
		return
	}
	s.dead = true
	s.shut = shutBoth
	peer := s.peer
	s.peer = nil
	unread := s.recv.takeAll()
	pending := s.pending
	s.pending = nil
	wasListening := s.state == listening
	s.state = closed
	path := s.path
	s.path = vfs.Path{}
	s.mu.Unlock()

	s.family.remove(s)
	s.waitRoom(nil)
	if path.Valid() {
		if i := path.Inode(); i != nil && i.Aux(nil) == any(s) {
			i.SetAux(nil)
		}
		path.DecRef()
	}
	if peer != nil && s.connections() {
		peer.mu.Lock()
		peer.shut = shutBoth
		if unread != nil {
			peer.err = unix.ECONNRESET
		}
		peer.mu.Unlock()
		peer.stateChanged()
	}
	for _, n := range pending {
		// Who connected is told that nobody will ever answer.
		n.mu.Lock()
		client := n.peer
		n.mu.Unlock()
		if client != nil {
			client.mu.Lock()
			client.err = unix.ECONNRESET
			client.mu.Unlock()
		}
		n.close()
	}
	if wasListening || !s.connections() {
		s.room.Notify(waitq.Writable | waitq.Err)
	}
	s.drop(unread)
}

// Ioctl implements vfs.FileOps.
func (s *Socket) Ioctl(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	var v int32
	switch cmd {
	case unix.SIOCINQ:
		s.mu.Lock()
		if s.state == listening {
			s.mu.Unlock()
			return 0, unix.EINVAL
		}
		if s.connections() {
			v = int32(s.recv.bytes.Load())
		} else if s.recv.head != nil {
			v = int32(s.recv.head.left())
		}
		s.mu.Unlock()
	case unix.SIOCOUTQ:
		v = int32(s.wmem.Load())
	default:
		if s.family.DeviceIoctl != nil {
			return s.family.DeviceIoctl(ctx, f, cmd, arg)
		}
		return 0, unix.ENOTTY
	}
	return 0, usermem.CopyObjectOut(ctx.Memory(), usermem.Addr(arg), &v)
}

// GetSockName implements netstack.Socket.
func (s *Socket) GetSockName(vfs.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return addrOrUnnamed(s.addr), nil
}

// GetPeerName implements netstack.Socket.
func (s *Socket) GetPeerName(vfs.Context) ([]byte, error) {
	s.mu.Lock()
	peer := s.peer
	s.mu.Unlock()
	if peer == nil {
		return nil, unix.ENOTCONN
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	return addrOrUnnamed(peer.addr), nil
}

// GetSockOpt implements netstack.Socket.
func (s *Socket) GetSockOpt(ctx vfs.Context, level, name int, arg netstack.OptArg) ([]byte, error) {
	if level != unix.SOL_SOCKET {
		return nil, unix.EOPNOTSUPP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case unix.SO_ERROR:
		e := s.err
		s.err = 0
		return netstack.IntBytes(int32(e)), nil
	case unix.SO_ACCEPTCONN:
		if s.state == listening {
			return netstack.IntBytes(1), nil
		}
		return netstack.IntBytes(0), nil
	case unix.SO_PEERCRED:
		u := unix.Ucred{Uid: ^uint32(0), Gid: ^uint32(0)}
		if s.peerCred.Cred != nil {
			u = s.peerCred.Ucred(ctx)
		}
		return append([]byte(nil), usermem.AsBytes(&u)...), nil
	case unix.SO_PEERGROUPS:
		if s.peerCred.Cred == nil {
			return nil, unix.ENODATA
		}
		var b []byte
		for _, g := range s.peerCred.Cred.Groups {
			b = append(b, netstack.IntBytes(int32(ctx.Cred().UserNS.ShowGID(g)))...)
		}
		if len(b) > arg.Len {
			return nil, unix.ERANGE
		}
		return b, nil
	case unix.SO_PEERPIDFD:
		in, ok := ctx.(netstack.ControlInstaller)
		if !ok {
			return nil, unix.ENOPROTOOPT
		}
		if s.peerCred.TGID == 0 {
			return nil, unix.ENODATA
		}
		fd, err := in.OpenPIDFD(s.peerCred.TGID)
		return netstack.IntBytes(fd), err
	}
	return s.Options.Get(ctx, name)
}

// SetSockOpt implements netstack.Socket.
func (s *Socket) SetSockOpt(ctx vfs.Context, level, name int, val []byte) error {
	if level != unix.SOL_SOCKET {
		return unix.EOPNOTSUPP
	}
	return s.Options.Set(ctx, name, val)
}
