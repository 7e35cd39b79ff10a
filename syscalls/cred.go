package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs/cred"
)

// User and group ids, and capabilities.

func setCred(t *sentry.Task, n *cred.Cred, err error) (uintptr, error) {
	if err != nil {
		return 0, err
	}
	t.SetCred(n)
	return 0, nil
}

// getuid(2)
func getuid(t *sentry.Task) (uintptr, error) {
	c := t.Cred()
	return uintptr(c.UserNS.ShowUID(c.UID)), nil
}

// geteuid(2)
func geteuid(t *sentry.Task) (uintptr, error) {
	c := t.Cred()
	return uintptr(c.UserNS.ShowUID(c.EUID)), nil
}

// getgid(2)
func getgid(t *sentry.Task) (uintptr, error) {
	c := t.Cred()
	return uintptr(c.UserNS.ShowGID(c.GID)), nil
}

// getegid(2)
func getegid(t *sentry.Task) (uintptr, error) {
	c := t.Cred()
	return uintptr(c.UserNS.ShowGID(c.EGID)), nil
}

// setuid(2)
func setuid(t *sentry.Task, id uint32) (uintptr, error) {
	n, err := t.Cred().SetUID(id)
	return setCred(t, n, err)
}

// setreuid(2)
func setreuid(t *sentry.Task, r, e uint32) (uintptr, error) {
	n, err := t.Cred().SetREUID(r, e)
	return setCred(t, n, err)
}

// setresuid(2)
func setresuid(t *sentry.Task, r, e, s uint32) (uintptr, error) {
	n, err := t.Cred().SetRESUID(r, e, s)
	return setCred(t, n, err)
}

// setfsuid(2) returns the old id, whatever happens.
func setfsuid(t *sentry.Task, id uint32) (uintptr, error) {
	c := t.Cred()
	old := c.UserNS.ShowUID(c.FSUID)
	t.SetCred(c.SetFSUID(id))
	return uintptr(old), nil
}

// setgid(2)
func setgid(t *sentry.Task, id uint32) (uintptr, error) {
	n, err := t.Cred().SetGID(id)
	return setCred(t, n, err)
}

// setregid(2)
func setregid(t *sentry.Task, r, e uint32) (uintptr, error) {
	n, err := t.Cred().SetREGID(r, e)
	return setCred(t, n, err)
}

// setresgid(2)
func setresgid(t *sentry.Task, r, e, s uint32) (uintptr, error) {
	n, err := t.Cred().SetRESGID(r, e, s)
	return setCred(t, n, err)
}

// setfsgid(2)
func setfsgid(t *sentry.Task, id uint32) (uintptr, error) {
	c := t.Cred()
	old := c.UserNS.ShowGID(c.FSGID)
	t.SetCred(c.SetFSGID(id))
	return uintptr(old), nil
}

func threeIDs(t *sentry.Task, show func(uint32) uint32, addrs [3]usermem.Addr, ids [3]uint32) (uintptr, error) {
	for i, a := range addrs {
		v := show(ids[i])
		if err := usermem.CopyObjectOut(t.MM(), a, &v); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// getresuid(2)
func getresuid(t *sentry.Task, r, e, s usermem.Addr) (uintptr, error) {
	c := t.Cred()
	return threeIDs(t, c.UserNS.ShowUID, [3]usermem.Addr{r, e, s}, [3]uint32{c.UID, c.EUID, c.SUID})
}

// getresgid(2)
func getresgid(t *sentry.Task, r, e, s usermem.Addr) (uintptr, error) {
	c := t.Cred()
	return threeIDs(t, c.UserNS.ShowGID, [3]usermem.Addr{r, e, s}, [3]uint32{c.GID, c.EGID, c.SGID})
}

// getgroups(2)
func getgroups(t *sentry.Task, size int32, list usermem.Addr) (uintptr, error) {
	if size < 0 {
		return 0, unix.EINVAL
	}
	c := t.Cred()
	if size == 0 {
		return uintptr(len(c.Groups)), nil
	}
	if int(size) < len(c.Groups) {
		return 0, unix.EINVAL
	}
	ids := make([]uint32, len(c.Groups))
	for i, g := range c.Groups {
		ids[i] = c.UserNS.ShowGID(g)
	}
	return uintptr(len(ids)), usermem.CopySliceOut(t.MM(), list, ids)
}

// setgroups(2)
func setgroups(t *sentry.Task, size int32, list usermem.Addr) (uintptr, error) {
	c := t.Cred()
	if !c.MaySetGroups() {
		return 0, unix.EPERM
	}
	if uint32(size) > cred.NGroupsMax {
		return 0, unix.EINVAL
	}
	ids, err := usermem.CopySliceIn[uint32](t.MM(), list, int(size))
	if err != nil {
		return 0, err
	}
	n, err := c.SetGroups(ids)
	return setCred(t, n, err)
}

// Versions of the capability calls' structures.
const (
	capVersion1 = 0x19980330
	capVersion2 = 0x20071026
	capVersion3 = 0x20080522
)

type capHeader struct {
	Version uint32
	PID     int32
}

type capData struct{ Effective, Permitted, Inheritable uint32 }

// capWords reads the header, and tells how many capData follow. An unknown version is
// answered with the one to use.
func capWords(t *sentry.Task, addr usermem.Addr, h *capHeader) (n int, err error) {
	if err := usermem.CopyObjectIn(t.MM(), addr, &h.Version); err != nil {
		return 0, err
	}
	switch h.Version {
	case capVersion1:
		n = 1
	case capVersion2, capVersion3:
		n = 2
	default:
		v := uint32(capVersion3)
		if err := usermem.CopyObjectOut(t.MM(), addr, &v); err != nil {
			return 0, err
		}
		return 0, unix.EINVAL
	}
	return n, usermem.CopyObjectIn(t.MM(), addr+4, &h.PID)
}

// capget(2)
func capget(t *sentry.Task, header, data usermem.Addr) (uintptr, error) {
	var h capHeader
	n, err := capWords(t, header, &h)
	if err != nil {
		if data == 0 && err == unix.EINVAL {
			return 0, nil // a probe for the version
		}
		return 0, err
	}
	if h.PID < 0 {
		return 0, unix.EINVAL
	}
	o, err := otherTask(t, h.PID)
	if err != nil {
		return 0, err
	}
	c := o.Cred()
	d := make([]capData, n)
	for i := range d {
		d[i] = capData{uint32(c.Effective >> (32 * i)), uint32(c.Permitted >> (32 * i)), uint32(c.Inheritable >> (32 * i))}
	}
	return 0, usermem.CopySliceOut(t.MM(), data, d)
}

// capset(2): of the caller only.
func capset(t *sentry.Task, header, data usermem.Addr) (uintptr, error) {
	var h capHeader
	n, err := capWords(t, header, &h)
	if err != nil {
		return 0, err
	}
	if h.PID != 0 && h.PID != t.PID().In(t.PIDNS()) {
		return 0, unix.EPERM
	}
	d, err := usermem.CopySliceIn[capData](t.MM(), data, n)
	if err != nil {
		return 0, err
	}
	var e, p, i cred.CapSet
	for w := range d {
		e |= cred.CapSet(d[w].Effective) << (32 * w)
		p |= cred.CapSet(d[w].Permitted) << (32 * w)
		i |= cred.CapSet(d[w].Inheritable) << (32 * w)
	}
	nc, err := t.Cred().CapSet(e, i, p)
	return setCred(t, nc, err)
}
