package tmpfs

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/vfs"
)

// AllSeals are the seals that F_ADD_SEALS takes.
const AllSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE |
	unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_EXEC

// memfdNameMax is the longest name of a memfd: NAME_MAX without "memfd:".
const memfdNameMax = 255 - len("memfd:")

// internal are the file systems of files that never had a name, one a memory.
var internal struct {
	sync.Mutex
	of map[*mm.Memory]*fileSystem
}

// internalFS is the file system of memfds and shared memory in mem (Linux: shm_mnt). It is kept until
// Forget.
func internalFS(mem *mm.Memory) (*fileSystem, error) {
	internal.Lock()
	defer internal.Unlock()
	if fs := internal.of[mem]; fs != nil {
		return fs, nil
	}
	fs, err := newFileSystem(vfs.KernelContext(), Type(mem), mem, "tmpfs", "size=0,nr_inodes=0")
	if err != nil {
		return nil, err
	}
	if internal.of == nil {
		internal.of = make(map[*mm.Memory]*fileSystem)
	}
	internal.of[mem] = fs
	return fs, nil
}

// Forget lets go of what was made for mem: for who closes it.
func Forget(mem *mm.Memory) {
	internal.Lock()
	delete(internal.of, mem)
	internal.Unlock()
}

// NewMemfd is memfd_create(2), as vm.memfd_noexec=0 has it: memfds are executable unless the
// flags say otherwise.
func NewMemfd(ctx vfs.Context, mem *mm.Memory, name string, flags uint32) (*vfs.File, error) {
	const known = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING | unix.MFD_NOEXEC_SEAL | unix.MFD_EXEC
	switch {
	case flags&unix.MFD_HUGETLB != 0:
		if flags&^(known|unix.MFD_HUGETLB|unix.MFD_HUGE_MASK<<unix.MFD_HUGE_SHIFT) != 0 {
			return nil, unix.EINVAL
		}
		return nil, unix.ENOSYS // as a kernel without hugetlbfs
	case flags&^known != 0 || flags&(unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL) == unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL:
		return nil, unix.EINVAL
	case len(name) > memfdNameMax:
		return nil, unix.EINVAL
	}
	mode := uint32(0777)
	seals := uint32(unix.F_SEAL_SEAL)
	if flags&unix.MFD_ALLOW_SEALING != 0 {
		seals = 0
	}
	if flags&unix.MFD_NOEXEC_SEAL != 0 {
		mode, seals = 0666, unix.F_SEAL_EXEC
	}
	return newUnnamed(ctx, mem, "/memfd:"+strings.TrimSuffix(name, " (deleted)")+" (deleted)", mode, 0, seals)
}

// NewShared makes shared memory of a size: a file without a name for MAP_SHARED|MAP_ANONYMOUS
// ("/dev/zero (deleted)") and System V shared memory ("/SYSV00000000 (deleted)"). name is what
// /proc/PID/maps shows.
func NewShared(ctx vfs.Context, mem *mm.Memory, name string, mode uint32, size int64) (*vfs.File, error) {
	if size < 0 || size > maxBytes {
		return nil, unix.EINVAL
	}
	return newUnnamed(ctx, mem, name, mode, size, unix.F_SEAL_SEAL)
}

func newUnnamed(ctx vfs.Context, mem *mm.Memory, name string, mode uint32, size int64, seals uint32) (*vfs.File, error) {
	fs, err := internalFS(mem)
	if err != nil {
		return nil, err
	}
	c := ctx.Cred()
	i, err := fs.newInode(unix.S_IFREG|mode, c.FSUID, c.FSGID, 0, "", vfs.Now())
	if err != nil {
		return nil, err
	}
	defer i.DecRef()
	i.UpdateAttr(func(a *vfs.Attr) { a.Nlink, a.Size = 0, size })
	r := i.Ops.(*regular)
	r.seals.Store(seals)
	if size > 0 {
		if err := r.cache.Truncate(size); err != nil {
			return nil, err
		}
	}
	return vfs.NewAnonFileInode(name, i, &r.file, unix.O_RDWR|unix.O_LARGEFILE, c), nil
}

// GetSeals is fcntl F_GET_SEALS; EINVAL for what is not a file of a tmpfs.
func GetSeals(f *vfs.File) (uint32, error) {
	if rf, ok := f.Ops.(*regularFile); ok {
		return rf.r.seals.Load(), nil
	}
	return 0, unix.EINVAL
}

// AddSeals is fcntl F_ADD_SEALS.
func AddSeals(f *vfs.File, seals uint32) error {
	rf, ok := f.Ops.(*regularFile)
	if !ok {
		return unix.EINVAL
	}
	if !f.Writable() {
		return unix.EPERM
	}
	if seals&^AllSeals != 0 {
		return unix.EINVAL
	}
	r, i := rf.r, f.Inode()
	i.WriteMu.Lock()
	defer i.WriteMu.Unlock()
	old := r.seals.Load()
	if old&unix.F_SEAL_SEAL != 0 {
		return unix.EPERM
	}
	// Whose execution is sealed must not change.
	if seals&unix.F_SEAL_EXEC != 0 && i.Mode()&0111 != 0 {
		seals |= unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE
	}
	if seals&unix.F_SEAL_WRITE != 0 && old&unix.F_SEAL_WRITE == 0 {
		if err := r.cache.DenyWritable(); err != nil {
			return unix.EBUSY
		}
	}
	r.seals.Store(old | seals)
	return nil
}
