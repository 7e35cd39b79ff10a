package sentry

import (
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/waitq"
)

// PID is one identity: a number in each pid namespace from its own up to the
// initial one (Linux: struct pid). A task, a thread group, a process group and a
// session may have the same PID at once; its numbers are free again when none
// of them has it. The PID itself lives as long as something points to it, so that a
// pidfd never means another process that got the number later.
type PID struct {
	// nums are the numbers by level of namespace, the initial one first. Immutable.
	nums []pidNum

	// Protected by Kernel.tasks.
	task    *Task      // the thread with this id
	proc    *Process   // the thread group
	pgrp    []*Process // members of the process group
	session []*Process // members of the session
	sess    *Session   // what else there is to the session
	freed   bool       // the numbers are given back

	// exit becomes readable when the thread group is a zombie or gone (pidfd), and
	// is what polls of pidfds wait on.
	exit waitq.Queue
	// ino is the inode number of pidfds.
	ino uint64
	// exitInfo is what is known after the group has been reaped (PIDFD_GET_INFO).
	exitInfo atomic.Pointer[pidExitInfo]
}

type pidNum struct {
	ns *PIDNamespace
	nr int32
}

type pidExitInfo struct{ status WaitStatus }

// Ino is a number that no other identity of the sandbox ever has.
func (p *PID) Ino() uint64 { return p.ino }

// PIDNamespace is a pid namespace. It ends with its init process.
type PIDNamespace struct {
	nsCommon
	parent *PIDNamespace // nil for the initial one
	level  int

	// Protected by Kernel.tasks.
	pids map[int32]*PID
	last int32
	// reaper is the namespace's init: children of processes that die become its.
	reaper *Process
	// closed is set when init dies: nothing can be born any more.
	closed bool
	// drain, if not nil, is closed when a task of the namespace has been released.
	drain chan struct{}
	// max is the largest number plus one (/proc/sys/kernel/pid_max).
	max atomic.Int32
}

const (
	defaultPIDMax = 32768
	reservedPIDs  = 300 // numbers below are not used again after the first round
	// PIDMaxLimit is the largest value of pid_max.
	PIDMaxLimit = 4 << 20
	// maxPIDLevel is how deep pid namespaces nest.
	maxPIDLevel = 32
)

func (k *Kernel) newPIDNamespace(parent *PIDNamespace, user *cred.UserNamespace) *PIDNamespace {
	ns := &PIDNamespace{parent: parent, pids: make(map[int32]*PID)}
	ns.init(k, unix.CLONE_NEWPID, user, nil)
	if parent != nil {
		ns.level = parent.level + 1
		ns.max.Store(parent.max.Load())
		parent.IncRef()
		ns.release = func() { parent.DecRef() }
	} else {
		ns.max.Store(defaultPIDMax)
	}
	return ns
}

// Parent is the namespace above; nil for the initial one.
func (ns *PIDNamespace) Parent() *PIDNamespace { return ns.parent }

// Max is /proc/sys/kernel/pid_max; SetMax changes it.
func (ns *PIDNamespace) Max() int32 { return ns.max.Load() }

// SetMax sets pid_max; EINVAL for what Linux does not take.
func (ns *PIDNamespace) SetMax(n int64) error {
	if n < reservedPIDs+1 || n > PIDMaxLimit {
		return unix.EINVAL
	}
	ns.max.Store(int32(n))
	return nil
}

// isAncestorOf tells whether other is ns or below it.
func (ns *PIDNamespace) isAncestorOf(other *PIDNamespace) bool {
	return other.level >= ns.level && other.at(ns.level) == ns
}

// at is the ancestor of ns (or ns) on a level.
func (ns *PIDNamespace) at(level int) *PIDNamespace {
	for ns.level > level {
		ns = ns.parent
	}
	return ns
}

// allocPID makes a PID in ns and the namespaces above it. setTID are the numbers asked
// for (clone3), the innermost namespace's first. Kernel.tasks is held.
func (k *Kernel) allocPID(ns *PIDNamespace, setTID []int32) (*PID, error) {
	p := &PID{nums: make([]pidNum, ns.level+1), ino: k.nextIno()}
	for n := ns; n != nil; n = n.parent {
		want := int32(0)
		if i := ns.level - n.level; i < len(setTID) {
			want = setTID[i]
		}
		nr, err := n.allocNumber(want)
		if err != nil {
			k.freeNumbers(p)
			return nil, err
		}
		p.nums[n.level] = pidNum{n, nr}
		n.pids[nr] = p
	}
	return p, nil
}

func (ns *PIDNamespace) allocNumber(want int32) (int32, error) {
	if ns.closed {
		return 0, unix.ENOMEM
	}
	if want != 0 {
		if want != 1 && ns.last == 0 {
			return 0, unix.EINVAL // the first process of a namespace is its init
		}
		if _, used := ns.pids[want]; used {
			return 0, unix.EEXIST
		}
		if want > ns.last && want == 1 {
			ns.last = 1
		}
		return want, nil
	}
	max := ns.max.Load()
	if int64(len(ns.pids)) >= int64(max)-1 {
		return 0, unix.EAGAIN
	}
	nr := ns.last
	for range max {
		nr++
		if nr >= max || nr == math.MaxInt32 {
			nr = reservedPIDs
		}
		if _, used := ns.pids[nr]; !used {
			ns.last = nr
			return nr, nil
		}
	}
	return 0, unix.EAGAIN
}

// freeNumbers gives the numbers of p back. Kernel.tasks is held.
func (k *Kernel) freeNumbers(p *PID) {
	p.freed = true
	for _, n := range p.nums {
		if n.ns != nil && n.ns.pids[n.nr] == p {
			delete(n.ns.pids, n.nr)
		}
	}
}

// maybeFree frees p's numbers if nothing has it any more. Kernel.tasks is held.
func (k *Kernel) maybeFree(p *PID) {
	if !p.freed && p.task == nil && p.proc == nil && len(p.pgrp) == 0 && len(p.session) == 0 {
		k.freeNumbers(p)
	}
}

// ns is the namespace that p was made in.
func (p *PID) ns() *PIDNamespace { return p.nums[len(p.nums)-1].ns }

// In is p's number in ns; 0 if it has none there.
func (p *PID) In(ns *PIDNamespace) int32 {
	if p == nil || ns == nil || ns.level >= len(p.nums) || p.nums[ns.level].ns != ns {
		return 0
	}
	return p.nums[ns.level].nr
}

// Root is p's number in the initial namespace.
func (p *PID) Root() int32 {
	if p == nil {
		return 0
	}
	return p.nums[0].nr
}

// Numbers are p's numbers from namespace ns down to p's own (NSpid of /proc/PID/status);
// nil if p is not visible in ns.
func (p *PID) Numbers(ns *PIDNamespace) []int32 {
	if p.In(ns) == 0 {
		return nil
	}
	var out []int32
	for _, n := range p.nums[ns.level:] {
		out = append(out, n.nr)
	}
	return out
}

// findPID is the PID with a number in ns, or nil. Kernel.tasks is held at least for reading.
func (ns *PIDNamespace) findPID(nr int32) *PID {
	if nr <= 0 {
		return nil
	}
	return ns.pids[nr]
}

// findTask is the task with a number in ns, or nil. Kernel.tasks is held at least for reading.
func (ns *PIDNamespace) findTask(nr int32) *Task {
	if p := ns.findPID(nr); p != nil {
		return p.task
	}
	return nil
}

// findProcess is the thread group with a number in ns, or nil, zombies included.
// Kernel.tasks is held at least for reading.
func (ns *PIDNamespace) findProcess(nr int32) *Process {
	if p := ns.findPID(nr); p != nil {
		return p.proc
	}
	return nil
}

// remove deletes x from list, keeping the order.
func remove[T comparable](list []T, x T) []T {
	for i, v := range list {
		if v == x {
			copy(list[i:], list[i+1:])
			var zero T
			list[len(list)-1] = zero
			return list[:len(list)-1]
		}
	}
	return list
}
