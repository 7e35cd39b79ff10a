package tmpfs_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	. "gosv.dev/vfs/tmpfs"
	"gosv.dev/vfs/tmpfs/fstest"
)

func newFS(t testing.TB, mem *mm.Memory, opts string) (*vfs.Superblock, vfs.Path) {
	sb, err := New(fstest.Root(), mem, "none", opts)
	require.NoError(t, err)
	return sb, fstest.Mount(t, sb)
}

func TestDifferential(t *testing.T) {
	unix.Umask(0)
	mem := fstest.Memory(t)
	for seed := range int64(20) {
		_, root := newFS(t, mem, "mode=755")
		dir, err := os.MkdirTemp("/dev/shm", "tmpfs-test-") // a tmpfs, where there is one
		if err != nil {
			dir = t.TempDir()
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		require.NoError(t, unix.Chmod(dir, 0755))
		fstest.Differential(t, root, dir, seed, 300)
	}
}

func TestOptions(t *testing.T) {
	mem := fstest.Memory(t)
	for _, bad := range []string{"size=", "size=x", "nr_inodes=-1", "mode=9", "uid=-1", "bogus", "huge"} {
		_, err := New(fstest.Root(), mem, "none", bad)
		require.ErrorIs(t, err, unix.EINVAL, bad)
	}
	sb, root := newFS(t, mem, "size=1m,nr_inodes=10,mode=750,uid=5,gid=6")
	a := fstest.Stat(t, root, ".")
	require.Equal(t, uint32(unix.S_IFDIR|0750), a.Mode)
	require.Equal(t, [2]uint32{5, 6}, [2]uint32{a.UID, a.GID})
	require.Equal(t, "size=1024k,nr_inodes=10,mode=750,uid=5,gid=6,inode64", sb.Type.ShowOptions(sb))
	s := root.StatFS()
	require.Equal(t, int64(unix.TMPFS_MAGIC), s.Type)
	require.Equal(t, uint64(256), s.Blocks)
	require.Equal(t, uint64(9), s.Ffree)

	// No space: a partial write, then ENOSPC; a deleted file gives it back.
	f := fstest.Open(t, fstest.Root(), root, "big", unix.O_CREAT|unix.O_RDWR, 0644)
	src := usermem.Bytes(make([]byte, 2<<20))
	n, err := f.Write(fstest.Root(), &src, 0)
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), n)
	_, err = f.Write(fstest.Root(), &src, 0)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.Zero(t, root.StatFS().Bfree)
	require.ErrorIs(t, sb.Type.Reconfigure(fstest.Root(), sb, 0, "size=4k"), unix.EINVAL)
	require.NoError(t, sb.Type.Reconfigure(fstest.Root(), sb, 0, "size=2m"))
	require.NoError(t, vfs.Unlink(fstest.Root(), root, "big"))
	require.Equal(t, uint64(256), root.StatFS().Bfree)
	f.DecRef()
	require.Equal(t, uint64(512), root.StatFS().Bfree)

	for i := range 9 {
		require.NoError(t, vfs.Mkdir(fstest.Root(), root, fmt.Sprint(i), 0700))
	}
	require.ErrorIs(t, vfs.Mkdir(fstest.Root(), root, "x", 0700), unix.ENOSPC)
}

func TestReadDir(t *testing.T) {
	_, root := newFS(t, fstest.Memory(t), "")
	for i := range 1000 {
		fstest.WriteFile(t, root, fmt.Sprint(i), "")
	}
	f := fstest.Open(t, fstest.Root(), root, ".", unix.O_DIRECTORY, 0)
	defer f.DecRef()
	// Delete while reading, a few at a time: everything is seen once.
	seen := map[string]int{}
	for {
		var batch []string
		require.NoError(t, f.ReadDir(fstest.Root(), func(e vfs.Dirent) bool {
			if len(batch) == 7 {
				return false
			}
			batch = append(batch, e.Name)
			return true
		}))
		if len(batch) == 0 {
			break
		}
		for _, name := range batch {
			seen[name]++
			if name != "." && name != ".." {
				require.NoError(t, vfs.Unlink(fstest.Root(), root, name))
				fstest.WriteFile(t, root, name+".new", "") // not seen: made after the beginning
			}
		}
	}
	require.Len(t, seen, 1002)
	for name, n := range seen {
		require.Equal(t, 1, n, name)
	}
	// A position stays good.
	_, err := f.Seek(fstest.Root(), 0, unix.SEEK_SET)
	require.NoError(t, err)
	var all []vfs.Dirent
	require.NoError(t, f.ReadDir(fstest.Root(), func(e vfs.Dirent) bool { all = append(all, e); return true }))
	for _, name := range []string{all[400].Name, all[402].Name} {
		require.NoError(t, vfs.Unlink(fstest.Root(), root, name))
	}
	_, err = f.Seek(fstest.Root(), all[400].Off, unix.SEEK_SET)
	require.NoError(t, err)
	var next string
	require.NoError(t, f.ReadDir(fstest.Root(), func(e vfs.Dirent) bool { next = e.Name; return false }))
	require.Equal(t, all[401].Name, next)
}

func TestXattr(t *testing.T) {
	ctx := fstest.Root()
	_, root := newFS(t, fstest.Memory(t), "")
	fstest.WriteFile(t, root, "f", "")
	p, err := vfs.Lookup(ctx, root, "f", 0)
	require.NoError(t, err)
	defer p.DecRef()
	require.NoError(t, p.SetXattr(ctx, "user.a", []byte("1"), unix.XATTR_CREATE))
	require.ErrorIs(t, p.SetXattr(ctx, "user.a", nil, unix.XATTR_CREATE), unix.EEXIST)
	require.ErrorIs(t, p.SetXattr(ctx, "user.b", nil, unix.XATTR_REPLACE), unix.ENODATA)
	require.ErrorIs(t, p.SetXattr(ctx, "system.posix_acl_access", nil, 0), unix.EOPNOTSUPP)
	require.NoError(t, p.SetXattr(ctx, "trusted.t", []byte("2"), 0))
	names, err := p.ListXattr(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"trusted.t", "user.a"}, names)
	names, err = p.ListXattr(fstest.User(5))
	require.NoError(t, err)
	require.Equal(t, []string{"user.a"}, names)
	v, err := p.GetXattr(ctx, "user.a")
	require.NoError(t, err)
	require.Equal(t, "1", string(v))
	require.NoError(t, p.RemoveXattr(ctx, "user.a"))
	require.ErrorIs(t, p.RemoveXattr(ctx, "user.a"), unix.ENODATA)
	for i := 0; ; i++ {
		if err := p.SetXattr(ctx, fmt.Sprint("user.", i), make([]byte, 60000), 0); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			break
		}
	}
}

func TestHolesAndTimes(t *testing.T) {
	ctx := fstest.Root()
	_, root := newFS(t, fstest.Memory(t), "")
	f := fstest.Open(t, ctx, root, "f", unix.O_CREAT|unix.O_RDWR, 0644)
	defer f.DecRef()
	src := usermem.Bytes([]byte("x"))
	_, err := f.PWrite(ctx, &src, 1<<20, 0)
	require.NoError(t, err)
	s := fstest.Stat(t, root, "f")
	require.Equal(t, int64(1<<20+1), s.Size)
	require.Equal(t, int64(8), s.Blocks)
	pos, err := f.Seek(ctx, 0, unix.SEEK_DATA)
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), pos)
	pos, err = f.Seek(ctx, 1<<20, unix.SEEK_HOLE)
	require.NoError(t, err)
	require.Equal(t, int64(1<<20+1), pos)
	_, err = f.Seek(ctx, 1<<21, unix.SEEK_DATA)
	require.ErrorIs(t, err, unix.ENXIO)
	require.NoError(t, f.Allocate(ctx, unix.FALLOC_FL_KEEP_SIZE, 0, 8192))
	require.Equal(t, int64(24), fstest.Stat(t, root, "f").Blocks)
	require.NoError(t, f.Allocate(ctx, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	require.Equal(t, int64(8), fstest.Stat(t, root, "f").Blocks)
	require.ErrorIs(t, f.Allocate(ctx, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP)

	ts := &[2]vfs.Timespec{{Sec: 1, Nsec: 2}, {Sec: 3, Nsec: 4}}
	require.NoError(t, f.Path.Utimes(ctx, ts))
	s = fstest.Stat(t, root, "f")
	require.Equal(t, ts[0], s.Atime)
	require.Equal(t, ts[1], s.Mtime)
	require.NotEqual(t, ts[1], s.Ctime)
}

func TestTmpfile(t *testing.T) {
	ctx := fstest.Root()
	_, root := newFS(t, fstest.Memory(t), "")
	f := fstest.Open(t, ctx, root, ".", unix.O_TMPFILE|unix.O_RDWR, 0600)
	fstest.Write(t, f, "hello")
	s, err := f.Stat(ctx)
	require.NoError(t, err)
	require.Zero(t, s.Nlink)
	require.Empty(t, fstest.List(t, root, "."))
	require.NoError(t, vfs.Link(ctx, f.Path, "", root, "named", unix.AT_EMPTY_PATH))
	f.DecRef()
	require.Equal(t, "hello", fstest.ReadFile(t, root, "named"))
	require.Equal(t, uint32(1), fstest.Stat(t, root, "named").Nlink)
}

func TestSeals(t *testing.T) {
	ctx := fstest.Root()
	mem := fstest.Memory(t)
	defer Forget(mem)
	for _, bad := range []uint32{1 << 30, unix.MFD_EXEC | unix.MFD_NOEXEC_SEAL} {
		_, err := NewMemfd(ctx, mem, "x", bad)
		require.ErrorIs(t, err, unix.EINVAL)
	}
	_, err := NewMemfd(ctx, mem, strings.Repeat("n", 250), 0)
	require.ErrorIs(t, err, unix.EINVAL)

	plain, err := NewMemfd(ctx, mem, "plain", 0)
	require.NoError(t, err)
	defer plain.DecRef()
	seals, err := GetSeals(plain)
	require.NoError(t, err)
	require.Equal(t, uint32(unix.F_SEAL_SEAL), seals)
	require.ErrorIs(t, AddSeals(plain, unix.F_SEAL_WRITE), unix.EPERM)
	require.Equal(t, "/memfd:plain (deleted)", plain.FullPath(vfs.Path{}))

	f, err := NewMemfd(ctx, mem, "f", unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	defer f.DecRef()
	fstest.Write(t, f, strings.Repeat("x", 5000))
	s, err := f.Stat(ctx)
	require.NoError(t, err)
	require.Equal(t, uint32(unix.S_IFREG|0777), s.Mode)
	require.Equal(t, int64(5000), s.Size)
	require.ErrorIs(t, AddSeals(f, 1<<20), unix.EINVAL)
	require.NoError(t, AddSeals(f, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK))
	require.ErrorIs(t, f.Truncate(ctx, 4000), unix.EPERM)
	require.ErrorIs(t, f.Truncate(ctx, 6000), unix.EPERM)
	src := usermem.Bytes(make([]byte, 5000))
	n, err := f.PWrite(ctx, &src, 100, 0)
	require.NoError(t, err)
	require.Equal(t, int64(3996), n, "whole pages below the end")
	_, err = f.PWrite(ctx, &src, 5000, 0)
	require.ErrorIs(t, err, unix.EPERM)
	require.NoError(t, AddSeals(f, unix.F_SEAL_WRITE))
	_, err = f.PWrite(ctx, &src, 0, 0)
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorIs(t, f.Allocate(ctx, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096), unix.EPERM)
	require.ErrorIs(t, f.MMap(ctx, &mm.MMapOpts{Flags: unix.MAP_SHARED, Prot: unix.PROT_WRITE}), unix.EPERM)
	require.NoError(t, AddSeals(f, unix.F_SEAL_SEAL))
	require.ErrorIs(t, AddSeals(f, unix.F_SEAL_EXEC), unix.EPERM)

	x, err := NewMemfd(ctx, mem, "x", unix.MFD_NOEXEC_SEAL)
	require.NoError(t, err)
	defer x.DecRef()
	require.ErrorIs(t, x.Path.Chmod(ctx, 0777), unix.EPERM)
	require.NoError(t, x.Path.Chmod(ctx, 0600))

	shm, err := NewShared(ctx, mem, "/SYSV00000000 (deleted)", 0600, 10000)
	require.NoError(t, err)
	defer shm.DecRef()
	require.Len(t, fstest.Read(t, shm), 10000)
}

func TestNoLeaks(t *testing.T) {
	mem := fstest.Memory(t)
	before := mem.Stats().Shmem
	sb, err := New(fstest.Root(), mem, "none", "")
	require.NoError(t, err)
	ns := vfs.NewMountNamespace(vfs.NewRegistry(), nil, sb, 0)
	sb.DecRef()
	root := ns.Root()
	require.NoError(t, vfs.Mkdir(fstest.Root(), root, "d", 0755))
	for i := range 50 {
		fstest.WriteFile(t, root, fmt.Sprintf("d/%d", i), strings.Repeat("x", 10000))
	}
	require.Greater(t, mem.Stats().Shmem, before)
	ns.DecRef()
	require.Equal(t, before, mem.Stats().Shmem)
}
