package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/sentry/proc/hostcpu"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/dev"
	"gosv.dev/vfs/devpts"
	"gosv.dev/vfs/host"
	"gosv.dev/vfs/overlay"
	"gosv.dev/vfs/pipe"
	"gosv.dev/vfs/tmpfs"
)

// hardware is what the host tells of itself before the sentry confines itself.
type hardware struct {
	memory int64 // bytes
	cpu    *hostcpu.CPU
}

func readHardware() hardware {
	hw := hardware{memory: 4 << 30, cpu: hostcpu.Read()}
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err == nil {
		hw.memory = int64(si.Totalram) * int64(si.Unit)
	}
	return hw
}

// newRegistry knows the file systems and devices of a sandbox.
func newRegistry(mem *mm.Memory) *vfs.Registry {
	reg := vfs.NewRegistry()
	reg.Memory = mem
	reg.OpenFIFO = pipe.Opener(reg)
	reg.Register(tmpfs.Type(mem))
	reg.Register(tmpfs.RamfsType(mem))
	reg.Register(devpts.Type())
	reg.Register(overlay.Type())
	dev.Register(reg, dev.Options{Memory: mem})
	mem.RegisterShrinker(vfs.DentryShrinker{Registry: reg})
	return reg
}

// ids translates owners of host files; see sandbox.Identity.
func (b *booter) ids() (uids, gids []host.IDRange) {
	id := b.config.Identity
	if !id.Rootless {
		return nil, nil
	}
	const overflow = 65534
	return []host.IDRange{{Host: 1, Guest: id.UID, Count: 1}, {Host: overflow, Guest: 0, Count: 1}},
		[]host.IDRange{{Host: 1, Guest: id.GID, Count: 1}, {Host: overflow, Guest: 0, Count: 1}}
}

// mountRoot makes the guest's root: the host's, read-only, with a layer in memory over it that takes the changes,
// and the volumes.
func (b *booter) mountRoot(reg *vfs.Registry, fds []int) (*vfs.MountNamespace, error) {
	ctx := vfs.KernelContext()
	uids, gids := b.ids()
	lower, err := host.New(b.mem, fds[0], host.Options{Name: "/", Exclusive: true, ReadOnly: true, UIDs: uids, GIDs: gids, ProcSelfFD: b.procFD})
	if err != nil {
		return nil, err
	}
	upper, err := tmpfs.New(ctx, b.mem, "upper", "mode=0755")
	if err != nil {
		return nil, err
	}
	// A layer is named by a path, so it needs to be mounted: in a namespace that nobody else sees.
	lowerNS := vfs.NewMountNamespace(vfs.NewRegistry(), cred.InitUserNS(), lower, unix.MS_RDONLY)
	sb, err := overlay.NewScratch("overlay", []vfs.Path{lowerNS.Root()}, upper)
	if err != nil {
		return nil, err
	}
	ns := vfs.NewMountNamespace(reg, cred.InitUserNS(), sb, 0)
	for i, v := range b.config.Volumes {
		vol, err := host.New(b.mem, fds[i+1], host.Options{Name: v.Host, ReadOnly: v.ReadOnly, UIDs: uids, GIDs: gids, ProcSelfFD: b.procFD})
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Host, err)
		}
		flags := uint64(unix.MS_NOSUID | unix.MS_NODEV)
		if v.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		if err := b.mountAt(ns, vol, v.Guest, flags); err != nil {
			return nil, fmt.Errorf("volume %s at %s: %w", v.Host, v.Guest, err)
		}
	}
	return ns, nil
}

// mountAt mounts sb on a directory of the guest, which is made if it is missing.
func (b *booter) mountAt(ns *vfs.MountNamespace, sb *vfs.Superblock, at string, flags uint64) error {
	ctx := vfs.KernelContext()
	root := ns.Root()
	for i, r := range at {
		if i > 0 && r == '/' {
			vfs.Mkdir(ctx, root, at[1:i], 0o755) // what is missing in the end shows below
		}
	}
	vfs.Mkdir(ctx, root, at[1:], 0o755)
	p, err := vfs.Lookup(ctx, root, at[1:], vfs.LookupFollow|vfs.LookupDirectory|vfs.LookupInRoot)
	if err != nil {
		return err
	}
	defer p.DecRef()
	_, err = ns.MountSB(ctx, sb, p, flags)
	return err
}

// kernelMounts are the file systems that every sandbox has, in order.
var kernelMounts = []struct {
	fstype, at string
	flags      uint64
	data       string
}{
	{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY, ""},
	{"tmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
	{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
}

// mountKernelFS mounts them, and makes the root read-only if asked to.
func (b *booter) mountKernelFS() error {
	ctx := vfs.KernelContext()
	ns := b.kernel.RootNamespaces().Mount
	reg := ns.Registry()
	for _, m := range kernelMounts {
		t := reg.Lookup(m.fstype)
		if t == nil {
			continue
		}
		sb, err := t.Mount(vfs.KernelContext(), m.fstype, m.flags, m.data)
		if err != nil {
			return fmt.Errorf("mounting %s: %w", m.at, err)
		}
		if err := b.mountAt(ns, sb, m.at, m.flags); err != nil {
			return fmt.Errorf("mounting %s: %w", m.at, err)
		}
		if m.at == "/dev" {
			p, err := vfs.Lookup(ctx, ns.Root(), "dev", vfs.LookupDirectory)
			if err != nil {
				return err
			}
			err = dev.Populate(ctx, p)
			p.DecRef()
			if err != nil {
				return fmt.Errorf("populating /dev: %w", err)
			}
		}
	}
	if b.config.ReadOnly {
		return ns.Remount(ctx, ns.Root(), unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

// lookupContext looks at files as the user who is going to run the program.
type lookupContext struct {
	vfs.Context
	cred *cred.Cred
	fs   *vfs.FSContext
}

func (c *lookupContext) Cred() *cred.Cred   { return c.cred }
func (c *lookupContext) FS() *vfs.FSContext { return c.fs }

// lookupUser makes the credentials of the program: the invoking user's, or those of --user, which may be names
// of the guest's /etc/passwd and /etc/group.
func (b *booter) lookupUser() (*cred.Cred, error) {
	c := b.config
	ns := cred.InitUserNS()
	if c.User == "" {
		return cred.New(ns, c.UID, c.GID, c.Groups), nil
	}
	user, group, hasGroup := strings.Cut(c.User, ":")
	uid, gid, err := b.findUser(user)
	if err != nil {
		return nil, fmt.Errorf("--user: %w", err)
	}
	groups := b.findGroups(user)
	if hasGroup {
		if gid, err = b.findGroup(group); err != nil {
			return nil, fmt.Errorf("--user: %w", err)
		}
	}
	return cred.New(ns, uid, gid, groups), nil
}

func (b *booter) readGuestFile(name string) []byte {
	f, err := vfs.Open(vfs.KernelContext(), b.kernel.RootNamespaces().Mount.Root(), strings.TrimPrefix(name, "/"), unix.OpenHow{Flags: unix.O_RDONLY})
	if err != nil {
		return nil
	}
	defer f.DecRef()
	buf := make([]byte, 1<<20)
	n, _ := f.ReadKernel(buf, 0)
	return buf[:n]
}

// entries are the lines of a file such as /etc/passwd, split at colons.
func (b *booter) entries(name string, fields int) [][]string {
	var all [][]string
	sc := bufio.NewScanner(bytes.NewReader(b.readGuestFile(name)))
	for sc.Scan() {
		if f := strings.Split(sc.Text(), ":"); len(f) >= fields {
			all = append(all, f)
		}
	}
	return all
}

func (b *booter) findUser(name string) (uid, gid uint32, err error) {
	id, numErr := strconv.ParseUint(name, 10, 32)
	for _, f := range b.entries("/etc/passwd", 4) {
		if f[0] == name || numErr == nil && f[2] == name {
			u, err1 := strconv.ParseUint(f[2], 10, 32)
			g, err2 := strconv.ParseUint(f[3], 10, 32)
			if err1 == nil && err2 == nil {
				return uint32(u), uint32(g), nil
			}
		}
	}
	if numErr != nil {
		return 0, 0, fmt.Errorf("there is no user %q in /etc/passwd; give a number", name)
	}
	return uint32(id), uint32(id), nil
}

func (b *booter) findGroup(name string) (uint32, error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil
	}
	for _, f := range b.entries("/etc/group", 3) {
		if f[0] == name {
			if g, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				return uint32(g), nil
			}
		}
	}
	return 0, fmt.Errorf("there is no group %q in /etc/group; give a number", name)
}

// findGroups are the supplementary groups of a user.
func (b *booter) findGroups(user string) []uint32 {
	var groups []uint32
	for _, f := range b.entries("/etc/group", 4) {
		for _, member := range strings.Split(f[3], ",") {
			if g, err := strconv.ParseUint(f[2], 10, 32); err == nil && member == user {
				groups = append(groups, uint32(g))
			}
		}
	}
	return groups
}

// standardFiles wraps the caller's standard descriptors. The guest gets duplicates and the sentry gives up its own,
// so that whoever is at the other end of a pipe notices when the guest closes it; but for standard error, where the sentry has
// to say it if it fails, and for terminals, which it reads and writes itself.
func (b *booter) standardFiles() error {
	uids, gids := b.ids()
	null := -1
	for fd := range b.files {
		if b.config.Terminal&(1<<fd) != 0 {
			continue // becomes the program's own terminal
		}
		const first = 10 // leaves the low numbers to what is fixed
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, first)
		if errors.Is(err, unix.EBADF) {
			continue
		}
		if err != nil {
			return fmt.Errorf("standard descriptor %d: %w", fd, err)
		}
		f, err := host.NewFDFile(dup, host.FDOptions{Memory: b.mem, UIDs: uids, GIDs: gids, ProcSelfFD: b.procFD})
		if errors.Is(err, unix.EBADF) { // O_PATH
			unix.Close(dup)
			continue
		}
		if err != nil {
			return fmt.Errorf("standard descriptor %d: %w", fd, err)
		}
		b.files[fd] = f
		if fd == 2 {
			continue
		}
		if null < 0 {
			if null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
				continue // a host without /dev: the other end learns it when the sandbox ends
			}
		}
		unix.Dup2(null, fd)
	}
	if null >= 0 {
		unix.Close(null)
	}
	return nil
}
