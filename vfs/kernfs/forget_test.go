package kernfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
	"gosv.dev/vfs/kernfs"
	"gosv.dev/vfs/tmpfs/fstest"
)

// What has died leaves the cache with all that is beneath it, though nobody looks for it again.
func TestForget(t *testing.T) {
	root := &kernfs.Dir{Lookup: func(_ vfs.Context, name string) (kernfs.Node, error) {
		if name != "1" && name != "2" {
			return nil, unix.ENOENT
		}
		d := kernfs.NewDir()
		d.Valid = func() bool { return true }
		d.Sub("task").Add("stat", kernfs.Text("x"))
		return d, nil
	}}
	p := mount(t, root)
	sb := p.Dentry.SB()
	for _, name := range []string{"1/task/stat", "2/task/stat"} {
		require.Equal(t, "x", fstest.ReadFile(t, p, name))
	}
	require.Equal(t, 6, sb.Dentries())
	sb.Root.Forget("no", "such")
	sb.Root.Forget("1", "task", "stat")
	require.Equal(t, 5, sb.Dentries())
	sb.Root.Forget("1")
	require.Equal(t, 3, sb.Dentries())
	// What is held open stays until it is closed.
	f := fstest.Open(t, fstest.Root(), p, "2/task", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	sb.Root.Forget("2")
	require.Equal(t, 0, sb.Dentries())
	f.DecRef()
	require.Equal(t, "x", fstest.ReadFile(t, p, "1/task/stat"))
}
