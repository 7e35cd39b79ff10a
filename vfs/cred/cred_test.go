package cred

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// user returns credentials of an ordinary user.
func user(uid uint32) *Cred { return New(InitUserNS(), uid, uid, nil) }

func TestSetID(t *testing.T) {
	const none = Invalid
	tests := []struct {
		name string
		from *Cred
		do   func(*Cred) (*Cred, error)
		want [4]uint32 // uid, euid, suid, fsuid
		caps CapSet    // effective
		err  error
	}{
		{"root setuid", Root(), func(c *Cred) (*Cred, error) { return c.SetUID(5) }, [4]uint32{5, 5, 5, 5}, 0, nil},
		{"root seteuid", Root(), func(c *Cred) (*Cred, error) { return c.SetRESUID(none, 5, none) }, [4]uint32{0, 5, 0, 5}, 0, nil},
		{"root setreuid", Root(), func(c *Cred) (*Cred, error) { return c.SetREUID(5, none) }, [4]uint32{5, 0, 0, 0}, AllCaps, nil},
		{"root setreuid euid", Root(), func(c *Cred) (*Cred, error) { return c.SetREUID(none, 5) }, [4]uint32{0, 5, 5, 5}, 0, nil},
		{"user setuid", user(7), func(c *Cred) (*Cred, error) { return c.SetUID(0) }, [4]uint32{}, 0, unix.EPERM},
		{"user setuid self", user(7), func(c *Cred) (*Cred, error) { return c.SetUID(7) }, [4]uint32{7, 7, 7, 7}, 0, nil},
		{"user setresuid", user(7), func(c *Cred) (*Cred, error) { return c.SetRESUID(7, 7, 8) }, [4]uint32{}, 0, unix.EPERM},
		{"invalid", Root(), func(c *Cred) (*Cred, error) { return c.SetUID(none) }, [4]uint32{}, 0, unix.EINVAL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, err := test.do(test.from)
			if test.err != nil {
				require.ErrorIs(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, [4]uint32{n.UID, n.EUID, n.SUID, n.FSUID})
			require.Equal(t, test.caps, n.Effective)
		})
	}

	// Saved id: back and forth.
	c, err := Root().SetRESUID(none, 5, none)
	require.NoError(t, err)
	require.Equal(t, AllCaps, c.Permitted)
	c, err = c.SetRESUID(none, 0, none)
	require.NoError(t, err)
	require.Equal(t, AllCaps, c.Effective)

	// Keeping capabilities over setuid.
	c, err = Root().SetKeepCaps(1)
	require.NoError(t, err)
	c, err = c.SetUID(5)
	require.NoError(t, err)
	require.Equal(t, AllCaps, c.Permitted)
	require.Zero(t, c.Effective)

	// setfsuid touches just the file system capabilities.
	c = Root().SetFSUID(5)
	require.Equal(t, AllCaps&^fsCaps, c.Effective)
	require.Equal(t, AllCaps, c.SetFSUID(0).Effective)
	require.Same(t, c, c.SetFSUID(Invalid))
	u := user(5)
	require.Same(t, u, u.SetFSUID(6))
}

func TestGroups(t *testing.T) {
	c, err := Root().SetGroups([]uint32{30, 10, 20})
	require.NoError(t, err)
	require.Equal(t, []uint32{10, 20, 30}, c.Groups)
	require.True(t, c.InGroup(20))
	require.True(t, c.InGroup(0))
	require.False(t, c.InGroup(21))
	_, err = user(5).SetGroups(nil)
	require.ErrorIs(t, err, unix.EPERM)
}

func TestCapSet(t *testing.T) {
	kill, chown := Caps(unix.CAP_KILL), Caps(unix.CAP_CHOWN)
	c, err := Root().CapSet(kill, kill, kill|chown)
	require.NoError(t, err)
	_, err = c.CapSet(AllCaps, 0, kill)
	require.ErrorIs(t, err, unix.EPERM, "effective beyond permitted")
	_, err = c.CapSet(0, 0, AllCaps)
	require.ErrorIs(t, err, unix.EPERM, "permitted grows")
	_, err = c.CapSet(0, Caps(unix.CAP_SYS_ADMIN), kill)
	require.ErrorIs(t, err, unix.EPERM, "inheritable beyond permitted without CAP_SETPCAP")

	_, err = c.RaiseAmbient(unix.CAP_CHOWN)
	require.ErrorIs(t, err, unix.EPERM, "not inheritable")
	_, err = c.RaiseAmbient(63)
	require.ErrorIs(t, err, unix.EINVAL)
	a, err := c.RaiseAmbient(unix.CAP_KILL)
	require.NoError(t, err)
	require.Equal(t, kill, a.Ambient)
	a, err = a.CapSet(0, 0, kill)
	require.NoError(t, err)
	require.Zero(t, a.Ambient, "ambient follows inheritable")

	_, err = c.DropBounding(unix.CAP_KILL)
	require.ErrorIs(t, err, unix.EPERM)
	b, err := Root().DropBounding(unix.CAP_KILL)
	require.NoError(t, err)
	require.False(t, b.Bounding.Has(unix.CAP_KILL))
}

func TestSecurebits(t *testing.T) {
	c, err := Root().SetSecurebits(SecbitNoRoot | SecbitNoRootLocked)
	require.NoError(t, err)
	_, err = c.SetSecurebits(SecbitNoRoot)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = c.SetSecurebits(SecbitNoRootLocked)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = c.SetSecurebits(1 << 20)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = c.SetSecurebits(SecbitNoRoot | SecbitNoRootLocked | SecbitNoSetuidFixup)
	require.NoError(t, err)
}

func TestExec(t *testing.T) {
	netraw := Caps(unix.CAP_NET_RAW)
	ambient, err := Root().CapSet(netraw, netraw, AllCaps)
	require.NoError(t, err)
	ambient, err = ambient.RaiseAmbient(unix.CAP_NET_RAW)
	require.NoError(t, err)
	ambient = ambient.Clone()
	ambient.UID, ambient.EUID, ambient.SUID, ambient.FSUID = 5, 5, 5, 5
	noroot, err := Root().SetSecurebits(SecbitNoRoot)
	require.NoError(t, err)

	caps := (&FileCaps{Permitted: netraw, Effective: true}).Marshal()
	tests := []struct {
		name   string
		from   *Cred
		file   ExecFile
		euid   uint32
		eff    CapSet
		secure bool
		err    error
	}{
		{"plain user", user(5), ExecFile{Mode: 0755}, 5, 0, false, nil},
		{"plain root", Root(), ExecFile{Mode: 0755}, 0, AllCaps, false, nil},
		{"setuid root", user(5), ExecFile{Mode: 04755}, 0, AllCaps, true, nil},
		{"setuid root, nosuid", user(5), ExecFile{Mode: 04755, NoSuid: true}, 5, 0, false, nil},
		{"setuid root, no_new_privs", user(5), ExecFile{Mode: 04755, NoNewPrivs: true}, 5, 0, false, nil},
		{"setuid root, traced", user(5), ExecFile{Mode: 04755, Traced: true}, 5, 0, true, nil},
		{"setuid user", Root(), ExecFile{Mode: 04755, UID: 6}, 6, 0, true, nil},
		{"setgid", user(5), ExecFile{Mode: 02755, GID: 6}, 5, 0, true, nil},
		{"setgid without x", user(5), ExecFile{Mode: 02745, GID: 6}, 5, 0, false, nil},
		{"file capabilities", user(5), ExecFile{Mode: 0755, Caps: caps}, 5, netraw, true, nil},
		{"ambient", ambient, ExecFile{Mode: 0755}, 5, netraw, false, nil},
		{"ambient lost by setuid", ambient, ExecFile{Mode: 04755, UID: 6}, 6, 0, true, nil},
		{"noroot", noroot, ExecFile{Mode: 0755}, 0, 0, false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, secure, err := test.from.Exec(&test.file)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.euid, n.EUID)
			require.Equal(t, test.eff, n.Effective)
			if test.name != "setuid root, traced" {
				require.Equal(t, test.secure, secure)
			}
		})
	}

	less := user(5).Clone()
	less.Bounding = 0
	_, _, err = less.Exec(&ExecFile{Mode: 0755, Caps: caps})
	require.ErrorIs(t, err, unix.EPERM)
}

func TestFileCaps(t *testing.T) {
	fc := &FileCaps{Permitted: AllCaps, Inheritable: 3, Effective: true}
	require.Len(t, fc.Marshal(), 20)
	got, err := ParseFileCaps(fc.Marshal())
	require.NoError(t, err)
	require.Equal(t, fc, got)
	fc.Root = 1000
	require.Len(t, fc.Marshal(), 24)
	got, err = ParseFileCaps(fc.Marshal())
	require.NoError(t, err)
	require.Equal(t, fc, got)
	for n := range fc.Marshal() {
		_, err := ParseFileCaps(fc.Marshal()[:n])
		require.Error(t, err)
	}
}

func FuzzParseFileCaps(f *testing.F) {
	f.Add((&FileCaps{Permitted: 1}).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if fc, err := ParseFileCaps(b); err == nil {
			fc.Marshal()
		}
	})
}

func TestUserNS(t *testing.T) {
	u := user(1000)
	ns, c, err := u.NewUserNS()
	require.NoError(t, err)
	defer ns.Release()
	require.True(t, c.Has(unix.CAP_SYS_ADMIN))
	require.False(t, c.HasIn(InitUserNS(), unix.CAP_SYS_ADMIN))
	require.True(t, u.HasIn(ns, unix.CAP_SYS_ADMIN), "the owner")
	require.False(t, user(1001).HasIn(ns, unix.CAP_SYS_ADMIN))
	require.True(t, Root().HasIn(ns, unix.CAP_SYS_ADMIN), "root above")
	require.Equal(t, uint32(Overflow), ns.ShowUID(1000))

	// An ordinary user may map itself only, and its group only after denying setgroups.
	require.ErrorIs(t, ns.WriteUIDMap(c, c, 0, []byte("0 0 1")), unix.EPERM)
	require.ErrorIs(t, ns.WriteUIDMap(c, c, 0, []byte("0 1000 2")), unix.EPERM)
	require.NoError(t, ns.WriteUIDMap(c, c, 0, []byte("0 1000 1\n")))
	require.ErrorIs(t, ns.WriteUIDMap(c, c, 0, []byte("0 1000 1\n")), unix.EPERM)
	require.ErrorIs(t, ns.WriteGIDMap(c, c, 0, []byte("0 1000 1")), unix.EPERM)
	require.NoError(t, ns.WriteSetgroups(0, []byte("deny\n")))
	require.NoError(t, ns.WriteGIDMap(c, c, 0, []byte("0 1000 1")))
	require.Equal(t, "deny\n", ns.ShowSetgroups())
	require.ErrorIs(t, ns.WriteSetgroups(0, []byte("allow")), unix.EPERM)
	_, err = c.SetGroups(nil)
	require.ErrorIs(t, err, unix.EPERM)

	require.Equal(t, uint32(0), ns.ShowUID(1000))
	require.Equal(t, uint32(Overflow), ns.ShowUID(0))
	require.Equal(t, "         0       1000          1\n", string(ns.ShowUIDMap(ns)))
	require.Equal(t, "         0       1000          1\n", string(ns.ShowUIDMap(InitUserNS())))
	require.True(t, c.HasWRTInode(1000, 1000, unix.CAP_CHOWN))
	require.False(t, c.HasWRTInode(0, 0, unix.CAP_CHOWN))
}

func TestWriteMap(t *testing.T) {
	newNS := func() *UserNamespace {
		ns, _, err := Root().NewUserNS()
		require.NoError(t, err)
		t.Cleanup(ns.Release)
		return ns
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%d %d 1\n", 2*i, 2*i)
		}
		return b.String()
	}
	for _, bad := range []string{"", "\n", "0 0", "0 0 1 1", "a 0 1", "0 0 0", "-1 0 1", "4294967295 0 1",
		"0 0 10\n5 100 1", "0 0 10\n50 5 1", "0 4294967290 10", many(400), many(350)} {
		require.ErrorIs(t, newNS().WriteUIDMap(Root(), Root(), 0, []byte(bad)), unix.EINVAL, "%.20q", bad)
	}
	ns := newNS()
	require.ErrorIs(t, ns.WriteUIDMap(Root(), Root(), 1, []byte("0 0 1")), unix.EINVAL)
	require.NoError(t, ns.WriteUIDMap(Root(), Root(), 0, []byte("100 2000 10\n  0 1000 100\n")))
	for id, want := range map[uint32]uint32{0: 1000, 99: 1099, 100: 2000, 109: 2009, 110: Invalid, Invalid: Invalid} {
		require.Equal(t, want, ns.MapUIDToKernel(id), id)
		if want != Invalid {
			require.Equal(t, id, ns.MapUIDFromKernel(want))
		}
	}
	require.Equal(t, Invalid, ns.MapUIDFromKernel(0))

	// A child's map goes through its parent's.
	child, _, err := New(ns, 1000, 0, nil).In(ns).NewUserNS()
	require.ErrorIs(t, err, unix.EPERM, "gid is not mapped")
	require.Nil(t, child)
	require.NoError(t, ns.WriteGIDMap(Root(), Root(), 0, []byte("0 0 1")))
	child, _, err = New(ns, 1000, 0, nil).In(ns).NewUserNS()
	require.NoError(t, err)
	defer child.Release()
	require.NoError(t, child.WriteUIDMap(Root().In(ns), Root().In(ns), 0, []byte("0 100 5")))
	require.Equal(t, uint32(2003), child.MapUIDToKernel(3))
	require.Equal(t, "         0       2000          5\n", string(child.ShowUIDMap(InitUserNS())))
}

func FuzzParseMap(f *testing.F) {
	f.Add([]byte("0 1000 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMap(b); err == nil {
			require.LessOrEqual(t, len(m), MaxExtents)
		}
	})
}

func TestCounts(t *testing.T) {
	ns := InitUserNS()
	old := ns.Limit(CountInotifyWatches)
	ns.SetLimit(CountInotifyWatches, 2)
	defer ns.SetLimit(CountInotifyWatches, old)
	require.NoError(t, ns.Charge(77, CountInotifyWatches, 2))
	require.ErrorIs(t, ns.Charge(77, CountInotifyWatches, 1), unix.ENOSPC)
	require.NoError(t, ns.Charge(78, CountInotifyWatches, 1))
	ns.Uncharge(77, CountInotifyWatches, 2)
	ns.Uncharge(78, CountInotifyWatches, 1)
	require.NotContains(t, ns.counts, uint32(77))
}

func TestNesting(t *testing.T) {
	c := Root()
	for range MaxLevel {
		ns, n, err := c.NewUserNS()
		require.NoError(t, err)
		require.NoError(t, ns.WriteUIDMap(c, c, 0, []byte("0 0 1")))
		require.NoError(t, ns.WriteGIDMap(c, c, 0, []byte("0 0 1")))
		c = n
	}
	_, _, err := c.NewUserNS()
	require.ErrorIs(t, err, unix.ENOSPC)
}
