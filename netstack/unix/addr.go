package unix

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/netstack"
	"gosv.dev/vfs"
)

const maxAddr = 110 // sizeof(struct sockaddr_un)

// addr is a parsed struct sockaddr_un.
type addr struct {
	path     string // a name in a file system
	abstract string // an abstract name, its leading NUL included
}

func (a addr) unnamed() bool { return a.path == "" && a.abstract == "" }

func addrFamily(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }

func parseAddr(b []byte) (a addr, err error) {
	if len(b) < 2 || len(b) > maxAddr || addrFamily(b) != unix.AF_UNIX {
		return a, unix.EINVAL
	}
	name := b[2:]
	switch {
	case len(name) == 0:
	case name[0] == 0:
		a.abstract = string(name)
	default:
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		a.path = string(name)
	}
	return a, nil
}

// bytes is the address as getsockname shows it.
func (a addr) bytes() []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	if a.path != "" {
		return append(append(b, a.path...), 0)
	}
	return append(b, a.abstract...)
}

func addrOrUnnamed(b []byte) []byte {
	if b == nil {
		return addr{}.bytes()
	}
	return b
}

// abstractKey: sockets of different types do not share names.
type abstractKey struct {
	name string
	typ  int
}

// Family is the unix sockets of one network namespace.
type Family struct {
	// Memory is what messages are charged to; nil: nothing. Set before use.
	Memory *mm.Memory
	// DeviceIoctl handles requests for network devices (SIOCGIFCONF ...), which
	// sockets of every family take; nil: there are none. Set before use.
	DeviceIoctl func(ctx vfs.Context, f *vfs.File, cmd uint32, arg uint64) (uint64, error)

	mu       sync.Mutex
	abstract map[abstractKey]*Socket
	sockets  map[*Socket]struct{}
	nextAuto uint32
}

var _ netstack.Family = (*Family)(nil)

// NewFamily returns the family for a new network namespace.
func NewFamily() *Family {
	return &Family{abstract: make(map[abstractKey]*Socket), sockets: make(map[*Socket]struct{})}
}

// Socket implements netstack.Family.
func (f *Family) Socket(_ vfs.Context, typ, protocol int) (netstack.Socket, error) {
	s, err := f.make(typ, protocol)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (f *Family) make(typ, protocol int) (*Socket, error) {
	if protocol != 0 && protocol != unix.AF_UNIX {
		return nil, unix.EPROTONOSUPPORT
	}
	switch typ {
	case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
	case unix.SOCK_RAW: // as Linux has it, for the sake of BSD
		typ = unix.SOCK_DGRAM
	default:
		return nil, unix.ESOCKTNOSUPPORT
	}
	return newSocket(f, typ), nil
}

// Pair implements netstack.Family.
func (f *Family) Pair(ctx vfs.Context, typ, protocol int) (netstack.Socket, netstack.Socket, error) {
	a, err := f.make(typ, protocol)
	if err != nil {
		return nil, nil, err
	}
	b, err := f.make(typ, protocol)
	if err != nil {
		return nil, nil, err
	}
	connectPair(ctx, a, b)
	return a, b, nil
}

func (f *Family) add(s *Socket) {
	f.mu.Lock()
	f.sockets[s] = struct{}{}
	f.mu.Unlock()
}

// remove forgets a socket and its abstract name.
func (f *Family) remove(s *Socket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sockets, s)
	if len(s.addr) > 2 && s.addr[2] == 0 {
		k := abstractKey{string(s.addr[2:]), s.typ}
		if f.abstract[k] == s {
			delete(f.abstract, k)
		}
	}
}

// find finds the socket that has the address, and may be written to.
func (f *Family) find(ctx vfs.Context, a addr, typ int) (*Socket, error) {
	if a.path == "" {
		f.mu.Lock()
		s := f.abstract[abstractKey{a.abstract, typ}]
		f.mu.Unlock()
		if s == nil {
			return nil, unix.ECONNREFUSED
		}
		return s, nil
	}
	p, err := vfs.Lookup(ctx, vfs.Path{}, a.path, vfs.LookupFollow)
	if err != nil {
		return nil, err
	}
	defer p.DecRef()
	i := p.Inode()
	if err := vfs.Permission(ctx, i, vfs.MayWrite); err != nil {
		return nil, err
	}
	if i.Type() != unix.S_IFSOCK {
		return nil, unix.ECONNREFUSED
	}
	s, _ := i.Aux(nil).(*Socket)
	if s == nil {
		return nil, unix.ECONNREFUSED
	}
	if s.typ != typ {
		return nil, unix.EPROTOTYPE
	}
	return s, nil
}

// Bind implements netstack.Socket.
func (s *Socket) Bind(ctx vfs.Context, raw []byte) error {
	a, err := parseAddr(raw)
	if err != nil {
		return err
	}
	if a.unnamed() {
		return s.autobind()
	}
	s.mu.Lock()
	bound := s.addr != nil
	s.mu.Unlock()
	if bound {
		return unix.EINVAL
	}
	if a.path == "" {
		return s.bindAbstract(a)
	}
	p, err := vfs.MknodAt(ctx, vfs.Path{}, a.path, unix.S_IFSOCK|0777, 0)
	if err != nil {
		if err == unix.EEXIST {
			return unix.EADDRINUSE
		}
		return err
	}
	s.mu.Lock()
	if s.addr != nil || s.dead {
		s.mu.Unlock()
		p.DecRef()
		return unix.EINVAL
	}
	s.addr, s.path = a.bytes(), p
	s.mu.Unlock()
	p.Inode().SetAux(s)
	return nil
}

func (s *Socket) bindAbstract(a addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr != nil {
		return unix.EINVAL
	}
	f := s.family
	f.mu.Lock()
	defer f.mu.Unlock()
	k := abstractKey{a.abstract, s.typ}
	if f.abstract[k] != nil {
		return unix.EADDRINUSE
	}
	f.abstract[k] = s
	s.addr = a.bytes()
	return nil
}

// autobind gives s a free abstract name of five hexadecimal digits, if it has none.
func (s *Socket) autobind() error {
	for range 1 << 20 {
		s.mu.Lock()
		bound := s.addr != nil
		s.mu.Unlock()
		if bound {
			return nil
		}
		s.family.mu.Lock()
		s.family.nextAuto++
		n := s.family.nextAuto & 0xfffff
		s.family.mu.Unlock()
		err := s.bindAbstract(addr{abstract: fmt.Sprintf("\x00%05x", n)})
		if err != unix.EADDRINUSE {
			return nil // bound, by us or by somebody else
		}
	}
	return unix.ENOSPC
}

// ProcNetUnix is the text of /proc/net/unix.
func (f *Family) ProcNetUnix() []byte {
	f.mu.Lock()
	all := make([]*Socket, 0, len(f.sockets))
	for s := range f.sockets {
		all = append(all, s)
	}
	f.mu.Unlock()
	sort.Slice(all, func(i, j int) bool { return all[i].id < all[j].id })
	var b bytes.Buffer
	b.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n")
	for _, s := range all {
		s.mu.Lock()
		flags, st := 0, 1 // SS_UNCONNECTED
		switch s.state {
		case listening:
			flags = 0x10000 // __SO_ACCEPTCON
		case connected:
			st = 3
		}
		if !s.file.Load() {
			st = 2 // SS_CONNECTING: waits to be accepted
		}
		fmt.Fprintf(&b, "%016x: %08X %08X %08X %04X %02X %5d", 0, 2+s.recv.n, 0, flags, s.typ, st, s.ino.Load())
		if s.addr != nil {
			name := strings.TrimSuffix(string(s.addr[2:]), "\x00")
			if s.addr[2] == 0 {
				name = string(s.addr[2:])
			}
			b.WriteString(" " + strings.ReplaceAll(name, "\x00", "@"))
		}
		b.WriteByte('\n')
		s.mu.Unlock()
	}
	return b.Bytes()
}
