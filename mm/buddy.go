package mm

import (
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The buddy allocator: free[o] has a bit for each free block of 1<<o frames.
// Blocks of the lowest addresses go first, so that neighbours in time tend to be
// neighbours in place.

// maxOrder is the order of the largest block, 64 MiB.
const maxOrder = 14

func (m *Memory) buddyInit() {
	for i := 0; i < m.frames>>maxOrder; i++ {
		m.free[maxOrder].set(i)
	}
	// Keep frame 0, which is NoFrame.
	m.buddyAlloc(0)
	m.refs[0] = 1
}

// buddyAlloc takes a block. mu is held.
func (m *Memory) buddyAlloc(order int) (Frame, bool) {
	for o := order; o <= maxOrder; o++ {
		i := m.free[o].next(0)
		if i < 0 {
			continue
		}
		m.free[o].clear(i)
		for o > order {
			o--
			i <<= 1
			m.free[o].set(i + 1)
		}
		return Frame(i << order), true
	}
	return NoFrame, false
}

// buddyFree gives a block back. mu is held.
func (m *Memory) buddyFree(f Frame, order int) {
	i := int(f) >> order
	for order < maxOrder && m.free[order].has(i^1) {
		m.free[order].clear(i ^ 1)
		i >>= 1
		order++
	}
	m.free[order].set(i)
}

// buddyFreeRange gives any range of frames back. mu is held.
func (m *Memory) buddyFreeRange(f Frame, n int) {
	for n > 0 {
		o := min(bits.TrailingZeros32(uint32(f)), bits.Len(uint(n))-1, maxOrder)
		m.buddyFree(f, o)
		f += 1 << o
		n -= 1 << o
	}
}

// A reservation is a block of frame numbers set aside for an address range or a
// part of a file; the frame for a page is the one at the page's position. A frame
// of it that is in use has references, one that is not has none, and comes back
// to the reservation when its last reference goes. Memory may dissolve a
// reservation when it runs out of numbers: the free frames go to the buddy
// allocator, dead is set, and the owner makes another one.
type reservation struct {
	id    uint32
	base  Frame
	order uint8

	// Guarded by Memory.mu.
	dead   bool
	used   int // frames in use
	lo, hi int // frames outside [lo, hi) were never in use
}

func (r *reservation) pages() int { return 1 << r.order }

// reserve sets 1<<order numbers aside, order at least 4.
func (m *Memory) reserve(order int) *reservation {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.buddyAlloc(order)
	if !ok {
		return nil
	}
	r := &reservation{base: f, order: uint8(order), lo: 1 << order}
	if n := len(m.resvIDs); n > 0 {
		r.id = m.resvIDs[n-1]
		m.resvIDs = m.resvIDs[:n-1]
		m.resvs[r.id] = r
	} else {
		r.id = uint32(len(m.resvs))
		m.resvs = append(m.resvs, r)
	}
	for i := 0; i < r.pages(); i += minPageRun {
		m.resvOf[(int(f)+i)/minPageRun] = r.id
	}
	m.resvPages += int64(r.pages())
	return r
}

// dissolve ends a reservation.
func (m *Memory) dissolve(r *reservation) {
	m.mu.Lock()
	m.dissolveLocked(r)
	m.mu.Unlock()
}

func (m *Memory) dissolveLocked(r *reservation) {
	if r.dead || m.closed {
		return
	}
	r.dead = true
	for i := 0; i < r.pages(); i += minPageRun {
		m.resvOf[(int(r.base)+i)/minPageRun] = 0
	}
	m.resvPages -= int64(r.pages())
	m.resvs[r.id] = nil
	m.resvIDs = append(m.resvIDs, r.id)
	if r.used == 0 {
		m.buddyFree(r.base, int(r.order))
		return
	}
	m.buddyFreeRange(r.base, r.lo)
	m.buddyFreeRange(r.base+Frame(r.hi), r.pages()-r.hi)
	for i := r.lo; i < r.hi; {
		j := i
		for j < r.hi && atomic.LoadUint32(&m.refs[int(r.base)+j]) == 0 {
			j++
		}
		m.buddyFreeRange(r.base+Frame(i), j-i)
		i = j + 1
	}
}

// dissolveAll ends reservations until a single block of the order is free, the
// unused ones first. mu is held.
func (m *Memory) dissolveFor(order int) {
	for _, unused := range []bool{true, false} {
		for _, r := range m.resvs {
			if r == nil || r.used == r.pages() || unused && r.used != 0 {
				continue
			}
			m.dissolveLocked(r)
			for o := order; o <= maxOrder; o++ {
				if m.free[o].next(0) >= 0 {
					return
				}
			}
		}
	}
}

// allocSpan allocates up to n consecutive frames of no reservation, n at most
// blockPages, or if whole is set exactly n, any power of two. It returns how many,
// 0 if there is no room. Their contents are zero unless raw is given.
func (m *Memory) allocSpan(n int, k kind, raw *rawFrames, whole bool) (Frame, int) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return NoFrame, 0
	}
	room := m.limit - m.inUse()
	if k == kindTable {
		// Page tables may exceed the limit a little, so that work that has
		// begun can end; the next fault waits for memory then.
		room += m.limit/16 + 64
	}
	if room < int64(n) {
		if room <= 0 || whole {
			m.mu.Unlock()
			return NoFrame, 0
		}
		n = int(room)
	}
	order := bits.Len(uint(n - 1))
	var f Frame
	ok := false
	for o := order; ; o-- {
		if f, ok = m.buddyAlloc(o); ok {
			n = min(n, 1<<o)
			m.buddyFreeRange(f+Frame(n), 1<<o-n)
			break
		}
		if o == 0 || whole {
			m.dissolveFor(o)
			if f, ok = m.buddyAlloc(o); ok {
				n = min(n, 1<<o)
			}
			break
		}
	}
	if !ok {
		m.mu.Unlock()
		return NoFrame, 0
	}
	m.takeLocked(f, n, k, raw) // unlocks
	return f, n
}

// allocAt allocates up to n frames of r from position idx on, stopping at the
// first that is in use. It returns how many, and whether r is dead.
func (m *Memory) allocAt(r *reservation, idx, n int, k kind, raw *rawFrames) (f Frame, got int, dead bool) {
	m.mu.Lock()
	if r.dead || m.closed {
		m.mu.Unlock()
		return NoFrame, 0, true
	}
	n = min(n, r.pages()-idx, blockPages)
	if room := m.limit - m.inUse(); room < int64(n) {
		n = max(int(room), 0)
	}
	f = r.base + Frame(idx)
	for got < n && atomic.LoadUint32(&m.refs[int(f)+got]) == 0 {
		got++
	}
	if got == 0 {
		m.mu.Unlock()
		return NoFrame, 0, false
	}
	r.used += got
	r.lo = min(r.lo, idx)
	r.hi = max(r.hi, idx+got)
	m.takeLocked(f, got, k, raw) // unlocks
	return f, got, false
}

// rawFrames is given for frames whose contents may be anything.
type rawFrames struct {
	fresh bool // the host has no pages for any of them
}

// takeLocked makes n frames used. It unlocks mu before it zeroes them.
func (m *Memory) takeLocked(f Frame, n int, k kind, raw *rawFrames) {
	for i := f; i < f+Frame(n); i++ {
		atomic.StoreUint32(&m.refs[i], 1)
		m.kinds[i] = uint8(k)
	}
	m.used.Add(int64(n))
	m.byKind[k].Add(int64(n))
	m.allocs.Add(uint64(n))
	var small [8]frameRun
	zero := small[:0]
	if raw != nil {
		raw.fresh = true
	}
	if m.dirtyFree > 0 {
		for i := m.dirty.next(int(f)); i >= 0 && i < int(f)+n; {
			j := i
			for j < int(f)+n && m.dirty.has(j) {
				m.dirty.clear(j)
				j++
			}
			m.dirtyFree -= j - i
			if raw == nil {
				zero = append(zero, frameRun{Frame(i), uint32(j - i)})
			} else {
				raw.fresh = false
			}
			i = m.dirty.next(j)
		}
	}
	m.mu.Unlock()
	for _, z := range zero {
		clear(m.RunBytes(z.f, int(z.n)))
	}
}

// Freed frames keep their contents until they are used again, when the
// allocation clears them, or until the scrubber gives the memory back to the host,
// whichever comes first. Clearing a warm page costs less than having the host
// make a new one.

const (
	scrubDelay = 500 * time.Millisecond
	scrubMany  = 16384 // dirty free frames that start the scrubber at once
)

// wantScrub reports whether the scrubber must be started or hurried. mu is held.
func (m *Memory) wantScrub() bool {
	if m.dirtyFree == 0 || m.closed {
		return false
	}
	if !m.scrubbing {
		m.scrubbing = true
		go m.scrub()
	}
	return m.dirtyFree > scrubMany
}

func (m *Memory) kickScrub() {
	select {
	case m.scrubKick <- struct{}{}:
	default:
	}
}

// scrub punches dirty free frames out of the memfd until none are left.
func (m *Memory) scrub() {
	for {
		t := time.NewTimer(scrubDelay)
		select {
		case <-t.C:
		case <-m.scrubKick:
			t.Stop()
		case <-m.scrubStop:
			t.Stop()
			return
		}
		for m.scrubPiece() {
		}
		m.mu.Lock()
		if m.dirtyFree == 0 || m.closed {
			m.scrubbing = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
	}
}

// scrubPiece punches one hole of at most 2 MiB. The frames stay free, and mu
// held, meanwhile.
func (m *Memory) scrubPiece() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	i := m.dirty.next(0)
	if i < 0 {
		return false
	}
	j := i
	for j-i < blockPages && m.dirty.has(j) {
		j++
	}
	err := unix.Fallocate(int(m.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE,
		int64(i)<<PageShift, int64(j-i)<<PageShift)
	if err != nil {
		clear(m.RunBytes(Frame(i), j-i))
	}
	for k := i; k < j; k++ {
		m.dirty.clear(k)
	}
	m.dirtyFree -= j - i
	return true
}
