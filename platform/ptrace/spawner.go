package ptrace

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
)

// stub is one host process: what an address space is made of, and what is used again after it.
type stub struct {
	pid  int32 // the leader
	slot int   // which page of operations

	// mu protects parked, the ids of threads that wait in codePark, untraced. It is the stub's own: a context may
	// detach when its stub serves another address space already.
	mu     sync.Mutex
	parked []int32
	// holders counts the threads that workers hold. A stub is dying when it has been sent SIGKILL; bury reaps it
	// when the last of its threads has been let go.
	holders int
	dying   bool
	bury    func()
}

// spawner is the tracer of the template and of all leaders. Its methods but run are called on its
// goroutine only.
type spawner struct {
	p        *Platform
	forked   bool
	template *stub
	work     chan func()
	done     chan struct{}

	// Closed when the template is traced, and when it is ready or err, written before, says why there is none.
	traced, ready chan struct{}
	err           error
}

// run is the spawner's goroutine.
func (s *spawner) run() {
	runtime.LockOSThread() // never unlocked: the end of the thread kills all stubs
	if s.err = s.traceTemplate(); s.err == nil {
		close(s.traced)
		s.err = s.prepareTemplate()
	}
	close(s.ready)
	if s.err != nil {
		return
	}
	for f := range s.work {
		f()
	}
	close(s.done)
}

// wait waits for traced or ready, or for the error that there was.
func (s *spawner) wait(c <-chan struct{}) error {
	select {
	case <-c:
	case <-s.ready:
	}
	select {
	case <-s.ready:
		if s.err != nil {
			return fmt.Errorf("ptrace: %w", s.err)
		}
	default:
	}
	return nil
}

// do runs f on the spawner's goroutine.
func (s *spawner) do(f func() error) error {
	ch := make(chan error, 1)
	s.work <- func() { ch <- f() }
	return <-ch
}

// post runs f on the spawner's goroutine some time.
func (s *spawner) post(f func()) { s.work <- f }

// traceTemplate makes the template, and asks of it what no stub is asked for later.
func (s *spawner) traceTemplate() error {
	pid, err := int32(0), error(nil)
	if !s.forked {
		pid, err = s.execTemplate()
	}
	if s.forked || err != nil {
		pid, err = s.forkTemplate()
	}
	if err != nil {
		return err
	}
	s.template = &stub{pid: pid}
	setSlice(pid, slice, s.p.nice)
	return s.p.readFPLayout(pid)
}

// forkTemplate makes the template of the sentry's process itself.
func (s *spawner) forkTemplate() (int32, error) {
	pid, e := forkTemplate(uintptr(s.p.memFD), uintptr(s.p.ctlFD))
	if e != 0 {
		return 0, fmt.Errorf("fork: %w", e)
	}
	var ws unix.WaitStatus
	if e := wait(pid, &ws); e != 0 {
		return 0, fmt.Errorf("waiting for the first stub: %w", e)
	}
	if ws.Exited() && ws.ExitStatus() == exitUntraceable {
		return 0, errors.New("this host does not let a process trace its children: set kernel.yama.ptrace_scope to 0 or 1 with sysctl" +
			" (a 3 stays until the next boot), or let the container that gosv runs in call ptrace")
	}
	if !ws.Stopped() {
		return 0, fmt.Errorf("the first stub ended with status %#x", uint32(ws))
	}
	if e := ptrace(unix.PTRACE_SETOPTIONS, pid, 0, options); e != 0 {
		return 0, fmt.Errorf("PTRACE_SETOPTIONS: %w", e)
	}
	// A C library (in tests with the race detector) may have registered its thread for restartable
	// sequences; the kernel would look for them in memory that is about to go.
	if addr, size, sig := rseqOf(pid); addr != 0 {
		if _, err := callOne(pid, unix.SYS_RSEQ, [6]uint64{addr, size, 1 /* RSEQ_FLAG_UNREGISTER */, sig}); err != nil {
			return 0, fmt.Errorf("unregistering rseq of the first stub: %w", err)
		}
	}
	if v := s.p.hostVDSO; v != nil && s.moveVDSO(pid, v.start) != nil {
		// Guests do without: they make system calls to ask for the time.
		s.p.kept, s.p.vdso = part{vdsoEnd, vdsoEnd}, 0
	}
	return pid, nil
}

// prepareTemplate takes from the template all memory that is not a stub's, and makes it obey.
func (s *spawner) prepareTemplate() error {
	pid := s.template.pid
	calls := []struct {
		what string
		nr   uint64
		args [6]uint64
	}{
		{"munmap", unix.SYS_MUNMAP, [6]uint64{0, s.p.kept.start}},
		{"munmap", unix.SYS_MUNMAP, [6]uint64{s.p.kept.end, stubBase - s.p.kept.end}},
		{"munmap", unix.SYS_MUNMAP, [6]uint64{stubBase + 0x1000, userEnd - stubBase - 0x1000}},
		{"mmap", unix.SYS_MMAP, mapOps(0)},
		{"PR_SET_DUMPABLE", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_DUMPABLE, 1}},
		{"no_new_privs", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_NO_NEW_PRIVS, 1}},
		{"seccomp", unix.SYS_SECCOMP, [6]uint64{1 /* SECCOMP_SET_MODE_FILTER */, 0, opsBase}},
	}
	for _, c := range calls {
		if c.nr == unix.SYS_SECCOMP {
			copy(s.p.page(0), filterBytes(stubFilter(), opsBase))
		}
		if _, err := callOne(pid, c.nr, c.args); err != nil {
			return fmt.Errorf("setting up the first stub: %s: %w", c.what, err)
		}
	}
	return nil
}

// placeVDSO decides where stubs have the host's vDSO and its data pages.
func (p *Platform) placeVDSO() {
	v := p.hostVDSO
	switch {
	case v == nil || !p.vdsoInPlace && v.end-v.start > vdsoEnd-guestEnd:
		p.kept = part{vdsoEnd, vdsoEnd}
	case p.vdsoInPlace:
		p.kept, p.vdso = part{v.start, v.end}, v.image
	default:
		p.kept = part{vdsoEnd - (v.end - v.start), vdsoEnd}
		p.vdso = p.kept.start + v.image - v.start
	}
}

// moveVDSO moves the host's vDSO and its data pages, which begin at from, to where all stubs have them, if they have.
func (s *spawner) moveVDSO(pid int32, from uint64) error {
	v := s.p.hostVDSO
	if s.p.vdso == 0 {
		return nil
	}
	to, size := s.p.kept.start, v.end-v.start
	if from != to && from < to+size && to < from+size {
		// Not onto itself.
		const aside = imageBase + 1<<20
		if err := moveParts(pid, v, from, aside); err != nil {
			return err
		}
		from = aside
	}
	return moveParts(pid, v, from, to)
}

func moveParts(pid int32, v *VDSO, from, to uint64) error {
	if from == to {
		return nil
	}
	for _, r := range v.parts {
		at, n := r.start-v.start, r.end-r.start
		if _, err := callOne(pid, unix.SYS_MREMAP, [6]uint64{from + at, n, n, unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED, to + at}); err != nil {
			return err
		}
	}
	return nil
}

// mapOps are the arguments that map a page of operations, read-only.
func mapOps(slot int) [6]uint64 {
	return [6]uint64{opsBase, 4096, unix.PROT_READ, unix.MAP_SHARED | unix.MAP_FIXED, stubCtlFD, uint64(slot) * 4096}
}

// spawn makes a new stub.
func (s *spawner) spawn() (*stub, error) {
	slot, err := s.p.newSlot()
	if err != nil {
		return nil, err
	}
	st := &stub{slot: slot}
	fail := func(err error) (*stub, error) {
		s.p.freeSlot(slot)
		return nil, fmt.Errorf("making a stub process: %w", err)
	}
	v, err := callClone(s.template.pid, cloneProcess)
	if err != nil {
		return fail(err)
	}
	st.pid = int32(v)
	if err := seize(st.pid); err != nil {
		unix.Kill(int(st.pid), unix.SIGKILL)
		return fail(err)
	}
	if _, err := callOne(st.pid, unix.SYS_MMAP, mapOps(slot)); err != nil {
		s.kill(st)
		return fail(err)
	}
	return st, nil
}

// newThread makes a parked thread in st.
func (s *spawner) newThread(st *stub) (int32, error) {
	v, err := callClone(st.pid, cloneThread)
	if err != nil {
		return 0, fmt.Errorf("making a stub thread: %w", err)
	}
	return int32(v), nil
}

// clear unmaps all guest memory of st.
func (s *spawner) clear(st *stub) error {
	k := s.p.kept
	_, err := callOne(st.pid, unix.SYS_MUNMAP, [6]uint64{0, min(k.start, guestEnd)})
	if err == nil && k.end < guestEnd {
		_, err = callOne(st.pid, unix.SYS_MUNMAP, [6]uint64{k.end, guestEnd - k.end})
	}
	return err
}

// kill ends a stub process and reaps it.
func (s *spawner) kill(st *stub) {
	unix.Kill(int(st.pid), unix.SIGKILL)
	bury := func() {
		reap(st.pid)
		s.p.freeSlot(st.slot)
	}
	st.mu.Lock()
	st.dying = true
	st.bury = func() { s.post(bury) }
	left := st.holders
	st.mu.Unlock()
	if left == 0 {
		bury()
		return
	}
	// The leader is a zombie until its last thread is reaped, by who traces it.
	s.p.workers.each(func(w *worker) func() {
		if w.holds(st) {
			return w.sweep
		}
		return nil
	})
}

// options of every traced thread: system call stops are told from SIGTRAP, all dies with the tracer, and the filter can tell of
// the end of a batch.
const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESECCOMP

// seize makes the calling thread the tracer of a thread that is parked, or about to park, and stops it.
func seize(tid int32) error {
	if e := ptrace(unix.PTRACE_SEIZE, tid, 0, options); e != 0 {
		return fmt.Errorf("PTRACE_SEIZE: %w", e)
	}
	if e := ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0); e != 0 {
		return fmt.Errorf("PTRACE_INTERRUPT: %w", e)
	}
	for {
		var ws unix.WaitStatus
		if e := wait(tid, &ws); e != 0 {
			return fmt.Errorf("wait: %w", e)
		}
		if !ws.Stopped() {
			return fmt.Errorf("%w: status %#x", platform.ErrGone, uint32(ws))
		}
		if ws.TrapCause() == unix.PTRACE_EVENT_STOP {
			return nil
		}
		// A signal from somewhere came first: drop it.
		if e := ptrace(unix.PTRACE_CONT, tid, 0, 0); e != 0 {
			return fmt.Errorf("PTRACE_CONT: %w", e)
		}
	}
}

// callOne makes a stopped thread do one host call and returns its result.
func callOne(tid int32, nr uint64, args [6]uint64) (uint64, error) {
	return call(tid, nr, args, stubBase+codeOne, stubBase+endOne)
}

// callClone makes a stopped thread create a thread or a process, which parks.
func callClone(tid int32, flags uint64) (uint64, error) {
	return call(tid, unix.SYS_CLONE, [6]uint64{flags}, stubBase+codeClone, stubBase+endClone)
}

func call(tid int32, nr uint64, a [6]uint64, at, end uint64) (uint64, error) {
	r := unix.PtraceRegs{
		Rax: nr, Rdi: a[0], Rsi: a[1], Rdx: a[2], R10: a[3], R8: a[4], R9: a[5], Rip: at,
	}
	if err := runStub(tid, &r, end, nil); err != nil {
		return 0, err
	}
	if v := int64(r.Rax); v < 0 && v >= -4095 {
		return 0, unix.Errno(-v)
	}
	return r.Rax, nil
}

// runStub runs stub code in a stopped thread until it stops at end, and leaves its registers in r. A
// signal that comes in between is dropped; our own interrupt sets *interrupted.
func runStub(tid int32, r *unix.PtraceRegs, end uint64, interrupted *bool) error {
	r.Cs, r.Ss, r.Eflags, r.Orig_rax = userCS, userSS, 0x202, ^uint64(0)
	if e := setRegs(tid, r); e != 0 {
		return gone(tid, "PTRACE_SETREGS", e)
	}
	for {
		if e := ptrace(unix.PTRACE_CONT, tid, 0, 0); e != 0 {
			return gone(tid, "PTRACE_CONT", e)
		}
		var ws unix.WaitStatus
		if e := wait(tid, &ws); e != 0 {
			return gone(tid, "wait", e)
		}
		if !ws.Stopped() {
			return fmt.Errorf("%w: status %#x", platform.ErrGone, uint32(ws))
		}
		if ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP {
			// Only a batch that has succeeded stops like this. No signal from outside can be taken for it.
			r.R13 = 0
			return nil
		}
		if ws.StopSignal() == unix.SIGTRAP && ws.TrapCause() <= 0 {
			if e := getRegs(tid, r); e != 0 {
				return gone(tid, "PTRACE_GETREGS", e)
			}
			if r.Rip == end {
				return nil
			}
			return fmt.Errorf("stub thread %d stopped at %#x", tid, r.Rip)
		}
		switch ws.StopSignal() {
		case interruptSignal:
			if interrupted != nil {
				*interrupted = true
			}
		case unix.SIGSEGV, unix.SIGBUS, unix.SIGILL:
			var si siginfo
			if getSiginfo(tid, &si) == 0 && si.Code > 0 {
				getRegs(tid, r)
				return fmt.Errorf("stub thread %d: signal %v at %#x, address %#x", tid, ws.StopSignal(), r.Rip, si.Addr)
			}
		}
	}
}

// gone explains the failure of a request on a thread that should have been stopped: mostly somebody killed it.
func gone(tid int32, what string, e error) error {
	if e == unix.ESRCH || e == unix.ECHILD {
		var ws unix.WaitStatus
		if we := wait(tid, &ws); we == 0 {
			return fmt.Errorf("%w: %s: status %#x", platform.ErrGone, what, uint32(ws))
		}
		return fmt.Errorf("%w: %s: %w", platform.ErrGone, what, e)
	}
	return fmt.Errorf("%s: %w", what, e)
}
