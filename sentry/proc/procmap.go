package proc

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
)

// PROCMAP_QUERY asks a maps file for one region, without the text of all of them.

const (
	procmapQuery = 0xc0686611

	// Flags of the query and of the answer.
	procmapReadable   = 0x01
	procmapWritable   = 0x02
	procmapExecutable = 0x04
	procmapShared     = 0x08
	procmapNext       = 0x10 // or the first region after the address
	procmapFileBacked = 0x20 // only regions of files
	procmapRights     = procmapReadable | procmapWritable | procmapExecutable | procmapShared
	procmapAll        = procmapRights | procmapNext | procmapFileBacked

	procmapMinSize = 24 // what every caller's structure has: up to Addr
	procmapMaxSize = arch.PageSize
)

// procmap is struct procmap_query.
type procmap struct {
	Size, Flags, Addr    uint64 // in
	Start, End           uint64
	VMAFlags, PageSize   uint64
	Offset, Inode        uint64
	DevMajor, DevMinor   uint32
	NameSize, BuildIDLen uint32 // in: room; out: what was stored
	NameAddr, BuildIDPtr uint64 // in
}

func (e *entry) procmapIoctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	if cmd != procmapQuery {
		return 0, unix.ENOTTY
	}
	return 0, e.procmapQuery(ctx.Memory(), usermem.Addr(arg))
}

func (e *entry) procmapQuery(m usermem.Memory, addr usermem.Addr) error {
	var q procmap
	own := usermem.AsBytes(&q)
	var size uint64
	if err := usermem.CopyObjectIn(m, addr, &size); err != nil {
		return err
	}
	switch {
	case size > procmapMaxSize:
		return unix.E2BIG
	case size < procmapMinSize:
		return unix.EINVAL
	}
	b := make([]byte, max(size, uint64(len(own))))
	if _, err := m.CopyIn(addr, b[:size]); err != nil {
		return err
	}
	for _, x := range b[len(own):] {
		if x != 0 {
			return unix.E2BIG // asks for something that is not known here
		}
	}
	copy(own, b)
	if q.Flags&^procmapAll != 0 || (q.NameSize != 0) != (q.NameAddr != 0) || (q.BuildIDLen != 0) != (q.BuildIDPtr != 0) {
		return unix.EINVAL
	}
	found := false
	var r mm.RegionInfo
	as := e.task().GetMM()
	if as == nil {
		return unix.ESRCH
	}
	e.regions(as, func(i mm.RegionInfo) bool {
		if uint64(i.End) <= q.Addr {
			return true
		}
		fits := procmapFlags(&i)&q.Flags&procmapRights == q.Flags&procmapRights && (q.Flags&procmapFileBacked == 0 || i.File != nil)
		if fits && (uint64(i.Start) <= q.Addr || q.Flags&procmapNext != 0) {
			r, found = i, true
		}
		return !found && q.Flags&procmapNext != 0
	})
	as.DecUsers()
	if !found {
		return unix.ENOENT
	}
	q.Start, q.End, q.VMAFlags, q.PageSize = uint64(r.Start), uint64(r.End), procmapFlags(&r), arch.PageSize
	q.Offset, q.Inode, q.DevMajor, q.DevMinor = 0, 0, 0, 0
	if r.File != nil {
		q.Offset, q.Inode = r.Offset, r.File.Ino
		q.DevMajor, q.DevMinor = unix.Major(r.File.Dev), unix.Minor(r.File.Dev)
	}
	q.BuildIDLen = 0 // as of a file without one: they are not looked for
	if q.NameSize != 0 {
		room := min(q.NameSize, unix.PathMax)
		q.NameSize = 0
		if r.Name != "" {
			name := append([]byte(r.Name), 0)
			if len(name) > int(room) {
				return unix.ENAMETOOLONG
			}
			if _, err := m.CopyOut(usermem.Addr(q.NameAddr), name); err != nil {
				return err
			}
			q.NameSize = uint32(len(name))
		}
	}
	_, err := m.CopyOut(addr, own[:min(size, uint64(len(own)))])
	return err
}

// procmapFlags are the rights of a region.
func procmapFlags(i *mm.RegionInfo) (f uint64) {
	if i.Prot&platform.Read != 0 {
		f |= procmapReadable
	}
	if i.Prot&platform.Write != 0 {
		f |= procmapWritable
	}
	if i.Prot&platform.Exec != 0 {
		f |= procmapExecutable
	}
	if i.Shared {
		f |= procmapShared
	}
	return f
}
