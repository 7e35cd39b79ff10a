package flat

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/shown"
)

// addressSpace implements platform.AddressSpace with mappings of the sentry's own process, or of a stub after it has moved.
type addressSpace struct {
	p     *Platform
	*home             // a child's is its parent's
	rank  int         // in the home; a child's is greater than its parent's
	moved atomic.Bool // set once, under mu: stub is valid
	stub  platform.AddressSpace

	// Protected by mu.
	memory   platform.Memory // of which it is the cache; nil if no process of its family has been forked
	maps     shown.Map       // what it shows; the host does while it is its turn
	contexts []*context      // that have run here last
}

// Place is the range in which memory is best put. It is asked once, for a new program.
func (as *addressSpace) Place(program uint64) (lo, hi, random uint64, own bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.place.hi == 0 && !as.p.places.take(as.home, program) {
		// There are too many processes: it gets what is free among the low addresses, or moves.
		as.crowded = true
		rlo, _ := as.p.Range()
		return rlo, placesLo, rand.Uint64(), false
	}
	return as.place.lo + margin, as.place.hi - margin, as.random, true
}

// Room implements platform.Placer.
func (as *addressSpace) Room(n uint64) (lo, hi uint64) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if !as.moved.Load() {
		if s, ok := as.p.places.room(as.home, n); ok {
			return s.lo, s.hi
		}
	}
	return as.p.Range()
}

// Suits implements platform.Placer: what a program would like to have outside of its place, it gets if that looks as if it meant it, and nobody has it. Many ask
// for something at random, or for what would be a little better for them.
func (as *addressSpace) Suits(lo, hi uint64, insists bool) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	switch low := hi <= lowAddrs; {
	case as.moved.Load():
		return true
	case hi > placesLo, !low && lo%round != 0 && len(as.p.places.has(as.home, lo-1, lo)) == 0:
		return false
	default:
		return as.refuses(lo, hi) == "" || insists || low && hi-lo <= mostInsisted
	}
}

const (
	// lowAddrs is below what addresses can be made of in instructions, which a program that was built for one address does.
	lowAddrs = 4 << 30
	// round is what an address is a multiple of that has been chosen by somebody.
	round = 4 << 30
	// mostInsisted is how much of lowAddrs a program gets that somebody else has: to have that they take turns, or one moves.
	mostInsisted = 16 << 20
)

// Reserve implements platform.Placer: the range becomes this process's own, or the process moves, before it runs on what another
// one has there. So does the child of a fork that has none of its parent's addresses.
func (as *addressSpace) Reserve(lo, hi uint64) error {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() || as.place.contains(lo, hi) && !as.inZones(lo, hi) {
		return nil
	}
	why := as.refuses(lo, hi)
	switch {
	case why == "":
		return nil
	case as.crowded:
		why = "too many processes"
	case as.place.hi == 0:
		why = "a fork"
	case len(as.contexts) <= 1 && len(as.stack) == 1:
		// Nothing runs here now but the caller: it may have them when who has them sleeps.
		if as.turn.Load() == as {
			as.host = as.maps.Clone()
			as.turn.Store(nil)
		}
		as.missing = append(as.missing, span{lo, hi})
		return nil
	}
	return as.move(why)
}

// refuses says why this process cannot have memory in a range, or "" when the range is its own now.
func (as *addressSpace) refuses(lo, hi uint64) string {
	switch {
	case as.inZones(lo, hi):
		return "the trampolines' addresses"
	case !as.place.contains(lo, hi) && !as.p.places.claim(as.home, lo, hi):
		return "addresses that are taken"
	}
	return ""
}

// Move implements platform.Mover.
func (as *addressSpace) Move(why string) error { return as.mustMove(why) }

func (as *addressSpace) check(addr, length uint64) error {
	if addr%4096 != 0 || length%4096 != 0 || length == 0 || addr+length < addr {
		return fmt.Errorf("flat: bad range %#x+%#x: %w", addr, length, unix.EINVAL)
	}
	if _, hi := as.p.Range(); addr+length > hi {
		return fmt.Errorf("flat: bad range %#x+%#x: %w", addr, length, unix.EINVAL)
	}
	return nil
}

// Map implements platform.AddressSpace.
func (as *addressSpace) Map(addr, length, off uint64, prot platform.Prot) error {
	if err := as.check(addr, length); err != nil {
		return err
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() {
		return as.stub.Map(addr, length, off, prot)
	}
	if as.turn.Load() != as {
		as.maps.Map(addr, addr+length, off, prot)
		return nil
	}
	if why := as.refuses(addr, addr+length); why != "" {
		if err := as.move(why); err != nil {
			return err
		}
		return as.stub.Map(addr, length, off, prot)
	}
	e := as.hostShow(addr, length, off, prot)
	if e == unix.ENOMEM {
		if err := as.move("too many host mappings"); err != nil {
			return err
		}
		return as.stub.Map(addr, length, off, prot)
	}
	if e != 0 {
		return fmt.Errorf("host mapping %#x+%#x: %w", addr, length, e)
	}
	as.maps.Map(addr, addr+length, off, prot)
	as.countText(prot)
	return nil
}

// hostShow has the host show flat memory. What was rewritten there is forgotten.
func (as *addressSpace) hostShow(addr, length, off uint64, prot platform.Prot) unix.Errno {
	if as.left.some.Load() {
		return as.showRest(addr, length, off, prot)
	}
	return as.hostShowAll(addr, length, off, prot)
}

// hostShowAll is hostShow where nothing is left that could be what is to be shown.
func (as *addressSpace) hostShowAll(addr, length, off uint64, prot platform.Prot) unix.Errno {
	if as.showInWindow(addr, length, off, prot) {
		return 0
	}
	as.windows.cut(addr, addr+length)
	flags := uintptr(unix.MAP_SHARED | unix.MAP_FIXED)
	if prot&platform.Write != 0 && length <= populateMax {
		flags |= unix.MAP_POPULATE
	}
	e := hostMap(addr, length, uintptr(shown.HostProt(prot)), flags, as.p.memFD, off)
	if e == 0 {
		as.left.cut(addr, addr+length)
		as.restore(addr, addr+length, nil)
		as.makeWindow(addr, length, off, prot)
	}
	return e
}

// populateMax is how much the host is asked to have ready at once: a fault of a guest that touches memory in order brings as much,
// and a fault of the host for each page would cost more than the pages. More, and memory that is never touched would count.
const populateMax = 2 << 20

// Unmap implements platform.AddressSpace.
func (as *addressSpace) Unmap(addr, length uint64) error {
	if err := as.check(addr, length); err != nil {
		return err
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() {
		return as.stub.Unmap(addr, length)
	}
	if as.turn.Load() != as {
		as.maps.Unmap(addr, addr+length)
		return nil
	}
	// Only what is its own: others may have something in the gaps.
	var buf [4]span
	parts := buf[:0]
	as.maps.Each(addr, addr+length, func(lo uint64, m shown.Mapping) { parts = extend(parts, lo, m.End) })
	if len(parts) == 0 {
		return nil
	}
	if as.left.some.Load() {
		parts = as.left.without(parts)
	}
	for _, p := range parts {
		if m, ok := as.maps.At(p.lo); ok && p.hi <= m.End && as.canBeWindow(p.lo, p.hi, m.Prot) {
			as.windows.note(window{p, m.Off})
		}
		if e := as.hide(p.lo, p.hi); e != 0 {
			return fmt.Errorf("host munmap %#x+%#x: %w", p.lo, p.hi-p.lo, e)
		}
	}
	as.maps.Unmap(addr, addr+length)
	return nil
}

// Protect implements platform.AddressSpace.
func (as *addressSpace) Protect(addr, length uint64, prot platform.Prot) error {
	if err := as.check(addr, length); err != nil {
		return err
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() {
		return as.stub.Protect(addr, length, prot)
	}
	if as.turn.Load() != as {
		as.maps.Protect(addr, addr+length, prot)
		return nil
	}
	if e := as.hostProtect(addr, length, prot); e != 0 {
		return fmt.Errorf("host mprotect %#x+%#x: %w", addr, length, e)
	}
	as.maps.Protect(addr, addr+length, prot)
	return nil
}

// hostProtect gives what the host shows other rights. What was rewritten there is forgotten.
func (as *addressSpace) hostProtect(addr, length uint64, prot platform.Prot) unix.Errno {
	as.restore(addr, addr+length, &as.maps)
	as.left.cut(addr, addr+length)
	as.windows.cut(addr, addr+length)
	return hostProtect(addr, length, uintptr(shown.HostProt(prot)))
}

// After implements platform.AddressSpace: changes are in force when they return.
func (as *addressSpace) After(f func()) {
	as.mu.Lock()
	moved := as.moved.Load()
	as.mu.Unlock()
	if moved {
		as.stub.After(f)
		return
	}
	f()
}

// InForce implements platform.Prompt.
func (as *addressSpace) InForce() bool { return !as.moved.Load() }

// Sync implements platform.AddressSpace.
func (as *addressSpace) Sync() error {
	if as.moved.Load() {
		return as.stub.Sync()
	}
	return nil
}

// Mappings implements platform.AddressSpace.
func (as *addressSpace) Mappings() int {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() {
		return as.stub.Mappings()
	}
	return as.maps.Len()
}

// Release implements platform.AddressSpace.
func (as *addressSpace) Release() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.members--
	last := as.members == 0
	switch {
	case as.moved.Load():
		as.stub.Release()
	case !last:
		as.gone()
	}
	if last {
		as.p.places.release(as, !as.moved.Load() && as.turn.Load() == as)
	}
}

// hide takes guest memory away. What was rewritten there is forgotten. Outside of places nothing but a mapping keeps the sentry from putting something
// of its own there.
func (as *addressSpace) hide(lo, hi uint64) (e unix.Errno) {
	switch {
	case !as.place.contains(lo, hi):
		e = hostHold(lo, hi-lo, unix.MAP_FIXED)
	case !as.hideInWindow(lo, hi):
		as.windows.cut(lo, hi)
		e = hostUnmap(lo, hi-lo)
	}
	if e == 0 {
		as.left.cut(lo, hi)
		as.restore(lo, hi, nil)
	}
	return e
}

// clear unmaps everything from the sentry's process. mu is held.
func (as *addressSpace) clear() {
	as.closeWindows()
	for _, shows := range []shown.Map{as.maps.Clone(), as.left.maps.Clone()} {
		shows.Scan(func(lo uint64, m shown.Mapping) bool {
			as.mustHide(lo, m.End)
			return true
		})
	}
	for _, z := range as.rw.zones {
		if n := uint64(len(z.frames)); n > 0 {
			if e := hostUnmap(z.lo, n*pageSize); e != 0 {
				panic(fmt.Sprintf("flat: unmapping trampolines: %v", e))
			}
		}
	}
	as.forget()
}

// forget gives back what is shown nowhere any more. mu is held.
func (as *addressSpace) forget() {
	as.maps.Clear()
	as.left.clear()
	as.windows = windows{}
	as.rw.drop(as.p.text)
	as.rw.copies, as.rw.cont, as.rw.text, as.rw.noted = nil, nil, nil, span{}
}

// move takes the address space to a stub, for good. Contexts that run guest code have to leave it, and go on there. mu is held.
func (as *addressSpace) move(why string) error {
	stub, err := as.p.stubs.NewAddressSpace()
	if err != nil {
		return err
	}
	as.maps.Scan(func(lo uint64, m shown.Mapping) bool {
		err = stub.Map(lo, m.End-lo, m.Off, m.Prot)
		return err == nil
	})
	if err != nil {
		stub.Release()
		return err
	}
	as.p.noteMove(why)
	as.stub = stub
	as.moved.Store(true)
	as.expel() // nobody may be shown where a thread of this one may still be
	if err := as.leave(); err != nil {
		return err
	}
	if len(as.stack) == 0 {
		as.p.places.abandon(as.home)
		as.p.wakeAcquirers()
	}
	return nil
}

// mustMove is move for a context that cannot go on here.
func (as *addressSpace) mustMove(why string) error {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.moved.Load() {
		return nil
	}
	return as.move(why)
}

// allows tells whether the process shows addr with a right.
func (as *addressSpace) allows(addr uint64, access platform.Access) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	m, ok := as.maps.At(addr)
	switch access {
	case platform.AccessWrite:
		return ok && m.Prot&platform.Write != 0
	case platform.AccessExec:
		return ok && m.Prot&platform.Exec != 0
	}
	return ok
}
