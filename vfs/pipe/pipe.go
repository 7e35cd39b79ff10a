package pipe

import (
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

const (
	pageSize = 4096

	// Atomic is PIPE_BUF: writes of at most this many bytes are not split.
	Atomic = 4096
	// DefaultSize is the capacity of a new pipe.
	DefaultSize = 16 * pageSize
	// hardMaxSize bounds the ring for callers with all rights: Linux takes up to
	// 2 GiB, whose ring alone would be a burden to the sentry.
	hardMaxSize = 1 << 30
	// minSlots is what a pipe has whose maker has too many.
	minSlots = 2
)

// page is one page of pipe data. refs counts slots that have it, in any pipe.
type page struct {
	refs atomic.Int32
	data [pageSize]byte
}

var pagePool = sync.Pool{New: func() any { return new(page) }}

type slotFlags uint8

const (
	canMerge slotFlags = 1 << iota // a later write may append to the page
	packet                         // written in O_DIRECT mode: read as a whole
)

// slot is part of one page in a pipe.
type slot struct {
	pg     *page
	off, n int
	flags  slotFlags
}

// Pipe is the object that both ends share.
type Pipe struct {
	unnamed bool // made by pipe(2); immutable

	reg *vfs.Registry // whose limits hold, and whose memory is charged; nil: none. Immutable

	waitq.Queue

	seq uint64 // order of creation, for the order of locks; immutable

	// mu protects what follows.
	mu sync.Mutex

	// ring has a power of two of slots; those from tail to head (both only
	// ever grow, modulo the ring) hold data.
	ring       []slot // nil while there are no ends
	head, tail uint32
	uid        cred.KUID // who is charged for the ring

	// spare pages save the pool's cost when a pipe is written and read in turn.
	spare [2]*page

	readers, writers int
	// Every open of an end counts one up (opens wait for the other end by them).
	readerOpens, writerOpens uint32
}

var lastSeq atomic.Uint64

// New returns an empty pipe without ends. reg may be nil: there are no limits then.
func New(reg *vfs.Registry) *Pipe { return &Pipe{seq: lastSeq.Add(1), reg: reg} }

// begin gives a pipe without ends its ring, for a user with credentials c. ENFILE if the
// user has too many pages of pipes. p.mu is held.
func (p *Pipe) begin(c *cred.Cred) error {
	slots := DefaultSize / pageSize
	if p.reg != nil {
		if most := int(p.reg.PipeMaxSize.Load()) / pageSize; slots > most && !c.HasInitial(unix.CAP_SYS_RESOURCE) {
			slots = most
		}
		p.uid = c.UID
		n := p.account(slots)
		if over(n, &p.reg.PipePagesSoft) && limited(c) {
			n = p.account(minSlots - slots)
			slots = minSlots
		}
		if over(n, &p.reg.PipePagesHard) && limited(c) {
			p.account(-slots)
			return unix.ENFILE
		}
	}
	p.ring, p.head, p.tail = make([]slot, slots), 0, 0
	return nil
}

// account counts pages of the ring for the user, and returns how many they have.
func (p *Pipe) account(pages int) int64 {
	return p.reg.Users.Add(p.uid, cred.UserPipePages, int64(pages))
}

// over tells whether n pages are more than a limit, of which 0 is none.
func over(n int64, limit *atomic.Int64) bool {
	l := limit.Load()
	return l != 0 && n > l
}

// limited tells whether the limits for users hold for who has c.
func limited(c *cred.Cred) bool {
	return !c.HasInitial(unix.CAP_SYS_RESOURCE) && !c.HasInitial(unix.CAP_SYS_ADMIN)
}

// memory is what pages are charged to, or nil.
func (p *Pipe) memory() *mm.Memory {
	if p.reg == nil {
		return nil
	}
	return p.reg.Memory
}

func (p *Pipe) empty() bool       { return p.head == p.tail }
func (p *Pipe) used() int         { return int(p.head - p.tail) }
func (p *Pipe) full() bool        { return p.used() >= len(p.ring) }
func (p *Pipe) at(i uint32) *slot { return &p.ring[i&uint32(len(p.ring)-1)] }
func (p *Pipe) push(s slot)       { *p.at(p.head) = s; p.head++ }

func lockPair(p, q *Pipe) {
	if p.seq > q.seq {
		p, q = q, p
	}
	p.mu.Lock()
	q.mu.Lock()
}

// newPage returns a page with one reference; ENOMEM if there is no memory. An empty pipe always gets
// one: a program that writes a line does not expect to fail. p.mu is held.
func (p *Pipe) newPage() (*page, error) {
	for i, pg := range p.spare {
		if pg != nil {
			p.spare[i] = nil
			pg.refs.Store(1)
			return pg, nil
		}
	}
	if err := p.memory().ChargeKernel(pageSize); err != nil {
		if !p.empty() {
			return nil, err
		}
		return p.mustPage(), nil
	}
	pg := pagePool.Get().(*page)
	pg.refs.Store(1)
	return pg, nil
}

// mustPage is newPage for what has been taken from somewhere and must go somewhere: it
// may exceed the limit. p.mu is held.
func (p *Pipe) mustPage() *page {
	p.memory().UnchargeKernel(-pageSize)
	pg := pagePool.Get().(*page)
	pg.refs.Store(1)
	return pg
}

// put drops a reference of a page. p.mu is held.
func (p *Pipe) put(pg *page) {
	if pg.refs.Add(-1) != 0 {
		return
	}
	for i := range p.spare {
		if p.spare[i] == nil {
			p.spare[i] = pg
			return
		}
	}
	p.freePage(pg)
}

// freePage gives a page back that nobody has.
func (p *Pipe) freePage(pg *page) {
	pagePool.Put(pg)
	p.memory().UnchargeKernel(pageSize)
}

// pop drops the slot at the tail. p.mu is held.
func (p *Pipe) pop() {
	s := p.at(p.tail)
	pg := s.pg
	*s = slot{}
	p.tail++
	p.put(pg)
}

// read is read(2). It returns EAGAIN when there is nothing but somebody may write.
func (p *Pipe) read(dst *usermem.IO) (int64, error) {
	if dst.Len() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	if p.empty() {
		err := error(unix.EAGAIN)
		if p.writers == 0 {
			err = nil
		}
		p.mu.Unlock()
		return 0, err
	}
	wasFull := p.full()
	var done int64
	var err error
	for !p.empty() && dst.Len() > 0 {
		s := p.at(p.tail)
		n := s.n
		if uint64(n) > dst.Len() {
			n = int(dst.Len())
		}
		if _, err = dst.Write(s.pg.data[s.off : s.off+n]); err != nil {
			break // what could not be copied whole stays in the pipe
		}
		done += int64(n)
		s.off += n
		s.n -= n
		isPacket := s.flags&packet != 0
		if isPacket {
			s.n = 0 // what did not fit is lost
		}
		if s.n == 0 {
			p.pop()
		}
		if isPacket {
			break
		}
	}
	nowRoom := wasFull && !p.full()
	p.mu.Unlock()
	if nowRoom {
		p.Notify(waitq.Writable)
	}
	if done > 0 {
		err = nil
	}
	return done, err
}

// write is write(2). It returns EAGAIN when there is no room. flags are those of the
// slots that are made.
func (p *Pipe) write(src *usermem.IO, flags slotFlags) (int64, error) {
	if src.Len() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	if p.readers == 0 {
		p.mu.Unlock()
		return 0, unix.EPIPE
	}
	done, err := p.writeLocked(src, flags)
	p.mu.Unlock()
	if done > 0 {
		p.Notify(waitq.Readable)
		return done, nil
	}
	return done, err
}

func (p *Pipe) writeLocked(src *usermem.IO, flags slotFlags) (int64, error) {
	var done int64
	// The part that does not fill a page goes behind the last data if it fits.
	if odd := int(src.Len() % pageSize); odd > 0 && !p.empty() && flags&canMerge != 0 {
		s := p.at(p.head - 1)
		if end := s.off + s.n; s.flags&canMerge != 0 && end+odd <= pageSize {
			if _, err := readFull(src, s.pg.data[end:end+odd]); err != nil {
				return 0, err
			}
			s.n += odd
			done = int64(odd)
		}
	}
	for src.Len() > 0 {
		if p.full() {
			if done == 0 {
				return 0, unix.EAGAIN
			}
			break
		}
		n := pageSize
		if src.Len() < pageSize {
			n = int(src.Len())
		}
		pg, err := p.newPage()
		if err != nil {
			if done > 0 {
				err = nil
			}
			return done, err
		}
		if _, err := readFull(src, pg.data[:n]); err != nil {
			p.put(pg)
			return done, err
		}
		p.push(slot{pg: pg, n: n, flags: flags})
		done += int64(n)
	}
	return done, nil
}

// readFull fills b from src, or fails.
func readFull(src *usermem.IO, b []byte) (int, error) {
	n, err := src.Read(b)
	if err == io.EOF || err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return n, err
}

// Buffered is the number of bytes that can be read (FIONREAD).
func (p *Pipe) Buffered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for i := p.tail; i != p.head; i++ {
		n += p.at(i).n
	}
	return n
}

// Size is the capacity (F_GETPIPE_SZ).
func (p *Pipe) Size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ring) * pageSize
}

// SetSize changes the capacity (F_SETPIPE_SZ) and returns the new one, rounded
// up to a power of two of pages. It does not grow beyond limit, which is vfs.Registry.PipeMaxSize for
// callers without CAP_SYS_RESOURCE.
func (p *Pipe) SetSize(c *cred.Cred, size, limit uint64) (int, error) {
	if size > 1<<31 {
		return 0, unix.EINVAL
	}
	slots := 1
	for uint64(slots)*pageSize < size {
		slots *= 2
	}
	p.mu.Lock()
	if slots > len(p.ring) && uint64(slots)*pageSize > limit {
		p.mu.Unlock()
		return 0, unix.EPERM
	}
	if slots*pageSize > hardMaxSize {
		p.mu.Unlock()
		return 0, unix.ENOMEM
	}
	if slots < p.used() {
		p.mu.Unlock()
		return 0, unix.EBUSY
	}
	if slots == len(p.ring) {
		p.mu.Unlock()
		return slots * pageSize, nil
	}
	if p.reg != nil {
		more := slots - len(p.ring)
		n := p.account(more)
		if more > 0 && (over(n, &p.reg.PipePagesSoft) || over(n, &p.reg.PipePagesHard)) && limited(c) {
			p.account(-more)
			p.mu.Unlock()
			return 0, unix.EPERM
		}
		if slots > DefaultSize/pageSize {
			if err := p.memory().KernelRoom(false); err != nil {
				p.account(-more)
				p.mu.Unlock()
				return 0, err
			}
		}
	}
	ring := make([]slot, slots)
	n := uint32(0)
	for i := p.tail; i != p.head; i++ {
		ring[n] = *p.at(i)
		n++
	}
	p.ring, p.tail, p.head = ring, 0, n
	room := !p.full()
	p.mu.Unlock()
	if room {
		p.Notify(waitq.Writable)
	}
	return slots * pageSize, nil
}

// addEnd counts a new end; p.mu is held.
func (p *Pipe) addEnd(c *cred.Cred, read, write bool) (*End, error) {
	if p.ring == nil {
		if err := p.begin(c); err != nil {
			return nil, err
		}
	}
	if read {
		p.readers++
		p.readerOpens++
	}
	if write {
		p.writers++
		p.writerOpens++
	}
	return &End{Pipe: p, read: read, write: write}, nil
}

// dropEnd takes an end away; it wakes the other side when that is now alone.
func (p *Pipe) dropEnd(read, write bool) {
	p.mu.Lock()
	if read {
		p.readers--
	}
	if write {
		p.writers--
	}
	if p.readers == 0 && p.writers == 0 {
		for !p.empty() {
			p.pop()
		}
		for i, pg := range p.spare {
			if pg != nil {
				p.freePage(pg)
				p.spare[i] = nil
			}
		}
		if p.reg != nil {
			p.account(-len(p.ring))
		}
		p.ring = nil // a FIFO begins anew
	}
	alone := p.readers == 0 || p.writers == 0
	p.mu.Unlock()
	if alone {
		p.Notify(waitq.Readable | waitq.Writable | waitq.Err | waitq.Hup)
	}
}

// End is an open file of a pipe.
type End struct {
	vfs.DefaultFileOps
	*Pipe
	read, write bool

	// quietHup is the number of writers that had opened the FIFO when it was opened
	// for reading without one (O_NONBLOCK): it hangs up only after a writer has come.
	quietHup    uint32
	hasQuietHup bool
}

// Readiness implements vfs.FileOps.
func (e *End) Readiness(mask waitq.Events) waitq.Events {
	var ev waitq.Events
	p := e.Pipe
	p.mu.Lock()
	if e.read {
		if !p.empty() {
			ev |= waitq.Readable
		}
		if p.writers == 0 && !(e.hasQuietHup && p.writerOpens == e.quietHup) {
			ev |= waitq.Hup
		}
	}
	if e.write {
		if !p.full() {
			ev |= waitq.Writable
		}
		if p.readers == 0 {
			ev |= waitq.Err
		}
	}
	p.mu.Unlock()
	return ev & (mask | waitq.Always)
}

// EventRegister implements vfs.FileOps.
func (e *End) EventRegister(w *waitq.Entry, mask waitq.Events) { e.Pipe.EventRegister(w, mask) }

// EventUnregister implements vfs.FileOps.
func (e *End) EventUnregister(w *waitq.Entry) { e.Pipe.EventUnregister(w) }

// Read implements vfs.FileOps.
func (e *End) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	if !e.read {
		return 0, unix.EBADF
	}
	return e.Pipe.read(dst)
}

// Write implements vfs.FileOps.
func (e *End) Write(_ vfs.Context, f *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	if !e.write {
		return 0, 0, unix.EBADF
	}
	flags := canMerge
	if f != nil && f.Flags()&unix.O_DIRECT != 0 {
		flags = packet
	}
	n, err := e.Pipe.write(src, flags)
	return n, 0, err
}

// Ioctl implements vfs.FileOps.
func (e *End) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	if cmd == unix.TIOCINQ { // FIONREAD
		n := int32(e.Buffered())
		return 0, usermem.CopyObjectOut(ctx.Memory(), usermem.Addr(arg), &n)
	}
	return 0, unix.ENOTTY
}

// Release implements vfs.FileOps.
func (e *End) Release(*vfs.File) {
	e.Pipe.dropEnd(e.read, e.write)
}

// Stream implements vfs.FileOps.
func (e *End) Stream() bool { return true }
