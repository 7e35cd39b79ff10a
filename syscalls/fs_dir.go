package syscalls

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
)

// direntPool has buffers that directory entries are laid out in before they are copied out.
var direntPool = sync.Pool{New: func() any { b := make([]byte, 0, direntMax); return &b }}

// direntMax is the most that one getdents returns, however large the guest's buffer is.
const direntMax = 64 << 10

// maxDirent is the size of the longest entry there can be.
const maxDirent = (19 + 255 + 1 + 7) &^ 7

// getdentsInto is what both getdents share. old is struct linux_dirent, which has the type in its last byte.
func getdentsInto(t *sentry.Task, fd int32, buf usermem.Addr, size uint32, old bool) (uintptr, error) {
	f, err := openFile(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if f.Inode() == nil || !f.Inode().IsDir() {
		return 0, unix.ENOTDIR
	}
	bp := direntPool.Get().(*[]byte)
	defer direntPool.Put(bp)
	b := (*bp)[:0]
	limit := min(int(min(size, 1<<30)), direntMax)
	small := false
	err = f.ReadDir(t, func(e vfs.Dirent) bool {
		head := 19 // d_ino, d_off, d_reclen, d_type; then the name and its NUL
		if old {
			head = 18 + 1 // the type behind the NUL
		}
		n := (head + len(e.Name) + 1 + 7) &^ 7
		if len(b)+n > limit || n > maxDirent {
			small = len(b) == 0
			return false
		}
		at := len(b)
		b = b[:at+n]
		p := b[at:]
		clear(p)
		binary.LittleEndian.PutUint64(p, e.Ino)
		binary.LittleEndian.PutUint64(p[8:], uint64(e.Off))
		binary.LittleEndian.PutUint16(p[16:], uint16(n))
		if old {
			copy(p[18:], e.Name)
			p[n-1] = e.Type
		} else {
			p[18] = e.Type
			copy(p[19:], e.Name)
		}
		return true
	})
	if len(b) == 0 {
		if err == nil && small {
			err = unix.EINVAL
		}
		return 0, err
	}
	if _, err := t.MM().CopyOut(buf, b); err != nil {
		return 0, err
	}
	return uintptr(len(b)), nil
}

// getdents(2)
func getdents(t *sentry.Task, fd int32, buf usermem.Addr, size uint32) (uintptr, error) {
	return getdentsInto(t, fd, buf, size, true)
}

// getdents64(2)
func getdents64(t *sentry.Task, fd int32, buf usermem.Addr, size uint32) (uintptr, error) {
	return getdentsInto(t, fd, buf, size, false)
}

// getcwd(2)
func getcwd(t *sentry.Task, buf usermem.Addr, size uint64) (uintptr, error) {
	fs := t.FS()
	root, cwd := fs.GetRoot(), fs.GetCwd()
	name, deleted := vfs.CwdString(cwd, root)
	root.DecRef()
	cwd.DecRef()
	if deleted {
		return 0, unix.ENOENT
	}
	n := uint64(len(name)) + 1
	if n > unix.PathMax {
		return 0, unix.ENAMETOOLONG
	}
	if n > size {
		return 0, unix.ERANGE
	}
	if _, err := t.MM().CopyOut(buf, append([]byte(name), 0)); err != nil {
		return 0, err
	}
	return uintptr(n), nil
}

// chdir(2)
func chdir(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	if path == "" {
		return 0, unix.ENOENT // an empty path is fchdir's
	}
	return 0, t.FS().Chdir(t, vfs.Path{}, path)
}

// fchdir(2)
func fchdir(t *sentry.Task, fd int32) (uintptr, error) {
	f, err := t.Files().Get(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef()
	if f.Inode() == nil || !f.Inode().IsDir() {
		return 0, unix.ENOTDIR
	}
	return 0, t.FS().Chdir(t, f.Path, "")
}

// chroot(2)
func chroot(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	path, err := copyPath(t, addr)
	if err != nil {
		return 0, err
	}
	return 0, t.FS().Chroot(t, vfs.Path{}, path)
}

// umask(2)
func umask(t *sentry.Task, mask uint32) (uintptr, error) {
	return uintptr(t.FS().SetUmask(mask)), nil
}
