package sentry

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/waitq"
)

// Signals of a guest: sets, what is known about one (SigInfo), and the queues of
// those that are pending. A task has a queue for signals sent to it alone
// and its process one for those that any of its threads may take. A standard
// signal is queued at most once, a real-time one as often as it is sent,
// within RLIMIT_SIGPENDING. Everything here is guarded by SigHand.mu.

// NumSignals is the largest signal number; real-time ones begin at 32.
const (
	NumSignals = 64
	sigRTMin   = 32
)

// SigSet is a set of signals: bit n-1 is signal n.
type SigSet uint64

// SigSetOf is the set of the given signals.
func SigSetOf(sigs ...unix.Signal) SigSet {
	var s SigSet
	for _, n := range sigs {
		s |= 1 << (n - 1)
	}
	return s
}

// Has tells whether signal n, which must be valid, is in s.
func (s SigSet) Has(n int32) bool { return s>>(uint(n)-1)&1 != 0 }
func (s *SigSet) add(n int32)     { *s |= 1 << (uint(n) - 1) }
func (s *SigSet) del(n int32)     { *s &^= 1 << (uint(n) - 1) }

// lowest is the smallest signal of s, 0 if there is none.
func (s SigSet) lowest() int32 {
	if s == 0 {
		return 0
	}
	return int32(bits.TrailingZeros64(uint64(s))) + 1
}

// Classes of signals.
const (
	sigsOnlyKernel  SigSet = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
	sigsStop        SigSet = 1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
	sigsIgnored     SigSet = 1<<(unix.SIGCONT-1) | 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGWINCH-1) | 1<<(unix.SIGURG-1)
	sigsCore        SigSet = 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGABRT-1) | 1<<(unix.SIGFPE-1) | 1<<(unix.SIGSEGV-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGSYS-1) | 1<<(unix.SIGXCPU-1) | 1<<(unix.SIGXFSZ-1)
	sigsSynchronous SigSet = 1<<(unix.SIGSEGV-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGFPE-1) | 1<<(unix.SIGSYS-1)
)

// Values of si_code: who sent the signal.
const (
	SiUser    = 0
	SiKernel  = 0x80
	SiQueue   = -1
	SiTimer   = -2
	SiMesgQ   = -3
	SiAsyncIO = -4
	SiSigIO   = -5
	SiTkill   = -6

	cldExited    = 1
	cldKilled    = 2
	cldDumped    = 3
	cldTrapped   = 4
	cldStopped   = 5
	cldContinued = 6

	trapBrkpt = 1
	trapTrace = 2

	sysSeccomp = 1
)

// SigInfo is siginfo_t in the layout of the ABI. Which part of Fields means what
// depends on Signo and Code.
type SigInfo struct {
	Signo, Errno, Code int32
	_                  int32
	Fields             [112]byte
}

// SigInfoSize is the size of siginfo_t.
const SigInfoSize = 128

func (i *SigInfo) put32(off int, v uint32) { binary.LittleEndian.PutUint32(i.Fields[off-16:], v) }
func (i *SigInfo) put64(off int, v uint64) { binary.LittleEndian.PutUint64(i.Fields[off-16:], v) }
func (i *SigInfo) get32(off int) uint32    { return binary.LittleEndian.Uint32(i.Fields[off-16:]) }
func (i *SigInfo) get64(off int) uint64    { return binary.LittleEndian.Uint64(i.Fields[off-16:]) }

// PID, UID and Value are si_pid, si_uid and si_value of signals sent by kill, sigqueue and the like.
func (i *SigInfo) PID() int32           { return int32(i.get32(16)) }
func (i *SigInfo) UID() uint32          { return i.get32(20) }
func (i *SigInfo) SetPID(v int32)       { i.put32(16, uint32(v)) }
func (i *SigInfo) SetUID(v uint32)      { i.put32(20, v) }
func (i *SigInfo) Value() uint64        { return i.get64(24) }
func (i *SigInfo) SetValue(v uint64)    { i.put64(24, v) }
func (i *SigInfo) TimerID() int32       { return int32(i.get32(16)) }
func (i *SigInfo) SetTimerID(v int32)   { i.put32(16, uint32(v)) }
func (i *SigInfo) Overrun() int32       { return int32(i.get32(20)) }
func (i *SigInfo) SetOverrun(v int32)   { i.put32(20, uint32(v)) }
func (i *SigInfo) Addr() uint64         { return i.get64(16) }
func (i *SigInfo) SetAddr(v uint64)     { i.put64(16, v) }
func (i *SigInfo) Band() int64          { return int64(i.get64(16)) }
func (i *SigInfo) SetBand(v int64)      { i.put64(16, uint64(v)) }
func (i *SigInfo) FD() int32            { return int32(i.get32(24)) }
func (i *SigInfo) SetFD(v int32)        { i.put32(24, uint32(v)) }
func (i *SigInfo) Status() int32        { return int32(i.get32(24)) }
func (i *SigInfo) SetStatus(v int32)    { i.put32(24, uint32(v)) }
func (i *SigInfo) SetUTime(v int64)     { i.put64(32, uint64(v)) }
func (i *SigInfo) SetSTime(v int64)     { i.put64(40, uint64(v)) }
func (i *SigInfo) SetCallAddr(v uint64) { i.put64(16, v) }
func (i *SigInfo) SetSyscall(v int32)   { i.put32(24, uint32(v)) }
func (i *SigInfo) SetArch(v uint32)     { i.put32(28, v) }

// infoLayout is which members of siginfo_t hold something.
type infoLayout uint8

const (
	layoutKill infoLayout = iota
	layoutTimer
	layoutPoll
	layoutFault
	layoutChild
	layoutRT
	layoutSys
)

// layout tells which members of i are meaningful, from its signal and code.
func (i *SigInfo) layout() infoLayout {
	switch {
	case i.Code > SiUser && i.Code < SiKernel:
		switch unix.Signal(i.Signo) {
		case unix.SIGILL, unix.SIGFPE, unix.SIGSEGV, unix.SIGBUS, unix.SIGTRAP:
			return layoutFault
		case unix.SIGCHLD:
			return layoutChild
		case unix.SIGIO:
			return layoutPoll
		case unix.SIGSYS:
			return layoutSys
		}
		if i.Code <= 6 {
			return layoutPoll
		}
		return layoutKill
	case i.Code == SiTimer:
		return layoutTimer
	case i.Code == SiSigIO:
		return layoutPoll
	case i.Code < 0:
		return layoutRT
	}
	return layoutKill
}

// hasSender tells whether PID and UID are a sender's.
func (i *SigInfo) hasSender() bool {
	switch i.layout() {
	case layoutKill, layoutChild, layoutRT:
		return true
	}
	return false
}

// kernelInfo is what the kernel says about signals of its own (SEND_SIG_PRIV).
func kernelInfo(sig unix.Signal) *SigInfo {
	return &SigInfo{Signo: int32(sig), Code: SiKernel}
}

// sigEntry is one queued signal.
type sigEntry struct {
	info SigInfo
	// charged is the count of queued signals that this one is part of, or nil.
	charged *atomic.Int64
	// timer is the POSIX timer the entry belongs to, for good; or nil.
	timer *PosixTimer
	next  *sigEntry
}

// sigQueue is pending signals in the order they came. set has a bit for each signal in
// list, and for signals that came when no entry could be had.
type sigQueue struct {
	set        SigSet
	head, tail *sigEntry
}

func (q *sigQueue) push(e *sigEntry) {
	e.next = nil
	if q.tail == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
}

// take removes the first entry of sig and fills info; for a signal without an entry info
// says only that it happened.
func (q *sigQueue) take(sig int32, info *SigInfo) (timer *PosixTimer) {
	var prev, first *sigEntry
	more := false
	for p, e := (*sigEntry)(nil), q.head; e != nil; p, e = e, e.next {
		if e.info.Signo != sig {
			continue
		}
		if first == nil {
			prev, first = p, e
		} else {
			more = true
			break
		}
	}
	if !more {
		q.set.del(sig)
	}
	if first == nil {
		*info = SigInfo{Signo: sig, Code: SiUser}
		return nil
	}
	q.unlink(prev, first)
	*info = first.info
	return first.timer
}

func (q *sigQueue) unlink(prev, e *sigEntry) {
	if prev == nil {
		q.head = e.next
	} else {
		prev.next = e.next
	}
	if q.tail == e {
		q.tail = prev
	}
	e.next = nil
	e.release()
}

func (e *sigEntry) release() {
	if e.charged != nil {
		e.charged.Add(-1)
		e.charged = nil
	}
	if e.timer != nil {
		e.timer.queued = false
	}
}

// flush drops the signals of mask.
func (q *sigQueue) flush(mask SigSet) {
	if q.set&mask == 0 {
		return
	}
	q.set &^= mask
	for prev, e := (*sigEntry)(nil), q.head; e != nil; {
		next := e.next
		if mask.Has(e.info.Signo) {
			q.unlink(prev, e)
		} else {
			prev = e
		}
		e = next
	}
}

// drop removes one entry, wherever it is.
func (q *sigQueue) drop(x *sigEntry) {
	others := false
	var at, atPrev *sigEntry
	for prev, e := (*sigEntry)(nil), q.head; e != nil; prev, e = e, e.next {
		if e == x {
			at, atPrev = e, prev
		} else if e.info.Signo == x.info.Signo {
			others = true
		}
	}
	if at == nil {
		return
	}
	q.unlink(atPrev, at)
	if !others {
		q.set.del(x.info.Signo)
	}
}

// infos lists the queued entries (PTRACE_PEEKSIGINFO).
func (q *sigQueue) infos() []SigInfo {
	var l []SigInfo
	for e := q.head; e != nil; e = e.next {
		l = append(l, e.info)
	}
	return l
}

// Flags of SigAction and values of its handler.
const (
	SaNoCldStop = 1
	SaNoCldWait = 2
	SaSigInfo   = 4
	SaOnStack   = 0x08000000
	SaRestart   = 0x10000000
	SaNoDefer   = 0x40000000
	SaResetHand = 0x80000000
	SaRestorer  = 0x04000000
	saExposeTag = 0x800
	saKnown     = SaNoCldStop | SaNoCldWait | SaSigInfo | SaOnStack | SaRestart | SaNoDefer | SaResetHand | SaRestorer | saExposeTag

	SigDfl = 0
	SigIgn = 1
)

// SigAction is struct kernel_sigaction.
type SigAction struct {
	Handler  uint64
	Flags    uint64
	Restorer uint64
	Mask     SigSet
}

// ignores tells whether signal sig is thrown away under this action.
func (a *SigAction) ignores(sig int32) bool {
	return a.Handler == SigIgn || a.Handler == SigDfl && sigsIgnored.Has(sig)
}

// SigHand is the signal actions of processes that share them (CLONE_SIGHAND), and
// the lock over everything about the signals of these processes.
type SigHand struct {
	mu      sync.Mutex
	refs    atomic.Int32
	actions [NumSignals]SigAction
}

func newSigHand() *SigHand {
	sh := &SigHand{}
	sh.refs.Store(1)
	return sh
}

func (sh *SigHand) action(sig int32) *SigAction { return &sh.actions[sig-1] }

// share gives out sh itself for a child of CLONE_SIGHAND.
func (sh *SigHand) share() *SigHand {
	sh.refs.Add(1)
	return sh
}

// fork copies the actions for a child.
func (sh *SigHand) fork() *SigHand {
	c := newSigHand()
	sh.mu.Lock()
	c.actions = sh.actions
	sh.mu.Unlock()
	return c
}

// resetForExec makes caught signals default again; ignored ones stay ignored.
func (sh *SigHand) resetForExec() {
	for i := range sh.actions {
		a := &sh.actions[i]
		if a.Handler != SigIgn {
			a.Handler = SigDfl
		}
		a.Flags, a.Restorer, a.Mask = 0, 0, 0
	}
}

// AltStack is stack_t.
type AltStack struct {
	SP    uint64
	Flags int32
	_     int32
	Size  uint64
}

// Flags of AltStack.
const (
	SsOnStack    = 1
	SsDisable    = 2
	SsAutoDisarm = -1 << 31
)

// taskSignals is a task's part of signals, guarded by its process's SigHand.mu.
type taskSignals struct {
	// blocked is the mask. The task's goroutine alone changes it, under the
	// lock, so it may read it without. A tracer may change it in a stop.
	blocked SigSet
	// real is the mask to go back to (rt_sigtimedwait blocks less than the user
	// asked for; its signals are not "ignored" meanwhile).
	realBlocked SigSet
	// saved is the mask that sigsuspend, ppoll and the like replaced; restored when they return.
	saved    SigSet
	hasSaved bool
	pending  sigQueue
	// exiting: the task takes no more signals.
	exiting bool
	jobctl  uint32
	// forced holds signals that a fault forced, which no tracer may hide.
	forced SigSet

	// The rest is the task's goroutine's.

	altstack AltStack
	// What the last fault left for frames to show.
	errorCode, trapNo, faultAddr uint64
	// frame is where frames are put together.
	frame  []byte
	fpSize int // of a floating point image, 0: not known yet
}

// processSignals is a process's part of signals. Process embeds it.
type processSignals struct {
	// sighand changes only in exec, when it was shared. Use Process.lockSig.
	sighand atomic.Pointer[SigHand]

	// The rest is guarded by SigHand.mu.

	shared     sigQueue
	currTarget int // where the search for a thread to take a signal goes on

	// groupExit: the process is ending with groupExitCode (a wait status).
	groupExit     bool
	groupExitCode uint32
	// initKillable: a fault has taken the protection of a namespace's init away.
	initKillable bool
	// Group stop: stopCount threads have yet to stop; stopped when all have, for signal stopCode.
	// stopCode is 0 once a parent has seen it.
	stopCount int
	stopped   bool
	stopCode  uint32
	// continued is reported once by wait4 with WCONTINUED.
	continued bool
	// cldPending is the notification (cldStopped, cldContinued) that a thread
	// of the process must send its parent.
	cldPending int32
	// signalfds is notified with every signal that becomes pending to the process or its tasks.
	signalfds waitq.Queue

	timers    processTimers
	barrier   membarrierState
	rseqSlots rseqSlots // has a lock of its own
}

// initSignals prepares the signal state of a new process.
func (p *Process) initSignals(sh *SigHand) {
	p.sighand.Store(sh)
	p.timers.init(p)
}

// forkSigHand gives the handlers for a child process of t.
func (t *Task) forkSigHand(flags uint64) *SigHand {
	sh := t.proc.sighand.Load()
	if flags&unix.CLONE_SIGHAND != 0 {
		return sh.share()
	}
	c := sh.fork()
	if flags&unix.CLONE_CLEAR_SIGHAND != 0 {
		c.resetForExec()
	}
	return c
}

// initTaskSignals gives a new task its parent's mask, and its alternate stack
// if it runs on memory of its own (fork) or until its parent goes on (vfork).
func (t *Task) initTaskSignals(parent *Task, flags uint64) {
	t.sig.blocked = parent.sig.blocked
	t.sig.altstack.Flags = SsDisable
	if flags&(unix.CLONE_VM|unix.CLONE_VFORK) != unix.CLONE_VM {
		t.sig.altstack = parent.sig.altstack
	}
}

// execSignals resets what exec resets: handlers (not shared any more), alternate stack, timers.
func (t *Task) execSignals() {
	p := t.proc
	p.barrier.registered.Store(0)
	p.timers.exec()
	old := p.sighand.Load()
	sh := old
	if old.refs.Load() > 1 {
		sh = old.fork()
	}
	old.mu.Lock()
	if sh != old {
		p.sighand.Store(sh)
		old.refs.Add(-1)
	}
	sh.resetForExec()
	t.sig.altstack = AltStack{Flags: SsDisable}
	old.mu.Unlock()
}

// lockSig locks the process's SigHand and returns it.
func (p *Process) lockSig() *SigHand {
	for {
		sh := p.sighand.Load()
		sh.mu.Lock()
		if p.sighand.Load() == sh {
			return sh
		}
		sh.mu.Unlock()
	}
}

// exitSignals is called when t begins to exit: it takes no more signals, and those of
// the process that it was to take go to other threads.
func (t *Task) exitSignals() {
	sh := t.proc.lockSig()
	if t.sig.exiting {
		sh.mu.Unlock()
		return
	}
	t.sig.exiting = true
	sh.mu.Unlock()
	t.rseqReset()
	sh = t.proc.lockSig()
	p := t.proc
	var why int32
	if !p.groupExit && len(p.threads) > 1 {
		if want := p.shared.set &^ t.sig.blocked; want != 0 {
			for _, o := range p.threads {
				if o == t || o.sig.exiting || want&^o.sig.blocked == 0 {
					continue
				}
				want &= o.sig.blocked
				if o.work.Load()&workSignal == 0 {
					o.signalWake()
				}
				if want == 0 {
					break
				}
			}
		}
	}
	if t.sig.jobctl&jobctlStopPending != 0 && t.participateInStopLocked() {
		why = cldStopped
	}
	sh.mu.Unlock()
	if why != 0 {
		t.k.tasks.RLock()
		t.notifyStopLocked(false, why)
		t.k.tasks.RUnlock()
		p.stoppedOutside()
	}
}

// releaseSignals drops what is pending to t alone, when it leaves its process, and with the last
// thread what is pending to the process.
func (t *Task) releaseSignals(last bool) {
	sh := t.proc.lockSig()
	t.sig.exiting = true
	t.sig.pending.flush(^SigSet(0))
	if last {
		t.proc.shared.flush(^SigSet(0))
	}
	sh.mu.Unlock()
	if last {
		sh.refs.Add(-1)
	}
}

// recalcLocked sets or clears workSignal from what is pending. Only t's own goroutine may clear.
func (t *Task) recalcLocked() {
	if t.signalPendingLocked() {
		t.setWork(workSignal)
	} else {
		t.work.And(^workSignal)
	}
}

func (t *Task) signalPendingLocked() bool {
	p := t.proc
	return t.sig.jobctl&jobctlPending != 0 || p.groupExit || p.cldPending != 0 ||
		(t.sig.pending.set|p.shared.set)&^t.sig.blocked != 0 || t.work.Load()&workKill != 0
}

// setBlocked is how a task changes its mask.
func (t *Task) setBlocked(mask SigSet) {
	mask &^= sigsOnlyKernel
	if mask == t.sig.blocked {
		return
	}
	sh := t.proc.lockSig()
	t.setBlockedLocked(mask)
	sh.mu.Unlock()
}

func (t *Task) setBlockedLocked(mask SigSet) {
	p := t.proc
	// Signals to the process that t will not take any more: tell another thread.
	if newly := mask &^ t.sig.blocked & p.shared.set; newly != 0 && len(p.threads) > 1 && t.work.Load()&workSignal != 0 {
		for _, o := range p.threads {
			if o == t || o.sig.exiting || newly&^o.sig.blocked == 0 {
				continue
			}
			newly &= o.sig.blocked
			if o.work.Load()&workSignal == 0 {
				o.signalWake()
			}
			if newly == 0 {
				break
			}
		}
	}
	t.sig.blocked = mask
	t.recalcLocked()
}

// SignalMask is the task's blocked signals.
func (t *Task) SignalMask() SigSet { return t.sig.blocked }

// SetSignalMask changes the blocked signals (rt_sigprocmask).
func (t *Task) SetSignalMask(mask SigSet) { t.setBlocked(mask) }

// SetTemporaryMask replaces the mask until the call under way has returned (sigsuspend, ppoll,
// pselect, epoll_pwait): a handler that interrupts the call runs with the new
// mask, and the old one is back after it. Call RestoreMask if the call did not
// end with a signal.
func (t *Task) SetTemporaryMask(mask SigSet) {
	if !t.sig.hasSaved {
		t.sig.saved, t.sig.hasSaved = t.sig.blocked, true
	}
	t.setBlocked(mask)
}

// RestoreMask undoes SetTemporaryMask.
func (t *Task) RestoreMask() {
	if t.sig.hasSaved {
		t.sig.hasSaved = false
		t.setBlocked(t.sig.saved)
	}
}

// MaskUnlessInterrupted ends a call that used SetTemporaryMask with err: the old
// mask comes back at once, or after the handler when a signal ended the call.
func (t *Task) MaskUnlessInterrupted(err error) error {
	if e, ok := err.(unix.Errno); ok && (e == unix.EINTR || e >= 512) {
		if t.SignalPending() {
			t.setWork(workSignal) // handleSignals restores the mask
			return err
		}
	}
	t.RestoreMask()
	return err
}

// SignalPending tells whether the task has a signal to handle.
func (t *Task) SignalPending() bool { return t.work.Load()&(workSignal|workKill) != 0 }

// PendingSignals is what rt_sigpending(2) and /proc/PID/status tell: signals pending
// to the task and to its process.
func (t *Task) PendingSignals() (own, shared SigSet) {
	sh := t.proc.lockSig()
	own, shared = t.sig.pending.set, t.proc.shared.set
	sh.mu.Unlock()
	return own, shared
}

// SignalActions is the set of ignored and of caught signals, and the mask (/proc/PID/status).
func (t *Task) SignalActions() (ignored, caught, blocked SigSet) {
	sh := t.proc.lockSig()
	defer sh.mu.Unlock()
	for i := range sh.actions {
		switch sh.actions[i].Handler {
		case SigDfl:
		case SigIgn:
			ignored.add(int32(i + 1))
		default:
			caught.add(int32(i + 1))
		}
	}
	return ignored, caught, t.sig.blocked
}

// SetAction is rt_sigaction(2); act may be nil.
func (t *Task) SetAction(sig int32, act *SigAction) (old SigAction, err error) {
	if sig < 1 || sig > NumSignals || act != nil && sigsOnlyKernel.Has(sig) {
		return old, unix.EINVAL
	}
	p := t.proc
	sh := p.lockSig()
	a := sh.action(sig)
	old = *a
	var retry []*PosixTimer
	if act != nil {
		n := *act
		n.Flags &= saKnown
		n.Mask &^= sigsOnlyKernel
		wasIgnored := a.ignores(sig)
		*a = n
		switch {
		case n.ignores(sig):
			// What is pending is dropped, blocked or not.
			mask := SigSet(1) << (sig - 1)
			p.shared.flush(mask)
			for _, o := range p.threads {
				o.sig.pending.flush(mask)
			}
			p.timers.flushedLocked(sig)
		case wasIgnored:
			retry = p.timers.takeIgnored(sig)
		}
	}
	sh.mu.Unlock()
	for _, pt := range retry {
		pt.expire()
	}
	return old, nil
}
