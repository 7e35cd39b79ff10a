package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/netstack"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

const (
	// maxSockaddr is sizeof(struct sockaddr_storage).
	maxSockaddr = 128
	somaxconn   = 4096
	// maxOption bounds what setsockopt copies in.
	maxOption = 128 << 10
)

// families are the socket families of the caller's network namespace.
func families(t *sentry.Task) (*netstack.Registry, error) {
	stack, err := t.Namespaces().Net.Stack()
	if err != nil {
		return nil, err
	}
	r, ok := stack.(*netstack.Registry)
	if !ok {
		return nil, unix.EAFNOSUPPORT
	}
	return r, nil
}

// socketFile gets the socket that a descriptor is; the file is to be given back.
func socketFile(t *sentry.Task, fd int32) (*vfs.File, netstack.Socket, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return nil, nil, err
	}
	s, err := netstack.Of(f)
	if err != nil {
		f.DecRef()
	}
	return f, s, err
}

// socket(2)
func socket(t *sentry.Task, family, typ, protocol int32) (uintptr, error) {
	r, err := families(t)
	if err != nil {
		return 0, err
	}
	f, err := r.Socket(t, int(family), int(typ), int(protocol))
	if err != nil {
		return 0, err
	}
	return newFD(t, f, typ&unix.SOCK_CLOEXEC != 0)
}

// socketpair(2)
func socketpair(t *sentry.Task, family, typ, protocol int32, fds usermem.Addr) (uintptr, error) {
	r, err := families(t)
	if err != nil {
		return 0, err
	}
	a, b, err := r.SocketPair(t, int(family), int(typ), int(protocol))
	if err != nil {
		return 0, err
	}
	return 0, newFDs(t, a, b, typ&unix.SOCK_CLOEXEC != 0, fds)
}

// copySockaddr copies in an address.
func copySockaddr(t *sentry.Task, addr usermem.Addr, n int32) ([]byte, error) {
	if n < 0 || n > maxSockaddr {
		return nil, unix.EINVAL
	}
	b := make([]byte, n)
	if n == 0 {
		return b, nil
	}
	_, err := t.MM().CopyIn(addr, b)
	return b, err
}

// copySockaddrOut writes an address into a buffer whose length is at lenAddr, and the length that it has.
func copySockaddrOut(t *sentry.Task, b []byte, addr, lenAddr usermem.Addr) error {
	var n int32
	if err := usermem.CopyObjectIn(t.MM(), lenAddr, &n); err != nil {
		return err
	}
	if n < 0 {
		return unix.EINVAL
	}
	if _, err := t.MM().CopyOut(addr, b[:min(int(n), len(b))]); err != nil {
		return err
	}
	n = int32(len(b))
	return usermem.CopyObjectOut(t.MM(), lenAddr, &n)
}

// bind(2)
func bind(t *sentry.Task, fd int32, addr usermem.Addr, n int32) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	b, err := copySockaddr(t, addr, n)
	if err != nil {
		return 0, err
	}
	return 0, s.Bind(t, b)
}

// listen(2)
func listen(t *sentry.Task, fd, backlog int32) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	return 0, s.Listen(t, int(min(uint32(backlog), somaxconn)))
}

// accept4(2)
func accept4(t *sentry.Task, fd int32, addr, lenAddr usermem.Addr, flags int32) (uintptr, error) {
	if flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	n, peer, err := netstack.Accept(t, f, int(flags))
	if err != nil {
		return 0, err
	}
	if addr != 0 {
		if err := copySockaddrOut(t, peer, addr, lenAddr); err != nil {
			n.DecRef()
			return 0, err
		}
	}
	return newFD(t, n, flags&unix.SOCK_CLOEXEC != 0)
}

// accept(2)
func accept(t *sentry.Task, fd int32, addr, lenAddr usermem.Addr) (uintptr, error) {
	return accept4(t, fd, addr, lenAddr, 0)
}

// connect(2)
func connect(t *sentry.Task, fd int32, addr usermem.Addr, n int32) (uintptr, error) {
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	b, err := copySockaddr(t, addr, n)
	if err != nil {
		return 0, err
	}
	return 0, netstack.Connect(t, f, b)
}

// shutdown(2)
func shutdown(t *sentry.Task, fd, how int32) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return 0, unix.EINVAL
	}
	return 0, s.Shutdown(t, int(how))
}

// getsockname(2)
func getsockname(t *sentry.Task, fd int32, addr, lenAddr usermem.Addr) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	b, err := s.GetSockName(t)
	if err != nil {
		return 0, err
	}
	return 0, copySockaddrOut(t, b, addr, lenAddr)
}

// getpeername(2)
func getpeername(t *sentry.Task, fd int32, addr, lenAddr usermem.Addr) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	b, err := s.GetPeerName(t)
	if err != nil {
		return 0, err
	}
	return 0, copySockaddrOut(t, b, addr, lenAddr)
}

// setsockopt(2)
func setsockopt(t *sentry.Task, fd, level, name int32, val usermem.Addr, n int32) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if n < 0 {
		return 0, unix.EINVAL
	}
	if n > maxOption {
		return 0, unix.ENOBUFS
	}
	b := make([]byte, n)
	if _, err := t.MM().CopyIn(val, b); err != nil {
		return 0, err
	}
	return 0, s.SetSockOpt(t, int(level), int(name), b)
}

// getsockopt(2)
func getsockopt(t *sentry.Task, fd, level, name int32, val, lenAddr usermem.Addr) (uintptr, error) {
	f, s, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	var n int32
	if err := usermem.CopyObjectIn(t.MM(), lenAddr, &n); err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, unix.EINVAL
	}
	arg := netstack.OptArg{Len: int(n)}
	if n > 0 && level != unix.SOL_SOCKET {
		// A few options read the buffer first.
		arg.Data = make([]byte, min(n, 4096))
		got, _ := t.MM().CopyIn(val, arg.Data)
		arg.Data = arg.Data[:got]
	}
	b, err := s.GetSockOpt(t, int(level), int(name), arg)
	if err != nil {
		return 0, err
	}
	b = b[:min(len(b), int(n))]
	if _, err := t.MM().CopyOut(val, b); err != nil {
		return 0, err
	}
	n = int32(len(b))
	return 0, usermem.CopyObjectOut(t.MM(), lenAddr, &n)
}

// sendto(2)
func sendto(t *sentry.Task, fd int32, buf usermem.Addr, n uint64, flags int32, addr usermem.Addr, addrLen int32) (uintptr, error) {
	src, err := guestIO(t, buf, min(n, maxRW))
	if err != nil {
		return 0, err
	}
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	m := netstack.SendMessage{Data: &src, Flags: int(flags)}
	if addr != 0 {
		if m.To, err = copySockaddr(t, addr, addrLen); err != nil {
			return 0, err
		}
		if len(m.To) == 0 {
			m.To = nil
		}
	}
	done, err := netstack.Send(t, f, &m)
	return uintptr(done), err
}

// recvfrom(2)
func recvfrom(t *sentry.Task, fd int32, buf usermem.Addr, n uint64, flags int32, addr, lenAddr usermem.Addr) (uintptr, error) {
	dst, err := guestIO(t, buf, min(n, maxRW))
	if err != nil {
		return 0, err
	}
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	m := netstack.RecvMessage{Data: &dst, Flags: int(flags)}
	done, err := netstack.Recv(t, f, &m)
	m.Control.Release()
	if err != nil {
		return 0, err
	}
	if addr != 0 {
		if err := copySockaddrOut(t, m.From, addr, lenAddr); err != nil {
			return 0, err
		}
	}
	return uintptr(done), nil
}

// msghdr is struct user_msghdr.
type msghdr struct {
	Name       usermem.Addr
	Namelen    int32
	_          int32
	Iov        usermem.Addr
	Iovlen     uint64
	Control    usermem.Addr
	Controllen uint64
	Flags      int32
	_          int32
}

// Offsets of the fields that recvmsg writes.
const (
	msgNamelenOff    = 8
	msgControllenOff = 40
	msgFlagsOff      = 48
	mmsgLenOff       = 56
	mmsgSize         = 64
)

// readMsghdr copies in and checks a message header and its vector.
func readMsghdr(t *sentry.Task, addr usermem.Addr) (msghdr, usermem.IO, error) {
	var h msghdr
	if err := usermem.CopyObjectIn(t.MM(), addr, &h); err != nil {
		return h, usermem.IO{}, err
	}
	if h.Name == 0 {
		h.Namelen = 0
	}
	if h.Namelen < 0 {
		return h, usermem.IO{}, unix.EINVAL
	}
	h.Namelen = min(h.Namelen, maxSockaddr)
	if h.Iovlen > maxIov {
		return h, usermem.IO{}, unix.EMSGSIZE
	}
	v, err := guestVec(t, h.Iov, h.Iovlen)
	return h, v, err
}

func sendMessage(t *sentry.Task, f *vfs.File, addr usermem.Addr, flags int32) (int64, error) {
	h, v, err := readMsghdr(t, addr)
	if err != nil {
		return 0, err
	}
	m := netstack.SendMessage{Data: &v, Flags: int(flags)}
	if h.Name != 0 && h.Namelen > 0 {
		if m.To, err = copySockaddr(t, h.Name, h.Namelen); err != nil {
			return 0, err
		}
	}
	if h.Controllen > 1<<31-1 {
		return 0, unix.ENOBUFS
	}
	if h.Controllen > 0 {
		if h.Controllen > maxOption {
			return 0, unix.ENOBUFS
		}
		b := make([]byte, h.Controllen)
		if _, err := t.MM().CopyIn(h.Control, b); err != nil {
			return 0, err
		}
		if m.Control, err = netstack.ParseControl(t, b, t.Files().Get); err != nil {
			return 0, err
		}
	}
	return netstack.Send(t, f, &m)
}

// sendmsg(2)
func sendmsg(t *sentry.Task, fd int32, msg usermem.Addr, flags int32) (uintptr, error) {
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	n, err := sendMessage(t, f, msg, flags)
	return uintptr(n), err
}

// sendmmsg(2)
func sendmmsg(t *sentry.Task, fd int32, vec usermem.Addr, n, flags uint32) (uintptr, error) {
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	for i := range min(n, maxIov) {
		at := vec + usermem.Addr(i)*mmsgSize
		done, err := sendMessage(t, f, at, int32(flags))
		if err == nil {
			l := uint32(done)
			err = usermem.CopyObjectOut(t.MM(), at+mmsgLenOff, &l)
		}
		if err != nil {
			if i > 0 {
				return uintptr(i), nil
			}
			return 0, err
		}
		if t.Interrupted() {
			return uintptr(i + 1), nil
		}
	}
	return uintptr(min(n, maxIov)), nil
}

func recvMessage(t *sentry.Task, f *vfs.File, addr usermem.Addr, flags int32) (int64, int, error) {
	h, v, err := readMsghdr(t, addr)
	if err != nil {
		return 0, 0, err
	}
	m := netstack.RecvMessage{Data: &v, Flags: int(flags)}
	n, err := netstack.Recv(t, f, &m)
	if err != nil {
		m.Control.Release()
		return 0, 0, err
	}
	space := h.Controllen
	if h.Control == 0 {
		space = 0
	}
	control, cflags := netstack.BuildControl(t, &m.Control, space, t, flags&unix.MSG_CMSG_CLOEXEC != 0)
	out := m.OutFlags | cflags | int(flags&unix.MSG_CMSG_CLOEXEC)
	if h.Name != 0 {
		if err := copySockaddrOut(t, m.From, h.Name, addr+msgNamelenOff); err != nil {
			return 0, 0, err
		}
	}
	if _, err := t.MM().CopyOut(h.Control, control); err != nil {
		return 0, 0, err
	}
	var tail [16]byte // msg_controllen, msg_flags
	binary.LittleEndian.PutUint64(tail[:], uint64(len(control)))
	binary.LittleEndian.PutUint32(tail[8:], uint32(out))
	if _, err := t.MM().CopyOut(addr+msgControllenOff, tail[:12]); err != nil {
		return 0, 0, err
	}
	return n, out, nil
}

// recvmsg(2)
func recvmsg(t *sentry.Task, fd int32, msg usermem.Addr, flags int32) (uintptr, error) {
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	n, _, err := recvMessage(t, f, msg, flags)
	return uintptr(n), err
}

// recvmmsg(2). The timeout is looked at after each message only, as Linux does.
func recvmmsg(t *sentry.Task, fd int32, vec usermem.Addr, n uint32, flags int32, timeout usermem.Addr) (uintptr, error) {
	a, err := readTimeout(t, timeout, false)
	if err != nil {
		return 0, err
	}
	f, _, err := socketFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	got := uint32(0)
	for got < min(n, maxIov) {
		at := vec + usermem.Addr(got)*mmsgSize
		fl := flags &^ unix.MSG_WAITFORONE
		if got > 0 && flags&unix.MSG_WAITFORONE != 0 {
			fl |= unix.MSG_DONTWAIT
		}
		var done int64
		var out int
		if done, out, err = recvMessage(t, f, at, fl); err != nil {
			break
		}
		l := uint32(done)
		if err = usermem.CopyObjectOut(t.MM(), at+mmsgLenOff, &l); err != nil {
			break
		}
		got++
		if out&unix.MSG_OOB != 0 || a.now || timeout != 0 && !a.deadline.IsZero() && until(a.deadline) == 0 {
			break
		}
		if t.Interrupted() {
			break
		}
	}
	if got > 0 {
		return uintptr(got), a.finish(t, nil)
	}
	return 0, err
}
