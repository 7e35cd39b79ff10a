package dev_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/netstack"
	afunix "gosv.dev/netstack/unix"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/dev"
	"gosv.dev/vfs/devpts"
	"gosv.dev/vfs/pipe"
	"gosv.dev/vfs/tmpfs"
)

type caller struct {
	vfs.Context
	fs  *vfs.FSContext
	mem memory
}

func (c *caller) FS() *vfs.FSContext     { return c.fs }
func (c *caller) Memory() usermem.Memory { return c.mem }

type memory []byte

func (m memory) CopyIn(a usermem.Addr, b []byte) (int, error)  { return copy(b, m[a:]), nil }
func (m memory) CopyOut(a usermem.Addr, b []byte) (int, error) { return copy(m[a:], b), nil }

// boot makes a sandbox's file systems: a tmpfs as /, with dev populated and devpts in it.
func boot(t *testing.T) (*caller, *vfs.Registry) {
	mem, err := mm.NewMemory(64 << 20)
	require.NoError(t, err)
	t.Cleanup(func() { mem.Close() })
	reg := vfs.NewRegistry()
	reg.OpenFIFO = pipe.OpenFIFO
	reg.Register(devpts.Type())
	dev.Register(reg, dev.Options{Memory: mem})
	k := vfs.KernelContext()
	sb, err := tmpfs.New(k, mem, "none", "mode=755")
	require.NoError(t, err)
	ns := vfs.NewMountNamespace(reg, cred.InitUserNS(), sb, 0)
	root := ns.Root()
	c := &caller{k, vfs.NewFSContext(root, root, 022), make(memory, 4096)}
	require.NoError(t, vfs.Mkdir(c, root, "dev", 0755))
	d, err := vfs.Lookup(c, root, "dev", 0)
	require.NoError(t, err)
	require.NoError(t, dev.Populate(c, d))
	require.NoError(t, dev.Populate(c, d))
	pts, err := vfs.Lookup(c, d, "pts", 0)
	require.NoError(t, err)
	require.NoError(t, ns.Mount(c, "devpts", "devpts", pts, unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"))
	return c, reg
}

func open(t *testing.T, c vfs.Context, path string, flags int) *vfs.File {
	f, err := vfs.Open(c, vfs.Path{}, path, unix.OpenHow{Flags: uint64(flags)})
	require.NoError(t, err, path)
	return f
}

func read(c vfs.Context, f *vfs.File, n int) ([]byte, error) {
	b := make([]byte, n)
	v := usermem.Bytes(b)
	got, err := f.Read(c, &v, 0)
	return b[:got], err
}

func write(c vfs.Context, f *vfs.File, s string) (int64, error) {
	v := usermem.Bytes([]byte(s))
	return f.Write(c, &v, 0)
}

func TestMemoryDevices(t *testing.T) {
	c, _ := boot(t)
	null, zero := open(t, c, "/dev/null", unix.O_RDWR), open(t, c, "/dev/zero", unix.O_RDWR)
	full, rnd := open(t, c, "/dev/full", unix.O_RDWR), open(t, c, "/dev/urandom", unix.O_RDONLY)
	for _, f := range []*vfs.File{null, zero} {
		n, err := write(c, f, "data")
		require.NoError(t, err)
		require.EqualValues(t, 4, n)
	}
	_, err := write(c, full, "data")
	require.Equal(t, unix.ENOSPC, err)
	b, err := read(c, null, 10)
	require.NoError(t, err)
	require.Empty(t, b)
	b, err = read(c, zero, 100000)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 100000), b)
	b, err = read(c, rnd, 100000)
	require.NoError(t, err)
	require.Len(t, b, 100000)
	require.NotEqual(t, b[:1000], b[1000:2000])
	st, err := vfs.Stat(c, vfs.Path{}, "/dev/tty", 0)
	require.NoError(t, err)
	require.Equal(t, []uint64{unix.S_IFCHR | 0666, unix.Mkdev(5, 0), 5}, []uint64{uint64(st.Mode), st.Rdev, uint64(st.GID)})
	target, err := vfs.Readlink(c, vfs.Path{}, "/dev/core")
	require.NoError(t, err)
	require.Equal(t, "/proc/kcore", target)
	_, err = vfs.Open(c, vfs.Path{}, "/dev/tty", unix.OpenHow{Flags: unix.O_RDWR})
	require.Equal(t, unix.ENXIO, err)

	require.NoError(t, vfs.Mknod(c, vfs.Path{}, "/dev/kmsg", unix.S_IFCHR|0600, unix.Mkdev(1, 11)))
	k := open(t, c, "/dev/kmsg", unix.O_RDWR|unix.O_NONBLOCK)
	_, err = write(c, k, "<6>hello\n")
	require.NoError(t, err)
	b, err = read(c, k, 1000)
	require.NoError(t, err)
	require.Regexp(t, `^14,0,\d+,-;hello\n$`, string(b))
	_, err = read(c, k, 1000)
	require.Equal(t, unix.EAGAIN, err)
}

func TestTerminals(t *testing.T) {
	c, _ := boot(t)
	m := open(t, c, "/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	_, err := m.Ioctl(c, unix.TIOCGPTN, 0)
	require.NoError(t, err)
	n := int(c.mem[0])
	path := fmt.Sprintf("/dev/pts/%d", n)
	_, err = vfs.Open(c, vfs.Path{}, path, unix.OpenHow{Flags: unix.O_RDWR})
	require.Equal(t, unix.EIO, err)
	clear(c.mem)
	_, err = m.Ioctl(c, unix.TIOCSPTLCK, 0)
	require.NoError(t, err)
	s := open(t, c, path, unix.O_RDWR)
	_, err = write(c, s, "hi\n")
	require.NoError(t, err)
	b, err := read(c, m, 10)
	require.NoError(t, err)
	require.Equal(t, "hi\r\n", string(b))
	st, err := vfs.Stat(c, vfs.Path{}, path, 0)
	require.NoError(t, err)
	require.Equal(t, []uint64{unix.S_IFCHR | 0620, unix.Mkdev(136, 0), 5}, []uint64{uint64(st.Mode), st.Rdev, uint64(st.GID)})

	m2 := open(t, c, "/dev/pts/ptmx", unix.O_RDWR)
	dir := open(t, c, "/dev/pts", unix.O_RDONLY|unix.O_DIRECTORY)
	var names []string
	require.NoError(t, dir.ReadDir(c, func(d vfs.Dirent) bool { names = append(names, d.Name); return true }))
	require.Equal(t, []string{".", "..", "ptmx", "0", "1"}, names)
	m.DecRef()
	_, err = vfs.Stat(c, vfs.Path{}, path, 0)
	require.Equal(t, unix.ENOENT, err)
	b, err = read(c, s, 10)
	require.NoError(t, err)
	require.Empty(t, b)
	m3 := open(t, c, "/dev/ptmx", unix.O_RDWR)
	_, err = m3.Ioctl(c, unix.TIOCGPTN, 0)
	require.NoError(t, err)
	require.Zero(t, c.mem[0], "the number is free again")
	for _, f := range []*vfs.File{m2, m3, s, dir} {
		f.DecRef()
	}
}

func TestFIFOsAndSocketsByName(t *testing.T) {
	c, _ := boot(t)
	require.NoError(t, vfs.Mknod(c, vfs.Path{}, "/fifo", unix.S_IFIFO|0600, 0))
	got := make(chan string)
	go func() {
		f, err := vfs.Open(c, vfs.Path{}, "/fifo", unix.OpenHow{Flags: unix.O_RDONLY})
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := read(c, f, 100)
		got <- string(b)
	}()
	time.Sleep(5 * time.Millisecond)
	w := open(t, c, "/fifo", unix.O_WRONLY)
	_, err := write(c, w, "through")
	require.NoError(t, err)
	require.Equal(t, "through", <-got)
	w.DecRef()

	var r netstack.Registry
	fam := afunix.NewFamily()
	r.Register(unix.AF_UNIX, fam)
	addr := append([]byte{unix.AF_UNIX, 0}, "/sock"...)
	l, err := r.Socket(c, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	ls, err := netstack.Of(l)
	require.NoError(t, err)
	require.NoError(t, ls.Bind(c, addr))
	st, err := vfs.Stat(c, vfs.Path{}, "/sock", 0)
	require.NoError(t, err)
	require.EqualValues(t, unix.S_IFSOCK|0755, st.Mode)
	l2, _ := r.Socket(c, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	l2s, _ := netstack.Of(l2)
	require.Equal(t, unix.EADDRINUSE, l2s.Bind(c, addr))
	require.Equal(t, unix.ECONNREFUSED, l2s.Connect(c, addr))
	require.Equal(t, unix.ENOENT, l2s.Connect(c, append([]byte{unix.AF_UNIX, 0}, "/nothing"...)))
	require.NoError(t, ls.Listen(c, 5))
	require.NoError(t, netstack.Connect(c, l2, addr))
	s, _, err := netstack.Accept(c, l, 0)
	require.NoError(t, err)
	_, err = write(c, s, "x")
	require.NoError(t, err)
	name, err := l2s.GetPeerName(c)
	require.NoError(t, err)
	require.Equal(t, "/sock\x00", string(name[2:]))
	require.True(t, strings.Contains(string(fam.ProcNetUnix()), " /sock\n"))
	l.DecRef()
	l3, _ := r.Socket(c, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.Equal(t, unix.ECONNREFUSED, netstack.Connect(c, l3, addr))
	d, _ := r.Socket(c, unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	require.Equal(t, unix.ECONNREFUSED, netstack.Connect(c, d, append([]byte{unix.AF_UNIX, 0}, "/dev"...)))
	for _, f := range []*vfs.File{l2, l3, d, s} {
		f.DecRef()
	}
}

func TestSpliceFiles(t *testing.T) {
	c, _ := boot(t)
	f, err := vfs.Open(c, vfs.Path{}, "/data", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0600})
	require.NoError(t, err)
	text := strings.Repeat("0123456789", 20000)
	_, err = write(c, f, text)
	require.NoError(t, err)
	r, w, err := pipe.NewFiles(c, nil, unix.O_NONBLOCK)
	require.NoError(t, err)
	off := int64(5)
	n, err := pipe.Splice(c, f, &off, w, nil, 1<<20, 0)
	require.NoError(t, err)
	require.EqualValues(t, 65536, n)
	require.EqualValues(t, 65541, off)
	g, err := vfs.Open(c, vfs.Path{}, "/copy", unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0600})
	require.NoError(t, err)
	n, err = pipe.Splice(c, r, nil, g, nil, 1<<20, 0)
	require.NoError(t, err)
	require.EqualValues(t, 65536, n)
	off = 0
	n, err = pipe.SendFile(c, g, f, &off, 100)
	require.NoError(t, err)
	require.EqualValues(t, 100, n)
	_, err = g.Seek(c, 0, unix.SEEK_SET)
	require.NoError(t, err)
	b, err := read(c, g, 1<<20)
	require.NoError(t, err)
	require.Equal(t, text[5:65541]+text[:100], string(b))
	_, err = pipe.Splice(c, f, nil, g, nil, 1, 0)
	require.Equal(t, unix.EINVAL, err)
	_, err = pipe.SendFile(c, g, r, nil, 1)
	require.Equal(t, unix.EINVAL, err)
	for _, x := range []*vfs.File{f, g, r, w} {
		x.DecRef()
	}
}
