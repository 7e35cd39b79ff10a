package proc

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/platform"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/kernfs"
)

func TestRegionLine(t *testing.T) {
	file := &mm.MapFile{Dev: unix.Mkdev(0xfe, 0), Ino: 325835}
	for _, c := range []struct {
		i    mm.RegionInfo
		want string
	}{
		{mm.RegionInfo{Start: 0x7f5995879000, End: 0x7f599589f000, Prot: platform.Read | platform.Exec, Offset: 0x1000, File: file, Name: "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"},
			"7f5995879000-7f599589f000 r-xp 00001000 fe:00 325835                     /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n"},
		{mm.RegionInfo{Start: 0x7ffc9aee3000, End: 0x7ffc9af04000, Prot: platform.Read | platform.Write, Name: "[stack]"},
			"7ffc9aee3000-7ffc9af04000 rw-p 00000000 00:00 0                          [stack]\n"},
		{mm.RegionInfo{Start: 0x1000, End: 0x2000, Shared: true}, "00001000-00002000 ---s 00000000 00:00 0 \n"},
	} {
		var b bytes.Buffer
		regionLine(&b, &c.i)
		require.Equal(t, c.want, b.String())
	}
}

func TestCPUSets(t *testing.T) {
	for _, c := range []struct {
		set        sentry.CPUSet
		cpus       int
		mask, list string
	}{
		{sentry.CPUSet{3}, 2, "3", "0-1"},
		{sentry.CPUSet{0b1011}, 4, "b", "0-1,3"},
		{sentry.CPUSet{1<<40 | 1}, 64, "00000100,00000001", "0,40"},
		{sentry.CPUSet{1}, 10, "001", "0"},
	} {
		require.Equal(t, c.mask, cpuMask(c.set, c.cpus))
		require.Equal(t, c.list, cpuList(c.set, c.cpus))
	}
}

func TestNumber(t *testing.T) {
	for name, want := range map[string]int32{"1": 1, "4194304": 4194304, "0": 0, "01": 0, "+1": 0, "2147483648": 0, "": 0, "1x": 0} {
		n, ok := number(name)
		require.Equal(t, want != 0, ok, name)
		if ok {
			require.Equal(t, want, n)
		}
	}
}

func TestSysctlValues(t *testing.T) {
	ctx := vfs.KernelContext()
	n := kept(60, 0, 200)
	for text, want := range map[string]error{"10\n": nil, "0x20": nil, "201": unix.EINVAL, "-1": unix.EINVAL, "x": unix.EINVAL, "": unix.EINVAL, " 7 \n": nil} {
		require.Equal(t, want, n.write(ctx, text), "%q", text)
	}
	l := keptList(4, 4, 1, 7)
	require.NoError(t, l.write(ctx, "1 2"))
	s, err := l.read(ctx)
	require.NoError(t, err)
	require.Equal(t, "1\t2\t1\t7", s)
}

// userContext is a caller with credentials.
type userContext struct {
	vfs.Context
	c *cred.Cred
}

func (u userContext) Cred() *cred.Cred { return u.c }

func TestSysctlPermission(t *testing.T) {
	user := cred.New(cred.InitUserNS(), 1000, 1000, nil)
	capable := user.Clone()
	capable.Effective = cred.Root().Effective
	for _, c := range []struct {
		c    *cred.Cred
		mode uint32
		mask uint32
		want error
	}{
		{cred.Root(), 0o644, vfs.MayWrite, kernfs.ErrAllow}, {cred.Root(), 0o444, vfs.MayWrite, unix.EACCES},
		{user, 0o644, vfs.MayRead, kernfs.ErrAllow}, {user, 0o644, vfs.MayWrite, unix.EACCES},
		{capable, 0o644, vfs.MayWrite, unix.EACCES}, {user, 0o600, vfs.MayRead, unix.EACCES},
	} {
		require.Equal(t, c.want, sysctlPermission(c.mode)(userContext{vfs.KernelContext(), c.c}, c.mask))
	}
}

func TestPIDFilesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range pidFiles {
		require.False(t, seen[f.name], f.name)
		require.NotNil(t, f.make, f.name)
		seen[f.name] = true
	}
	require.Less(t, len(pidFiles), 255) // inode numbers
}
