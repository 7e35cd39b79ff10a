package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/tmpfs"
)

const (
	pageMask = arch.PageSize - 1
	protSem  = 0x8

	// mapLegacy are the flags that MAP_SHARED ignores when it does not know them.
	// Those of MAP_SHARED_VALIDATE are the same here, since MAP_SYNC is for
	// persistent memory only.
	mapLegacy = unix.MAP_SHARED | unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS | unix.MAP_DENYWRITE |
		unix.MAP_EXECUTABLE | 0x4000000 /* MAP_UNINITIALIZED */ | unix.MAP_GROWSDOWN | unix.MAP_LOCKED |
		unix.MAP_NORESERVE | unix.MAP_POPULATE | unix.MAP_NONBLOCK | unix.MAP_STACK | unix.MAP_HUGETLB |
		unix.MAP_32BIT | unix.MAP_FIXED_NOREPLACE | 0x3f<<26 /* the huge page size */
)

// pageUp rounds up to pages; 0 if that is more than fits.
func pageUp(n uint64) uint64 { return (n + pageMask) &^ pageMask }

// mmap(2)
func mmap(t *sentry.Task, addr usermem.Addr, length uint64, prot, flags uint64, fd int32, off uint64) (uintptr, error) {
	if off&pageMask != 0 {
		return 0, unix.EINVAL
	}
	opts := mm.MMapOpts{Addr: addr, Length: length, Prot: int(prot), Flags: int(flags), Offset: off}
	var f *vfs.File
	if flags&unix.MAP_ANONYMOUS == 0 {
		var err error
		if f, err = openFile(t, fd); err != nil {
			return 0, err
		}
		defer f.DecRef()
		if flags&unix.MAP_HUGETLB != 0 {
			return 0, unix.EINVAL // the file is not of hugetlbfs: there is none
		}
	}
	switch {
	case length == 0:
		return 0, unix.EINVAL
	case pageUp(length) == 0 || length > arch.MaxAddr:
		return 0, unix.ENOMEM
	case off+pageUp(length) < off:
		return 0, unix.EOVERFLOW
	}
	kind := flags & unix.MAP_TYPE
	if f == nil {
		if flags&unix.MAP_HUGETLB != 0 {
			return 0, unix.ENOMEM // the pool of huge pages is empty
		}
		// A private anonymous mapping's offset means nothing.
		opts.Offset = 0
		switch kind {
		case unix.MAP_PRIVATE:
		case unix.MAP_SHARED, unix.MAP_SHARED_VALIDATE:
			opts.Flags = opts.Flags&^unix.MAP_TYPE | unix.MAP_SHARED
		default:
			return 0, unix.EINVAL // MAP_DROPPABLE as on kernels before 6.11
		}
	} else {
		if err := checkFileMap(kind, flags); err != nil {
			return 0, err
		}
		if kind == unix.MAP_SHARED_VALIDATE {
			opts.Flags = opts.Flags&^unix.MAP_TYPE | unix.MAP_SHARED
		}
		if err := f.MMap(t, &opts); err != nil {
			return 0, err
		}
	}
	a, err := t.MM().MMap(opts)
	if err != nil && opts.File != nil && opts.File.Release != nil {
		opts.File.Release() // it belongs to mm only after success
	}
	return uintptr(a), err
}

// checkFileMap checks the flags of a file mapping; modes and mounts are package vfs's.
func checkFileMap(kind, flags uint64) error {
	switch {
	case kind == unix.MAP_SHARED_VALIDATE && flags&^uint64(mapLegacy) != 0:
		return unix.EOPNOTSUPP
	case kind != unix.MAP_SHARED_VALIDATE && kind != unix.MAP_SHARED && kind != unix.MAP_PRIVATE:
		return unix.EINVAL
	case flags&unix.MAP_GROWSDOWN != 0:
		return unix.EINVAL
	}
	return nil
}

// munmap(2)
func munmap(t *sentry.Task, addr usermem.Addr, length uint64) (uintptr, error) {
	return 0, t.MM().MUnmap(addr, length)
}

// mprotect(2)
func mprotect(t *sentry.Task, addr usermem.Addr, length, prot uint64) (uintptr, error) {
	const grows = unix.PROT_GROWSDOWN | unix.PROT_GROWSUP
	switch {
	case prot&grows == grows || addr&pageMask != 0:
		return 0, unix.EINVAL
	case length == 0:
		return 0, nil
	case pageUp(length) == 0 || uint64(addr)+pageUp(length) <= uint64(addr):
		return 0, unix.ENOMEM
	case prot&^(unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC|protSem|grows) != 0:
		return 0, unix.EINVAL
	}
	return 0, t.MM().MProtect(addr, length, int(prot&^protSem))
}

// pkey_mprotect(2): on a processor without protection keys only key -1, which means none.
func pkeyMprotect(t *sentry.Task, addr usermem.Addr, length, prot uint64, pkey int32) (uintptr, error) {
	if pkey != -1 {
		return 0, unix.EINVAL
	}
	return mprotect(t, addr, length, prot)
}

// pkey_alloc(2): there are no keys to have.
func pkeyAlloc(_ *sentry.Task, flags, rights uint64) (uintptr, error) {
	if flags != 0 || rights&^3 != 0 {
		return 0, unix.EINVAL
	}
	return 0, unix.ENOSPC
}

// pkey_free(2)
func pkeyFree(*sentry.Task, int32) (uintptr, error) { return 0, unix.EINVAL }

// mremap(2)
func mremap(t *sentry.Task, old usermem.Addr, oldLen, newLen, flags uint64, newAddr usermem.Addr) (uintptr, error) {
	if flags&^(unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED|unix.MREMAP_DONTUNMAP) != 0 {
		return 0, unix.EINVAL
	}
	a, err := t.MM().MRemap(old, oldLen, newLen, int(flags), newAddr)
	return uintptr(a), err
}

// madvise(2)
func madvise(t *sentry.Task, addr usermem.Addr, length uint64, advice int32) (uintptr, error) {
	if advice == unix.MADV_HWPOISON || advice == 101 /* MADV_SOFT_OFFLINE */ {
		// Broken memory is the host's affair.
		if !t.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
			return 0, unix.EPERM
		}
		return 0, unix.EINVAL
	}
	return 0, t.MM().MAdvise(addr, length, int(advice))
}

// msync(2)
func msync(t *sentry.Task, addr usermem.Addr, length uint64, flags int32) (uintptr, error) {
	if flags&^(unix.MS_ASYNC|unix.MS_INVALIDATE|unix.MS_SYNC) != 0 || addr&pageMask != 0 ||
		flags&unix.MS_ASYNC != 0 && flags&unix.MS_SYNC != 0 {
		return 0, unix.EINVAL
	}
	end := uint64(addr) + pageUp(length)
	if length != 0 && pageUp(length) == 0 || end < uint64(addr) {
		return 0, unix.ENOMEM
	}
	if length == 0 {
		return 0, nil
	}
	return 0, t.MM().MSync(addr, length, int(flags))
}

// mincore(2)
func mincore(t *sentry.Task, addr usermem.Addr, length uint64, vec usermem.Addr) (uintptr, error) {
	if addr&pageMask != 0 {
		return 0, unix.EINVAL
	}
	if err := userRange(addr, length); err != nil {
		return 0, unix.ENOMEM
	}
	if err := userRange(vec, (length+pageMask)/arch.PageSize); err != nil {
		return 0, err
	}
	return 0, t.MM().MinCore(addr, length, vec)
}

// mlock(2)
func mlock(t *sentry.Task, addr usermem.Addr, length uint64) (uintptr, error) {
	return 0, t.MM().MLock(addr, length, 0)
}

// mlock2(2)
func mlock2(t *sentry.Task, addr usermem.Addr, length uint64, flags int32) (uintptr, error) {
	if flags&^unix.MLOCK_ONFAULT != 0 {
		return 0, unix.EINVAL
	}
	return 0, t.MM().MLock(addr, length, int(flags))
}

// munlock(2)
func munlock(t *sentry.Task, addr usermem.Addr, length uint64) (uintptr, error) {
	return 0, t.MM().MUnlock(addr, length)
}

// mlockall(2)
func mlockall(t *sentry.Task, flags int32) (uintptr, error) {
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) != 0 || flags == unix.MCL_ONFAULT {
		return 0, unix.EINVAL
	}
	return 0, t.MM().MLockAll(int(flags))
}

// munlockall(2)
func munlockall(t *sentry.Task) (uintptr, error) { return 0, t.MM().MUnlockAll() }

// brk(2)
func brk(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	return uintptr(t.MM().Brk(addr)), nil
}

// remap_file_pages(2) maps another part of the file that a shared mapping is of, as
// Linux does since it gave up nonlinear mappings.
func remapFilePages(t *sentry.Task, addr usermem.Addr, size, prot, pgoff, flags uint64) (uintptr, error) {
	start, length := addr&^pageMask, size&^pageMask
	if prot != 0 || start+usermem.Addr(length) <= start ||
		pgoff+length/arch.PageSize < pgoff || pgoff > 1<<51 {
		return 0, unix.EINVAL
	}
	r, ok := t.MM().FindRegion(start)
	if !ok || !r.Shared || r.Special || r.File == nil || start < r.Start {
		return 0, unix.EINVAL
	}
	f, ok := r.File.Owner.(*vfs.File)
	if !ok {
		return 0, unix.EINVAL
	}
	// Every region up to the end must be of the same file, one behind the other.
	for end := r.End; end < start+usermem.Addr(length); {
		next, ok := t.MM().FindRegion(end)
		if !ok || next.Start != end || next.File == nil || next.File.Owner != r.File.Owner || next.Prot != r.Prot {
			return 0, unix.EINVAL
		}
		end = next.End
	}
	opts := mm.MMapOpts{Addr: start, Length: length, Prot: mmapProt(r.Prot), Offset: pgoff * arch.PageSize,
		Flags: unix.MAP_SHARED | unix.MAP_FIXED | unix.MAP_POPULATE | int(flags&unix.MAP_NONBLOCK)}
	if r.Locked {
		opts.Flags |= unix.MAP_LOCKED
	}
	if !f.TryIncRef() {
		return 0, unix.EINVAL // unmapped by another thread just now
	}
	defer f.DecRef()
	if err := f.MMap(t, &opts); err != nil {
		return 0, err
	}
	if _, err := t.MM().MMap(opts); err != nil {
		if opts.File != nil && opts.File.Release != nil {
			opts.File.Release()
		}
		return 0, err
	}
	return 0, nil
}

// mmapProt is PROT_* of rights.
func mmapProt(p platform.Prot) int {
	prot := 0
	if p&platform.Read != 0 {
		prot |= unix.PROT_READ
	}
	if p&platform.Write != 0 {
		prot |= unix.PROT_WRITE
	}
	if p&platform.Exec != 0 {
		prot |= unix.PROT_EXEC
	}
	return prot
}

// map_shadow_stack(2), on a processor without shadow stacks
func mapShadowStack(*sentry.Task, usermem.Addr, uint64, uint32) (uintptr, error) {
	return 0, unix.EOPNOTSUPP
}

// memfd_create(2)
func memfdCreate(t *sentry.Task, addr usermem.Addr, flags uint32) (uintptr, error) {
	name, err := usermem.CopyInString(t.MM(), addr, 249)
	if err == unix.ENAMETOOLONG {
		err = unix.EINVAL
	}
	if err != nil {
		return 0, err
	}
	f, err := tmpfs.NewMemfd(t, t.Kernel().Memory, name, flags)
	if err != nil {
		return 0, err
	}
	return newFD(t, f, flags&unix.MFD_CLOEXEC != 0)
}

// mseal(2)
func mseal(t *sentry.Task, addr usermem.Addr, length, flags uint64) (uintptr, error) {
	if flags != 0 {
		return 0, unix.EINVAL
	}
	return 0, t.MM().MSeal(addr, length)
}

// process_madvise(2)
func processMadvise(t *sentry.Task, pidfd int32, vec usermem.Addr, n uint64, advice int32, flags uint32) (uintptr, error) {
	if flags != 0 {
		return 0, unix.EINVAL
	}
	rs, err := readIovec(t.MM(), vec, n)
	if err != nil {
		return 0, err
	}
	f, err := t.Files().Get(pidfd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	pid, _, err := sentry.PIDOfFile(f)
	if err != nil {
		return 0, err
	}
	o := t.Kernel().Task(t.Kernel().RootPIDNS(), pid.Root())
	if o == nil {
		return 0, unix.ESRCH
	}
	switch advice {
	case unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_WILLNEED, unix.MADV_COLLAPSE:
	default:
		return 0, unix.EINVAL
	}
	if !t.PtraceMayAccess(o, sentry.PtraceRead) || !t.Cred().HasInitial(unix.CAP_SYS_NICE) {
		return 0, unix.EPERM
	}
	as := o.GetMM()
	if as == nil {
		return 0, unix.ESRCH
	}
	defer as.DecUsers()
	done := uint64(0)
	for _, r := range rs {
		if err := as.MAdvise(r.Start, r.Len, int(advice)); err != nil {
			if done == 0 {
				return 0, err
			}
			break
		}
		done += r.Len
	}
	return uintptr(done), nil
}
