package unix

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/netstack"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// message is data in a receiver's queue.
type message struct {
	next *message

	mem *mm.Memory   // what the message is charged to, or nil
	buf []byte       // the data
	off atomic.Int64 // what has been received of it; changed under the receiver's recvMu

	sender   *Socket // who is charged
	cost     int64
	from     []byte // the sender's address when it sent
	creds    netstack.Creds
	hasCreds bool
	at       time.Time // when it came, if the receiver wants to know

	// rights are files in flight; taken out under the receiver's mu.
	rights []*vfs.File
}

func (m *message) left() int { return len(m.buf) - int(m.off.Load()) }

// messageQueue is a list of messages. It is protected by its socket's mu.
type messageQueue struct {
	head, tail *message
	n          int
	bytes      atomic.Int64
}

func (q *messageQueue) empty() bool { return q.head == nil }

func (q *messageQueue) push(m *message) {
	if q.tail == nil {
		q.head = m
	} else {
		q.tail.next = m
	}
	q.tail = m
	q.n++
	q.bytes.Add(int64(len(m.buf)))
}

func (q *messageQueue) pop() *message {
	m := q.head
	q.head = m.next
	if q.head == nil {
		q.tail = nil
	}
	m.next = nil
	q.n--
	q.bytes.Add(-int64(m.left()))
	return m
}

// takeAll empties the queue and returns its list.
func (q *messageQueue) takeAll() *message {
	m := q.head
	q.head, q.tail, q.n = nil, nil, 0
	q.bytes.Store(0)
	return m
}

// Messages are reused, with their buffers, in some sizes.
var sizes = [...]int{256, 1024, 4096, 12288, maxChunk}

// overhead is what a message takes besides its buffer.
const overhead = 256

var pools = [len(sizes)]sync.Pool{}

// newMessage makes a message for n bytes; ENOBUFS if mem, which may be nil, has no room for it.
func newMessage(mem *mm.Memory, n int) (*message, error) {
	size := n
	for _, s := range sizes {
		if n <= s {
			size = s
			break
		}
	}
	if mem.ChargeKernel(int64(size)+overhead) != nil {
		return nil, unix.ENOBUFS
	}
	m := pooledMessage(n)
	m.mem = mem
	return m, nil
}

func pooledMessage(n int) *message {
	for i, size := range sizes {
		if n <= size {
			if m, ok := pools[i].Get().(*message); ok {
				m.buf = m.buf[:n]
				return m
			}
			return &message{buf: make([]byte, n, size)}
		}
	}
	return &message{buf: make([]byte, n)}
}

// free gives a message back to where it came from. Its rights have been taken.
func (m *message) free() {
	buf := m.buf[:0]
	m.mem.UnchargeKernel(int64(cap(buf)) + overhead)
	m.mem = nil
	for i, size := range sizes {
		if cap(buf) == size {
			m.next, m.sender, m.from, m.rights = nil, nil, nil, nil
			m.off.Store(0)
			m.creds, m.hasCreds, m.at, m.cost = netstack.Creds{}, false, time.Time{}, 0
			m.buf = buf
			pools[i].Put(m)
			return
		}
	}
}

// What fits into the head of a socket buffer; the rest of a message lies in pages.
const (
	maxHead  = 4096 - 320
	maxChunk = maxHead + 32768 // the most of a stream that one message takes
)

// cost is what Linux charges for a message of n bytes: its socket buffer.
func cost(n int) int64 {
	const info, page = 320, 4096
	paged := 0
	if n > maxHead {
		paged = min(n, (n-maxHead+page-1)&^(page-1))
		n -= paged
	}
	head := 512
	for head < n+info {
		head *= 2
	}
	return int64(overhead + head + (paged+page-1)&^(page-1))
}

// charge and uncharge count what s has sent and nobody has received.
func (m *message) charge(s *Socket) {
	m.sender, m.cost = s, cost(len(m.buf))
	s.wmem.Add(m.cost)
}

func (m *message) uncharge() {
	s := m.sender
	if s == nil {
		return
	}
	m.sender = nil
	if n := s.wmem.Add(-m.cost); n*4 <= s.SendBuffer.Load() {
		s.queue.Notify(waitq.Writable)
	}
}

// drop throws a list of messages away.
func (s *Socket) drop(m *message) {
	var files []*vfs.File
	for m != nil {
		next := m.next
		m.uncharge()
		files = append(files, m.rights...)
		m.rights = nil
		m.free()
		m = next
	}
	if len(files) > 0 {
		flight.leave(files)
		release(files)
	}
}

// Write implements vfs.FileOps.
func (s *Socket) Write(ctx vfs.Context, _ *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	n, err := s.send(ctx, src, nil, nil)
	return n, 0, err
}

// Read implements vfs.FileOps. Files that come along are lost.
func (s *Socket) Read(ctx vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	var r received
	n, err := s.receive(dst, 0, &r)
	release(r.rights)
	return n, err
}

// SendMsg implements netstack.Socket.
func (s *Socket) SendMsg(ctx vfs.Context, m *netstack.SendMessage) (int64, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	for _, o := range m.Control.Others {
		if o.Level == unix.SOL_SOCKET {
			return 0, unix.EINVAL
		}
	}
	return s.send(ctx, m.Data, m.To, &m.Control)
}

// send sends from src; to is a destination or nil, c ancillary data or nil.
func (s *Socket) send(ctx vfs.Context, src *usermem.IO, to []byte, c *netstack.Control) (int64, error) {
	if s.PassCred.Load() || s.PassPIDFD.Load() {
		if err := s.autobind(); err != nil {
			return 0, err
		}
	}
	if s.stream() {
		return s.sendStream(ctx, src, to, c)
	}
	return s.sendDatagram(ctx, src, to, c)
}

// prepare makes a message of n bytes from src, which it moves on.
func (s *Socket) prepare(ctx vfs.Context, src *usermem.IO, n int, peer *Socket, c *netstack.Control) (*message, error) {
	m, err := newMessage(s.family.Memory, n)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		if k, err := src.Read(m.buf); err != nil || k < n {
			m.free()
			return nil, unix.EFAULT
		}
	}
	switch {
	case c != nil && c.Creds != nil:
		m.creds, m.hasCreds = *c.Creds, true
	case s.PassCred.Load(), peer.PassCred.Load(), !peer.file.Load():
		m.creds, m.hasCreds = netstack.Creds{TGID: ctx.TGID(), UID: ctx.Cred().UID, GID: ctx.Cred().GID, Cred: ctx.Cred()}, true
	}
	if peer.Timestamp.Load() != 0 {
		m.at = time.Now()
	}
	return m, nil
}

func (s *Socket) sendStream(ctx vfs.Context, src *usermem.IO, to []byte, c *netstack.Control) (int64, error) {
	s.mu.Lock()
	peer, st, shut := s.peer, s.state, s.shut
	addr := s.addr
	s.mu.Unlock()
	if len(to) > 0 {
		if st == connected {
			return 0, unix.EISCONN
		}
		return 0, unix.EOPNOTSUPP
	}
	if peer == nil {
		return 0, unix.ENOTCONN
	}
	if shut&shutSend != 0 {
		return 0, unix.EPIPE
	}
	var done int64
	sndbuf := s.SendBuffer.Load()
	limit := uint64(min(sndbuf/2-64, maxChunk))
	for src.Len() > 0 {
		if s.wmem.Load() >= sndbuf {
			break
		}
		s.mu.Lock()
		err := s.takeError()
		s.mu.Unlock()
		if err != nil {
			if done > 0 {
				break
			}
			return 0, err
		}
		v := *src
		m, err := s.prepare(ctx, &v, int(min(src.Len(), limit)), peer, c)
		if err != nil {
			if done > 0 {
				break
			}
			return 0, err
		}
		m.from = addr
		if c != nil && len(c.Rights) > 0 {
			if err := flight.enter(ctx, c.Rights); err != nil {
				m.free()
				return 0, err
			}
			m.rights = c.Rights
		}
		m.charge(s)
		n := len(m.buf)
		peer.mu.Lock()
		if peer.dead || peer.shut&shutRecv != 0 {
			peer.mu.Unlock()
			if len(m.rights) > 0 {
				flight.leave(m.rights)
				m.rights = nil
			}
			m.uncharge()
			m.free()
			if done > 0 {
				break
			}
			return 0, unix.EPIPE
		}
		peer.recv.push(m)
		peer.mu.Unlock()
		if c != nil {
			c.Rights = nil
		}
		*src = v
		done += int64(n)
		peer.queue.Notify(waitq.Readable)
	}
	if done == 0 && src.Len() > 0 {
		return 0, unix.EAGAIN
	}
	return done, nil
}

func (s *Socket) sendDatagram(ctx vfs.Context, src *usermem.IO, to []byte, c *netstack.Control) (int64, error) {
	s.mu.Lock()
	peer, st, shut, addr := s.peer, s.state, s.shut, s.addr
	err := s.takeError()
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	isPeer := true
	if s.connections() {
		if st != connected || peer == nil {
			return 0, unix.ENOTCONN
		}
	} else if len(to) > 0 {
		a, err := parseAddr(to)
		if err != nil {
			return 0, err
		}
		if a.unnamed() {
			return 0, unix.EINVAL
		}
		if peer, err = s.family.find(ctx, a, s.typ); err != nil {
			return 0, err
		}
		isPeer = false
	} else if peer == nil {
		return 0, unix.ENOTCONN
	}
	sndbuf := s.SendBuffer.Load()
	if src.Len() > uint64(max(sndbuf-32, 0)) {
		return 0, unix.EMSGSIZE
	}
	if shut&shutSend != 0 {
		return 0, unix.EPIPE
	}
	if s.wmem.Load() >= sndbuf {
		return 0, unix.EAGAIN
	}
	if peer.full(s) {
		s.waitRoom(peer)
		if peer.full(s) {
			return 0, unix.EAGAIN
		}
	}
	v := *src
	m, err := s.prepare(ctx, &v, int(src.Len()), peer, c)
	if err != nil {
		return 0, err
	}
	m.from = addr
	if c != nil && len(c.Rights) > 0 {
		if err := flight.enter(ctx, c.Rights); err != nil {
			m.free()
			return 0, err
		}
		m.rights = c.Rights
	}
	m.charge(s)
	n := len(m.buf)
	peer.mu.Lock()
	err = nil
	switch {
	case peer.dead && s.connections():
		err = unix.EPIPE
	case peer.dead:
		err = unix.ECONNREFUSED
	case peer.shut&shutRecv != 0:
		err = unix.EPIPE
	case peer.peer != nil && peer.peer != s:
		err = unix.EPERM
	case peer.fullLocked(s):
		err = unix.EAGAIN
	default:
		peer.recv.push(m)
	}
	peer.mu.Unlock()
	if err != nil {
		if len(m.rights) > 0 {
			flight.leave(m.rights)
			m.rights = nil
		}
		m.uncharge()
		m.free()
		switch {
		case err == unix.EAGAIN:
			s.waitRoom(peer)
		case err == unix.ECONNREFUSED && isPeer:
			s.mu.Lock()
			if s.peer == peer {
				s.peer, s.state = nil, closed
			}
			s.mu.Unlock()
		}
		return 0, err
	}
	if c != nil {
		c.Rights = nil
	}
	*src = v
	peer.queue.Notify(waitq.Readable)
	return int64(n), nil
}

// received is what comes with data.
type received struct {
	from     []byte
	rights   []*vfs.File
	creds    netstack.Creds
	hasCreds bool
	at       time.Time
	flags    int // MSG_TRUNC
	named    bool
}

// RecvMsg implements netstack.Socket.
func (s *Socket) RecvMsg(_ vfs.Context, m *netstack.RecvMessage) (int64, error) {
	if m.Flags&unix.MSG_OOB != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if m.Flags&unix.MSG_ERRQUEUE != 0 {
		return 0, unix.EAGAIN
	}
	var r received
	n, err := s.receive(m.Data, m.Flags, &r)
	if err != nil {
		return n, err
	}
	m.OutFlags |= r.flags
	if r.named {
		m.From = r.from
	}
	m.Control.Rights = append(m.Control.Rights, r.rights...)
	if r.named && (s.PassCred.Load() || s.PassPIDFD.Load()) && m.Control.Creds == nil {
		c := r.creds
		if !r.hasCreds {
			c = netstack.Creds{}
		}
		m.Control.Creds = &c
		m.Control.PIDFD = s.PassPIDFD.Load()
	}
	if !r.at.IsZero() {
		m.Control.Others = append(m.Control.Others, timestamp(int(s.Timestamp.Load()), r.at))
	}
	return n, nil
}

// timestamp is the ancillary data for one of the SO_TIMESTAMP options.
func timestamp(opt int, at time.Time) netstack.ControlMessage {
	v := [2]int64{at.Unix(), int64(at.Nanosecond())}
	if opt == unix.SO_TIMESTAMP || opt == unix.SO_TIMESTAMP_NEW {
		v[1] /= 1000
	}
	return netstack.ControlMessage{
		Level: unix.SOL_SOCKET, Type: int32(opt),
		Data: append([]byte(nil), usermem.AsBytes(&v)...),
	}
}

func (s *Socket) receive(dst *usermem.IO, flags int, r *received) (int64, error) {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	if s.stream() {
		return s.receiveStream(dst, flags, r)
	}
	return s.receiveDatagram(dst, flags, r)
}

func (r *received) take(m *message) {
	r.from, r.creds, r.hasCreds, r.at, r.named = m.from, m.creds, m.hasCreds, m.at, true
}

// takeRights moves (or with peek copies) a message's files to r. s.mu is held.
func (r *received) takeRights(m *message, peek bool) {
	r.rights = m.rights
	if peek {
		r.rights = append([]*vfs.File(nil), m.rights...)
		for _, f := range r.rights {
			f.IncRef()
		}
		return
	}
	m.rights = nil
}

func (s *Socket) receiveStream(dst *usermem.IO, flags int, r *received) (int64, error) {
	peek := flags&unix.MSG_PEEK != 0
	s.mu.Lock()
	if s.state != connected {
		s.mu.Unlock()
		return 0, unix.EINVAL
	}
	m := s.recv.head
	if m == nil {
		defer s.mu.Unlock()
		if err := s.takeError(); err != nil {
			return 0, err
		}
		if s.shut&shutRecv != 0 || dst.Len() == 0 {
			return 0, nil
		}
		return 0, unix.EAGAIN
	}
	s.mu.Unlock()
	var done int64
	for m != nil && dst.Len() > 0 {
		if r.named && s.PassCred.Load() && (m.hasCreds != r.hasCreds || m.creds != r.creds) {
			break // data of different senders are not joined
		}
		off := int(m.off.Load())
		b := m.buf[off:]
		if uint64(len(b)) > dst.Len() {
			b = b[:dst.Len()]
		}
		n, err := dst.Write(b)
		if err != nil {
			if done == 0 {
				return 0, unix.EFAULT
			}
			break
		}
		if !r.named {
			r.take(m)
		}
		done += int64(n)

		s.mu.Lock()
		hadRights := len(m.rights) > 0
		if hadRights {
			r.takeRights(m, peek)
		}
		next := m.next
		if !peek {
			m.off.Add(int64(n))
			s.recv.bytes.Add(-int64(n))
			if m.left() == 0 {
				s.recv.pop()
				next = s.recv.head
			} else {
				next = nil
			}
		} else if n < m.left() {
			next = nil
		}
		s.mu.Unlock()
		if !peek && m.left() == 0 {
			m.uncharge()
			m.free()
		}
		if hadRights {
			if !peek {
				flight.leave(r.rights)
			}
			break
		}
		m = next
	}
	return done, nil
}

func (s *Socket) receiveDatagram(dst *usermem.IO, flags int, r *received) (int64, error) {
	peek := flags&unix.MSG_PEEK != 0
	s.mu.Lock()
	if s.connections() && s.state != connected {
		s.mu.Unlock()
		return 0, unix.ENOTCONN
	}
	// An error comes before the messages; of streams it comes behind them.
	if err := s.takeError(); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	m := s.recv.head
	if m == nil {
		defer s.mu.Unlock()
		if s.shut&shutRecv != 0 {
			return 0, nil
		}
		return 0, unix.EAGAIN
	}
	if !peek {
		s.recv.pop()
	}
	if len(m.rights) > 0 {
		r.takeRights(m, peek)
	}
	s.mu.Unlock()
	if !peek {
		s.room.Notify(waitq.Writable)
		if len(r.rights) > 0 {
			flight.leave(r.rights)
		}
	}
	r.take(m)
	n := len(m.buf)
	b := m.buf
	if uint64(n) > dst.Len() {
		b = b[:dst.Len()]
		r.flags |= unix.MSG_TRUNC
	}
	_, err := dst.Write(b)
	got := len(b)
	if !peek {
		m.uncharge()
		m.free()
	}
	if err != nil {
		release(r.rights)
		r.rights = nil
		return 0, unix.EFAULT
	}
	if flags&unix.MSG_TRUNC != 0 {
		return int64(n), nil
	}
	return int64(got), nil
}
