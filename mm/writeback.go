package mm

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Sync writes the dirty pages of [off, off+n) to the backing, all from off on if n
// is 0, and reports an error of an earlier writeback that nobody was told of.
func (c *PageCache) Sync(off, n int64) error {
	if c.backing == nil {
		return nil
	}
	hi := int64(1 << 62)
	if n > 0 && off+n > 0 {
		hi = pagesOf(off + n)
	}
	err := c.writeBack(off>>PageShift, hi, true)
	c.mu.Lock()
	if err == nil {
		err = c.wbErr
	}
	c.wbErr = nil
	c.mu.Unlock()
	return err
}

// writeBack writes dirty pages of [lo, hi). A page that a guest can write through
// a mapping stays dirty, since later stores are not seen; mapped says whether it is
// written now.
func (c *PageCache) writeBack(lo, hi int64, mapped bool) error {
	c.syncMu.Lock()
	defer c.syncMu.Unlock()
	var first error
	for {
		c.mapMu.Lock()
		stores := c.writable > 0
		c.mapMu.Unlock()

		c.mu.Lock()
		idx, n, f := c.nextDirty(lo, hi, mapped || !stores)
		if n == 0 {
			c.mu.Unlock()
			return first
		}
		for i := 0; i < n; i++ {
			ch, b, _ := c.lookup(idx + int64(i))
			c.m.IncRef(f + Frame(i))
			if !stores {
				ch.wmapped &^= 1 << b
			}
			if ch.wmapped>>b&1 == 0 {
				ch.dirty &^= 1 << b
				c.dirty--
				c.m.dirtyPgs.Add(-1)
			}
		}
		size := c.size.Load()
		c.mu.Unlock()

		var err error
		c.m.writeback.Add(int64(n))
		b := c.m.RunBytes(f, n)
		if rest := size - idx<<PageShift; rest < int64(len(b)) {
			b = b[:max(rest, 0)]
		}
		if len(b) > 0 {
			err = c.backing.WritePage(idx<<PageShift, b)
		}
		c.m.writeback.Add(int64(-n))
		if err != nil {
			c.mu.Lock()
			for i := 0; i < n; i++ {
				if ch, b, g := c.lookup(idx + int64(i)); g == f+Frame(i) {
					c.setDirty(ch, b)
				}
			}
			c.mu.Unlock()
			if first == nil {
				first = err
			}
		}
		c.m.decRefRuns([]frameRun{{f, uint32(n)}})
		lo = idx + int64(n)
	}
}

// nextDirty finds the first run of dirty pages in consecutive frames. mu is held.
func (c *PageCache) nextDirty(lo, hi int64, mapped bool) (idx int64, n int, f Frame) {
	if c.dirty == 0 {
		return 0, 0, NoFrame
	}
	c.chunks.Ascend(lo>>chunkShift, func(k int64, ch *chunk) bool {
		base := k << chunkShift
		w := ch.dirty
		if !mapped {
			w &^= ch.wmapped
		}
		if n == 0 {
			if base < lo {
				w &= ^uint64(0) << (lo - base)
			}
			if w == 0 {
				return base < hi
			}
			i := bits.TrailingZeros64(w)
			idx, f = base+int64(i), ch.frames[i]
			if idx >= hi {
				return false
			}
		}
		for n < blockPages && idx+int64(n) < hi {
			i := idx + int64(n) - base // negative where chunks between are missing
			if i >= chunkPages {
				return true
			}
			if i < 0 || w>>i&1 == 0 || ch.frames[i] != f+Frame(n) {
				return false
			}
			n++
		}
		return false
	})
	return idx, n, f
}

// Invalidate drops the clean pages of [off, off+n), all from off on if n is 0, also
// from address spaces: the backing has changed.
func (c *PageCache) Invalidate(off, n int64) {
	if c.backing == nil {
		return
	}
	hi := int64(1 << 62)
	if n > 0 && off+n > 0 {
		hi = pagesOf(off + n)
	}
	c.ioMu.Lock()
	defer c.ioMu.Unlock()
	c.mu.Lock()
	fs := c.dropClean(off>>PageShift, hi, func(*chunk, uint) bool { return true }, 1<<62)
	c.mu.Unlock()
	if fs != nil {
		c.unmap(off>>PageShift, hi, false)
		c.m.decRefRuns(fs)
	}
}

// dropClean takes out clean pages of [lo, hi) that pick agrees to, at most limit. mu is held.
func (c *PageCache) dropClean(lo, hi int64, pick func(*chunk, uint) bool, limit int) []frameRun {
	var fs []frameRun
	var empty []int64
	c.chunks.Ascend(lo>>chunkShift, func(k int64, ch *chunk) bool {
		base := k << chunkShift
		for w := ch.present &^ ch.dirty; w != 0; w &= w - 1 {
			i := uint(bits.TrailingZeros64(w))
			if idx := base + int64(i); idx < lo || idx >= hi || !pick(ch, i) {
				continue
			}
			fs = addRun(fs, c.remove(ch, i))
			if limit--; limit <= 0 {
				break
			}
		}
		if ch.present == 0 {
			empty = append(empty, k)
		}
		return limit > 0 && base < hi
	})
	for _, k := range empty {
		c.chunks.Delete(k)
	}
	return fs
}

// cacheList is the page caches that have a backing. It is the first shrinker, and
// it writes dirty pages back after a while.
type cacheList struct {
	m *Memory

	mu       sync.Mutex
	head     PageCache // of the ring
	n        int
	flushing bool
	stopped  bool

	wantFlush atomic.Bool
}

const (
	flushInterval = 5 * time.Second
	flushMapped   = 6 // pages that a mapping may write go each sixth time
)

func (l *cacheList) add(c *PageCache) {
	if c.listed.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.listed.Load() {
		return
	}
	l.push(c)
	c.listed.Store(true)
	l.n++
}

func (l *cacheList) push(c *PageCache) {
	if l.head.next == nil {
		l.head.next, l.head.prev = &l.head, &l.head
	}
	c.prev, c.next = l.head.prev, &l.head
	c.prev.next, c.next.prev = c, c
}

func (l *cacheList) del(c *PageCache) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.listed.Load() {
		return
	}
	c.prev.next, c.next.prev = c.next, c.prev
	c.next, c.prev = nil, nil
	c.listed.Store(false)
	l.n--
}

// rotate moves the first cache to the end and returns it.
func (l *cacheList) rotate() *PageCache {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		return nil
	}
	c := l.head.next
	c.prev.next, c.next.prev = c.next, c.prev
	l.push(c)
	return c
}

func (l *cacheList) all() []*PageCache {
	l.mu.Lock()
	defer l.mu.Unlock()
	cs := make([]*PageCache, 0, l.n)
	for c := l.head.next; c != nil && c != &l.head; c = c.next {
		cs = append(cs, c)
	}
	return cs
}

// Name is for Shrinker.
func (l *cacheList) Name() string { return "page cache" }

// Priority is for Shrinker.
func (l *cacheList) Priority() int { return 100 }

// Shrink drops clean pages that nobody maps: those not used since it last came by
// first, then any; hard also writes dirty ones back. Locks are only tried, since
// the caller may hold some.
func (l *cacheList) Shrink(target int64, hard bool) int64 {
	l.mu.Lock()
	n := l.n
	l.mu.Unlock()
	want := int((target + PageSize - 1) / PageSize)
	got := 0
	for pass := 0; pass < 2; pass++ {
		for i := 0; i < n && got < want; i++ {
			c := l.rotate()
			if c == nil {
				break
			}
			if hard && pass == 1 && c.DirtyPages() > 0 && c.syncMu.TryLock() {
				c.syncMu.Unlock()
				c.noteErr(c.writeBack(0, 1<<62, true))
			}
			got += c.shrink(want-got, pass == 1)
		}
	}
	return int64(got) * PageSize
}

func (c *PageCache) shrink(want int, any bool) int {
	if !c.ioMu.TryLock() {
		return 0
	}
	defer c.ioMu.Unlock()
	if !c.mu.TryLock() {
		return 0
	}
	fs := c.dropClean(0, 1<<62, func(ch *chunk, i uint) bool {
		if atomic.LoadUint32(&c.m.refs[ch.frames[i]]) != 1 {
			return false
		}
		if !any && ch.ref.Load()>>i&1 != 0 {
			ch.ref.And(^(uint64(1) << i))
			return false
		}
		return true
	}, want)
	c.mu.Unlock()
	n := 0
	for _, r := range fs {
		n += int(r.n)
	}
	if n > 0 {
		c.m.decRefRuns(fs)
	}
	return n
}

func (c *PageCache) noteErr(err error) {
	if err != nil {
		c.mu.Lock()
		c.wbErr = err
		c.mu.Unlock()
	}
}

// throttle makes a writer write back when too much is dirty.
func (c *PageCache) throttle() {
	if c.backing != nil && c.m.dirtyPgs.Load() > c.m.limit/5 {
		c.noteErr(c.writeBack(0, 1<<62, false))
	}
}

// flushLater has dirty pages written back after a while.
func (l *cacheList) flushLater() {
	if l.wantFlush.Swap(true) {
		return
	}
	l.mu.Lock()
	if !l.flushing && !l.stopped {
		l.flushing = true
		go l.flush()
	}
	l.mu.Unlock()
}

func (l *cacheList) flush() {
	for round := 1; ; round++ {
		time.Sleep(flushInterval)
		l.mu.Lock()
		stopped := l.stopped
		l.mu.Unlock()
		if stopped {
			return
		}
		l.wantFlush.Store(false)
		var left int64
		for _, c := range l.all() {
			if c.DirtyPages() > 0 {
				c.noteErr(c.writeBack(0, 1<<62, round%flushMapped == 0))
				left += c.DirtyPages()
			}
		}
		l.mu.Lock()
		if left == 0 && !l.wantFlush.Load() {
			l.flushing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

func (l *cacheList) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
}

// SyncAll writes back what is dirty in all files, as sync(2) does.
func (m *Memory) SyncAll() error {
	var first error
	for _, c := range m.caches.all() {
		if c.DirtyPages() == 0 {
			continue
		}
		if err := c.writeBack(0, 1<<62, true); err != nil {
			c.noteErr(err)
			if first == nil {
				first = err
			}
		}
	}
	return first
}
