package mm

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
	"golang.org/x/sys/unix"
)

const (
	chunkPages = 64
	chunkShift = 6
	chunkBytes = chunkPages * PageSize
	// MaxFileSize is the largest size of a file.
	MaxFileSize = 1<<63 - 1 - (PageSize - 1)
)

// PageCache is the pages of one file (Linux: struct address_space).
type PageCache struct {
	m       *Memory
	backing Backing // nil: memory only
	kind    kind
	anon    bool // shared anonymous memory

	wmu    sync.Mutex
	syncMu sync.Mutex
	ioMu   sync.RWMutex

	// mapMu guards the reverse map: how many regions of which address spaces
	// map the file, and how many of them may write to it.
	mapMu    sync.Mutex
	maps     map[*AddressSpace]int
	writable int

	quota func(deltaPages int64) error // set before use

	size atomic.Int64 // written under mu

	// mu guards what follows.
	mu     sync.RWMutex
	chunks btree.Map[int64, *chunk]
	pages  int64
	dirty  int64
	resvs  map[int64]*reservation // by first page << 4 | order
	raNext int64                  // page after the last one read in
	raSize int64
	wbErr  error // of a writeback that nobody waited for

	// The list of caches; guarded by cacheList.mu.
	next, prev *PageCache
	listed     atomic.Bool // written under cacheList.mu
}

// chunk is 64 pages of a file. Bit i stands for page i.
type chunk struct {
	present uint64
	dirty   uint64
	wmapped uint64        // dirty, and maybe still written through a mapping
	ref     atomic.Uint64 // used since the shrinker last looked
	frames  [chunkPages]Frame
}

// NewPageCache makes the pages of a file of the given size. Without a backing
// all pages are holes, and nothing is ever dropped.
func (m *Memory) NewPageCache(b Backing, size int64) *PageCache {
	c := &PageCache{m: m, backing: b, kind: kindShmem}
	if b != nil {
		c.kind = kindFile
	}
	c.size.Store(size)
	return c
}

// SetQuota sets a function that is asked before pages are added (delta > 0) and
// told when they are gone (delta < 0). It is called with locks of c held, and must
// do no more than count. To be set before the first use.
func (c *PageCache) SetQuota(f func(deltaPages int64) error) { c.quota = f }

// Size is the size of the file.
func (c *PageCache) Size() int64 { return c.size.Load() }

// SetSize takes over a size that changed elsewhere (a host file that grew or
// shrank); it does not touch pages. Use Truncate otherwise.
func (c *PageCache) SetSize(size int64) {
	c.mu.Lock()
	c.size.Store(size)
	c.mu.Unlock()
}

// Pages is the number of resident pages.
func (c *PageCache) Pages() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.pages
}

// DirtyPages is the number of pages that the backing does not have yet.
func (c *PageCache) DirtyPages() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.dirty
}

func pagesOf(size int64) int64 { return int64((uint64(size) + PageSize - 1) >> PageShift) }

// lookup is the frame of page idx, or NoFrame. mu is held.
func (c *PageCache) lookup(idx int64) (ch *chunk, i uint, f Frame) {
	i = uint(idx & (chunkPages - 1))
	ch, ok := c.chunks.Get(idx >> chunkShift)
	if !ok {
		return nil, i, NoFrame
	}
	return ch, i, ch.frames[i]
}

// touch notes that a page of ch was used.
func (c *PageCache) touch(ch *chunk, mask uint64) {
	if c.backing != nil && ch.ref.Load()&mask != mask {
		ch.ref.Or(mask)
	}
}

// insert adds a page. mu is held; the page is absent.
func (c *PageCache) insert(idx int64, f Frame) {
	ch, i, _ := c.lookup(idx)
	if ch == nil {
		ch = &chunk{}
		c.chunks.Set(idx>>chunkShift, ch)
	}
	ch.frames[i] = f
	ch.present |= 1 << i
	c.touch(ch, 1<<i)
	c.pages++
}

// remove takes a page out and returns its frame, whose reference is the caller's
// then. mu is held.
func (c *PageCache) remove(ch *chunk, i uint) Frame {
	f := ch.frames[i]
	ch.frames[i] = NoFrame
	ch.present &^= 1 << i
	ch.wmapped &^= 1 << i
	if ch.dirty>>i&1 != 0 {
		ch.dirty &^= 1 << i
		c.dirty--
		c.m.dirtyPgs.Add(-1)
	}
	c.pages--
	return f
}

// setDirty marks page i of ch as not written back. mu is held.
func (c *PageCache) setDirty(ch *chunk, i uint) {
	if c.backing != nil && ch.dirty>>i&1 == 0 {
		ch.dirty |= 1 << i
		c.dirty++
		c.m.dirtyPgs.Add(1)
	}
}

// removeRange takes all pages of [lo, hi) out and returns their frames. mu is held.
func (c *PageCache) removeRange(lo, hi int64, fs []frameRun) []frameRun {
	if lo >= hi {
		return fs
	}
	var empty []int64
	var gone int64
	c.chunks.Ascend(lo>>chunkShift, func(k int64, ch *chunk) bool {
		base := k << chunkShift
		if base >= hi {
			return false
		}
		mask := ch.present
		if base < lo {
			mask &= ^uint64(0) << (lo - base)
		}
		if hi-base < chunkPages {
			mask &= 1<<(hi-base) - 1
		}
		for ; mask != 0; mask &= mask - 1 {
			fs = addRun(fs, c.remove(ch, uint(bits.TrailingZeros64(mask))))
			gone++
		}
		if ch.present == 0 {
			empty = append(empty, k)
		}
		return true
	})
	for _, k := range empty {
		c.chunks.Delete(k)
	}
	if gone > 0 && c.quota != nil {
		_ = c.quota(-gone)
	}
	return fs
}

func addRun(fs []frameRun, f Frame) []frameRun {
	if n := len(fs); n > 0 && fs[n-1].f+Frame(fs[n-1].n) == f {
		fs[n-1].n++
		return fs
	}
	return append(fs, frameRun{f, 1})
}

// Orders of reservations for file pages, the larger the file the larger.
var cacheOrders = [...]int{maxOrder, 9, 6, 4}

func orderForFile(pages int64) int {
	switch {
	case pages > 4096:
		return maxOrder
	case pages > 64:
		return 9
	case pages > 16:
		return 6
	case pages > 4:
		return 4
	}
	return 0
}

// takeRun allocates frames for up to n absent pages from idx on, as many as lie
// in consecutive frames. mu is held.
func (c *PageCache) takeRun(idx int64, n int, raw *rawFrames) (Frame, int) {
	want := orderForFile(max(pagesOf(c.size.Load()), idx+1))
	for _, o := range cacheOrders {
		if o > want && len(c.resvs) == 0 {
			continue
		}
		key := idx&^(1<<o-1)<<4 | int64(o)
		r := c.resvs[key]
		if r == nil && o == want {
			if c.m.full() {
				return NoFrame, 0
			}
			if r = c.m.reserve(o); r == nil {
				break
			}
			if c.resvs == nil {
				c.resvs = make(map[int64]*reservation)
			}
			c.resvs[key] = r
		}
		if r == nil {
			continue
		}
		f, got, dead := c.m.allocAt(r, int(idx&(1<<o-1)), n, c.kind, raw)
		if got > 0 {
			return f, got
		}
		if dead {
			delete(c.resvs, key)
		}
		if o <= want {
			break
		}
	}
	return c.m.allocSpan(min(n, chunkPages), c.kind, raw, false)
}

// absent is how many of the n pages from idx on are absent before the first that
// is present. mu is held.
func (c *PageCache) absent(idx int64, n int) int {
	for k := 0; k < n; {
		ch, i, _ := c.lookup(idx + int64(k))
		step := min(chunkPages-int(i), n-k)
		if ch != nil {
			if w := ch.present >> i; w != 0 {
				return k + min(bits.TrailingZeros64(w), step)
			}
		}
		k += step
	}
	return n
}

var errShort = unix.ENOMEM // there was no free frame; makeRoom may help

// ensure makes zero pages of the n absent ones from idx on, for a file without
// backing. mu is held. It returns how many of the n pages are present from idx on.
func (c *PageCache) ensure(idx int64, n int) (int, error) {
	done := 0
	for done < n {
		if _, _, f := c.lookup(idx + int64(done)); f != NoFrame {
			done++
			continue
		}
		k := c.absent(idx+int64(done), min(n-done, blockPages))
		f, got := c.takeRun(idx+int64(done), k, nil)
		if got == 0 {
			return done, errShort
		}
		if c.quota != nil {
			if err := c.quota(int64(got)); err != nil {
				c.m.decRefRuns([]frameRun{{f, uint32(got)}})
				if got > 1 {
					// Maybe some of them fit.
					n = done + 1
					continue
				}
				return done, err
			}
		}
		for j := 0; j < got; j++ {
			c.insert(idx+int64(done+j), f+Frame(j))
		}
		done += got
	}
	return done, nil
}

const (
	raMin = 32  // pages
	raMax = 128 // pages
)

// fill reads the page idx and more after it, want pages at least, and ahead unless memory is short, in from the backing. No lock from
// ioMu down is held by the caller.
func (c *PageCache) fill(idx int64, want, ahead int) error {
	for try := 0; ; try++ {
		err := c.fillOnce(idx, want, ahead)
		if err != errShort || try == 2 || !c.m.makeRoom(int64(min(want, 64))) {
			return err
		}
		want = 1
	}
}

// fillAround is fill for a fault: the pages just before idx are read in with it, since programs do not begin at their first page, and what is
// whole can be shown by one mapping.
func (c *PageCache) fillAround(idx int64) error {
	const around = 2 * raMin
	lo := idx
	c.mu.RLock()
	for lo&(around-1) != 0 {
		if _, _, f := c.lookup(lo - 1); f != NoFrame {
			break
		}
		lo--
	}
	c.mu.RUnlock()
	return c.fill(lo, int(idx-lo)+1, around)
}

func (c *PageCache) fillOnce(idx int64, want, ahead int) error {
	c.ioMu.RLock()
	defer c.ioMu.RUnlock()
	c.mu.Lock()
	if idx == c.raNext {
		c.raSize = min(max(c.raSize*2, raMin), raMax)
	} else {
		c.raSize = raMin
	}
	n := int64(max(want, ahead, int(c.raSize)))
	if c.m.inUse() > c.m.limit-c.m.limit/16 {
		n = int64(want)
	}
	n = min(n, pagesOf(c.size.Load())-idx, blockPages)
	if n <= 0 {
		c.mu.Unlock()
		return nil // beyond the end of the file by now
	}
	k := c.absent(idx, int(n))
	if k == 0 {
		c.mu.Unlock()
		return nil
	}
	var raw rawFrames
	f, got := c.takeRun(idx, k, &raw)
	if got == 0 {
		c.mu.Unlock()
		return errShort
	}
	c.raNext = idx + int64(got)
	c.mu.Unlock()

	if err := c.m.readIn(c.backing, idx<<PageShift, f, got, raw.fresh); err != nil {
		c.m.decRefRuns([]frameRun{{f, uint32(got)}})
		return err
	}

	var extra []frameRun
	c.mu.Lock()
	for i := 0; i < got; i++ {
		if _, _, old := c.lookup(idx + int64(i)); old != NoFrame || idx+int64(i) >= pagesOf(c.size.Load()) {
			extra = addRun(extra, f+Frame(i))
			continue
		}
		c.insert(idx+int64(i), f+Frame(i))
	}
	c.mu.Unlock()
	c.m.caches.add(c)
	if extra != nil {
		c.m.decRefRuns(extra)
	}
	return nil
}

// WritableMappings is how many shared mappings may write to the file now or after
// mprotect.
func (c *PageCache) WritableMappings() int {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	return max(c.writable, 0)
}

// DenyWritable forbids shared mappings that may write, for good: EBUSY if there is one.
func (c *PageCache) DenyWritable() error {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	if c.writable > 0 {
		return unix.EBUSY
	}
	c.writable = -1
	return nil
}

// Mapped reports whether any address space maps the file.
func (c *PageCache) Mapped() bool {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	return len(c.maps) > 0
}

// addMap notes a region of as that maps the file.
func (c *PageCache) addMap(as *AddressSpace, mayWrite bool) error {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	if mayWrite {
		if c.writable < 0 {
			return unix.EPERM
		}
		c.writable++
	}
	if c.maps == nil {
		c.maps = make(map[*AddressSpace]int)
	}
	c.maps[as]++
	return nil
}

func (c *PageCache) delMap(as *AddressSpace) {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	if c.maps[as]--; c.maps[as] <= 0 {
		delete(c.maps, as)
	}
}

// delWritable is called when a writable mapping is out of force.
func (c *PageCache) delWritable() {
	c.mapMu.Lock()
	c.writable--
	c.mapMu.Unlock()
}

// unmap removes [lo, hi) of the file, in pages, from all address spaces; cows
// says whether private copies go too. No lock from as.mu down is held.
func (c *PageCache) unmap(lo, hi int64, cows bool) {
	if lo >= hi {
		return
	}
	c.mapMu.Lock()
	l := make([]*AddressSpace, 0, len(c.maps))
	for as := range c.maps {
		l = append(l, as)
	}
	c.mapMu.Unlock()
	for _, as := range l {
		as.unmapCache(c, lo, hi, cows)
	}
}

// Release drops all pages, dirty ones too, and the reservations. Nothing maps or
// uses c any more.
func (c *PageCache) Release() {
	c.m.caches.del(c)
	c.ioMu.Lock()
	c.mu.Lock()
	fs := c.removeRange(0, 1<<62, nil)
	resvs := c.resvs
	c.resvs = nil
	c.mu.Unlock()
	c.ioMu.Unlock()
	c.m.decRefRuns(fs)
	for _, r := range resvs {
		c.m.dissolve(r)
	}
}

// dropReservations ends the reservations of pages from lo on.
func (c *PageCache) dropReservations(lo int64) {
	for key, r := range c.resvs {
		if key>>4 >= lo {
			c.m.dissolve(r)
			delete(c.resvs, key)
		}
	}
}
