package pipe

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

const (
	spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MORE | unix.SPLICE_F_GIFT

	// chunk is how much is moved between a pipe and another file in one step.
	chunk = 16 * pageSize
	// maxCount is the most that one call transfers (Linux: MAX_RW_COUNT).
	maxCount = 0x7ffff000
)

var chunkPool = sync.Pool{New: func() any { return new([chunk]byte) }}

// wait blocks until ready (called with p.mu held) is true.
func (p *Pipe) wait(ctx vfs.Context, ready func() bool) error {
	test := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return ready()
	}
	if test() {
		return nil
	}
	w := waitq.GetWaiter()
	defer w.Put()
	p.EventRegister(&w.Entry, waitq.Readable|waitq.Writable)
	defer p.EventUnregister(&w.Entry)
	for !test() {
		if err := w.Wait(ctx, -1); err != nil {
			return err
		}
	}
	return nil
}

// waitData waits until there is something to read, or nobody writes. false: it is the end.
func (p *Pipe) waitData(ctx vfs.Context, nonblock bool) (bool, error) {
	p.mu.Lock()
	empty, writers := p.empty(), p.writers
	p.mu.Unlock()
	switch {
	case !empty:
		return true, nil
	case writers == 0:
		return false, nil
	case nonblock:
		return false, unix.EAGAIN
	}
	if err := p.wait(ctx, func() bool { return !p.empty() || p.writers == 0 }); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.empty(), nil
}

// waitRoom waits until there is a free slot, and returns how many bytes fit.
func (p *Pipe) waitRoom(ctx vfs.Context, nonblock bool) (int, error) {
	p.mu.Lock()
	readers, room := p.readers, len(p.ring)-p.used()
	p.mu.Unlock()
	if readers > 0 && room <= 0 {
		if nonblock {
			return 0, unix.EAGAIN
		}
		if err := p.wait(ctx, func() bool { return !p.full() || p.readers == 0 }); err != nil {
			return 0, err
		}
		p.mu.Lock()
		readers, room = p.readers, len(p.ring)-p.used()
		p.mu.Unlock()
	}
	if readers == 0 {
		ctx.Signal(unix.SIGPIPE)
		return 0, unix.EPIPE
	}
	return room * pageSize, nil
}

// grow makes room for one more slot, also beyond the capacity: for data that has
// been taken from somewhere and can go nowhere else. p.mu is held.
func (p *Pipe) grow() {
	if !p.full() {
		return
	}
	if p.reg != nil {
		p.account(len(p.ring))
	}
	ring := make([]slot, 2*len(p.ring))
	n := uint32(0)
	for i := p.tail; i != p.head; i++ {
		ring[n] = *p.at(i)
		n++
	}
	p.ring, p.tail, p.head = ring, 0, n
}

// unread puts back data that was read but not used, in front.
func (p *Pipe) unread(b []byte) {
	if len(b) == 0 {
		return
	}
	p.mu.Lock()
	for len(b) > 0 {
		n := len(b) % pageSize
		if n == 0 {
			n = pageSize
		}
		p.grow()
		pg := p.mustPage()
		copy(pg.data[:], b[len(b)-n:])
		b = b[:len(b)-n]
		p.tail--
		*p.at(p.tail) = slot{pg: pg, n: n}
	}
	p.mu.Unlock()
	p.Notify(waitq.Readable)
}

// force appends data whatever the capacity is.
func (p *Pipe) force(b []byte) {
	p.mu.Lock()
	for len(b) > 0 {
		p.grow()
		pg := p.mustPage()
		n := copy(pg.data[:], b)
		b = b[n:]
		p.push(slot{pg: pg, n: n})
	}
	p.mu.Unlock()
	p.Notify(waitq.Readable)
}

// Splice is splice(2): it moves up to n bytes from in to out, one of which is a
// pipe. Offsets that are not nil are used instead of the file's position, and moved.
func Splice(ctx vfs.Context, in *vfs.File, inOff *int64, out *vfs.File, outOff *int64, n int64, flags uint32) (int64, error) {
	if n == 0 {
		return 0, nil
	}
	if n < 0 || flags&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	if !in.Readable() || !out.Writable() {
		return 0, unix.EBADF
	}
	n = min(n, maxCount)
	nonblock := flags&unix.SPLICE_F_NONBLOCK != 0
	from, to := Of(in), Of(out)
	switch {
	case from != nil && to != nil:
		if inOff != nil || outOff != nil {
			return 0, unix.ESPIPE
		}
		if from == to {
			return 0, unix.EINVAL
		}
		nonblock = nonblock || (in.Flags()|out.Flags())&unix.O_NONBLOCK != 0
		return movePages(ctx, from, to, n, nonblock, false)
	case from != nil:
		if inOff != nil {
			return 0, unix.ESPIPE
		}
		if outOff != nil && out.Ops.Stream() || out.Flags()&unix.O_APPEND != 0 {
			return 0, unix.EINVAL
		}
		if outOff != nil && *outOff < 0 {
			return 0, unix.EINVAL
		}
		nonblock = nonblock || in.Flags()&unix.O_NONBLOCK != 0
		return SpliceFromPipe(ctx, from, out, outOff, n, nonblock)
	case to != nil:
		if outOff != nil {
			return 0, unix.ESPIPE
		}
		if inOff != nil && (in.Ops.Stream() || *inOff < 0) {
			return 0, unix.EINVAL
		}
		nonblock = nonblock || out.Flags()&unix.O_NONBLOCK != 0
		return SpliceToPipe(ctx, in, inOff, to, n, nonblock)
	}
	return 0, unix.EINVAL
}

// SpliceFromPipe moves up to n bytes from p to out, at *off (which moves) if off is not
// nil. It waits for the first bytes only.
func SpliceFromPipe(ctx vfs.Context, p *Pipe, out *vfs.File, off *int64, n int64, nonblock bool) (int64, error) {
	buf := chunkPool.Get().(*[chunk]byte)
	defer chunkPool.Put(buf)
	var ioFlags vfs.IOFlags
	if nonblock && out.Ops.Stream() {
		ioFlags = vfs.IONonblock
	}
	var done int64
	for done < n {
		more, err := p.waitData(ctx, nonblock || done > 0)
		if err != nil || !more {
			return result(done, err)
		}
		dst := usermem.Bytes(buf[:min(n-done, chunk)])
		got, err := p.read(&dst)
		if err == unix.EAGAIN || err == nil && got == 0 {
			continue // somebody else was faster
		}
		if err != nil {
			return result(done, err)
		}
		put, err := writeFile(ctx, out, off, buf[:got], ioFlags)
		p.unread(buf[put:got])
		done += put
		if err != nil || put < got {
			return result(done, err)
		}
	}
	return done, nil
}

// SpliceToPipe moves up to n bytes from in, at *off (which moves) if off is not nil,
// to p. It waits for the first bytes only, and never reads more than p has room for.
func SpliceToPipe(ctx vfs.Context, in *vfs.File, off *int64, p *Pipe, n int64, nonblock bool) (int64, error) {
	buf := chunkPool.Get().(*[chunk]byte)
	defer chunkPool.Put(buf)
	var done int64
	for done < n {
		room, err := p.waitRoom(ctx, nonblock || done > 0)
		if err != nil {
			return result(done, err)
		}
		b := buf[:min(n-done, chunk, int64(room))]
		var ioFlags vfs.IOFlags
		if in.Ops.Stream() && (nonblock || done > 0) {
			ioFlags = vfs.IONonblock
		}
		got, err := readFile(ctx, in, off, b, ioFlags)
		p.force(b[:got])
		done += got
		if err != nil || got < int64(len(b)) {
			return result(done, err)
		}
	}
	return done, nil
}

func result(done int64, err error) (int64, error) {
	if done > 0 {
		return done, nil
	}
	return 0, err
}

func writeFile(ctx vfs.Context, f *vfs.File, off *int64, b []byte, flags vfs.IOFlags) (int64, error) {
	src := usermem.Bytes(b)
	if off == nil {
		return f.Write(ctx, &src, flags)
	}
	n, err := f.PWrite(ctx, &src, *off, flags)
	*off += n
	return n, err
}

func readFile(ctx vfs.Context, f *vfs.File, off *int64, b []byte, flags vfs.IOFlags) (int64, error) {
	dst := usermem.Bytes(b)
	if off == nil {
		return f.Read(ctx, &dst, flags)
	}
	n, err := f.PRead(ctx, &dst, *off, flags)
	*off += n
	return n, err
}

// Tee is tee(2): what is in one pipe goes also into another.
func Tee(ctx vfs.Context, in, out *vfs.File, n int64, flags uint32) (int64, error) {
	if flags&^spliceFlags != 0 || n < 0 {
		return 0, unix.EINVAL
	}
	if n == 0 {
		return 0, nil
	}
	if !in.Readable() || !out.Writable() {
		return 0, unix.EBADF
	}
	from, to := Of(in), Of(out)
	if from == nil || to == nil || from == to {
		return 0, unix.EINVAL
	}
	nonblock := flags&unix.SPLICE_F_NONBLOCK != 0 || (in.Flags()|out.Flags())&unix.O_NONBLOCK != 0
	return movePages(ctx, from, to, min(n, maxCount), nonblock, true)
}

// movePages moves or (keep) duplicates up to n bytes between pipes, without copying.
func movePages(ctx vfs.Context, from, to *Pipe, n int64, nonblock, keep bool) (int64, error) {
	for {
		more, err := from.waitData(ctx, nonblock)
		if err != nil || !more {
			return 0, err
		}
		if _, err := to.waitRoom(ctx, nonblock); err != nil {
			return 0, err
		}
		lockPair(from, to)
		done := moveLocked(from, to, n, keep)
		from.mu.Unlock()
		to.mu.Unlock()
		if done > 0 {
			to.Notify(waitq.Readable)
			if !keep {
				from.Notify(waitq.Writable)
			}
			return done, nil
		}
		// Somebody else was faster: wait again.
	}
}

func moveLocked(from, to *Pipe, n int64, keep bool) int64 {
	if to.readers == 0 {
		return 0
	}
	var done int64
	for i := from.tail; i != from.head && done < n && !to.full(); i++ {
		s := from.at(i)
		k := int(min(int64(s.n), n-done))
		// The page may now be in two pipes, so that only the old one may append to it.
		part := slot{pg: s.pg, off: s.off, n: k, flags: s.flags & packet}
		s.pg.refs.Add(1)
		to.push(part)
		done += int64(k)
		if !keep {
			s.off += k
			if s.n -= k; s.n == 0 {
				from.pop()
			}
		}
	}
	return done
}

// VMSplice is vmsplice(2): between a pipe and memory. Pages are copied, also with
// SPLICE_F_GIFT.
func VMSplice(ctx vfs.Context, f *vfs.File, mem *usermem.IO, flags uint32) (int64, error) {
	if flags&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	p := Of(f)
	if p == nil {
		return 0, unix.EBADF
	}
	if mem.Len() == 0 {
		return 0, nil
	}
	nonblock := flags&unix.SPLICE_F_NONBLOCK != 0 || f.Flags()&unix.O_NONBLOCK != 0
	for {
		var n int64
		var err error
		if f.Writable() {
			if _, err = p.waitRoom(ctx, nonblock); err != nil {
				return 0, err
			}
			n, err = p.write(mem, 0) // nothing may be appended to what a guest lent
		} else {
			more, err := p.waitData(ctx, nonblock)
			if err != nil || !more {
				return 0, err
			}
			n, err = p.read(mem)
			if err == nil && n == 0 {
				return 0, nil
			}
			if err != unix.EAGAIN {
				return n, err
			}
			continue
		}
		if err != unix.EAGAIN {
			return n, err
		}
	}
}

// SendFile is sendfile(2): it copies up to n bytes from in, at *off (which moves) if off
// is not nil and at its position otherwise, to out.
func SendFile(ctx vfs.Context, out, in *vfs.File, off *int64, n int64) (int64, error) {
	if n < 0 {
		return 0, unix.EINVAL
	}
	if !in.Readable() || !out.Writable() {
		return 0, unix.EBADF
	}
	if off != nil && in.Ops.Stream() {
		return 0, unix.ESPIPE
	}
	if in.Ops.Stream() {
		return 0, unix.EINVAL
	}
	n = min(n, maxCount)
	if p := Of(out); p != nil {
		return SpliceToPipe(ctx, in, off, p, n, out.Flags()&unix.O_NONBLOCK != 0)
	}
	if out.Flags()&unix.O_APPEND != 0 {
		return 0, unix.EINVAL
	}
	var pos int64
	if off != nil {
		pos = *off
	} else {
		p, err := in.Seek(ctx, 0, unix.SEEK_CUR)
		if err != nil {
			return 0, err
		}
		pos = p
	}
	if pos < 0 {
		return 0, unix.EINVAL
	}
	done, err := copyFile(ctx, out, in, &pos, n)
	if off != nil {
		*off = pos
	} else if _, serr := in.Seek(ctx, pos, unix.SEEK_SET); serr != nil && err == nil {
		err = serr
	}
	return result(done, err)
}

func copyFile(ctx vfs.Context, out, in *vfs.File, pos *int64, n int64) (int64, error) {
	buf := chunkPool.Get().(*[chunk]byte)
	defer chunkPool.Put(buf)
	var done int64
	for done < n {
		at := *pos
		got, err := readFile(ctx, in, &at, buf[:min(n-done, chunk)], 0)
		if err != nil || got == 0 {
			return done, err
		}
		put, err := writeFile(ctx, out, nil, buf[:got], 0)
		*pos += put
		done += put
		if err != nil || put < got {
			return done, err
		}
	}
	return done, nil
}
