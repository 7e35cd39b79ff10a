package ipc

import (
	"bytes"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/vfs"
)

const (
	pageSize = 4096

	shmDest   = 01000 // in the mode: removed, lives until the last detach
	shmLocked = 02000

	shmHugeTLB = 04000

	shmReadOnly = 010000
	shmRound    = 020000
	shmRemap    = 040000
	shmExec     = 0100000

	shmLock    = 11
	shmUnlock  = 12
	shmStat    = 13
	shmInfo    = 14
	shmStatAny = 15

	maxSegment = 1 << 46
)

type shmDS struct {
	Perm                permDS
	Size                uint64
	Atime, Dtime, Ctime int64
	Cpid, Lpid          int32
	Nattch              uint64
	_, _                uint64
}

type shmInfo64 struct {
	Max, Min, Mni, Seg, All uint64
	_                       [4]uint64
}

type shmUsage struct {
	UsedIDs                    int32
	_                          int32
	Tot, Rss, Swp, SwAtt, SwOK uint64
}

// segment is a shared memory segment.
type segment struct {
	ns    *Namespace
	size  uint64        // immutable
	cache *mm.PageCache // immutable

	mu                  sync.Mutex
	perm                perm
	removed             bool // not in the table; the cache goes with the last attachment
	released            bool
	attached            map[*mm.MapFile]struct{} // one for each shmat
	atime, dtime, ctime int64
	cpid, lpid          int32
}

func (s *segment) ipcPerm() *perm { return &s.perm }

// attachment is one shmat: the Owner of the mapping.
type attachment struct{ s *segment }

func pages(size uint64) uint64 { return (size + pageSize - 1) / pageSize }

func (ns *Namespace) segment(id int32) (*segment, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.segments.byID(id)
}

// ShmGet is shmget(2).
func (ns *Namespace) ShmGet(ctx vfs.Context, key int32, size uint64, flags int32) (int32, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return get(ctx, ns, &ns.segments, key, flags, func(s *segment) error {
		if size > s.size {
			return unix.EINVAL
		}
		return nil
	}, func() (*segment, error) {
		if size == 0 || size > ns.Limits.ShmMax.Load() {
			return nil, unix.EINVAL
		}
		n := pages(size)
		if uint64(ns.segments.n) >= ns.Limits.ShmMni.Load() || n > ns.Limits.ShmAll.Load() || ns.shmPages > ns.Limits.ShmAll.Load()-n {
			return nil, unix.ENOSPC
		}
		if flags&shmHugeTLB != 0 || size > maxSegment {
			return nil, unix.ENOMEM
		}
		ns.shmPages += n
		return &segment{
			ns: ns, size: size, cache: ns.mem.NewPageCache(nil, int64(n*pageSize)),
			perm: newPerm(ctx, key, flags), ctime: now(), cpid: ctx.TGID(),
		}, nil
	})
}

// removeSegment is IPC_RMID: the segment goes at once or with its last attachment.
func (ns *Namespace) removeSegment(s *segment) {
	ns.mu.Lock()
	s.mu.Lock()
	if len(s.attached) > 0 {
		ns.segments.dropKey(s)
		s.perm.mode |= shmDest
		s.mu.Unlock()
		ns.mu.Unlock()
		return
	}
	release := ns.dropLocked(s)
	s.mu.Unlock()
	ns.mu.Unlock()
	if release {
		s.cache.Release()
	}
}

// dropLocked takes s out of the table; true: the caller releases the pages. Both locks are held.
func (ns *Namespace) dropLocked(s *segment) bool {
	if ns.segments.remove(s) {
		ns.shmPages -= pages(s.size)
	}
	s.removed = true
	was := s.released
	s.released = true
	return !was
}

// detached is called when the mapping of an attachment has gone.
func (s *segment) detached(f *mm.MapFile, pid int32) {
	s.ns.mu.Lock()
	s.mu.Lock()
	delete(s.attached, f)
	s.dtime, s.lpid = now(), pid
	release := len(s.attached) == 0 && s.perm.mode&shmDest != 0 && s.ns.dropLocked(s)
	s.mu.Unlock()
	s.ns.mu.Unlock()
	if release {
		s.cache.Release()
	}
}

// ShmAt is shmat(2) into as.
func (ns *Namespace) ShmAt(ctx vfs.Context, as *mm.AddressSpace, id int32, addr usermem.Addr, flags int32) (usermem.Addr, error) {
	if id < 0 {
		return 0, unix.EINVAL
	}
	mapFlags := unix.MAP_SHARED
	if addr != 0 {
		if addr%pageSize != 0 {
			if flags&shmRound == 0 {
				return 0, unix.EINVAL
			}
			if addr -= addr % pageSize; addr == 0 && flags&shmRemap != 0 {
				return 0, unix.EINVAL
			}
		}
		if flags&shmRemap != 0 {
			mapFlags |= unix.MAP_FIXED
		} else {
			mapFlags |= unix.MAP_FIXED_NOREPLACE
		}
	} else if flags&shmRemap != 0 {
		return 0, unix.EINVAL
	}
	want, prot, maxProt := uint32(0444), unix.PROT_READ, platform.Read|platform.Exec
	if flags&shmReadOnly == 0 {
		want |= 0222
		prot |= unix.PROT_WRITE
		maxProt |= platform.Write
	}
	if flags&shmExec != 0 {
		want |= 0111
		prot |= unix.PROT_EXEC
	}

	s, err := ns.segment(id)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	if err := ns.check(ctx, &s.perm, want); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	if s.removed {
		s.mu.Unlock()
		return 0, unix.EIDRM
	}
	key := s.perm.key
	pid := ctx.TGID()
	f := &mm.MapFile{
		Cache: s.cache, MaxProt: maxProt, Ino: uint64(id), Owner: &attachment{s},
		Name: func() string { return fmt.Sprintf("/SYSV%08x (deleted)", uint32(key)) },
	}
	f.Release = func() { s.detached(f, pid) }
	if s.attached == nil {
		s.attached = make(map[*mm.MapFile]struct{})
	}
	s.attached[f] = struct{}{}
	s.mu.Unlock()

	at, err := as.MMap(mm.MMapOpts{
		Addr: addr, Length: pages(s.size) * pageSize, Prot: prot, Flags: mapFlags, File: f,
	})
	if err != nil {
		s.detached(f, pid)
		if err == unix.EEXIST {
			err = unix.EINVAL
		}
		return 0, err
	}
	s.mu.Lock()
	s.atime, s.lpid = now(), pid
	s.mu.Unlock()
	return at, nil
}

// ShmDt is shmdt(2): it unmaps what is left of the attachment at addr.
func (ns *Namespace) ShmDt(as *mm.AddressSpace, addr usermem.Addr) error {
	if addr%pageSize != 0 {
		return unix.EINVAL
	}
	// The attachment's regions: those of the same mapping, at the places that they had.
	var file *mm.MapFile
	var end usermem.Addr
	var parts []mm.RegionInfo
	as.ForEachRegion(func(r mm.RegionInfo) bool {
		if r.Start < addr {
			return true
		}
		if file == nil {
			if r.File == nil || usermem.Addr(r.Offset) != r.Start-addr {
				return true
			}
			a, ok := r.File.Owner.(*attachment)
			if !ok {
				return true
			}
			file = r.File
			end = addr + usermem.Addr(pages(a.s.size)*pageSize)
		}
		if r.Start >= end {
			return false
		}
		if r.File == file && usermem.Addr(r.Offset) == r.Start-addr {
			parts = append(parts, r)
		}
		return true
	})
	if file == nil {
		return unix.EINVAL
	}
	for _, r := range parts {
		if err := as.MUnmap(r.Start, uint64(r.End-r.Start)); err != nil {
			return err
		}
	}
	return nil
}

// ShmCtl is shmctl(2).
func (ns *Namespace) ShmCtl(ctx vfs.Context, id, cmd int32, arg uint64) (int64, error) {
	cmd &^= ipc64
	addr := usermem.Addr(arg)
	mem := ctx.Memory()
	switch cmd {
	case ipcInfo:
		l := &ns.Limits
		d := shmInfo64{Max: l.ShmMax.Load(), Min: 1, Mni: l.ShmMni.Load(), Seg: l.ShmMni.Load(), All: l.ShmAll.Load()}
		ns.mu.Lock()
		max := ns.segments.maxUsed()
		ns.mu.Unlock()
		return int64(max), usermem.CopyObjectOut(mem, addr, &d)
	case shmInfo:
		ns.mu.Lock()
		d := shmUsage{UsedIDs: int32(ns.segments.n), Tot: ns.shmPages}
		ns.segments.each(func(s *segment) { d.Rss += uint64(s.cache.Pages()) })
		max := ns.segments.maxUsed()
		ns.mu.Unlock()
		return int64(max), usermem.CopyObjectOut(mem, addr, &d)
	case ipcStat, shmStat, shmStatAny:
		return ns.shmStat(ctx, id, cmd, addr)
	}
	var d shmDS
	if cmd == ipcSet {
		if err := usermem.CopyObjectIn(mem, addr, &d); err != nil {
			return 0, err
		}
	}
	if cmd != ipcSet && cmd != ipcRmid && cmd != shmLock && cmd != shmUnlock {
		return 0, unix.EINVAL
	}
	s, err := ns.segment(id)
	if err != nil {
		return 0, err
	}
	switch cmd {
	case ipcRmid:
		s.mu.Lock()
		err := ns.checkOwner(ctx, &s.perm)
		s.mu.Unlock()
		if err == nil {
			ns.removeSegment(s)
		}
		return 0, err
	case ipcSet:
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
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := ctx.Cred(); !c.HasIn(ns.UserNS, unix.CAP_IPC_LOCK) {
		if c.EUID != s.perm.uid && c.EUID != s.perm.cuid {
			return 0, unix.EPERM
		}
		if cmd == shmLock && ctx.Limit(unix.RLIMIT_MEMLOCK) == 0 {
			return 0, unix.EPERM
		}
	}
	if s.perm.mode &^= shmLocked; cmd == shmLock {
		s.perm.mode |= shmLocked // frames are never swapped out anyway
	}
	return 0, nil
}

func (s *segment) ds(ctx vfs.Context) shmDS {
	nattch := 0 // parts of an attachment and those of forked processes count, too
	for f := range s.attached {
		nattch += f.Regions()
	}
	return shmDS{
		Perm: s.perm.ds(ctx), Size: s.size, Atime: s.atime, Dtime: s.dtime, Ctime: s.ctime,
		Cpid: localPID(ctx, s.cpid), Lpid: localPID(ctx, s.lpid), Nattch: uint64(nattch),
	}
}

func (ns *Namespace) shmStat(ctx vfs.Context, id, cmd int32, addr usermem.Addr) (int64, error) {
	ns.mu.Lock()
	var s *segment
	var err error
	if cmd == ipcStat {
		s, err = ns.segments.byID(id)
	} else {
		s, err = ns.segments.byIndex(id)
	}
	if err != nil {
		ns.mu.Unlock()
		return 0, err
	}
	s.mu.Lock()
	if cmd != shmStatAny {
		err = ns.check(ctx, &s.perm, 0444)
	}
	d := s.ds(ctx)
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

// ProcShm is the text of /proc/sysvipc/shm.
func (ns *Namespace) ProcShm(ctx vfs.Context) []byte {
	var b bytes.Buffer
	b.WriteString("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n")
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.segments.each(func(s *segment) {
		s.mu.Lock()
		d := s.ds(ctx)
		s.mu.Unlock()
		fmt.Fprintf(&b, "%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d\n", d.Perm.Key, s.perm.id, d.Perm.Mode,
			d.Size, d.Cpid, d.Lpid, d.Nattch, d.Perm.UID, d.Perm.GID, d.Perm.CUID, d.Perm.CGID, d.Atime, d.Dtime, d.Ctime,
			s.cache.Pages()*pageSize, 0)
	})
	return b.Bytes()
}
