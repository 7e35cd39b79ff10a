package mm

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A page of the memfd that is first touched through the linear mapping costs a fault of the host, which on a virtual machine is ten times what the
// page costs. What the host writes to the memfd when asked by a call gets its pages without. So contents for frames
// that are fresh are put together in a buffer, and written from there.

// stagePages is how large the buffer is.
const stagePages = 64

// stage is that buffer.
type stage struct {
	mu  sync.Mutex
	buf []byte // nil if there is none
}

// init makes the buffer, with all of its pages.
func (s *stage) init() {
	b, err := unix.Mmap(-1, 0, stagePages*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err == nil {
		s.buf = b
	}
}

func (s *stage) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buf != nil {
		_ = unix.Munmap(s.buf)
		s.buf = nil
	}
}

// readIn fills n frames from f on from off in a file, and what is beyond its end with zeroes. fresh is what rawFrames tells of them.
func (m *Memory) readIn(b Backing, off int64, f Frame, n int, fresh bool) error {
	// Who would have to wait for the buffer does without.
	if !fresh || n == 1 || !m.stage.mu.TryLock() {
		return m.readDirect(b, off, f, n)
	}
	defer m.stage.mu.Unlock()
	if m.stage.buf == nil {
		return m.readDirect(b, off, f, n)
	}
	for n > 0 {
		k := min(n, stagePages)
		buf := m.stage.buf[:k<<PageShift]
		if err := readAll(b, off, buf); err != nil {
			return err
		}
		if err := Pwrite(int(m.file.Fd()), buf, int64(f)<<PageShift); err != nil {
			return err
		}
		off, f, n = off+int64(k)<<PageShift, f+Frame(k), n-k
	}
	return nil
}

func (m *Memory) readDirect(b Backing, off int64, f Frame, n int) error {
	return readAll(b, off, m.RunBytes(f, n))
}

// readAll fills buf from off in a file.
func readAll(b Backing, off int64, buf []byte) error {
	done, err := b.ReadPage(off, buf)
	if err != nil {
		return err
	}
	if done < 0 || done > len(buf) {
		return fmt.Errorf("%w: a file gave %d bytes of %d", unix.EIO, done, len(buf))
	}
	clear(buf[done:])
	return nil
}

// Pwrite writes all of b to a file of the host at off. The error is the host's errno.
func Pwrite(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}
