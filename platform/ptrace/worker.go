package ptrace

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// A worker is a host thread, with the one goroutine that is locked to it, that traces stub threads and
// serves one context after another. Threads that a context leaves behind stay traced and stopped,
// so that a guest that creates and ends threads or processes all the time pays neither for the threads of the
// sentry nor for those of the stubs, nor for taking and letting go of them.
type worker struct {
	p      *Platform
	tracer int32
	cpu    int    // that the tracer is bound to, -1: none; an index in balance.cpus
	held   []held // stub threads that the tracer traces; all but the current context's are stopped

	park parker
	job  func() // what to do next, under Platform.workers.mu until it is unparked
}

// held is one traced thread of a stub.
type held struct {
	s   *stub
	tid int32
	cpu int // that the thread is bound to, -1: none
}

const (
	// keepWorkers is how many workers without a context are kept.
	keepWorkers = 8
	// maxHeld is how many threads a worker holds.
	maxHeld = 4
)

// workers are those that have no context.
type workers struct {
	mu     sync.Mutex
	idle   []*worker
	closed bool
	all    sync.WaitGroup
}

// Run implements platform.Runner.
func (c *context) Run(pas platform.AddressSpace, f func()) {
	var s *stub
	if as, ok := pas.(*addressSpace); ok {
		s = as.s
	}
	ws := &c.p.workers
	ws.mu.Lock()
	n := len(ws.idle)
	if n == 0 {
		ws.mu.Unlock()
		w := &worker{p: c.p, cpu: -1, park: parker{all: c.p.sleepers}}
		c.w, w.job = w, f
		ws.all.Add(1)
		go w.loop()
		return
	}
	// The last one that has a thread there; its memory is warm.
	best := n - 1
	for i := n - 1; i >= 0; i-- {
		if ws.idle[i].holds(s) {
			best = i
			break
		}
	}
	w := ws.idle[best]
	ws.idle = append(ws.idle[:best], ws.idle[best+1:]...)
	c.w, w.job = w, f
	ws.mu.Unlock()
	if b := c.p.balance; w.cpu >= 0 && b.running[w.cpu].Load() <= b.running[c.cpu].Load() {
		c.cpu = w.cpu // no need to bind anything anew
	}
	w.park.unpark()
}

// loop is the worker's goroutine.
func (w *worker) loop() {
	runtime.LockOSThread()
	w.tracer = int32(unix.Gettid())
	setSlice(w.tracer, slice, w.p.nice)
	ws := &w.p.workers
	defer ws.all.Done()
	for {
		w.job()
		w.sweep()
		ws.mu.Lock()
		w.job = nil
		if ws.closed || len(ws.idle) >= keepWorkers {
			ws.mu.Unlock()
			w.end()
			return
		}
		ws.idle = append(ws.idle, w)
		ws.mu.Unlock()
		for {
			w.park.park(-1)
			ws.mu.Lock()
			job := w.job
			ws.mu.Unlock()
			if job != nil {
				break
			}
		}
	}
}

// end lets go of everything; the host thread may serve other goroutines again, on any processor.
func (w *worker) end() {
	for len(w.held) > 0 {
		w.drop(0)
	}
	if w.cpu >= 0 {
		setAffinityAll(w.tracer, w.p.balance.cpus)
		w.cpu = -1
	}
	runtime.UnlockOSThread()
}

// each has all idle workers do f, and takes those it is to end out of the list.
func (ws *workers) each(f func(w *worker) (job func())) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	kept := ws.idle[:0]
	for _, w := range ws.idle {
		if w.job = f(w); w.job != nil {
			w.park.unpark()
		} else {
			kept = append(kept, w)
		}
	}
	clear(ws.idle[len(kept):])
	ws.idle = kept
}

// close ends all workers. None has a context.
func (ws *workers) close() {
	ws.mu.Lock()
	ws.closed = true
	ws.mu.Unlock()
	ws.each(func(*worker) func() { return func() {} })
	ws.all.Wait()
}

// holds tells whether w has a thread in s. It is called by others only while w is idle.
func (w *worker) holds(s *stub) bool {
	for i := range w.held {
		if w.held[i].s == s {
			return true
		}
	}
	return false
}

// take makes a thread of s the first of w.held, and returns it.
func (w *worker) take(as *addressSpace) (*held, error) {
	s := as.s
	for i := range w.held {
		if w.held[i].s == s {
			w.held[0], w.held[i] = w.held[i], w.held[0]
			return &w.held[0], nil
		}
	}
	w.sweep()
	for len(w.held) >= maxHeld {
		w.drop(len(w.held) - 1)
	}
	tid, err := as.takeThread()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.holders++
	s.mu.Unlock()
	if err := seize(tid); err != nil {
		s.letGo()
		return nil, err
	}
	w.held = append(w.held, held{s, tid, -1})
	last := len(w.held) - 1
	w.held[0], w.held[last] = w.held[last], w.held[0]
	return &w.held[0], nil
}

// drop gives the i-th held thread back to its stub: it parks, ready for another worker.
func (w *worker) drop(i int) {
	h := w.held[i]
	w.held = append(w.held[:i], w.held[i+1:]...)
	regs := unix.PtraceRegs{Rip: stubBase + codePark, Cs: userCS, Ss: userSS, Eflags: 0x202, Orig_rax: arch.NoSyscall}
	if setRegs(h.tid, &regs) != 0 || ptrace(unix.PTRACE_DETACH, h.tid, 0, 0) != 0 {
		reap(h.tid) // the stub has been killed
	} else {
		h.s.mu.Lock()
		h.s.parked = append(h.s.parked, h.tid)
		h.s.mu.Unlock()
	}
	h.s.letGo()
}

// sweep reaps the threads of stubs that are being killed.
func (w *worker) sweep() {
	for i := len(w.held) - 1; i >= 0; i-- {
		h := w.held[i]
		h.s.mu.Lock()
		dying := h.s.dying
		h.s.mu.Unlock()
		if dying {
			reap(h.tid)
			w.held = append(w.held[:i], w.held[i+1:]...)
			h.s.letGo()
		}
	}
}

// letGo counts a thread less that workers hold; the last one of a dying stub has its leader reaped.
func (s *stub) letGo() {
	s.mu.Lock()
	s.holders--
	buried := s.dying && s.holders == 0
	s.mu.Unlock()
	if buried && s.bury != nil {
		s.bury()
	}
}

// reap waits for the end of a thread that the calling host thread traces and that is dead or dying. Until all its
// threads are reaped, nobody hears of the death of a process.
func reap(tid int32) {
	for {
		var ws unix.WaitStatus
		if e := wait(tid, &ws); e != 0 || ws.Exited() || ws.Signaled() {
			return
		}
		ptrace(unix.PTRACE_CONT, tid, 0, 0)
	}
}
