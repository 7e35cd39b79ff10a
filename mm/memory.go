package mm

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// kind is what a frame is used for.
type kind uint8

const (
	kindAnon kind = iota
	kindFile
	kindShmem
	kindTable
	kindOther
	nKinds
)

// Memory is the flat memory of a sandbox. See the package comment for why there
// are more frame numbers than frames may be in use.
type Memory struct {
	file   *os.File
	size   uint64 // of the memfd, in bytes
	frames int    // size in frames
	limit  int64  // frames that may be in use, with kernel memory

	lin    []byte   // the whole memfd
	refs   []uint32 // atomic; the last reference goes under mu
	kinds  []uint8  // written when refs is 0
	resvOf []uint32 // reservation of 16 frames; 0 is none. Guarded by mu
	bits   []uint64 // what free and dirty are in

	used      atomic.Int64 // frames with references; changed under mu
	kcharged  atomic.Int64 // bytes of kernel memory that are charged
	kother    atomic.Int64 // and those that are not, as measured
	byKind    [nKinds]atomic.Int64
	dirtyPgs  atomic.Int64 // dirty page cache pages
	writeback atomic.Int64
	mapped    atomic.Int64 // page table entries of file pages
	committed atomic.Int64
	mlocked   atomic.Int64
	minFlt    atomic.Uint64
	majFlt    atomic.Uint64
	allocs    atomic.Uint64
	freed     atomic.Uint64

	oom atomic.Pointer[func() bool]

	shrinkMu  sync.Mutex // guards shrinkers
	shrinkers []Shrinker
	reclaimMu sync.Mutex // one reclaim at a time; held while shrinkers are called

	texts  texts
	stage  stage
	caches cacheList // page caches that have pages and a backing

	// mu guards what follows, and the last reference of every frame.
	mu        sync.Mutex
	free      [maxOrder + 1]bitmap // free blocks, by number >> order
	dirty     bitmap               // free frames whose contents are not zero
	dirtyFree int
	resvs     []*reservation // by id; 0 is unused
	resvIDs   []uint32       // unused ids
	resvPages int64
	scrubbing bool
	closed    bool
	scrubKick chan struct{}
	scrubStop chan struct{}
}

// NewMemory makes a flat memory of which guests may use limit bytes.
func NewMemory(limit int64) (*Memory, error) {
	if limit < 16*blockSize {
		limit = 16 * blockSize
	}
	limit = (limit + blockSize - 1) &^ (blockSize - 1)
	const top = 1 << maxOrder * PageSize
	space := uint64(limit)*4 + 4<<30
	if m := uint64(1) << (32 + PageShift); space > m {
		space = m
	}
	space = (space + top - 1) &^ (top - 1)

	fd, err := unix.MemfdCreate("gosv-memory", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	m := &Memory{
		file:      os.NewFile(uintptr(fd), "gosv-memory"),
		limit:     limit / PageSize,
		resvs:     make([]*reservation, 1),
		scrubKick: make(chan struct{}, 1),
		scrubStop: make(chan struct{}),
	}
	// Host limits on file size or address space may refuse the generous size.
	for ; ; space = (space/2 + top - 1) &^ (top - 1) {
		if err = m.mapAll(fd, space); err == nil {
			break
		}
		if space/2 < uint64(limit)+top {
			m.Close()
			return nil, err
		}
	}
	// Frame 0 is never handed out.
	m.buddyInit()
	m.RegisterShrinker(&m.caches)
	m.caches.m = m
	m.stage.init()
	return m, nil
}

// mapAll sizes the memfd and makes the linear mapping and the arrays.
func (m *Memory) mapAll(fd int, space uint64) error {
	m.unmapAll()
	if err := unix.Ftruncate(fd, int64(space)); err != nil {
		return fmt.Errorf("size of memfd: %w", err)
	}
	m.size, m.frames = space, int(space/PageSize)
	var err error
	m.lin, err = mapLinear(fd, uintptr(space))
	if err != nil {
		return fmt.Errorf("mapping the memfd: %w", err)
	}
	// The sentry's own image of guest memory does not belong into a core dump.
	_ = unix.Madvise(m.lin, unix.MADV_DONTDUMP)
	if m.refs, err = mapArray[uint32](m.frames); err != nil {
		return err
	}
	if m.kinds, err = mapArray[uint8](m.frames); err != nil {
		return err
	}
	if m.resvOf, err = mapArray[uint32](m.frames / minPageRun); err != nil {
		return err
	}
	sizes := []int{m.frames}
	for o := range m.free {
		sizes = append(sizes, m.frames>>o)
	}
	var bitmaps []bitmap
	if bitmaps, m.bits, err = newBitmaps(sizes); err != nil {
		return err
	}
	m.dirty = bitmaps[0]
	copy(m.free[:], bitmaps[1:])
	return nil
}

func (m *Memory) unmapAll() {
	if m.lin != nil {
		_ = unmapLinear(m.lin)
		m.lin = nil
	}
	unmapArray(m.refs)
	unmapArray(m.kinds)
	unmapArray(m.resvOf)
	unmapArray(m.bits)
	m.refs, m.kinds, m.resvOf, m.bits = nil, nil, nil, nil
	m.dirty, m.free = bitmap{}, [maxOrder + 1]bitmap{}
}

// Close gives the memory back to the host. Nothing may use it any more.
func (m *Memory) Close() error {
	m.stopTexts()
	m.texts.working.Lock()
	defer m.texts.working.Unlock()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return os.ErrClosed
	}
	m.closed = true
	close(m.scrubStop)
	m.unmapAll()
	m.mu.Unlock()
	m.caches.stop()
	m.stage.release()
	return m.file.Close()
}

// File is the memfd. It stays m's.
func (m *Memory) File() *os.File { return m.file }

// Size is the size of the memfd, several times the limit.
func (m *Memory) Size() int64 { return int64(m.size) }

// Limit is how many bytes guests may use.
func (m *Memory) Limit() int64 { return m.limit * PageSize }

// OfFile tells whether the page at off is one of a file's. Somebody must hold the frame.
func (m *Memory) OfFile(off uint64) bool {
	k := m.kinds[off>>PageShift]
	return k == uint8(kindFile) || k == uint8(kindShmem)
}

// Linear is all of the memory, mapped here. Reading a frame that nobody holds gives it a page.
func (m *Memory) Linear() []byte { return m.lin }

// Bytes is the memory of frame f.
func (m *Memory) Bytes(f Frame) []byte {
	o := uint64(f) << PageShift
	return m.lin[o : o+PageSize : o+PageSize]
}

// RunBytes is the memory of n frames from f on.
func (m *Memory) RunBytes(f Frame, n int) []byte {
	o := uint64(f) << PageShift
	e := o + uint64(n)<<PageShift
	return m.lin[o:e:e]
}

// Refs is the number of references to f.
func (m *Memory) Refs(f Frame) uint32 { return atomic.LoadUint32(&m.refs[f]) }

// IncRef adds a reference to f, of which the caller holds one.
func (m *Memory) IncRef(f Frame) { atomic.AddUint32(&m.refs[f], 1) }

// DecRef drops a reference; the last one frees the frame.
func (m *Memory) DecRef(f Frame) {
	p := &m.refs[f]
	for {
		v := atomic.LoadUint32(p)
		if v <= 1 {
			break
		}
		if atomic.CompareAndSwapUint32(p, v, v-1) {
			return
		}
	}
	m.mu.Lock()
	m.decRefLocked(f)
	kick := m.wantScrub()
	m.mu.Unlock()
	if kick {
		m.kickScrub()
	}
}

// frameRun is n consecutive frames.
type frameRun struct {
	f Frame
	n uint32
}

// decRefRuns drops one reference of each frame of the runs.
func (m *Memory) decRefRuns(runs []frameRun) {
	var gone [nKinds]int64
	m.mu.Lock()
	n := 0
	for _, r := range runs {
		for i := Frame(0); i < Frame(r.n); i++ {
			if m.dropLocked(r.f + i) {
				gone[m.kinds[r.f+i]]++
			}
			if n++; n == 4096 {
				// Let faults of others in between.
				n = 0
				m.countFreed(&gone)
				m.mu.Unlock()
				m.mu.Lock()
			}
		}
	}
	m.countFreed(&gone)
	kick := m.wantScrub()
	m.mu.Unlock()
	if kick {
		m.kickScrub()
	}
}

// countFreed takes frames, by kind, off those that are used, and empties gone. mu is held.
func (m *Memory) countFreed(gone *[nKinds]int64) {
	all := int64(0)
	for k, n := range gone {
		if n != 0 {
			m.byKind[k].Add(-n)
			all += n
		}
	}
	m.used.Add(-all)
	m.freed.Add(uint64(all))
	*gone = [nKinds]int64{}
}

func (m *Memory) decRefLocked(f Frame) {
	if m.dropLocked(f) {
		m.used.Add(-1)
		m.byKind[m.kinds[f]].Add(-1)
		m.freed.Add(1)
	}
}

// dropLocked drops a reference and reports whether that was the last one, so that f is free; the caller counts it, before
// mu is unlocked.
func (m *Memory) dropLocked(f Frame) bool {
	if m.closed {
		return false
	}
	switch v := atomic.AddUint32(&m.refs[f], ^uint32(0)); {
	case v > 1<<31:
		panic("mm: reference count of a free frame")
	case v > 0:
		return false
	}
	m.dirty.set(int(f))
	m.dirtyFree++
	if id := m.resvOf[f/minPageRun]; id != 0 {
		m.resvs[id].used--
		return true
	}
	m.buddyFree(f, 0)
	return true
}

// Alloc allocates one zeroed frame with one reference, for the sentry's own use.
// It shrinks caches when memory is short, and must be called with no lock that
// a shrinker takes.
func (m *Memory) Alloc() (Frame, error) { return m.AllocRun(0) }

// AllocRun allocates 1<<order zeroed, consecutive frames, aligned to their size,
// each with one reference.
func (m *Memory) AllocRun(order int) (Frame, error) {
	if order < 0 || order > maxOrder {
		return NoFrame, unix.EINVAL
	}
	for {
		if f, n := m.allocSpan(1<<order, kindOther, nil, true); n != 0 {
			return f, nil
		}
		if !m.makeRoom(1 << order) {
			return NoFrame, unix.ENOMEM
		}
		if m.inUse()+1<<order <= m.limit {
			// There is room, and still no block: one more try, then give up.
			f, n := m.allocSpan(1<<order, kindOther, nil, true)
			if n == 0 {
				return NoFrame, unix.ENOMEM
			}
			return f, nil
		}
	}
}

// full reports whether no frame may be allocated.
func (m *Memory) full() bool { return m.inUse() >= m.limit }

// Stats is a snapshot, not a consistent one.
func (m *Memory) Stats() Stats {
	pages := func(n int64) uint64 {
		if n < 0 {
			n = 0
		}
		return uint64(n) * PageSize
	}
	file, shmem := m.byKind[kindFile].Load(), m.byKind[kindShmem].Load()
	m.mu.Lock()
	dirtyFree, resv := int64(m.dirtyFree), m.resvPages
	m.mu.Unlock()
	free := m.limit - m.inUse()
	return Stats{
		Total:        pages(m.limit),
		Free:         pages(free),
		Available:    pages(free + file - m.dirtyPgs.Load()),
		Anon:         pages(m.byKind[kindAnon].Load()),
		Cached:       pages(file + shmem),
		Shmem:        pages(shmem),
		Mapped:       pages(m.mapped.Load()),
		PageTables:   pages(m.byKind[kindTable].Load()),
		Dirty:        pages(m.dirtyPgs.Load()),
		Writeback:    pages(m.writeback.Load()),
		Other:        pages(m.byKind[kindOther].Load()),
		Kernel:       pages(m.KernelBytes() >> PageShift),
		Committed:    pages(m.committed.Load()),
		Mlocked:      pages(m.mlocked.Load()),
		PgFault:      m.minFlt.Load() + m.majFlt.Load(),
		PgMajFault:   m.majFlt.Load(),
		PgAlloc:      m.allocs.Load(),
		PgFree:       m.freed.Load(),
		Reservations: pages(resv),
		DirtyFree:    pages(dirtyFree),
	}
}
