package proc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
)

// nameColumn is where names begin in maps.
const nameColumn = 73

// rights are the letters of maps.
func rights(i *mm.RegionInfo) string {
	r := [4]byte{'-', '-', '-', 'p'}
	if i.Prot&platform.Read != 0 {
		r[0] = 'r'
	}
	if i.Prot&platform.Write != 0 {
		r[1] = 'w'
	}
	if i.Prot&platform.Exec != 0 {
		r[2] = 'x'
	}
	if i.Shared {
		r[3] = 's'
	}
	return string(r[:])
}

// regionLine is one line of maps.
func regionLine(b *bytes.Buffer, i *mm.RegionInfo) {
	start := b.Len()
	var dev, ino uint64
	if i.File != nil {
		dev, ino = i.File.Dev, i.File.Ino
	}
	fmt.Fprintf(b, "%08x-%08x %s %08x %02x:%02x %d ", uint64(i.Start), uint64(i.End), rights(i), i.Offset,
		unix.Major(dev), unix.Minor(dev), ino)
	if i.Name != "" {
		for b.Len()-start < nameColumn-1 {
			b.WriteByte(' ')
		}
		b.WriteByte(' ')
		b.WriteString(strings.ReplaceAll(i.Name, "\n", `\012`))
	}
	b.WriteByte('\n')
}

func (e *entry) maps(_ vfs.Context, b *bytes.Buffer) error {
	return e.withMM(func(as *mm.AddressSpace) error {
		e.regions(as, func(i mm.RegionInfo) bool {
			regionLine(b, &i)
			return true
		})
		return nil
	})
}

// hostVDSO is the vDSO of a program that has the host's, which the platform maps and mm does not know.
func (e *entry) hostVDSO(as *mm.AddressSpace) (mm.RegionInfo, bool) {
	const atSysinfoEhdr = 33
	v := as.Auxv()
	for i := 0; i+1 < len(v) && e.cpu.VDSO != 0; i += 2 {
		if at := usermem.Addr(v[i+1]); v[i] == atSysinfoEhdr && at != 0 {
			_, known := as.FindRegion(at)
			return mm.RegionInfo{Start: at, End: at + usermem.Addr(e.cpu.VDSO), Prot: platform.Read | platform.Exec,
				MaxProt: platform.Read | platform.Write | platform.Exec, Special: true, Name: "[vdso]"}, !known
		}
	}
	return mm.RegionInfo{}, false
}

// smapsOf calls f for all regions in order, with what is resident if it is asked for.
func (e *entry) smapsOf(as *mm.AddressSpace, f func(i mm.RegionInfo, s mm.Smaps) bool) {
	v, extra := e.hostVDSO(as)
	more := true
	as.ForEachSmaps(func(i mm.RegionInfo, s mm.Smaps) bool {
		if extra && i.Start > v.Start {
			extra = false
			if more = f(v, mm.Smaps{}); !more {
				return false
			}
		}
		more = f(i, s)
		return more
	})
	if extra && more {
		f(v, mm.Smaps{})
	}
}

// regions is the same without what is resident.
func (e *entry) regions(as *mm.AddressSpace, f func(i mm.RegionInfo) bool) {
	v, extra := e.hostVDSO(as)
	more := true
	as.ForEachRegion(func(i mm.RegionInfo) bool {
		if extra && i.Start > v.Start {
			extra = false
			if more = f(v); !more {
				return false
			}
		}
		more = f(i)
		return more
	})
	if extra && more {
		f(v)
	}
}

// pss splits a region's proportional share by what the pages are.
type pss struct{ anon, file, shmem uint64 }

func pssOf(i *mm.RegionInfo, s *mm.Smaps) pss {
	switch {
	case i.File == nil:
		return pss{anon: s.Pss}
	case !i.Shared:
		// Pages of a private mapping that were written are anonymous.
		return pss{anon: s.PssDirty, file: s.Pss - s.PssDirty}
	case strings.HasPrefix(i.Name, "/memfd:"), strings.HasPrefix(i.Name, "/SYSV"), strings.HasPrefix(i.Name, "/dev/zero"),
		strings.HasPrefix(i.Name, "/dev/shm/"), strings.HasPrefix(i.Name, "[anon_shmem"):
		return pss{shmem: s.Pss}
	}
	return pss{file: s.Pss}
}

func row(b *bytes.Buffer, name string, bytes uint64) {
	fmt.Fprintf(b, "%-16s%8d kB\n", name+":", bytes/1024)
}

// smapsRows are what smaps and smaps_rollup have in common.
func smapsRows(b *bytes.Buffer, s *mm.Smaps, split *pss) {
	row(b, "Rss", s.Rss)
	row(b, "Pss", s.Pss)
	row(b, "Pss_Dirty", s.PssDirty)
	if split != nil {
		row(b, "Pss_Anon", split.anon)
		row(b, "Pss_File", split.file)
		row(b, "Pss_Shmem", split.shmem)
	}
	row(b, "Shared_Clean", s.SharedClean)
	row(b, "Shared_Dirty", s.SharedDirty)
	row(b, "Private_Clean", s.PrivateClean)
	row(b, "Private_Dirty", s.PrivateDirty)
	row(b, "Referenced", s.Referenced)
	row(b, "Anonymous", s.Anonymous)
	for _, n := range []string{"KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb",
		"Private_Hugetlb", "Swap", "SwapPss"} {
		row(b, n, 0)
	}
	row(b, "Locked", s.Locked)
}

// vmFlags are the two-letter names of a region's properties, in the order of Linux's bits.
func vmFlags(i *mm.RegionInfo) string {
	var s strings.Builder
	for _, f := range []struct {
		on   bool
		name string
	}{
		{i.Prot&platform.Read != 0, "rd"}, {i.Prot&platform.Write != 0, "wr"}, {i.Prot&platform.Exec != 0, "ex"},
		{i.Shared && i.MaxProt&platform.Write != 0, "sh"},
		{i.MaxProt&platform.Read != 0, "mr"}, {i.MaxProt&platform.Write != 0, "mw"}, {i.MaxProt&platform.Exec != 0, "me"},
		{i.Shared, "ms"}, {i.GrowsDown, "gd"}, {i.Special, "pf"}, {i.Locked, "lo"}, {i.Sequential, "sr"}, {i.Random, "rr"},
		{i.DontFork, "dc"}, {i.Special, "de"},
		{!i.Shared && !i.NoReserve && !i.Special && i.Prot&platform.Write != 0, "ac"},
		{i.NoReserve, "nr"}, {i.WipeOnFork, "wf"}, {i.DontDump || i.Special, "dd"}, {i.HugePage, "hg"},
		{i.NoHugePage, "nh"}, {i.Mergeable, "mg"}, {i.Sealed, "sl"},
	} {
		if f.on {
			s.WriteString(f.name)
			s.WriteByte(' ')
		}
	}
	return s.String()
}

func (e *entry) smaps(_ vfs.Context, b *bytes.Buffer) error {
	return e.withMM(func(as *mm.AddressSpace) error {
		e.smapsOf(as, func(i mm.RegionInfo, s mm.Smaps) bool {
			regionLine(b, &i)
			row(b, "Size", uint64(i.End-i.Start))
			row(b, "KernelPageSize", mm.PageSize)
			row(b, "MMUPageSize", mm.PageSize)
			smapsRows(b, &s, nil)
			fmt.Fprintf(b, "THPeligible:    %8d\n", 0)
			fmt.Fprintf(b, "VmFlags: %s\n", vmFlags(&i))
			return true
		})
		return nil
	})
}

func (e *entry) smapsRollup(_ vfs.Context, b *bytes.Buffer) error {
	as := e.task().GetMM()
	if as == nil {
		return unix.ESRCH
	}
	defer as.DecUsers()
	var sum mm.Smaps
	var split pss
	var lo, hi uint64
	e.smapsOf(as, func(i mm.RegionInfo, s mm.Smaps) bool {
		if hi == 0 {
			lo = uint64(i.Start)
		}
		hi = uint64(i.End)
		sum.Rss += s.Rss
		sum.Pss += s.Pss
		sum.PssDirty += s.PssDirty
		sum.SharedClean += s.SharedClean
		sum.SharedDirty += s.SharedDirty
		sum.PrivateClean += s.PrivateClean
		sum.PrivateDirty += s.PrivateDirty
		sum.Referenced += s.Referenced
		sum.Anonymous += s.Anonymous
		sum.Locked += s.Locked
		p := pssOf(&i, &s)
		split.anon += p.anon
		split.file += p.file
		split.shmem += p.shmem
		return true
	})
	start := b.Len()
	fmt.Fprintf(b, "%08x-%08x ---p 00000000 00:00 0 ", lo, hi)
	for b.Len()-start < nameColumn {
		b.WriteByte(' ')
	}
	b.WriteString("[rollup]\n")
	smapsRows(b, &sum, &split)
	return nil
}

// policyName is a policy as numa_maps shows it.
func policyName(p mm.Policy) string {
	const flags = unix.MPOL_F_STATIC_NODES | unix.MPOL_F_RELATIVE_NODES
	names := [...]string{"default", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"}
	name := names[0]
	if m := int(p.Mode) &^ (flags | unix.MPOL_F_NUMA_BALANCING); m < len(names) {
		name = names[m]
	}
	switch p.Mode & flags {
	case unix.MPOL_F_STATIC_NODES:
		name += "=static"
	case unix.MPOL_F_RELATIVE_NODES:
		name += "=relative"
	}
	if p.Nodes != 0 {
		name += ":0"
	}
	return name
}

// numaMaps is numa_maps: all memory is on node 0.
func (e *entry) numaMaps(_ vfs.Context, b *bytes.Buffer) error {
	return e.withMM(func(as *mm.AddressSpace) error {
		e.smapsOf(as, func(i mm.RegionInfo, s mm.Smaps) bool {
			fmt.Fprintf(b, "%08x %s", uint64(i.Start), policyName(i.Policy))
			switch {
			case i.File != nil:
				fmt.Fprintf(b, " file=%s", strings.NewReplacer("\n", `\012`, "\t", `\011`, " ", `\040`).Replace(i.Name))
			case i.Name == "[heap]":
				b.WriteString(" heap")
			case i.Name == "[stack]":
				b.WriteString(" stack")
			}
			pages, anon, dirty := s.Rss/mm.PageSize, s.Anonymous/mm.PageSize, (s.SharedDirty+s.PrivateDirty)/mm.PageSize
			if pages != 0 {
				if anon != 0 {
					fmt.Fprintf(b, " anon=%d", anon)
				}
				if dirty != 0 {
					fmt.Fprintf(b, " dirty=%d", dirty)
				}
				if pages != anon && pages != dirty {
					fmt.Fprintf(b, " mapped=%d", pages)
				}
				fmt.Fprintf(b, " active=0 N0=%d kernelpagesize_kB=4", pages)
			}
			b.WriteByte('\n')
			return true
		})
		return nil
	})
}

// memory is the address space of the task at the time of an open; it does not keep it alive.
func (e *entry) memory(ctx vfs.Context, mode sentry.PtraceMode) (*mm.AddressSpace, error) {
	if e.gone() {
		return nil, unix.ESRCH
	}
	if err := e.mayLook(ctx, mode); err != nil {
		return nil, err
	}
	as := e.task().GetMM()
	if as == nil {
		return nil, unix.ESRCH
	}
	as.DecUsers()
	return as, nil
}

// mem is /proc/PID/mem: the memory of the process, whatever its rights.
func (e *entry) mem() *kernfs.File {
	n := e.file(0o600, nil)
	n.Open = func(ctx vfs.Context, _ *vfs.Inode, _ *vfs.File) (vfs.FileOps, error) {
		as, err := e.memory(ctx, sentry.PtraceAttach)
		if err != nil {
			return nil, err
		}
		return &memFile{as: as}, nil
	}
	return n
}

type memFile struct {
	vfs.DefaultFileOps
	as *mm.AddressSpace
}

// memChunk is how much is copied at a time.
const memChunk = 64 << 10

// Read implements vfs.FileOps.
func (m *memFile) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	if !m.as.TryIncUsers() {
		return 0, nil
	}
	defer m.as.DecUsers()
	buf := make([]byte, min(dst.Len(), memChunk))
	var done int64
	for dst.Len() > 0 {
		part := buf[:min(uint64(len(buf)), dst.Len())]
		n, err := m.as.CopyInForce(usermem.Addr(off+done), part)
		if n > 0 {
			w, werr := dst.Write(part[:n])
			done += int64(w)
			if werr != nil {
				return 0, werr
			}
		}
		if err != nil || n == 0 {
			if done == 0 {
				return 0, unix.EIO
			}
			break
		}
	}
	return done, nil
}

// Write implements vfs.FileOps.
func (m *memFile) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, off int64, _ vfs.IOFlags) (int64, int64, error) {
	if !m.as.TryIncUsers() {
		return 0, off, nil
	}
	defer m.as.DecUsers()
	buf := make([]byte, min(src.Len(), memChunk))
	var done int64
	for src.Len() > 0 {
		part := buf[:min(uint64(len(buf)), src.Len())]
		r, rerr := src.Read(part)
		if r > 0 {
			n, err := m.as.CopyOutForce(usermem.Addr(off+done), part[:r])
			done += int64(n)
			if err != nil || n < r {
				if done == 0 {
					return 0, off, unix.EIO
				}
				break
			}
		}
		if rerr != nil {
			if done == 0 {
				return 0, off, rerr
			}
			break
		}
	}
	return done, off + done, nil
}

// Seek implements vfs.FileOps: offsets are addresses.
func (m *memFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	switch whence {
	case unix.SEEK_SET:
		return off, nil
	case unix.SEEK_CUR:
		return pos + off, nil
	}
	return 0, unix.EINVAL
}

// pagemap is /proc/PID/pagemap: eight bytes a page.
func (e *entry) pagemap() *kernfs.File {
	n := e.file(0o400, nil)
	n.Open = func(ctx vfs.Context, _ *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
		as, err := e.memory(ctx, sentry.PtraceRead)
		if err != nil {
			return nil, err
		}
		return &pagemapFile{as: as, frames: ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN)}, nil
	}
	return n
}

type pagemapFile struct {
	memFile
	as     *mm.AddressSpace
	frames bool // the opener may see frame numbers
}

// userPages is how many pages a guest can have.
const userPages = (1<<47 - mm.PageSize) / mm.PageSize

// Read implements vfs.FileOps.
func (p *pagemapFile) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	const entrySize = 8
	if off%entrySize != 0 || dst.Len()%entrySize != 0 {
		return 0, unix.EINVAL
	}
	if !p.as.TryIncUsers() {
		return 0, nil
	}
	defer p.as.DecUsers()
	var pages [512]uint64
	var raw [len(pages) * entrySize]byte
	var done int64
	for dst.Len() > 0 {
		at := (off + done) / entrySize
		if at >= userPages {
			break
		}
		n := int(min(uint64(len(pages)), dst.Len()/entrySize, uint64(userPages-at)))
		p.as.Pagemap(usermem.Addr(at*mm.PageSize), pages[:n])
		for i, v := range pages[:n] {
			if !p.frames {
				v &^= 1<<55 - 1
			}
			binary.LittleEndian.PutUint64(raw[i*entrySize:], v)
		}
		w, err := dst.Write(raw[:n*entrySize])
		done += int64(w)
		if err != nil {
			if done == 0 {
				return 0, err
			}
			break
		}
	}
	return done, nil
}

// Write implements vfs.FileOps.
func (p *pagemapFile) Write(_ vfs.Context, _ *vfs.File, _ *usermem.IO, off int64, _ vfs.IOFlags) (int64, int64, error) {
	return 0, off, unix.EINVAL
}

// clearRefs is /proc/PID/clear_refs. Pages always count as referenced and soft-dirty, so only 5 changes something.
func (e *entry) clearRefs() *kernfs.File {
	f := e.file(0o200, nil)
	f.Read = nil
	f.Write = func(_ vfs.Context, data []byte) error {
		v, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 31)
		if err != nil || v < 1 || v > 5 {
			return unix.EINVAL
		}
		if e.gone() {
			return unix.ESRCH
		}
		return e.withMM(func(as *mm.AddressSpace) error {
			if v == 5 {
				as.ResetHWM()
			}
			return nil
		})
	}
	return f
}

// mapFiles is /proc/PID/map_files: links to the files that are mapped.
func (e *entry) mapFiles() *kernfs.Dir {
	d := kernfs.NewDir()
	d.Mode, d.Owner = 0o500, e.owner
	mode := func(i *mm.RegionInfo) uint32 {
		m := uint32(0)
		if i.Prot&platform.Read != 0 {
			m |= 0o400
		}
		if i.Prot&platform.Write != 0 {
			m |= 0o200
		}
		return m | 0o100
	}
	name := func(i *mm.RegionInfo) string { return fmt.Sprintf("%x-%x", uint64(i.Start), uint64(i.End)) }
	// find calls f with the region of that name and its file.
	find := func(s string, f func(i *mm.RegionInfo, file *vfs.File)) error {
		err := error(unix.ENOENT)
		e.withMM(func(as *mm.AddressSpace) error {
			e.regions(as, func(i mm.RegionInfo) bool {
				if i.File != nil && name(&i) == s {
					if file, ok := i.File.Owner.(*vfs.File); ok {
						f(&i, file)
						err = nil
					}
					return false
				}
				return true
			})
			return nil
		})
		return err
	}
	d.Lookup = func(ctx vfs.Context, s string) (kernfs.Node, error) {
		if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
			return nil, err
		}
		l := &kernfs.MagicLink{Attr: kernfs.Attr{Owner: e.owner, NoMount: true}}
		if err := find(s, func(i *mm.RegionInfo, _ *vfs.File) { l.Mode = mode(i) }); err != nil {
			return nil, err
		}
		l.Valid = func() bool {
			same := false
			find(s, func(i *mm.RegionInfo, _ *vfs.File) { same = l.Mode == mode(i) })
			return same
		}
		l.Target = func(ctx vfs.Context) (text string, err error) {
			err = find(s, func(i *mm.RegionInfo, _ *vfs.File) { text = i.Name })
			return text, err
		}
		l.Follow = func(ctx vfs.Context) (p vfs.Path, err error) {
			if c := ctx.Cred(); !c.HasInitial(unix.CAP_SYS_ADMIN) && !c.HasInitial(unix.CAP_CHECKPOINT_RESTORE) {
				return p, unix.EPERM
			}
			err = find(s, func(_ *mm.RegionInfo, f *vfs.File) {
				p = f.Path
				p.IncRef()
			})
			return p, err
		}
		return l, nil
	}
	d.List = func(ctx vfs.Context) ([]kernfs.Entry, error) {
		if err := e.mayLook(ctx, sentry.PtraceRead); err != nil {
			return nil, err
		}
		var list []kernfs.Entry
		e.withMM(func(as *mm.AddressSpace) error {
			e.regions(as, func(i mm.RegionInfo) bool {
				if i.File != nil {
					list = append(list, kernfs.Entry{Name: name(&i), Type: unix.DT_LNK})
				}
				return true
			})
			return nil
		})
		return list, nil
	}
	return d
}
