package dev

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/vfs"
)

// null is /dev/null: an empty file that takes everything.
type null struct{ vfs.DefaultFileOps }

func (null) Read(vfs.Context, *vfs.File, *usermem.IO, int64, vfs.IOFlags) (int64, error) {
	return 0, nil
}

func (null) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, off int64, _ vfs.IOFlags) (int64, int64, error) {
	n := int64(src.Len())
	*src = src.Skip(src.Len())
	return n, off, nil
}

// Timeless implements vfs.Timeless, for all memory devices.
func (null) Timeless() {}

// LeafIO implements vfs.LeafFile.
func (null) LeafIO() (vfs.LeafIO, *vfs.Counter) { return vfs.LeafNull, nil }

// Seek of memory devices always leads to the beginning.
func (null) Seek(vfs.Context, *vfs.File, int64, int64, int) (int64, error) { return 0, nil }

// CanPoll implements epoll.Poller: memory is not waited for.
func (null) CanPoll() bool { return false }

// maxChunk is the most that one read of an endless device gives.
const maxChunk = 1 << 20

// zero is /dev/zero.
type zero struct {
	null
	mem *mm.Memory
}

func (zero) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	n, err := dst.Zero(dst.Len())
	if err != nil && n == 0 {
		return 0, unix.EFAULT
	}
	return int64(n), nil
}

// LeafIO implements vfs.LeafFile.
func (zero) LeafIO() (vfs.LeafIO, *vfs.Counter) { return vfs.LeafZero, nil }

// fill writes what next yields until dst is full.
func fill(dst *usermem.IO, next func() ([]byte, error)) (int64, error) {
	var done int64
	for dst.Len() > 0 {
		b, err := next()
		if err != nil {
			return done, err
		}
		if uint64(len(b)) > dst.Len() {
			b = b[:dst.Len()]
		}
		n, err := dst.Write(b)
		done += int64(n)
		if err != nil {
			if done > 0 {
				return done, nil
			}
			return 0, unix.EFAULT
		}
	}
	return done, nil
}

// MMap of /dev/zero gives anonymous memory; shared among those that inherit the mapping
// if it is shared.
func (z zero) MMap(_ vfs.Context, f *vfs.File, opts *mm.MMapOpts) error {
	opts.File = &mm.MapFile{
		Name:    func() string { return "/dev/zero" },
		MaxProt: platform.Read | platform.Write | platform.Exec,
	}
	if opts.Flags&unix.MAP_SHARED == 0 || z.mem == nil {
		return nil
	}
	c := z.mem.NewPageCache(nil, int64(opts.Offset+opts.Length+4095)&^4095)
	opts.File.Cache = c
	opts.File.Name = func() string { return "/dev/zero (deleted)" }
	opts.File.Release = c.Release
	return nil
}

// full is /dev/full: it reads as zeros and has no room.
type full struct{ zero }

func (full) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, _ int64, _ vfs.IOFlags) (int64, int64, error) {
	if src.Len() == 0 {
		return 0, 0, nil
	}
	return 0, 0, unix.ENOSPC
}

// LeafIO implements vfs.LeafFile.
func (full) LeafIO() (vfs.LeafIO, *vfs.Counter) { return vfs.LeafNone, nil }

func (full) MMap(vfs.Context, *vfs.File, *mm.MMapOpts) error { return unix.ENODEV }

// random is /dev/random and /dev/urandom.
type random struct {
	null
	poll bool // /dev/random, which could have to be waited for
}

// LeafIO implements vfs.LeafFile.
func (random) LeafIO() (vfs.LeafIO, *vfs.Counter) { return vfs.LeafNone, nil }

// CanPoll implements epoll.Poller.
func (r random) CanPoll() bool { return r.poll }

var randomPool = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// Getrandom fills dst with random bytes from the host, as getrandom(2) does.
func Getrandom(dst *usermem.IO) (int64, error) {
	buf := randomPool.Get().(*[16 << 10]byte)
	defer func() {
		clear(buf[:])
		randomPool.Put(buf)
	}()
	return fill(dst, func() ([]byte, error) {
		b := buf[:min(uint64(len(buf)), dst.Len())]
		for n := 0; n < len(b); {
			k, err := unix.Getrandom(b[n:], 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, unix.EIO
			}
			n += k
		}
		return b, nil
	})
}

func (random) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	v := dst.Limit(maxChunk * 32)
	n, err := Getrandom(&v)
	*dst = dst.Skip(uint64(n))
	return n, err
}

// Requests of random(4).
const (
	rndGetEntCnt   = 0x80045200
	rndAddToEntCnt = 0x40045201
	rndAddEntropy  = 0x40085203
	rndZapEntCnt   = 0x5204
	rndClearPool   = 0x5206
	rndReseedCRNG  = 0x5207
)

// Ioctl of random devices: the entropy is the host's and always enough.
func (random) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case rndGetEntCnt:
		v := int32(256)
		return 0, usermem.CopyObjectOut(ctx.Memory(), usermem.Addr(arg), &v)
	case rndAddToEntCnt, rndAddEntropy, rndZapEntCnt, rndClearPool, rndReseedCRNG:
		if !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
			return 0, unix.EPERM
		}
		return 0, nil
	}
	return 0, unix.EINVAL
}
