package mm

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
)

func (as *AddressSpace) info(r *region) RegionInfo {
	has := func(f regionFlags) bool { return r.flags&f != 0 }
	i := RegionInfo{
		Start: usermem.Addr(r.start), End: usermem.Addr(r.end), Prot: r.prot, MaxProt: r.maxProt,
		Shared: r.shared, GrowsDown: has(flagGrowsDown), Locked: has(flagLocked), NoReserve: has(flagNoReserve),
		DontFork: has(flagDontFork), WipeOnFork: has(flagWipeOnFork), DontDump: has(flagDontDump),
		HugePage: has(flagHugePage), NoHugePage: has(flagNoHugePage), Mergeable: has(flagMergeable), Sealed: has(flagSealed),
		Sequential: has(flagSequential), Random: has(flagRandom), Special: has(flagSpecial),
		File: r.file, Name: r.name, Policy: r.policy,
	}
	if r.file != nil {
		i.Offset = r.off
		if has(flagSpecial) {
			i.File, i.Offset = nil, 0
		}
	}
	if i.Name == "" && r.anonymous() {
		l := &as.layout
		switch {
		case r.start < as.brk.end() && r.end > l.StartBrk:
			i.Name = "[heap]"
		case has(flagStack) || r.start <= l.StartStack && r.end > l.StartStack:
			i.Name = "[stack]"
		}
	}
	return i
}

// named adds the path of a file; no lock is held.
func named(i *RegionInfo) {
	if i.Name == "" && i.File != nil && i.File.Name != nil {
		i.Name = i.File.Name()
	}
}

// ForEachRegion calls f for each region, in order, until it returns false. No lock
// is held meanwhile; the regions are those of one moment, and files of them stay
// until the call returns.
func (as *AddressSpace) ForEachRegion(f func(RegionInfo) bool) {
	as.mu.RLock()
	l := make([]RegionInfo, 0, as.regions.Len())
	as.regions.Scan(func(_ uint64, r *region) bool {
		r.hold()
		l = append(l, as.info(r))
		// info hides the file of special regions, which hold for nothing.
		if l[len(l)-1].File == nil && r.file != nil {
			r.file.refs.Add(-1)
		}
		return true
	})
	as.mu.RUnlock()
	for i := range l {
		named(&l[i])
		if !f(l[i]) {
			break
		}
	}
	for i := range l {
		if l[i].File != nil {
			release([]*MapFile{l[i].File})
		}
	}
}

// FindRegion is the region that contains addr. Its File must not be used after
// the region may be gone.
func (as *AddressSpace) FindRegion(addr usermem.Addr) (RegionInfo, bool) {
	as.mu.RLock()
	r := as.find(uint64(addr))
	if r == nil {
		as.mu.RUnlock()
		return RegionInfo{}, false
	}
	i := as.info(r)
	r.hold()
	file := r.file
	as.mu.RUnlock()
	named(&i)
	if file != nil {
		release([]*MapFile{file})
	}
	return i, true
}

// ForEachSmaps is ForEachRegion with what is resident.
func (as *AddressSpace) ForEachSmaps(f func(RegionInfo, Smaps) bool) {
	as.ForEachRegion(func(i RegionInfo) bool {
		var s Smaps
		as.mu.RLock()
		as.smaps(uint64(i.Start), uint64(i.End), &s)
		as.mu.RUnlock()
		if i.Locked {
			s.Locked = s.Pss
		}
		return f(i, s)
	})
}

func (as *AddressSpace) smaps(lo, hi uint64, s *Smaps) {
	if as.root == NoFrame {
		return
	}
	var pss, pssDirty uint64 // in 1/4096 bytes
	for a := lo; a < hi; {
		t, end := as.leaf(a)
		end = min(end, hi)
		for ; t != nil && a < end; a += PageSize {
			e := t[pageIdx(a)]
			if e == 0 {
				continue
			}
			f := frameOf(e)
			anon := as.m.kinds[f] == uint8(kindAnon)
			n := uint64(as.m.Refs(f))
			if !anon && n > 1 {
				n-- // the page cache's
			}
			n = max(n, 1)
			dirty := anon || e&pteDirty != 0
			s.Rss += PageSize
			s.Referenced += PageSize
			pss += PageSize << 12 / n
			if dirty {
				pssDirty += PageSize << 12 / n
			}
			if anon {
				s.Anonymous += PageSize
			}
			switch {
			case n > 1 && dirty:
				s.SharedDirty += PageSize
			case n > 1:
				s.SharedClean += PageSize
			case dirty:
				s.PrivateDirty += PageSize
			default:
				s.PrivateClean += PageSize
			}
		}
		a = end
	}
	s.Pss, s.PssDirty = pss>>12, pssDirty>>12
}

// Pagemap fills out with the entries of /proc/PID/pagemap for the pages from addr
// on. Frame numbers are in them; they are for privileged readers only.
func (as *AddressSpace) Pagemap(addr usermem.Addr, out []uint64) {
	const (
		present   = 1 << 63
		file      = 1 << 61
		exclusive = 1 << 56
		softDirty = 1 << 55
		pfnMask   = 1<<55 - 1
	)
	clear(out)
	as.mu.RLock()
	defer as.mu.RUnlock()
	a := uint64(addr) &^ (PageSize - 1)
	if as.root == NoFrame || a >= as.hi {
		return
	}
	hi := a + min(uint64(len(out))<<PageShift, as.hi-a)
	for i := 0; a < hi; {
		t, end := as.leaf(a)
		end = min(end, hi)
		if t == nil {
			i += int((end - a) >> PageShift)
			a = end
			continue
		}
		for ; a < end; a, i = a+PageSize, i+1 {
			e := t[pageIdx(a)]
			if e == 0 {
				continue
			}
			f := frameOf(e)
			v := uint64(f)&pfnMask | present | softDirty
			refs := as.m.Refs(f)
			if as.m.kinds[f] != uint8(kindAnon) {
				v |= file
				refs--
			}
			if refs <= 1 {
				v |= exclusive
			}
			out[i] = v
		}
	}
}

// Usage is what /proc/PID/status and getrusage tell.
func (as *AddressSpace) Usage() Usage {
	as.mu.RLock()
	defer as.mu.RUnlock()
	b := func(n int64) uint64 { return uint64(max(n, 0)) * PageSize }
	anon, file, shmem := as.rss[kindAnon].Load(), as.rss[kindFile].Load(), as.rss[kindShmem].Load()
	text := as.textPages()
	return Usage{
		VmPeak: b(as.peakVM), VmSize: b(as.totalVM), VmLck: b(as.lockedVM),
		VmHWM: b(max(as.hwm.Load(), anon+file+shmem)), VmRSS: b(anon + file + shmem),
		RssAnon: b(anon), RssFile: b(file), RssShmem: b(shmem),
		VmData: b(as.dataVM), VmStk: b(as.stackVM), VmExe: b(text), VmLib: b(as.execVM - text),
		VmPTE:  b(as.tables),
		MinFlt: as.minFlt.Load(), MajFlt: as.majFlt.Load(),
	}
}

func (as *AddressSpace) textPages() int64 {
	l := &as.layout
	return max(int64(roundUp(l.EndCode)-l.StartCode&^(PageSize-1))>>PageShift, 0)
}

// RSS is the number of resident bytes, without a lock.
func (as *AddressSpace) RSS() uint64 {
	return uint64(max(as.rss[kindAnon].Load()+as.rss[kindFile].Load()+as.rss[kindShmem].Load(), 0)) * PageSize
}

// ResetHWM starts the high-water mark of VmHWM anew (/proc/PID/clear_refs).
func (as *AddressSpace) ResetHWM() { as.hwm.Store(0) }

// Statm is /proc/PID/statm.
func (as *AddressSpace) Statm() Statm {
	as.mu.RLock()
	defer as.mu.RUnlock()
	shared := as.rss[kindFile].Load() + as.rss[kindShmem].Load()
	return Statm{
		Size: uint64(as.totalVM), Resident: uint64(shared + as.rss[kindAnon].Load()), Shared: uint64(shared),
		Text: uint64(as.textPages()), Data: uint64(as.dataVM + as.stackVM),
	}
}

// SetName names anonymous memory (PR_SET_VMA_ANON_NAME); an empty name removes it.
func (as *AddressSpace) SetName(addr usermem.Addr, length uint64, name string) error {
	lo, hi, ok := span(addr, length)
	if !ok || length != 0 && hi == lo {
		return unix.EINVAL
	}
	if hi == lo {
		return nil
	}
	var dead []*MapFile
	as.mu.Lock()
	err := as.setName(lo, hi, name, &dead)
	as.mu.Unlock()
	release(dead)
	return err
}

func (as *AddressSpace) setName(lo, hi uint64, name string, dead *[]*MapFile) error {
	rs := as.overlapping(lo, hi)
	hole := !covered(rs, lo, hi)
	for _, r := range rs {
		shmem := !r.anonymous() && r.file.Cache.anon
		if !r.anonymous() && !shmem {
			return unix.EBADF
		}
		part, ok := as.carve(max(r.start, lo), min(r.end, hi))
		if !ok {
			return unix.ENOMEM
		}
		for _, p := range part {
			switch {
			case name == "":
				p.name = ""
			case shmem:
				p.name = "[anon_shmem:" + name + "]"
			default:
				p.name = "[anon:" + name + "]"
			}
		}
	}
	as.merge(lo, hi, dead)
	if hole {
		return unix.ENOMEM
	}
	return nil
}

// Layout is where the parts of the program are.
func (as *AddressSpace) Layout() Layout {
	as.mu.RLock()
	defer as.mu.RUnlock()
	l := as.layout
	l.Brk = as.brk.end()
	return l
}

// SetLayout changes it, for exec. f must not use as.
func (as *AddressSpace) SetLayout(f func(l *Layout)) {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := as.layout
	l.Brk = as.brk.end()
	f(&l)
	as.layout = l
	as.brk.set(l.Brk)
}

// PrctlSetMM sets one field (PR_SET_MM); the caller has checked capabilities.
func (as *AddressSpace) PrctlSetMM(opt int, v uint64) error {
	as.mu.Lock()
	defer as.mu.Unlock()
	l := as.layout
	l.Brk = as.brk.settle()
	p := map[int]*uint64{
		unix.PR_SET_MM_START_CODE: &l.StartCode, unix.PR_SET_MM_END_CODE: &l.EndCode,
		unix.PR_SET_MM_START_DATA: &l.StartData, unix.PR_SET_MM_END_DATA: &l.EndData,
		unix.PR_SET_MM_START_STACK: &l.StartStack, unix.PR_SET_MM_START_BRK: &l.StartBrk,
		unix.PR_SET_MM_BRK: &l.Brk, unix.PR_SET_MM_ARG_START: &l.ArgStart,
		unix.PR_SET_MM_ARG_END: &l.ArgEnd, unix.PR_SET_MM_ENV_START: &l.EnvStart,
		unix.PR_SET_MM_ENV_END: &l.EnvEnd,
	}[opt]
	if p == nil {
		return unix.EINVAL
	}
	*p = v
	switch opt {
	case unix.PR_SET_MM_START_STACK, unix.PR_SET_MM_ARG_START, unix.PR_SET_MM_ARG_END,
		unix.PR_SET_MM_ENV_START, unix.PR_SET_MM_ENV_END:
		if as.after(v) == nil {
			return unix.EFAULT
		}
	}
	return as.setLayout(l)
}

// SetMMMap sets all fields (PR_SET_MM_MAP).
func (as *AddressSpace) SetMMMap(l Layout) error {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.brk.settle()
	return as.setLayout(l)
}

// setLayout is for PR_SET_MM. The break is settled.
func (as *AddressSpace) setLayout(l Layout) error {
	for _, v := range []uint64{l.StartCode, l.EndCode, l.StartData, l.EndData, l.StartBrk, l.Brk,
		l.StartStack, l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd} {
		if v < as.lo || v >= as.hi {
			return unix.EINVAL
		}
	}
	if l.StartCode >= l.EndCode || l.StartData > l.EndData || l.StartBrk > l.Brk ||
		l.ArgStart > l.ArgEnd || l.EnvStart > l.EnvEnd || l.StartBrk < l.EndData {
		return unix.EINVAL
	}
	if int64((l.Brk-l.StartBrk+(l.EndData-l.StartData))>>PageShift) > as.limit(unix.RLIMIT_DATA) {
		return unix.EINVAL
	}
	as.layout = l
	as.brk.set(l.Brk)
	return nil
}

// Auxv is the saved auxiliary vector (/proc/PID/auxv); it must not be changed.
func (as *AddressSpace) Auxv() []uint64 {
	as.mu.RLock()
	defer as.mu.RUnlock()
	return as.auxv
}

// SetAuxv saves the auxiliary vector; v is as's then.
func (as *AddressSpace) SetAuxv(v []uint64) {
	as.mu.Lock()
	as.auxv = v
	as.mu.Unlock()
}

// ExeFile is what SetExeFile set: the file that /proc/PID/exe is. References to
// it are the sentry's matter; Fork copies the value.
func (as *AddressSpace) ExeFile() any {
	as.mu.RLock()
	defer as.mu.RUnlock()
	return as.exe
}

// SetExeFile sets the file and returns the one before.
func (as *AddressSpace) SetExeFile(v any) (old any) {
	as.mu.Lock()
	old, as.exe = as.exe, v
	as.mu.Unlock()
	return old
}
