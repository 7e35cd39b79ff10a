package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// Scheduling parameters.

// sched_yield(2)
func schedYield(t *sentry.Task) (uintptr, error) {
	t.Yield()
	return 0, nil
}

// sched_get_priority_max(2)
func schedGetPriorityMax(t *sentry.Task, policy int32) (uintptr, error) {
	switch policy {
	case sentry.SchedFIFO, sentry.SchedRR:
		return 99, nil
	case sentry.SchedNormal, sentry.SchedBatch, sentry.SchedIdle, sentry.SchedDeadline, schedExt:
		return 0, nil
	}
	return 0, unix.EINVAL
}

const (
	schedExt         = 7
	schedResetOnFork = 0x40000000
)

// sched_get_priority_min(2)
func schedGetPriorityMin(t *sentry.Task, policy int32) (uintptr, error) {
	switch policy {
	case sentry.SchedFIFO, sentry.SchedRR:
		return 1, nil
	case sentry.SchedNormal, sentry.SchedBatch, sentry.SchedIdle, sentry.SchedDeadline, schedExt:
		return 0, nil
	}
	return 0, unix.EINVAL
}

// sched_setscheduler(2)
func schedSetscheduler(t *sentry.Task, pid, policy int32, param usermem.Addr) (uintptr, error) {
	if policy < 0 || param == 0 || pid < 0 {
		return 0, unix.EINVAL
	}
	var prio int32
	if err := usermem.CopyObjectIn(t.MM(), param, &prio); err != nil {
		return 0, err
	}
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	s := sentry.Sched{Policy: policy &^ schedResetOnFork, RTPriority: prio, ResetOnFork: policy&schedResetOnFork != 0}
	cur := o.Sched()
	s.Nice, s.UtilMin, s.UtilMax = cur.Nice, cur.UtilMin, cur.UtilMax
	if s.Policy == sentry.SchedDeadline {
		return 0, unix.EINVAL
	}
	return 0, t.SetSched(o, s)
}

// sched_setparam(2)
func schedSetparam(t *sentry.Task, pid int32, param usermem.Addr) (uintptr, error) {
	if param == 0 || pid < 0 {
		return 0, unix.EINVAL
	}
	var prio int32
	if err := usermem.CopyObjectIn(t.MM(), param, &prio); err != nil {
		return 0, err
	}
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	s := o.Sched()
	s.RTPriority = prio
	return 0, t.SetSched(o, s)
}

// sched_getscheduler(2)
func schedGetscheduler(t *sentry.Task, pid int32) (uintptr, error) {
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	s := o.Sched()
	p := s.Policy
	if s.ResetOnFork {
		p |= schedResetOnFork
	}
	return uintptr(p), nil
}

// sched_getparam(2)
func schedGetparam(t *sentry.Task, pid int32, param usermem.Addr) (uintptr, error) {
	if param == 0 {
		return 0, unix.EINVAL
	}
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	prio := o.Sched().RTPriority
	return 0, usermem.CopyObjectOut(t.MM(), param, &prio)
}

// schedAttr is struct sched_attr.
type schedAttr struct {
	Size, Policy              uint32
	Flags                     uint64
	Nice                      int32
	Priority                  uint32
	Runtime, Deadline, Period uint64
	UtilMin, UtilMax          uint32
}

// Flags of struct sched_attr.
const (
	schedFlagResetOnFork = 1 << iota
	schedFlagReclaim
	schedFlagDLOverrun
	schedFlagKeepPolicy
	schedFlagKeepParams
	schedFlagUtilMin
	schedFlagUtilMax

	schedAttrVer0 = 48
)

// sched_setattr(2)
func schedSetattr(t *sentry.Task, pid int32, addr usermem.Addr, flags uint32) (uintptr, error) {
	if addr == 0 || pid < 0 || flags != 0 {
		return 0, unix.EINVAL
	}
	var a schedAttr
	if err := usermem.CopyObjectIn(t.MM(), addr, &a.Size); err != nil {
		return 0, err
	}
	size := uint64(a.Size)
	if size == 0 {
		size = schedAttrVer0
	}
	if size < schedAttrVer0 || size > 4096 {
		return 0, schedAttrTooBig(t, addr)
	}
	if err := copyStructIn(t, addr, size, schedAttrVer0, usermem.AsBytes(&a)); err != nil {
		if err == unix.E2BIG {
			return 0, schedAttrTooBig(t, addr)
		}
		return 0, err
	}
	if a.Flags&(schedFlagUtilMin|schedFlagUtilMax) != 0 && size < 56 || int32(a.Policy) < 0 ||
		a.Flags&^(schedFlagUtilMax<<1-1) != 0 {
		return 0, unix.EINVAL
	}
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	s := o.Sched()
	n := s
	if a.Flags&schedFlagKeepPolicy == 0 {
		n.Policy = int32(a.Policy)
	}
	if a.Flags&schedFlagKeepParams == 0 {
		n.Nice = max(-20, min(19, a.Nice))
		n.RTPriority = int32(min(a.Priority, 1000))
		n.Runtime, n.Deadline, n.Period = a.Runtime, a.Deadline, a.Period
	}
	n.ResetOnFork = a.Flags&schedFlagResetOnFork != 0
	if a.Flags&schedFlagUtilMin != 0 {
		if n.UtilMin = a.UtilMin; int32(a.UtilMin) == -1 {
			n.UtilMin = 0
		}
	}
	if a.Flags&schedFlagUtilMax != 0 {
		if n.UtilMax = a.UtilMax; int32(a.UtilMax) == -1 {
			n.UtilMax = 1024
		}
	}
	if n.UtilMin > 1024 || n.UtilMax > 1024 || n.UtilMin > n.UtilMax {
		return 0, unix.EINVAL
	}
	return 0, t.SetSched(o, n)
}

// schedAttrTooBig tells the caller the size that is known.
func schedAttrTooBig(t *sentry.Task, addr usermem.Addr) error {
	size := uint32(56)
	if err := usermem.CopyObjectOut(t.MM(), addr, &size); err != nil {
		return err
	}
	return unix.E2BIG
}

// sched_getattr(2)
func schedGetattr(t *sentry.Task, pid int32, addr usermem.Addr, size, flags uint32) (uintptr, error) {
	if addr == 0 || pid < 0 || size > 4096 || size < schedAttrVer0 || flags != 0 {
		return 0, unix.EINVAL
	}
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	s := o.Sched()
	a := schedAttr{Size: min(size, 56), Policy: uint32(s.Policy), UtilMin: s.UtilMin, UtilMax: s.UtilMax}
	if s.ResetOnFork {
		a.Flags |= schedFlagResetOnFork
	}
	switch s.Policy {
	case sentry.SchedFIFO, sentry.SchedRR:
		a.Priority = uint32(s.RTPriority)
	case sentry.SchedDeadline:
		a.Runtime, a.Deadline, a.Period = s.Runtime, s.Deadline, s.Period
	default:
		a.Nice = s.Nice
	}
	_, err = t.MM().CopyOut(addr, usermem.AsBytes(&a)[:a.Size])
	return 0, err
}

// sched_rr_get_interval(2)
func schedRRGetInterval(t *sentry.Task, pid int32, addr usermem.Addr) (uintptr, error) {
	o, err := t.SchedTask(pid)
	if err != nil {
		return 0, err
	}
	var ts unix.Timespec
	switch o.Sched().Policy {
	case sentry.SchedRR:
		ts.Nsec = 100_000_000
	case sentry.SchedNormal, sentry.SchedBatch:
		ts.Nsec = 3_000_000
	}
	return 0, usermem.CopyObjectOut(t.MM(), addr, &ts)
}

// sched_setaffinity(2)
func schedSetaffinity(t *sentry.Task, pid int32, n uint32, mask usermem.Addr) (uintptr, error) {
	var set sentry.CPUSet
	b := usermem.AsBytes(&set)
	if n < uint32(len(b)) {
		b = b[:n]
	}
	if _, err := t.MM().CopyIn(mask, b); err != nil {
		return 0, err
	}
	o, err := otherTask(t, pid)
	if err != nil {
		return 0, err
	}
	return 0, t.SetAffinity(o, set)
}

// sched_getaffinity(2): the kernel's masks are as long as its processors need, in words.
func schedGetaffinity(t *sentry.Task, pid int32, n uint32, mask usermem.Addr) (uintptr, error) {
	cpus := t.Kernel().CPUs()
	size := uint32(max(8, (cpus+63)/64*8))
	if uint64(n)*8 < uint64(cpus) || n&7 != 0 {
		return 0, unix.EINVAL
	}
	o, err := otherTask(t, pid)
	if err != nil {
		return 0, err
	}
	set := o.Affinity()
	size = min(size, n)
	if _, err := t.MM().CopyOut(mask, usermem.AsBytes(&set)[:size]); err != nil {
		return 0, err
	}
	return uintptr(size), nil
}

// getpriority(2) returns 20-nice, so that no result looks like an error.
func getpriority(t *sentry.Task, which, who int32) (uintptr, error) {
	best := int32(-1)
	err := t.Select(int(which), who, func(o *sentry.Task) {
		best = max(best, 20-o.Sched().Nice)
	})
	if err != nil {
		return 0, err
	}
	return uintptr(best), nil
}

// setpriority(2)
func setpriority(t *sentry.Task, which, who, nice int32) (uintptr, error) {
	var ret error
	err := t.Select(int(which), who, func(o *sentry.Task) {
		if err := t.SetNice(o, nice); err != nil && ret != unix.EPERM {
			ret = err
		}
	})
	if err != nil {
		return 0, err
	}
	return 0, ret
}

// I/O priorities.
const (
	ioprioClassShift = 13
	ioprioRT         = 1
	ioprioBE         = 2
	ioprioIdle       = 3
)

// ioprioSelect translates IOPRIO_WHO_* to PRIO_*.
func ioprioSelect(which int32) (int, error) {
	if which < 1 || which > 3 {
		return 0, unix.EINVAL
	}
	return int(which) - 1, nil
}

// ioprio_set(2)
func ioprioSet(t *sentry.Task, which, who, prio int32) (uintptr, error) {
	class, level := prio>>ioprioClassShift&7, prio&7
	switch class {
	case ioprioRT:
		if c := t.Cred(); !c.HasInitial(unix.CAP_SYS_ADMIN) && !c.HasInitial(unix.CAP_SYS_NICE) {
			return 0, unix.EPERM
		}
	case ioprioBE, ioprioIdle:
	case 0:
		if level != 0 {
			return 0, unix.EINVAL
		}
	default:
		return 0, unix.EINVAL
	}
	sel, err := ioprioSelect(which)
	if err != nil {
		return 0, err
	}
	var ret error
	err = t.Select(sel, who, func(o *sentry.Task) {
		if err := t.SetIOPrio(o, prio); err != nil {
			ret = err
		}
	})
	if err != nil {
		return 0, err
	}
	return 0, ret
}

// ioprio_get(2): the highest of the tasks selected.
func ioprioGet(t *sentry.Task, which, who int32) (uintptr, error) {
	sel, err := ioprioSelect(which)
	if err != nil {
		return 0, err
	}
	best := int32(-1)
	err = t.Select(sel, who, func(o *sentry.Task) {
		p := o.IOPrio()
		if p>>ioprioClassShift == 0 && sel != sentry.PrioProcess {
			// Never set: what the nice value makes of it.
			p = ioprioBE<<ioprioClassShift | (o.Sched().Nice+20)/5
		}
		if best < 0 || p < best {
			best = p
		}
	})
	if err != nil {
		return 0, err
	}
	return uintptr(best), nil
}
