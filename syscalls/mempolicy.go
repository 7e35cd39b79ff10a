package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
)

// NUMA policies for guests, whose machine has one node. All policies then mean the same: arguments
// are checked as Linux does, and what was set is kept for those who ask.

const (
	mpolDefault = iota
	mpolPreferred
	mpolBind
	mpolInterleave
	mpolLocal
	mpolPreferredMany
	mpolWeightedInterleave
	mpolMax

	mpolStaticNodes   = 1 << 15
	mpolRelativeNodes = 1 << 14
	mpolNumaBalancing = 1 << 13

	mpolMFStrict  = 1
	mpolMFMove    = 2
	mpolMFMoveAll = 4

	mpolFNode        = 1
	mpolFAddr        = 2
	mpolFMemsAllowed = 4

	// maxNumNodes is MAX_NUMNODES of distributions' kernels.
	maxNumNodes = 1024
)

// readNodes copies in a node mask of maxnode-1 bits. low are the first 64 nodes of it, any tells
// whether there is one at all.
func readNodes(t *sentry.Task, addr usermem.Addr, maxnode uint64) (low uint64, any bool, err error) {
	maxnode--
	if maxnode == 0 || maxnode == ^uint64(0) || addr == 0 {
		return 0, false, nil
	}
	if maxnode > arch.PageSize*8 {
		return 0, false, unix.EINVAL
	}
	b := make([]byte, (maxnode+63)/64*8)
	if _, err := t.MM().CopyIn(addr, b); err != nil {
		return 0, false, err
	}
	for i, c := range b {
		bits := uint64(i) * 8
		if bits+8 > maxnode {
			if bits >= maxnode {
				c = 0
			} else {
				c &= 1<<(maxnode-bits) - 1
			}
		}
		if c == 0 {
			continue
		}
		if bits >= maxNumNodes {
			return 0, false, unix.EINVAL
		}
		any = true
		if i < 8 {
			low |= uint64(c) << bits
		}
	}
	return low, any, nil
}

// readPolicy is the policy that set_mempolicy and mbind are told.
func readPolicy(t *sentry.Task, mode int32, nmask usermem.Addr, maxnode uint64) (p mm.Policy, err error) {
	flags := mode & (mpolStaticNodes | mpolRelativeNodes | mpolNumaBalancing)
	mode &^= flags
	if mode < 0 || mode >= mpolMax || flags&mpolStaticNodes != 0 && flags&mpolRelativeNodes != 0 {
		return p, unix.EINVAL
	}
	if flags&mpolNumaBalancing != 0 && mode != mpolBind && mode != mpolPreferredMany {
		return p, unix.EINVAL
	}
	nodes, any, err := readNodes(t, nmask, maxnode)
	if err != nil {
		return p, err
	}
	users := flags & (mpolStaticNodes | mpolRelativeNodes)
	switch mode {
	case mpolDefault:
		if any {
			return p, unix.EINVAL
		}
		return p, nil
	case mpolLocal:
		if any || users != 0 {
			return p, unix.EINVAL
		}
		return mm.Policy{Mode: mpolLocal}, nil
	case mpolPreferred:
		if !any {
			if users != 0 {
				return p, unix.EINVAL
			}
			return mm.Policy{Mode: mpolLocal}, nil
		}
	default:
		if !any {
			return p, unix.EINVAL
		}
	}
	if nodes&1 == 0 && flags&mpolRelativeNodes == 0 {
		return p, unix.EINVAL // no node that exists
	}
	if users == 0 {
		nodes = 1 // those that exist; with the flags, what the user said
	}
	return mm.Policy{Mode: uint16(mode | flags), Nodes: nodes}, nil
}

// set_mempolicy(2)
func setMempolicy(t *sentry.Task, mode int32, nmask usermem.Addr, maxnode uint64) (uintptr, error) {
	p, err := readPolicy(t, mode, nmask, maxnode)
	if err == nil {
		t.SetMemPolicy(p)
	}
	return 0, err
}

// mbind(2)
func mbind(t *sentry.Task, addr usermem.Addr, length uint64, mode uint64, nmask usermem.Addr, maxnode uint64, flags uint32) (uintptr, error) {
	if flags&^(mpolMFStrict|mpolMFMove|mpolMFMoveAll) != 0 {
		return 0, unix.EINVAL
	}
	if flags&mpolMFMoveAll != 0 && !t.Cred().HasInitial(unix.CAP_SYS_NICE) {
		return 0, unix.EPERM
	}
	length = pageUp(length)
	if addr&pageMask != 0 || uint64(addr)+length < uint64(addr) {
		return 0, unix.EINVAL
	}
	p, err := readPolicy(t, int32(mode), nmask, maxnode)
	if err != nil {
		return 0, err
	}
	return 0, t.MM().MBind(addr, length, p)
}

// get_mempolicy(2)
func getMempolicy(t *sentry.Task, modeAddr, nmask usermem.Addr, maxnode uint64, addr usermem.Addr, flags uint64) (uintptr, error) {
	if flags&^(mpolFNode|mpolFAddr|mpolFMemsAllowed) != 0 || nmask != 0 && maxnode < 1 {
		return 0, unix.EINVAL
	}
	p := t.MemPolicy()
	mode, nodes := int32(p.Mode), p.Nodes
	switch {
	case flags&mpolFMemsAllowed != 0:
		if flags&(mpolFNode|mpolFAddr) != 0 {
			return 0, unix.EINVAL
		}
		mode, nodes = 0, 1
	case flags&mpolFAddr != 0:
		r, ok := t.MM().FindRegion(addr)
		if !ok || r.Start > addr {
			return 0, unix.EFAULT
		}
		mode, nodes = int32(r.Policy.Mode), r.Policy.Nodes
		if flags&mpolFNode != 0 {
			mode = 0
			var b [1]byte // the page must be there to be on a node
			if _, err := t.MM().CopyIn(addr, b[:]); err != nil {
				return 0, err
			}
		}
	case addr != 0:
		return 0, unix.EINVAL
	case flags&mpolFNode != 0:
		// The node that the next page would come from.
		if m := mode & 0xff; m != mpolInterleave && m != mpolWeightedInterleave {
			return 0, unix.EINVAL
		}
		mode = 0
	}
	if modeAddr != 0 {
		if err := usermem.CopyObjectOut(t.MM(), modeAddr, &mode); err != nil {
			return 0, err
		}
	}
	if nmask == 0 {
		return 0, nil
	}
	n := (maxnode - 1 + 63) / 64 * 8
	if n > 8 && n > arch.PageSize {
		return 0, unix.EINVAL
	}
	b := make([]byte, n)
	if n > 0 {
		binary.LittleEndian.PutUint64(b, nodes)
	}
	_, err := t.MM().CopyOut(nmask, b)
	return 0, err
}

// set_mempolicy_home_node(2)
func setMempolicyHomeNode(t *sentry.Task, addr usermem.Addr, length, node, flags uint64) (uintptr, error) {
	length = pageUp(length)
	if addr&pageMask != 0 || flags != 0 || node != 0 || uint64(addr)+length < uint64(addr) {
		return 0, unix.EINVAL
	}
	err := error(unix.ENOENT) // no region there has a policy of its own
	if length == 0 {
		err = nil
	}
	for a, end := addr, addr+usermem.Addr(length); a < end; {
		r, ok := t.MM().FindRegion(a)
		if !ok || r.Start >= end {
			break
		}
		switch a = r.End; r.Policy.Mode & 0xff {
		case mpolDefault:
		case mpolBind, mpolPreferredMany:
			err = nil
		default:
			return 0, unix.EOPNOTSUPP
		}
	}
	return 0, err
}

// otherTask is the task that pid names, 0 being the caller.
func otherTask(t *sentry.Task, pid int32) (*sentry.Task, error) {
	if pid == 0 {
		return t, nil
	}
	o := t.Kernel().Task(t.PIDNS(), pid)
	if o == nil {
		return nil, unix.ESRCH
	}
	return o, nil
}

// migrate_pages(2): all pages are on the one node already.
func migratePages(t *sentry.Task, pid int32, maxnode uint64, old, new usermem.Addr) (uintptr, error) {
	if _, _, err := readNodes(t, old, maxnode); err != nil {
		return 0, err
	}
	low, any, err := readNodes(t, new, maxnode)
	if err != nil {
		return 0, err
	}
	o, err := otherTask(t, pid)
	if err != nil {
		return 0, err
	}
	if !t.PtraceMayAccess(o, sentry.PtraceRead|sentry.PtraceRealCreds) {
		return 0, unix.EPERM
	}
	if any && low&1 == 0 {
		return 0, unix.EINVAL
	}
	return 0, nil
}

// move_pages(2) tells where pages are.
func movePages(t *sentry.Task, pid int32, count uint64, pages, nodes, status usermem.Addr, flags int32) (uintptr, error) {
	if flags&^(mpolMFMove|mpolMFMoveAll) != 0 {
		return 0, unix.EINVAL
	}
	if flags&mpolMFMoveAll != 0 && !t.Cred().HasInitial(unix.CAP_SYS_NICE) {
		return 0, unix.EPERM
	}
	o, err := otherTask(t, pid)
	if err != nil {
		return 0, err
	}
	as := o.GetMM()
	if as == nil {
		return 0, unix.EINVAL
	}
	defer as.DecUsers()
	if !t.PtraceMayAccess(o, sentry.PtraceRead|sentry.PtraceRealCreds) {
		return 0, unix.EPERM
	}
	for i := range count {
		if t.Fatal() {
			return 0, unix.EINTR
		}
		var page uint64
		var node, st int32
		if err := usermem.CopyObjectIn(t.MM(), pages+usermem.Addr(8*i), &page); err != nil {
			return 0, err
		}
		if nodes != 0 {
			if err := usermem.CopyObjectIn(t.MM(), nodes+usermem.Addr(4*i), &node); err != nil {
				return 0, err
			}
			if node != 0 {
				return 0, unix.ENODEV
			}
		}
		var entry [1]uint64
		if r, ok := as.FindRegion(usermem.Addr(page)); !ok || uint64(r.Start) > page {
			st = -int32(unix.EFAULT)
		} else if as.Pagemap(usermem.Addr(page&^pageMask), entry[:]); entry[0]>>63 == 0 {
			st = -int32(unix.ENOENT)
		}
		if err := usermem.CopyObjectOut(t.MM(), status+usermem.Addr(4*i), &st); err != nil {
			return 0, err
		}
	}
	return 0, nil
}
