package flat

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/shown"
)

// The child of a fork has the addresses of its parent, and only one of them can have its memory there. Most children need that
// for a moment only: they exec, or exit, while the parent waits for them. Others talk with their parent, which sleeps meanwhile. So the
// processes of a family take turns: a parent with one thread lends its addresses to the child, and who wants to run takes them when who
// has them sleeps, or has ended, and waits for that a little while. If it waits in vain, the younger one of the two moves to a stub.

// Programs that are linked at fixed addresses have them one at a time too, without being a family: one whose threads all sleep (a
// compiler's driver that waits for the compiler) gives the addresses up to another one that wants to run there.

// home is the addresses of a family: of a program, and of its forked children that run where it does.
type home struct {
	mu      sync.Mutex
	place   span        // given by Place, or empty
	outside atomic.Bool // it has, or had, addresses outside of place; changed under mu, read without
	program uint64      // for which place was given
	random  uint64      // of which addresses in it are made
	left    leftovers   // what the host shows of an earlier program
	crowded bool        // Place had none
	rw      rewritten
	windows windows
	members int // address spaces that have not been released
	born    int // how many there have been

	// stack is who can run here; the last one does, or did last, and the host shows its memory.
	stack   []*addressSpace
	turn    atomic.Pointer[addressSpace] // the last of stack; nil if it does not run because addresses are missing
	blank   bool                         // the host shows nothing, but should
	differ  difference
	waiters atomic.Int32  // contexts that wait for their turn
	changed chan struct{} // closed when turn changes, or a context of who has it goes to sleep
	textGen atomic.Uint64 // counts turns that change mappings, and rewritten pages that became what they were

	// missing is addresses that the last of stack needs and somebody else has, found those that it has got since; host is what the host shows
	// meanwhile.
	missing, found []span
	host           shown.Map

	// failures is how many children in a row had to give the addresses back; for skip forks nothing is lent.
	failures, skip int
	// credit is how many turns have gone well and made good for none, at most mostCredit.
	credit int
}

const (
	// lendTime is how long one of a family waits for its turn while the other one runs.
	lendTime = time.Millisecond
	// busyTime is how long a program waits for addresses that another one has, while there is no processor free for it to run on in a stub but
	// one: that one the others need, what the programs at these addresses call and the sentry, which runs where the stub does. It looks every
	// lookAgain; after idleLooks in a row in which there was one, it moves. (For a moment there is when one program ends and the next begins.)
	busyTime  = 250 * time.Millisecond
	lookAgain = 500 * time.Microsecond
	idleLooks = 8
	// patience is how long who has them must have slept, unless it has gone to sleep since the waiting began.
	patience = 200 * time.Microsecond
	// A turn that was waited for in vain, or that was dear, is made good by badTurn others, at most mostCredit: on a busy machine a thread may not run for
	// some milliseconds though it could.
	badTurn     = 4
	mostCredit  = 64
	firstCredit = 2 * badTurn
	// mostSkipped is for how many forks, at most, nothing is lent because it was in vain.
	mostSkipped = 64
)

// newAddressSpace makes an address space with addresses of its own.
func (p *Platform) newAddressSpace() *addressSpace {
	as := &addressSpace{p: p, home: &home{members: 1, credit: firstCredit, differ: difference{shareAt: firstShare, shareAfter: firstShare}}}
	as.stack = append(as.stack, as)
	as.turn.Store(as)
	return as
}

// Fork implements platform.Forker.
func (as *addressSpace) Fork() platform.AddressSpace {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() || as.turn.Load() != as || as.place.hi == 0 || len(as.contexts) != 1 {
		return nil
	}
	if as.skip > 0 {
		as.skip--
		return nil
	}
	as.members++
	as.born++
	return &addressSpace{p: as.p, home: as.home, rank: as.born}
}

// Lend implements platform.Forker.
func (as *addressSpace) Lend(to platform.AddressSpace, mine, its platform.Memory) error {
	child := to.(*addressSpace)
	as.mu.Lock()
	defer as.mu.Unlock()
	switch {
	case child.moved.Load():
		return nil
	case as.moved.Load():
		return child.move("a fork")
	}
	as.stack = append(as.stack, child)
	_, err := as.pass(as, child)
	as.memory, child.memory = mine, its // from now on: the caller has them locked
	return err
}

// pass gives the turn of from, which does not run any more, to to, and returns how many of the host's mappings that changes. mu is held.
func (h *home) pass(from, to *addressSpace) (changes int, err error) {
	h.turn.Store(nil)
	defer h.wakeWaiters()
	changes, err = to.showNext(from)
	if changes > 0 {
		h.textGen.Add(1)
	}
	h.turn.Store(to)
	if err != nil {
		// The host has no room for the mappings; stubs may.
		err = to.move("too many host mappings")
	}
	return changes, err
}

// replace makes the host show what as shows, in place of old, and returns how many changes that took. mu is held.
func (as *addressSpace) replace(old *shown.Map) (changes int, err error) {
	if as.blank {
		old, as.blank = &shown.Map{}, false
	}
	var gone []span
	old.Differing(&as.maps, func(lo, hi uint64, _ shown.Mapping) {
		as.maps.Gaps(lo, hi, func(lo, hi uint64) { gone = extend(gone, lo, hi) })
	})
	var e unix.Errno
	for _, g := range gone {
		if e == 0 {
			e = as.hide(g.lo, g.hi)
		}
	}
	changes = len(gone)
	as.maps.Differing(old, func(lo, hi uint64, m shown.Mapping) {
		if changes++; e == 0 {
			e = as.hostShow(lo, hi-lo, m.Off, m.Prot)
		}
	})
	if e != 0 {
		// Nothing of the old may stay, nor a part of the new.
		for _, m := range []*shown.Map{old, &as.maps} {
			m.Scan(func(lo uint64, m shown.Mapping) bool {
				as.hide(lo, m.End)
				return true
			})
		}
		as.blank = true
		return changes, e
	}
	return changes, nil
}

// leave ends the presence of an address space whose contexts do not run here any more, or will fault if they do. mu is held.
func (as *addressSpace) leave() error {
	defer as.maps.Clear()
	if as.turn.Load() == nil {
		as.maps = as.host // others have the rest
	}
	i := slices.Index(as.stack, as)
	if i < 0 {
		return nil // it was never lent what it was made for, or has gone
	}
	as.stack = slices.Delete(as.stack, i, i+1)
	n := len(as.stack)
	switch {
	case n == 0:
		as.turn.Store(nil)
		as.clear()
	case i == n:
		_, err := as.pass(as, as.stack[n-1])
		return err
	}
	return nil
}

// expel returns when no context of an address space runs guest code here that has just moved or lost its turn. mu is held.
func (as *addressSpace) expel() {
	for _, c := range as.contexts {
		atomic.OrUint32(&c.interrupt, expelled) // one that is just entering gives up, and looks again
		if tid := atomic.LoadUint32(&c.tid); tid != 0 {
			unix.Tgkill(int(ownPID), int(tid), interruptSignal)
		}
		for atomic.LoadUint32(&c.tid) != 0 {
			runtime.Gosched()
		}
	}
}

// idle tells whether as, whose turn it is, does not run guest code and will not soon. mu is held.
func (as *addressSpace) idle() bool {
	for _, c := range as.contexts {
		if !c.asleep.Load() {
			return false
		}
	}
	return len(as.contexts) > 0 // the child of a fork has none at first
}

// await returns when as may run here, or has moved.
func (as *addressSpace) await() error {
	as.waiters.Add(1) // first: who goes to sleep looks at it after that
	defer as.waiters.Add(-1)
	var timer *time.Timer
	for {
		as.mu.Lock()
		t := as.turn.Load()
		switch {
		case as.moved.Load() || t == as:
			as.mu.Unlock()
			return nil
		case !slices.Contains(as.stack, as):
			defer as.mu.Unlock()
			return as.move("a fork that had ended")
		case t == nil:
			as.mu.Unlock()
			return as.acquire()
		case t.idle():
			defer as.mu.Unlock()
			return as.take(t)
		}
		if as.changed == nil {
			as.changed = make(chan struct{})
		}
		ch := as.changed
		as.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(lendTime)
			defer timer.Stop()
			as.p.awake.Add(-1)
			defer as.p.awake.Add(1)
		}
		select {
		case <-ch:
		case <-timer.C:
			if err := as.part(); err != nil {
				return err
			}
			timer.Reset(lendTime)
		}
	}
}

// part has the younger one move of as and of whose turn it is, which both want to run.
func (as *addressSpace) part() error {
	as.mu.Lock()
	defer as.mu.Unlock()
	t := as.turn.Load()
	if as.moved.Load() || t == nil || t == as || t.idle() {
		return nil
	}
	if as.bears() {
		return nil
	}
	as.failures++
	as.skip = min(1<<min(as.failures, 16)-2, mostSkipped)
	if as.rank > t.rank {
		t = as
	}
	return t.move("a fork that goes on")
}

// bears tells whether it has gone well often enough to go on with what has not gone well now. mu is held.
func (h *home) bears() bool {
	if h.credit < badTurn {
		return false
	}
	h.credit -= badTurn
	return true
}

// wakeWaiters has those look again who wait for their turn. mu is held.
func (h *home) wakeWaiters() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// attach makes as the address space in which c runs.
func (c *context) attach(as *addressSpace) {
	c.detach()
	as.mu.Lock()
	as.contexts = append(as.contexts, c)
	as.mu.Unlock()
	c.as = as
	c.forgetCalls()
}

// detach takes c out of the address space where it was.
func (c *context) detach() {
	as := c.as
	if as == nil {
		return
	}
	c.as = nil
	as.mu.Lock()
	defer as.mu.Unlock()
	i := slices.Index(as.contexts, c)
	as.contexts = slices.Delete(as.contexts, i, i+1)
	if len(as.contexts) == 0 {
		as.end() // an exec, or the end: the others of the family need not wait
	}
}

// Leave implements platform.Forker.
func (as *addressSpace) Leave() {
	as.mu.Lock()
	as.end()
	as.mu.Unlock()
}

// end has the others of the family go on, if there are any, without as, in which nothing will run any more. mu is held.
func (as *addressSpace) end() {
	if !as.moved.Load() && len(as.stack) > 1 {
		as.gone()
	}
}

// gone is leave where nobody can be told of a failure. mu is held.
func (as *addressSpace) gone() {
	as.failures = 0
	if err := as.leave(); err != nil {
		as.p.hostRefused(err)
	}
}

// acquire returns when as has the addresses that it is missing, or has moved.
func (as *addressSpace) acquire() error {
	p := as.p
	p.acquirers.Add(1)
	defer p.acquirers.Add(-1)
	begin := time.Now()
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	p.awake.Add(-1)
	defer p.awake.Add(1)
	slept := map[*home]uint64{}
	for last, idle := false, 0; ; {
		ch := p.nextLook()
		// One at a time: two that have what the other wants would find each other's mu taken.
		p.acquiring.Lock()
		as.mu.Lock()
		n := len(as.stack)
		if as.moved.Load() || as.turn.Load() != nil || n == 0 || as.stack[n-1] != as {
			as.mu.Unlock()
			p.acquiring.Unlock()
			return nil // another thread was faster; await looks again
		}
		ok := as.tryAcquire(slept, time.Since(begin) >= patience)
		p.acquiring.Unlock()
		if ok {
			defer as.mu.Unlock()
			as.turn.Store(as)
			as.textGen.Add(1)
			old := as.host
			as.missing, as.host = nil, shown.Map{}
			_, err := as.replace(&old)
			for _, s := range as.found {
				if e := as.settle(s.lo, s.hi); e != 0 {
					err = e
				}
			}
			as.found = nil
			if err != nil {
				return as.move("too many host mappings")
			}
			return nil
		}
		if last {
			defer as.mu.Unlock()
			return as.move("addresses that are taken")
		}
		as.mu.Unlock()
		select {
		case <-ch:
		case <-timer.C:
			if idle++; int(p.awake.Load()) >= max(p.cpus-1, 1) {
				idle = 0
			}
			last = idle == idleLooks || time.Since(begin) >= busyTime
			timer.Reset(lookAgain)
		}
	}
}

// tryAcquire makes what is missing as's, as far as it can be had now, and tells whether that is all. slept is what it knows of the
// others from the times before. mu is held.
func (as *addressSpace) tryAcquire(slept map[*home]uint64, patient bool) bool {
	for len(as.missing) > 0 {
		s := as.missing[0]
		for _, r := range as.p.places.rivals(as.home, s.lo, s.hi) {
			if !r.giveUp(as.home, s, slept, patient) {
				return false
			}
		}
		if !as.p.places.claim(as.home, s.lo, s.hi) {
			return false
		}
		as.missing, as.found = as.missing[1:], append(as.found, s)
	}
	return true
}

// giveUp gives the addresses in s to another home if nobody needs them for the moment: all threads sleep, and have gone to sleep
// since slept was noted, or the other has waited long enough; or they wait for others of their addresses. No lock of this home is held, but the
// other's mu: two that want something from each other do not wait.
func (h *home) giveUp(to *home, s span, slept map[*home]uint64, patient bool) bool {
	if !h.mu.TryLock() {
		return false
	}
	defer h.mu.Unlock()
	if len(h.stack) != 1 {
		return false
	}
	as := h.stack[0]
	runs := h.turn.Load() == as
	if runs && !as.sleeps(slept, patient) {
		return false
	}
	mine := as.p.places.has(h, s.lo, s.hi)
	for _, m := range mine {
		if h.place.overlaps(m.lo, m.hi) || as.inZones(m.lo, m.hi) {
			return false
		}
	}
	if runs {
		h.turn.Store(nil)
		h.textGen.Add(1)
		as.expel()
		h.host = as.maps.Clone()
	}
	for _, m := range mine {
		as.hand(m, to)
		h.host.Unmap(m.lo, m.hi)
		h.missing = append(h.missing, m)
		as.p.places.give(m, to)
	}
	return true
}

// sleeps tells whether all contexts sleep, and have gone to sleep since slept was noted, unless the caller has been patient. mu is held.
func (as *addressSpace) sleeps(slept map[*home]uint64, patient bool) bool {
	var sleeps uint64
	asleep := true
	for _, c := range as.contexts {
		sleeps += uint64(c.sleeps.Load())
		asleep = asleep && c.asleep.Load()
	}
	before, known := slept[as.home]
	if !known {
		slept[as.home], before = sleeps, sleeps
	}
	return asleep && (sleeps != before || patient)
}

// nextLook is closed when addresses become free, or a context of somebody who has some goes to sleep.
func (p *Platform) nextLook() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = make(chan struct{})
	}
	return p.given
}

// wakeAcquirers has those look again who wait for addresses.
func (p *Platform) wakeAcquirers() {
	if p.acquirers.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given != nil {
		close(p.given)
		p.given = nil
	}
}

// Sleep implements platform.Sleeper.
func (c *context) Sleep() {
	c.sleeps.Add(1)
	c.asleep.Store(true)
	c.p.awake.Add(-1)
	as := c.as
	if as == nil {
		return
	}
	if as.outside.Load() {
		c.p.wakeAcquirers()
	}
	if as.waiters.Load() > 0 {
		as.mu.Lock()
		as.wakeWaiters()
		as.mu.Unlock()
	}
}

// Wake implements platform.Sleeper.
func (c *context) Wake() {
	c.asleep.Store(false)
	c.p.awake.Add(1)
}
