package ptrace

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/shown"
)

// op is a queued change of mappings.
type op struct {
	kind      opKind
	prot      platform.Prot
	addr, len uint64
	off       uint64
}

type opKind uint8

const (
	opMap opKind = iota
	opUnmap
	opProtect
)

// addressSpace implements platform.AddressSpace with a stub process.
type addressSpace struct {
	p *Platform
	s *stub // immutable until Release

	// queued and done count changes: those asked for and those in force.
	queued, done atomic.Uint64
	// inGuest is the number of contexts that run guest code here.
	inGuest atomic.Int32

	// flushMu is held while a stub thread makes changes.
	flushMu sync.Mutex

	// mu protects the fields below.
	mu     sync.Mutex
	ops    []op
	spare  []op // backing array for the next queue
	afters []func()
	maps   shown.Map // as it will be when the queue is done

	// spoiled is set once the guest has something in the vDSO's place: the next one could not have it there.
	spoiled atomic.Bool
	// dead is set once the host process is gone.
	dead atomic.Bool
}

func checkRange(addr, length uint64) error {
	if addr%4096 != 0 || length%4096 != 0 || length == 0 || addr+length < addr || addr+length > guestEnd {
		return fmt.Errorf("ptrace: bad range %#x+%#x: %w", addr, length, unix.EINVAL)
	}
	return nil
}

// Map implements platform.AddressSpace.
func (as *addressSpace) Map(addr, length, off uint64, prot platform.Prot) error {
	if err := checkRange(addr, length); err != nil {
		return err
	}
	if as.Mappings() >= maxMappings {
		return fmt.Errorf("ptrace: %d host mappings: %w", maxMappings, unix.ENOMEM)
	}
	if k := as.p.kept; addr < k.end && k.start < addr+length {
		as.spoiled.Store(true)
	}
	prot &^= platform.Private
	as.push(op{kind: opMap, prot: prot, addr: addr, len: length, off: off})
	return nil
}

// maxMappings is a little below the host's limit (vm.max_map_count, 65,530 by default): a change in the
// middle of a mapping makes two more.
const maxMappings = 65000

// Unmap implements platform.AddressSpace.
func (as *addressSpace) Unmap(addr, length uint64) error {
	if err := checkRange(addr, length); err != nil {
		return err
	}
	as.push(op{kind: opUnmap, addr: addr, len: length})
	return nil
}

// Protect implements platform.AddressSpace.
func (as *addressSpace) Protect(addr, length uint64, prot platform.Prot) error {
	if err := checkRange(addr, length); err != nil {
		return err
	}
	as.push(op{kind: opProtect, prot: prot, addr: addr, len: length})
	return nil
}

// push queues o, in one with the last change where they continue each other.
func (as *addressSpace) push(o op) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if o.kind == opUnmap && !as.maps.Overlaps(o.addr, o.addr+o.len) {
		return // nothing is there: no host call needed
	}
	as.note(o)
	as.queued.Add(1)
	if n := len(as.ops); n > 0 {
		l := &as.ops[n-1]
		if l.kind == o.kind && l.prot == o.prot && l.addr+l.len == o.addr && (o.kind != opMap || l.off+l.len == o.off) {
			l.len += o.len
			return
		}
	}
	as.ops = append(as.ops, o)
}

// lookup finds what is mapped at addr.
func (as *addressSpace) lookup(addr uint64) (shown.Mapping, bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.maps.At(addr)
}

// note makes maps what it will be after o.
func (as *addressSpace) note(o op) {
	switch lo, hi := o.addr, o.addr+o.len; o.kind {
	case opMap:
		as.maps.Map(lo, hi, o.off, o.prot)
	case opUnmap:
		as.maps.Unmap(lo, hi)
	case opProtect:
		as.maps.Protect(lo, hi, o.prot)
	}
}

// Mappings implements platform.AddressSpace.
func (as *addressSpace) Mappings() int {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.maps.Len()
}

// After implements platform.AddressSpace.
func (as *addressSpace) After(f func()) {
	as.mu.Lock()
	if as.queued.Load() != as.done.Load() {
		as.afters = append(as.afters, f)
		as.mu.Unlock()
		return
	}
	as.mu.Unlock()
	f()
}

// pending tells whether changes are waiting.
func (as *addressSpace) pending() bool { return as.queued.Load() != as.done.Load() }

// Sync implements platform.AddressSpace. Where no context runs guest code nothing has to be done: the next
// one makes the changes before it enters.
func (as *addressSpace) Sync() error {
	if !as.pending() || as.inGuest.Load() == 0 {
		return nil
	}
	return as.p.spawner.do(func() error { return as.flush(as.s.pid, nil) })
}

// flush makes all queued changes, in a stopped thread of the stub whose tracer is the caller.
func (as *addressSpace) flush(tid int32, interrupted *bool) error {
	as.flushMu.Lock()
	defer as.flushMu.Unlock()
	as.mu.Lock()
	ops, n, afters := as.ops, as.queued.Load(), as.afters
	as.ops, as.afters = as.spare[:0], nil
	as.mu.Unlock()
	var err error
	for rest := ops; len(rest) > 0 && err == nil; {
		now := rest[:min(len(rest), maxOps)]
		rest = rest[len(now):]
		err = as.batch(tid, now, interrupted)
	}
	as.mu.Lock()
	as.spare = ops[:0]
	as.mu.Unlock()
	as.done.Store(n)
	for _, f := range afters {
		f()
	}
	return err
}

// batch lets the stub make up to maxOps changes.
func (as *addressSpace) batch(tid int32, ops []op, interrupted *bool) error {
	w := opsOf(as.p.page(as.s.slot))
	for i, o := range ops {
		e := w[i*opSize/8:][:8]
		switch o.kind {
		case opMap:
			e[0], e[3], e[4], e[5], e[6] = unix.SYS_MMAP, shown.HostProt(o.prot), unix.MAP_SHARED|unix.MAP_FIXED, stubMemFD, o.off
		case opUnmap:
			e[0] = unix.SYS_MUNMAP
		case opProtect:
			e[0], e[3] = unix.SYS_MPROTECT, shown.HostProt(o.prot)
		}
		e[1], e[2] = o.addr, o.len
	}
	r := unix.PtraceRegs{R12: opsBase, R13: uint64(len(ops)), Rip: stubBase + codeBatch}
	if err := runStub(tid, &r, stubBase+endBatch, interrupted); err != nil {
		return err
	}
	if r.R13 != 0 {
		o := ops[len(ops)-int(r.R13)]
		return fmt.Errorf("host mapping %#x+%#x: %w", o.addr, o.len, unix.Errno(-int64(r.Rax)))
	}
	return nil
}

// takeThread takes a parked thread, or has one made.
func (as *addressSpace) takeThread() (int32, error) {
	as.s.mu.Lock()
	if n := len(as.s.parked); n > 0 {
		tid := as.s.parked[n-1]
		as.s.parked = as.s.parked[:n-1]
		as.s.mu.Unlock()
		return tid, nil
	}
	as.s.mu.Unlock()
	var tid int32
	err := as.p.spawner.do(func() (err error) {
		tid, err = as.p.spawner.newThread(as.s)
		return err
	})
	return tid, err
}

// Release implements platform.AddressSpace. The stub is cleared and kept for the next one.
func (as *addressSpace) Release() {
	as.mu.Lock()
	afters := as.afters
	as.afters, as.ops = nil, nil
	as.mu.Unlock()
	p, s, dead := as.p, as.s, as.dead.Load() || as.spoiled.Load()
	p.spawner.work <- func() {
		// Only now nothing of the guest's memory is mapped.
		if dead || p.spawner.clear(s) != nil || !p.keep(s) {
			p.spawner.kill(s)
		}
		for _, f := range afters {
			f()
		}
	}
}
