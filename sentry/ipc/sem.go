package ipc

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
)

const (
	semVmx  = 32767 // greatest value
	semUndo = 0x1000

	semGetPID  = 11
	semGetVal  = 12
	semGetAll  = 13
	semGetNcnt = 14
	semGetZcnt = 15
	semSetVal  = 16
	semSetAll  = 17
	semStat    = 18
	semInfo    = 19
	semStatAny = 20
)

// Sembuf is struct sembuf.
type Sembuf struct {
	Num   uint16
	Op    int16
	Flags int16
}

type semDS struct {
	Perm     permDS
	Otime, _ int64
	Ctime, _ int64
	Nsems    uint64
	_, _     uint64
}

type semInfoDS struct {
	Map, Mni, Mns, Mnu, Msl, Opm, Ume, Usz, Vmx, Aem int32
}

type semaphore struct {
	val int32
	pid int32 // who changed it last, in the initial pid namespace
}

// semSet is a set of semaphores.
type semSet struct {
	ns *Namespace

	mu      sync.Mutex
	perm    perm
	removed bool
	sems    []semaphore
	otime   int64
	ctime   int64
	waiting []*semWaiter          // in the order of arrival
	undos   map[*UndoList][]int16 // adjustments at exit
}

func (s *semSet) ipcPerm() *perm { return &s.perm }

// semWaiter is a semop that waits. Whoever makes it possible performs it.
type semWaiter struct {
	ops   []Sembuf
	undo  *UndoList
	pid   int32
	done  chan struct{}
	err   error // set before done is closed
	block int   // the operation that cannot be performed
	ended bool
}

// UndoList is what SEM_UNDO asks for: of one process, or shared with CLONE_SYSVSEM.
type UndoList struct {
	mu   sync.Mutex
	sets map[*semSet]struct{}
}

// Exit applies the adjustments: the last task that shares the list exits.
func (u *UndoList) Exit(ctx vfs.Context) {
	u.mu.Lock()
	sets := u.sets
	u.sets = nil
	u.mu.Unlock()
	for s := range sets {
		s.mu.Lock()
		if adj, ok := s.undos[u]; ok && !s.removed {
			delete(s.undos, u)
			for i, a := range adj {
				if a == 0 {
					continue
				}
				s.sems[i].val = min(max(s.sems[i].val+int32(a), 0), semVmx)
				s.sems[i].pid = ctx.TGID()
			}
			s.otime = now()
			s.wake()
		}
		s.mu.Unlock()
	}
}

func (ns *Namespace) semSet(id int32) (*semSet, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.sems.byID(id)
}

// SemGet is semget(2).
func (ns *Namespace) SemGet(ctx vfs.Context, key, nsems, flags int32) (int32, error) {
	if nsems < 0 || int64(nsems) > ns.Limits.SemMsl.Load() {
		return 0, unix.EINVAL
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return get(ctx, ns, &ns.sems, key, flags, func(s *semSet) error {
		if int(nsems) > len(s.sems) {
			return unix.EINVAL
		}
		return nil
	}, func() (*semSet, error) {
		if nsems == 0 {
			return nil, unix.EINVAL
		}
		if int64(ns.sems.n) >= ns.Limits.SemMni.Load() || ns.semCount+int64(nsems) > ns.Limits.SemMns.Load() {
			return nil, unix.ENOSPC
		}
		ns.semCount += int64(nsems)
		return &semSet{ns: ns, perm: newPerm(ctx, key, flags), sems: make([]semaphore, nsems), ctime: now()}, nil
	})
}

func (ns *Namespace) removeSet(s *semSet) {
	ns.mu.Lock()
	if !ns.sems.remove(s) {
		ns.mu.Unlock()
		return
	}
	ns.semCount -= int64(len(s.sems))
	ns.mu.Unlock()
	s.mu.Lock()
	s.removed = true
	for _, w := range s.waiting {
		w.finish(unix.EIDRM)
	}
	s.waiting = nil
	for u := range s.undos {
		u.mu.Lock()
		delete(u.sets, s)
		u.mu.Unlock()
	}
	s.undos = nil
	s.mu.Unlock()
}

func (w *semWaiter) finish(err error) {
	w.err, w.ended = err, true
	close(w.done)
}

// undo returns the adjustments of u, made if need be; nil for a nil u. s.mu is held.
func (s *semSet) undo(u *UndoList) []int16 {
	if u == nil {
		return nil
	}
	adj := s.undos[u]
	if adj == nil {
		adj = make([]int16, len(s.sems))
		if s.undos == nil {
			s.undos = make(map[*UndoList][]int16)
		}
		s.undos[u] = adj
		u.mu.Lock()
		if u.sets == nil {
			u.sets = make(map[*semSet]struct{})
		}
		u.sets[s] = struct{}{}
		u.mu.Unlock()
	}
	return adj
}

// try performs all operations or none. block >= 0 is the one that must wait. s.mu is held.
func (s *semSet) try(ops []Sembuf, u *UndoList, pid int32) (block int, err error) {
	var adj []int16
	i := 0
	for ; i < len(ops); i++ {
		op := &ops[i]
		sem := &s.sems[op.Num]
		if op.Op == 0 {
			if sem.val != 0 {
				break
			}
			continue
		}
		v := sem.val + int32(op.Op)
		if v < 0 {
			break
		}
		if v > semVmx {
			err = unix.ERANGE
			break
		}
		if op.Flags&semUndo != 0 {
			if adj == nil {
				adj = s.undo(u)
			}
			a := int32(adj[op.Num]) - int32(op.Op)
			if a < -semVmx-1 || a > semVmx {
				err = unix.ERANGE
				break
			}
			adj[op.Num] = int16(a)
		}
		sem.val = v
	}
	if i == len(ops) {
		for _, op := range ops {
			s.sems[op.Num].pid = pid
		}
		return -1, nil
	}
	block = i
	if err == nil && ops[i].Flags&ipcNowait != 0 {
		err = unix.EAGAIN
	}
	for i--; i >= 0; i-- {
		op := &ops[i]
		s.sems[op.Num].val -= int32(op.Op)
		if op.Flags&semUndo != 0 && op.Op != 0 {
			adj[op.Num] += op.Op
		}
	}
	return block, err
}

// wake performs what has become possible, again and again. s.mu is held.
func (s *semSet) wake() {
	for again := true; again; {
		again = false
		for _, w := range s.waiting {
			if w.ended {
				continue
			}
			block, err := s.try(w.ops, w.undo, w.pid)
			if block < 0 {
				s.otime = now()
				w.finish(nil)
				again = changes(w.ops)
				if again {
					break
				}
			} else if err != nil {
				w.finish(err)
			} else {
				w.block = block
			}
		}
		s.waiting = slices.DeleteFunc(s.waiting, func(w *semWaiter) bool { return w.ended })
	}
}

func changes(ops []Sembuf) bool {
	for _, op := range ops {
		if op.Op != 0 {
			return true
		}
	}
	return false
}

// SemOp is semtimedop(2); timeout < 0 means none. undo is the caller's list.
func (ns *Namespace) SemOp(ctx vfs.Context, undo *UndoList, id int32, ops []Sembuf, timeout time.Duration) error {
	if len(ops) == 0 || id < 0 {
		return unix.EINVAL
	}
	if int64(len(ops)) > ns.Limits.SemOpm.Load() {
		return unix.E2BIG
	}
	s, err := ns.semSet(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	want := uint32(0444)
	if changes(ops) {
		want = 0222
	}
	for _, op := range ops {
		if int(op.Num) >= len(s.sems) {
			s.mu.Unlock()
			return unix.EFBIG
		}
	}
	if err := ns.check(ctx, &s.perm, want); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.removed {
		s.mu.Unlock()
		return unix.EIDRM
	}
	if undo == nil {
		undo = &UndoList{}
	}
	block, err := s.try(ops, undo, ctx.TGID())
	if block < 0 {
		s.otime = now()
		if want == 0222 {
			s.wake()
		}
		s.mu.Unlock()
		return nil
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	w := &semWaiter{ops: ops, undo: undo, pid: ctx.TGID(), done: make(chan struct{}), block: block}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()

	err = ctx.Block(w.done, timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.ended {
		return w.err
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(x *semWaiter) bool { return x == w })
	if err == unix.ETIMEDOUT {
		return unix.EAGAIN
	}
	return unix.EINTR // never restarted
}

// SemCtl is semctl(2).
func (ns *Namespace) SemCtl(ctx vfs.Context, id, num, cmd int32, arg uint64) (int64, error) {
	cmd &^= ipc64
	addr := usermem.Addr(arg)
	mem := ctx.Memory()
	switch cmd {
	case ipcInfo, semInfo:
		l := &ns.Limits
		d := semInfoDS{
			Map: int32(l.SemMns.Load()), Mni: int32(l.SemMni.Load()), Mns: int32(l.SemMns.Load()), Mnu: int32(l.SemMns.Load()),
			Msl: int32(l.SemMsl.Load()), Opm: int32(l.SemOpm.Load()), Ume: int32(l.SemOpm.Load()), Usz: 20, Vmx: semVmx, Aem: semVmx,
		}
		ns.mu.Lock()
		if cmd == semInfo {
			d.Usz, d.Aem = int32(ns.sems.n), int32(ns.semCount)
		}
		max := ns.sems.maxUsed()
		ns.mu.Unlock()
		return int64(max), usermem.CopyObjectOut(mem, addr, &d)
	case ipcStat, semStat, semStatAny:
		return ns.semStat(ctx, id, cmd, addr)
	case ipcRmid, ipcSet, semGetAll, semGetVal, semGetPID, semGetNcnt, semGetZcnt, semSetVal, semSetAll:
	default:
		return 0, unix.EINVAL
	}
	s, err := ns.semSet(id)
	if err != nil {
		return 0, err
	}
	switch cmd {
	case ipcRmid:
		s.mu.Lock()
		err := ns.checkOwner(ctx, &s.perm)
		s.mu.Unlock()
		if err == nil {
			ns.removeSet(s)
		}
		return 0, err
	case ipcSet:
		var d semDS
		if err := usermem.CopyObjectIn(mem, addr, &d); err != nil {
			return 0, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := ns.checkOwner(ctx, &s.perm); err != nil {
			return 0, err
		}
		if err := s.perm.set(ctx, &d.Perm); err != nil {
			return 0, err
		}
		s.ctime = now()
		return 0, nil
	case semGetAll:
		s.mu.Lock()
		if err := ns.check(ctx, &s.perm, 0444); err != nil {
			s.mu.Unlock()
			return 0, err
		}
		vals := make([]uint16, len(s.sems))
		for i := range vals {
			vals[i] = uint16(s.sems[i].val)
		}
		s.mu.Unlock()
		return 0, usermem.CopySliceOut(mem, addr, vals)
	case semSetAll:
		s.mu.Lock()
		err := ns.check(ctx, &s.perm, 0222)
		s.mu.Unlock()
		if err != nil {
			return 0, err
		}
		vals, err := usermem.CopySliceIn[uint16](mem, addr, len(s.sems))
		if err != nil {
			return 0, err
		}
		for _, v := range vals {
			if v > semVmx {
				return 0, unix.ERANGE
			}
		}
		return 0, s.setValues(ctx, 0, vals)
	case semSetVal:
		v := int32(arg)
		if v < 0 || v > semVmx {
			return 0, unix.ERANGE
		}
		if num < 0 || int(num) >= len(s.sems) {
			return 0, unix.EINVAL
		}
		s.mu.Lock()
		err := ns.check(ctx, &s.perm, 0222)
		s.mu.Unlock()
		if err != nil {
			return 0, err
		}
		return 0, s.setValues(ctx, int(num), []uint16{uint16(v)})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ns.check(ctx, &s.perm, 0444); err != nil {
		return 0, err
	}
	if num < 0 || int(num) >= len(s.sems) {
		return 0, unix.EINVAL
	}
	switch cmd {
	case semGetVal:
		return int64(s.sems[num].val), nil
	case semGetPID:
		return int64(localPID(ctx, s.sems[num].pid)), nil
	}
	n := int64(0)
	for _, w := range s.waiting {
		if op := w.ops[w.block]; int32(op.Num) == num && (op.Op == 0) == (cmd == semGetZcnt) {
			n++
		}
	}
	return n, nil
}

// setValues sets semaphores from first on, and forgets adjustments of them.
func (s *semSet) setValues(ctx vfs.Context, first int, vals []uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return unix.EIDRM
	}
	for i, v := range vals {
		s.sems[first+i] = semaphore{val: int32(v), pid: ctx.TGID()}
		for _, adj := range s.undos {
			adj[first+i] = 0
		}
	}
	s.ctime = now()
	s.wake()
	return nil
}

func (ns *Namespace) semStat(ctx vfs.Context, id, cmd int32, addr usermem.Addr) (int64, error) {
	ns.mu.Lock()
	var s *semSet
	var err error
	if cmd == ipcStat {
		s, err = ns.sems.byID(id)
	} else {
		s, err = ns.sems.byIndex(id)
	}
	if err != nil {
		ns.mu.Unlock()
		return 0, err
	}
	s.mu.Lock()
	if cmd != semStatAny {
		err = ns.check(ctx, &s.perm, 0444)
	}
	d := semDS{Perm: s.perm.ds(ctx), Otime: s.otime, Ctime: s.ctime, Nsems: uint64(len(s.sems))}
	s.mu.Unlock()
	ns.mu.Unlock()
	if err != nil {
		return 0, err
	}
	ret := int64(0)
	if cmd != ipcStat {
		ret = int64(s.perm.id)
	}
	return ret, usermem.CopyObjectOut(ctx.Memory(), addr, &d)
}

// ProcSem is the text of /proc/sysvipc/sem.
func (ns *Namespace) ProcSem(ctx vfs.Context) []byte {
	var b bytes.Buffer
	b.WriteString("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n")
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.sems.each(func(s *semSet) {
		s.mu.Lock()
		d := s.perm.ds(ctx)
		fmt.Fprintf(&b, "%10d %10d  %4o %10d %5d %5d %5d %5d %10d %10d\n", d.Key, s.perm.id, d.Mode, len(s.sems),
			d.UID, d.GID, d.CUID, d.CGID, s.otime, s.ctime)
		s.mu.Unlock()
	})
	return b.Bytes()
}
