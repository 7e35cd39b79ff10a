package mm

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

// Pages are pinned by a reference while they are copied, and no lock but wmu is
// held: the other side of the copy may be guest memory, even a mapping of the same
// page, and may fault.

var zeroes [16 * PageSize]byte

// pins is a few pages of one chunk that a transfer uses.
type pins struct {
	fs [chunkPages]Frame
	n  int
}

func (p *pins) drop(m *Memory) {
	for _, f := range p.fs[:p.n] {
		if f != NoFrame {
			m.DecRef(f)
		}
	}
	p.n = 0
}

// run is how many pages from i on are consecutive frames, or holes.
func (p *pins) run(i int) int {
	j := i + 1
	for j < p.n && (p.fs[i] == NoFrame && p.fs[j] == NoFrame ||
		p.fs[i] != NoFrame && p.fs[j] == p.fs[i]+Frame(j-i)) {
		j++
	}
	return j - i
}

// pin pins what is present of the n pages from idx on, up to the end of the
// chunk. With holes it goes on over absent pages, otherwise it ends there.
func (c *PageCache) pin(p *pins, idx int64, n int, holes bool) {
	c.mu.RLock()
	ch, i, _ := c.lookup(idx)
	n = min(n, chunkPages-int(i))
	p.n = 0
	if ch == nil {
		if holes {
			clear(p.fs[:n])
			p.n = n
		}
		c.mu.RUnlock()
		return
	}
	var mask uint64
	for ; p.n < n; p.n++ {
		f := ch.frames[int(i)+p.n]
		if f != NoFrame {
			c.m.IncRef(f)
			mask |= 1 << (int(i) + p.n)
		} else if !holes {
			break
		}
		p.fs[p.n] = f
	}
	c.touch(ch, mask)
	c.mu.RUnlock()
}

// ReadAt copies from the file at off to dst and drops what was read from dst. At
// the end of the file it returns 0 and no error.
func (c *PageCache) ReadAt(dst *usermem.IO, off int64) (int64, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	var p pins
	var total int64
	fills := 0
	for dst.Len() > 0 {
		rest := c.size.Load() - off
		if rest <= 0 {
			break
		}
		if l := dst.Len(); uint64(rest) > l {
			rest = int64(l)
		}
		idx, po := off>>PageShift, off&(PageSize-1)
		pages := pagesOf(po + rest)
		c.pin(&p, idx, int(min(pages, chunkPages)), c.backing == nil)
		if p.n == 0 {
			if fills++; fills > 1000 {
				return total, unix.EIO // dropped again as fast as they come
			}
			if err := c.fill(idx, int(min(pages, blockPages/2)), 0); err != nil {
				if total > 0 {
					return total, nil
				}
				return 0, err
			}
			continue
		}
		fills = 0
		for i := 0; i < p.n && rest > 0; {
			k := p.run(i)
			n := min(int64(k)<<PageShift-po, rest)
			var b []byte
			if p.fs[i] == NoFrame {
				n = min(n, int64(len(zeroes)))
				k = int((po + n + PageSize - 1) >> PageShift)
				b = zeroes[:n]
			} else {
				b = c.m.RunBytes(p.fs[i], k)[po : po+n]
			}
			got, err := dst.Write(b)
			total += int64(got)
			off += int64(got)
			rest -= int64(got)
			if err != nil {
				p.drop(c.m)
				if total > 0 {
					return total, nil
				}
				return 0, err
			}
			i += k
			po = 0
		}
		p.drop(c.m)
	}
	return total, nil
}

// WriteAt copies from src to the file at off, drops what was written from src,
// and extends the file. The error is nil if anything was written.
func (c *PageCache) WriteAt(src *usermem.IO, off int64) (int64, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	c.wmu.Lock()
	n, err := c.writeLocked(src, off)
	c.wmu.Unlock()
	c.throttle()
	return n, err
}

// Append writes at the end of the file, as O_APPEND does.
func (c *PageCache) Append(src *usermem.IO) (off, n int64, err error) {
	c.wmu.Lock()
	off = c.size.Load()
	n, err = c.writeLocked(src, off)
	c.wmu.Unlock()
	c.throttle()
	return off, n, err
}

// Lock and Unlock keep writers and truncation out, for callers that must look at
// the size and then act.
func (c *PageCache) Lock()   { c.wmu.Lock() }
func (c *PageCache) Unlock() { c.wmu.Unlock() }

// WriteLocked is WriteAt between Lock and Unlock.
func (c *PageCache) WriteLocked(src *usermem.IO, off int64) (int64, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	return c.writeLocked(src, off)
}

func (c *PageCache) writeLocked(src *usermem.IO, off int64) (int64, error) {
	if off > MaxFileSize || src.Len() > 0 && off == MaxFileSize {
		return 0, unix.EFBIG
	}
	*src = src.Limit(uint64(MaxFileSize - off))
	if src.Len() > 0 && off > c.size.Load() {
		c.zeroTail(c.size.Load())
	}
	var total int64
	for src.Len() > 0 {
		n, err := c.writeSome(src, off+total)
		total += n
		if err != nil {
			if total > 0 {
				err = nil
			}
			return total, err
		}
	}
	return total, nil
}

// writeSome writes a part that lies in one chunk.
func (c *PageCache) writeSome(src *usermem.IO, off int64) (int64, error) {
	idx, po := off>>PageShift, off&(PageSize-1)
	want := int64(min(src.Len(), uint64(chunkBytes-off&(chunkBytes-1))))
	pages := int(pagesOf(po + want))
	if c.backing == nil {
		c.mu.Lock()
		k, err := c.ensure(idx, pages)
		c.mu.Unlock()
		if k == 0 {
			if err == errShort && c.m.makeRoom(int64(pages)) {
				return 0, nil // again
			}
			return 0, err
		}
		pages = k
	}
	var p pins
	c.pin(&p, idx, pages, false)
	if p.n == 0 {
		if c.backing == nil {
			return 0, nil // cannot happen while wmu is held; again
		}
		if po == 0 && want >= PageSize || off-po >= c.size.Load() {
			return c.writeNew(src, off, want)
		}
		return 0, c.fill(idx, 1, 0)
	}
	want = min(want, int64(p.n)<<PageShift-po)
	var n int64
	var err error
	for i := 0; i < p.n && n < want && err == nil; {
		k := p.run(i)
		b := c.m.RunBytes(p.fs[i], k)[po:]
		b = b[:min(int64(len(b)), want-n)]
		var got int
		got, err = src.Read(b)
		n += int64(got)
		i += k
		po = 0
	}
	c.commit(off, n)
	p.drop(c.m)
	return n, err
}

// writeNew writes to absent pages of a file with a backing whose old contents do
// not matter: they are filled before anyone can see them.
func (c *PageCache) writeNew(src *usermem.IO, off, want int64) (int64, error) {
	idx, po := off>>PageShift, off&(PageSize-1)
	pages := int(pagesOf(po + want))
	if (po+want)&(PageSize-1) != 0 && off+want < c.size.Load() && pages > 1 {
		pages-- // the last one is partly written, and its rest matters
	}
	c.mu.Lock()
	k := c.absent(idx, pages)
	if k == 0 {
		c.mu.Unlock()
		return 0, nil // read in meanwhile; again
	}
	f, got := c.takeRun(idx, k, nil)
	c.mu.Unlock()
	if got == 0 {
		if c.m.makeRoom(int64(k)) {
			return 0, nil
		}
		return 0, unix.ENOMEM
	}
	buf := c.m.RunBytes(f, got)[po:]
	buf = buf[:min(int64(len(buf)), want)]
	n, err := src.Read(buf)
	full := pagesOf(po + int64(n)) // pages that may be shown
	tail := po + int64(n) - full<<PageShift
	var keep []byte
	if n > 0 && n < len(buf) && tail != 0 && full<<PageShift > po && off-po+full<<PageShift-PageSize < c.size.Load() {
		// Cut short within a page that has old contents: those are read in, and
		// the new bytes put over them.
		full--
		start := full << PageShift
		keep = append(keep, c.m.RunBytes(f, got)[max(start, po):po+int64(n)]...)
	}
	var extra []frameRun
	c.mu.Lock()
	for i := int64(0); i < int64(got); i++ {
		_, _, old := c.lookup(idx + i)
		switch {
		case i >= full:
			extra = addRun(extra, f+Frame(i))
		case old != NoFrame:
			copy(c.m.Bytes(old), c.m.Bytes(f+Frame(i)))
			extra = addRun(extra, f+Frame(i))
		default:
			c.insert(idx+i, f+Frame(i))
		}
	}
	c.mu.Unlock()
	c.m.caches.add(c)
	done := int64(n) - int64(len(keep))
	c.commit(off, done)
	if extra != nil {
		c.m.decRefRuns(extra)
	}
	if keep != nil && c.fill(idx+full, 1, 0) == nil {
		b := usermem.Bytes(keep)
		if m, _ := c.writeSome(&b, off+done); m > 0 {
			done += m
		}
	}
	return done, err
}

// commit makes n bytes at off part of the file.
func (c *PageCache) commit(off, n int64) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	if c.backing != nil {
		for idx := off >> PageShift; idx<<PageShift < off+n; idx++ {
			if ch, i, f := c.lookup(idx); f != NoFrame {
				c.setDirty(ch, i)
			}
		}
	}
	if off+n > c.size.Load() {
		c.size.Store(off + n)
	}
	c.mu.Unlock()
	if c.backing != nil {
		c.m.caches.add(c)
		c.m.caches.flushLater()
	}
}

// zeroTail clears what a mapping may have left in the last page after the end of
// the file, before the file grows over it.
func (c *PageCache) zeroTail(size int64) {
	po := size & (PageSize - 1)
	if po == 0 {
		return
	}
	c.mu.Lock()
	if _, _, f := c.lookup(size >> PageShift); f != NoFrame {
		clear(c.m.Bytes(f)[po:])
	}
	c.mu.Unlock()
}

// Truncate sets the size, takes pages after it from every address space, and
// clears the rest of the last page.
func (c *PageCache) Truncate(size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	if size > MaxFileSize {
		return unix.EFBIG
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.truncateLocked(size)
}

// TruncateLocked is Truncate between Lock and Unlock.
func (c *PageCache) TruncateLocked(size int64) error {
	if size < 0 || size > MaxFileSize {
		return unix.EINVAL
	}
	return c.truncateLocked(size)
}

func (c *PageCache) truncateLocked(size int64) error {
	old := c.size.Load()
	if size > old {
		c.zeroTail(old)
	}
	if c.backing != nil {
		c.syncMu.Lock()
		defer c.syncMu.Unlock()
	}
	c.ioMu.Lock()
	if b, ok := c.backing.(Truncater); ok {
		if err := b.Truncate(size); err != nil {
			c.ioMu.Unlock()
			return err
		}
	}
	c.mu.Lock()
	c.size.Store(size)
	fs := c.removeRange(pagesOf(size), 1<<62, nil)
	c.dropReservations(pagesOf(size))
	c.mu.Unlock()
	if size < old {
		c.unmap(pagesOf(size), 1<<62, true)
		c.zeroTail(size)
	}
	c.ioMu.Unlock()
	c.m.decRefRuns(fs)
	return nil
}

// PunchHole makes [off, off+n) zero and frees its whole pages. A file with a
// backing needs one that is a Holer.
func (c *PageCache) PunchHole(off, n int64) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.punch(off, n)
}

func (c *PageCache) punch(off, n int64) error {
	if off < 0 || n <= 0 {
		return unix.EINVAL
	}
	end := off + n
	if end < 0 {
		end = MaxFileSize
	}
	h, _ := c.backing.(Holer)
	if c.backing != nil && h == nil {
		return unix.EOPNOTSUPP
	}
	c.ioMu.Lock()
	defer c.ioMu.Unlock()
	lo, hi := pagesOf(off), end>>PageShift
	c.mu.Lock()
	c.zeroPart(off, min(end, lo<<PageShift))
	if hi >= lo {
		c.zeroPart(hi<<PageShift, end)
	}
	fs := c.removeRange(lo, hi, nil)
	c.mu.Unlock()
	var err error
	if h != nil {
		err = h.PunchHole(off, n)
	}
	c.unmap(lo, hi, false)
	c.m.decRefRuns(fs)
	return err
}

// zeroPart clears [a, b), which lies in one page, if that is present. mu is held.
func (c *PageCache) zeroPart(a, b int64) {
	if a >= b {
		return
	}
	if ch, i, f := c.lookup(a >> PageShift); f != NoFrame {
		po := a & (PageSize - 1)
		clear(c.m.Bytes(f)[po : po+b-a])
		c.setDirty(ch, i)
	}
}

// ZeroRange makes [off, off+n) zero and allocated.
func (c *PageCache) ZeroRange(off, n int64, keepSize bool) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.punch(off, n); err != nil {
		return err
	}
	return c.allocate(off, n, keepSize)
}

// Allocate allocates the pages of [off, off+n), as fallocate(2) does.
func (c *PageCache) Allocate(off, n int64, keepSize bool) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.allocate(off, n, keepSize)
}

func (c *PageCache) allocate(off, n int64, keepSize bool) error {
	if off < 0 || n <= 0 {
		return unix.EINVAL
	}
	if off > MaxFileSize-n {
		return unix.EFBIG
	}
	end := off + n
	if c.backing == nil {
		lo, hi := off>>PageShift, pagesOf(end)
		if hi-lo > c.m.limit {
			return unix.ENOSPC
		}
		var mine []frameRun // to be undone on failure
		for idx := lo; idx < hi; {
			c.mu.Lock()
			a := c.absent(idx, int(min(hi-idx, blockPages)))
			if a == 0 {
				c.mu.Unlock()
				idx++
				continue
			}
			k, err := c.ensure(idx, a)
			c.mu.Unlock()
			if k > 0 {
				mine = append(mine, frameRun{Frame(idx - lo), uint32(k)})
			}
			idx += int64(k)
			if err == errShort && c.m.makeRoom(int64(a-k)) {
				continue
			}
			if err != nil {
				if err == errShort {
					err = unix.ENOSPC
				}
				var fs []frameRun
				c.ioMu.Lock()
				c.mu.Lock()
				for _, r := range mine {
					fs = c.removeRange(lo+int64(r.f), lo+int64(r.f)+int64(r.n), fs)
				}
				c.mu.Unlock()
				for _, r := range mine {
					c.unmap(lo+int64(r.f), lo+int64(r.f)+int64(r.n), false)
				}
				c.ioMu.Unlock()
				c.m.decRefRuns(fs)
				return err
			}
		}
	}
	if !keepSize && end > c.size.Load() {
		c.zeroTail(c.size.Load())
		c.mu.Lock()
		c.size.Store(end)
		c.mu.Unlock()
	}
	return nil
}

// SeekData is the first offset from off on that is not in a hole, or ENXIO.
func (c *PageCache) SeekData(off int64) (int64, error) { return c.seek(off, true) }

// SeekHole is the first offset from off on that is in a hole; the end of the file
// counts as one.
func (c *PageCache) SeekHole(off int64) (int64, error) { return c.seek(off, false) }

func (c *PageCache) seek(off int64, data bool) (int64, error) {
	size := c.size.Load()
	if off < 0 || off >= size {
		return 0, unix.ENXIO
	}
	if c.backing != nil {
		if h, ok := c.backing.(Holer); ok {
			if err := c.Sync(0, 0); err != nil {
				return 0, err
			}
			if data {
				return h.SeekData(off)
			}
			return h.SeekHole(off)
		}
		if data {
			return off, nil
		}
		return size, nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	idx := off >> PageShift
	found := int64(-1)
	next := idx // the first page not looked at
	c.chunks.Ascend(idx>>chunkShift, func(k int64, ch *chunk) bool {
		base := k << chunkShift
		if !data && base > next {
			found = next
			return false
		}
		skip := max(next-base, 0)
		w := ch.present
		if !data {
			w = ^w
		}
		w &= ^uint64(0) << skip
		if w != 0 {
			found = base + int64(bits.TrailingZeros64(w))
			return false
		}
		next = base + chunkPages
		return true
	})
	if found < 0 {
		if data {
			return 0, unix.ENXIO
		}
		found = next
	}
	pos := max(found<<PageShift, off)
	if pos >= size {
		if data {
			return 0, unix.ENXIO
		}
		pos = size
	}
	return pos, nil
}
