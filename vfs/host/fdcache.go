package host

import (
	"sync"

	"golang.org/x/sys/unix"
)

// maxFDs is how many descriptors the cache keeps open at most.
const maxFDs = 1000

// fdCache bounds the number of host descriptors that are open. It is the process's, as
// descriptors are.
type fdCache struct {
	mu   sync.Mutex
	max  int
	open int
	// idle is a ring of descriptors that nobody uses now, the one used last first.
	idle hostFD
}

// hostFD is a descriptor in the cache.
type hostFD struct {
	fd         int // -1: closed
	users      int
	kept       bool // is not closed while idle: it cannot be opened again
	doomed     bool // is closed after the last use
	next, prev *hostFD
}

var fds = newFDCache(maxFDs)

func newFDCache(max int) *fdCache {
	c := &fdCache{max: max}
	c.idle.next, c.idle.prev = &c.idle, &c.idle
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil && lim.Cur/2 < uint64(max) {
		c.max = int(lim.Cur / 2)
	}
	return c
}

// SetMaxFDs limits the number of host descriptors that this package keeps open.
func SetMaxFDs(n int) {
	fds.mu.Lock()
	fds.max = n
	fds.mu.Unlock()
}

func (h *hostFD) unlink() {
	if h.next != nil {
		h.next.prev, h.prev.next = h.prev, h.next
		h.next, h.prev = nil, nil
	}
}

// use makes h usable until done; false if it has been closed.
func (c *fdCache) use(h *hostFD) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.fd < 0 {
		return false
	}
	h.users++
	h.unlink()
	return true
}

// done ends a use.
func (c *fdCache) done(h *hostFD) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.users--
	if h.users == 0 && h.doomed && h.fd >= 0 {
		_ = unix.Close(h.fd)
		h.fd = -1
		c.open--
		return
	}
	c.settle(h)
}

// settle puts h among the idle ones if it is.
func (c *fdCache) settle(h *hostFD) {
	if h.users == 0 && !h.kept && h.fd >= 0 && h.next == nil {
		h.next, h.prev = c.idle.next, &c.idle
		c.idle.next.prev = h
		c.idle.next = h
	}
}

// reserve makes room for a descriptor that is about to be opened. ENFILE if all are in use.
func (c *fdCache) reserve() error {
	c.mu.Lock()
	if c.open < c.max {
		c.open++
		c.mu.Unlock()
		return nil
	}
	h := c.idle.prev
	if h == &c.idle {
		c.mu.Unlock()
		return unix.ENFILE
	}
	h.unlink()
	fd := h.fd
	h.fd = -1
	c.mu.Unlock()
	_ = unix.Close(fd) // of a file that can be opened again; data were written through
	return nil
}

// unreserve is for when it could not be opened.
func (c *fdCache) unreserve() {
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
}

// add takes over fd, for which room was reserved; one use is the caller's.
func (c *fdCache) add(fd int) *hostFD { return &hostFD{fd: fd, users: 1} }

// keep says whether h must stay open while idle.
func (c *fdCache) keep(h *hostFD, kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.kept = kept
	if kept {
		h.unlink()
	} else {
		c.settle(h)
	}
}

// drop closes h, at the end of the last use.
func (c *fdCache) drop(h *hostFD) {
	c.mu.Lock()
	if h.users > 0 {
		h.doomed = true
		c.mu.Unlock()
		return
	}
	fd := h.fd
	h.fd = -1
	h.unlink()
	if fd >= 0 {
		c.open--
	}
	c.mu.Unlock()
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// openFDs is for tests.
func (c *fdCache) openFDs() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}
