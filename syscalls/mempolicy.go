package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
)

// NUMA policies for guests, whose machine has one node. All policies then mean the same:
// arguments are checked as Linux does, and nothing needs to be remembered but what
// get_mempolicy would tell of a policy that was set (it says MPOL_DEFAULT).

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

// readNodes copies in a node mask of maxnode-1 bits. first tells whether node 0 is in it, any
// whether one is.
func readNodes(t *sentry.Task, addr usermem.Addr, maxnode uint64) (first, any bool, err error) {
	maxnode--
	if maxnode == 0 || maxnode == ^uint64(0) || addr == 0 {
		return false, false, nil
	}
	if maxnode > arch.PageSize*8 {
		return false, false, unix.EINVAL
	}
	b := make([]byte, (maxnode+63)/64*8)
	if _, err := t.MM().CopyIn(addr, b); err != nil {
		return false, false, err
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
			return false, false, unix.EINVAL
		}
		any = true
		if i == 0 && c&1 != 0 {
			first = true
		}
	}
	return first, any, nil
}

// checkPolicy is what set_mempolicy and mbind say to a policy.
func checkPolicy(t *sentry.Task, mode int32, nmask usermem.Addr, maxnode uint64) error {
	flags := mode & (mpolStaticNodes | mpolRelativeNodes | mpolNumaBalancing)
	mode &^= flags
	if mode < 0 || mode >= mpolMax || flags&mpolStaticNodes != 0 && flags&mpolRelativeNodes != 0 {
		return unix.EINVAL
	}
	if flags&mpolNumaBalancing != 0 && mode != mpolBind && mode != mpolPreferredMany {
		return unix.EINVAL
	}
	first, any, err := readNodes(t, nmask, maxnode)
	if err != nil {
		return err
	}
	switch mode {
	case mpolDefault:
		if any {
			return unix.EINVAL
		}
		return nil
	case mpolLocal:
		if any || flags&(mpolStaticNodes|mpolRelativeNodes) != 0 {
			return unix.EINVAL
		}
		return nil
	case mpolPreferred:
		if !any {
			if flags&(mpolStaticNodes|mpolRelativeNodes) != 0 {
				return unix.EINVAL
			}
			return nil
		}
	default:
		if !any {
			return unix.EINVAL
		}
	}
	if !first && flags&mpolRelativeNodes == 0 {
		return unix.EINVAL // no node that exists
	}
	return nil
}

// set_mempolicy(2)
func setMempolicy(t *sentry.Task, mode int32, nmask usermem.Addr, maxnode uint64) (uintptr, error) {
	return 0, checkPolicy(t, mode, nmask, maxnode)
}

// mapped tells whether all of [addr, addr+n) is mapped.
func mapped(t *sentry.Task, addr usermem.Addr, n uint64) bool {
	end := addr + usermem.Addr(n)
	for addr < end {
		r, ok := t.MM().FindRegion(addr)
		if !ok || r.Start > addr {
			return false
		}
		addr = r.End
	}
	return true
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
	if err := checkPolicy(t, int32(mode), nmask, maxnode); err != nil {
		return 0, err
	}
	if length != 0 && !mapped(t, addr, length) {
		return 0, unix.EFAULT
	}
	return 0, nil
}

// get_mempolicy(2)
func getMempolicy(t *sentry.Task, modeAddr, nmask usermem.Addr, maxnode uint64, addr usermem.Addr, flags uint64) (uintptr, error) {
	if flags&^(mpolFNode|mpolFAddr|mpolFMemsAllowed) != 0 || nmask != 0 && maxnode < 1 {
		return 0, unix.EINVAL
	}
	var mode int32
	var nodes uint64
	switch {
	case flags&mpolFMemsAllowed != 0:
		if flags&(mpolFNode|mpolFAddr) != 0 {
			return 0, unix.EINVAL
		}
		nodes = 1
	case flags&mpolFAddr != 0:
		if r, ok := t.MM().FindRegion(addr); !ok || r.Start > addr {
			return 0, unix.EFAULT
		}
		if flags&mpolFNode != 0 {
			var b [1]byte // the page must be there to be on a node
			if _, err := t.MM().CopyIn(addr, b[:]); err != nil {
				return 0, err
			}
		}
	case addr != 0 || flags&mpolFNode != 0: // the latter: no interleaving policy
		return 0, unix.EINVAL
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
		b[0] = byte(nodes)
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
	if length == 0 {
		return 0, nil
	}
	return 0, unix.ENOENT // no region there has a policy of its own
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
	first, any, err := readNodes(t, new, maxnode)
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
	if any && !first {
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
