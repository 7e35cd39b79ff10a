// Package sandbox confines the sentry on its host: new namespaces, a root that is
// empty, no capabilities, no_new_privs and a seccomp filter that allows only the host
// calls the sentry makes. The order is fixed:
//
//  1. The command starts the sentry's process with Start, which puts it into new user,
//     mount, pid, network, ipc and uts namespaces, with no capabilities but those that are needed
//     for the next step.
//  2. The sentry calls EnterRoot, which makes the host directories that the guest may
//     see reachable through descriptors only, and leaves the process in an empty root.
//  3. DropCapabilities.
//  4. The platform makes its first stub (which inherits all of the above).
//  5. InstallFilter, after which no guest instruction has run yet.
//
// The package has no state and no locks.
package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Identity is how user and group ids of the host look in the sandbox's user namespace.
//
// Root maps all ids to themselves. An ordinary user can map only their own; in the
// namespace that one is ownID, and every other owner of a file appears as the kernel's
// overflow id. The host file system turns both back: ownID into the user's own id, the
// overflow id into root, which most of such files belong to.
type Identity struct {
	Rootless bool
	UID, GID uint32 // of the invoking user on the host
}

// ownID is the invoking user's id inside a rootless namespace. It must be neither 0 (the
// sentry needs no root's id) nor the overflow id.
const ownID = 1

// Invoker is the identity of the calling process.
func Invoker() Identity {
	return Identity{Rootless: os.Geteuid() != 0, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
}

// InnerUID and InnerGID are the ids that the sentry's process has in its own namespace.
func (id Identity) InnerUID() uint32 {
	if id.Rootless {
		return ownID
	}
	return 0
}

// Tree is a directory of the host that the guest gets: the root, or a volume.
type Tree struct {
	Path     string
	ReadOnly bool
}

// hidden are directories of the host's root whose content is not the guest's business: the guest has its own, or none. They
// must not be reachable even if the guest unmounts its own.
var hidden = []string{"/proc", "/sys", "/dev", "/run/user"}

// kernelFS are types of file systems that show the host's kernel and its processes. They are hidden wherever they are
// mounted (chroot directories have a /proc too).
var kernelFS = map[string]bool{
	"proc": true, "sysfs": true, "devtmpfs": true, "devpts": true, "cgroup": true, "cgroup2": true, "debugfs": true, "tracefs": true,
	"securityfs": true, "configfs": true, "bpf": true, "pstore": true, "efivarfs": true, "mqueue": true, "binfmt_misc": true, "fusectl": true,
	"rpc_pipefs": true, "nsfs": true, "selinuxfs": true, "resctrl": true, "hugetlbfs": true,
}

// A mountPoint is a line of the host's list of mounts.
type mountPoint struct {
	path, fsType string
	options      []string // of the mount, not of its file system
}

// mounts is the list of mounts that the process sees.
func mounts() ([]mountPoint, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the list of mounts: %w; gosv needs /proc", err)
	}
	var list []mountPoint
	for _, line := range strings.Split(string(b), "\n") {
		where, what, ok := strings.Cut(line, " - ")
		f, t := strings.Fields(where), strings.Fields(what)
		if ok && len(f) >= 6 && len(t) >= 1 {
			list = append(list, mountPoint{unescape(f[4]), t[0], strings.Split(f[5], ",")})
		}
	}
	return list, nil
}

// kernelMounts are the mount points of such file systems.
func kernelMounts() ([]string, error) {
	list, err := mounts()
	if err != nil {
		return nil, err
	}
	var points []string
	for _, m := range list {
		if kernelFS[m.fsType] {
			points = append(points, m.path)
		}
	}
	return points, nil
}

// unescape undoes what mountinfo does to spaces and the like: a backslash and three octal digits.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// below tells where path is below dir, as a path that begins with a slash; "" if it is not or the same.
func below(dir, path string) string {
	if dir == "/" {
		dir = ""
	}
	if rest, ok := strings.CutPrefix(path, dir); ok && len(rest) > 1 && rest[0] == '/' {
		return rest
	}
	return ""
}

// hide covers, in a tree mounted at a place, what must not be seen, with empty directories.
func hide(at string, t Tree, points []string) error {
	var covered []string
	cover := func(rel string) error {
		for _, c := range covered {
			if rel == c || below(c, rel) != "" {
				return nil
			}
		}
		p := filepath.Join(at, rel)
		st, err := os.Lstat(p)
		if err != nil {
			return nil // below something that is covered in the host's own tree
		}
		switch {
		case st.IsDir():
			err = unix.Mount("gosv", p, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=0755")
		case st.Mode().IsRegular():
			err = unix.Mount("/dev/null", p, "", unix.MS_BIND, "")
		default:
			return nil // a symbolic link: what it leads to is covered by itself
		}
		if err != nil {
			return fmt.Errorf("hiding %s: %w", rel, err)
		}
		covered = append(covered, rel)
		return nil
	}
	if t.Path == "/" {
		for _, rel := range hidden {
			if err := cover(rel); err != nil {
				return err
			}
		}
	}
	for _, p := range points {
		if rel := below(t.Path, p); rel != "" {
			if err := cover(rel); err != nil {
				return err
			}
		}
	}
	return nil
}

// EnterRoot replaces the calling process' file system with an empty directory and returns
// an O_PATH descriptor for each tree, in order; tree 0 is the host's root. Read-only trees are
// mounted read-only, so that the kernel enforces it too.
func EnterRoot(trees []Tree) ([]int, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		if err == unix.EPERM || err == unix.EACCES {
			return nil, fmt.Errorf("making mounts private: %w: this host gives no rights in a user namespace; run gosv as root, "+
				"or allow it (on Ubuntu sysctl kernel.apparmor_restrict_unprivileged_userns=0)", err)
		}
		return nil, fmt.Errorf("making mounts private: %w", err)
	}
	clones := make([]int, len(trees))
	for i, t := range trees {
		fd, err := unix.OpenTree(unix.AT_FDCWD, t.Path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path, err)
		}
		clones[i] = fd
	}
	points, err := kernelMounts()
	if err != nil {
		return nil, err
	}
	const base = "/tmp" // any directory does; what it hides has been cloned
	if err := unix.Mount("gosv", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,mode=0755"); err != nil {
		return nil, fmt.Errorf("mounting an empty root: %w", err)
	}
	fds := make([]int, len(trees))
	for i, t := range trees {
		at := filepath.Join(base, fmt.Sprint("tree", i))
		fd, err := attach(clones[i], at, t, points)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path, err)
		}
		unix.Close(clones[i])
		fds[i] = fd
	}
	if err := os.Mkdir(base+"/empty", 0o555); err != nil {
		return nil, err
	}
	if err := unix.Chdir(base); err != nil {
		return nil, err
	}
	if err := leaveRoot(); err != nil {
		return nil, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("making the empty root read-only: %w", err)
	}
	if err := unix.Chroot("/empty"); err != nil {
		return nil, err
	}
	return fds, unix.Chdir("/")
}

// leaveRoot makes the working directory, which is a mount, the root, and lets go of the old one.
func leaveRoot() error {
	err := unix.PivotRoot(".", ".")
	if err == unix.EINVAL {
		// The kernel's initial RAM disk cannot be left. It can be covered, and then no path leads to it:
		// the parent of its root is what covers it.
		if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("covering the host's root: %w", err)
		}
		return unix.Chroot(".")
	}
	if err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's root: %w", err)
	}
	return nil
}

// attach mounts a cloned tree at a new place and opens it.
func attach(clone int, at string, t Tree, points []string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(clone, &st); err != nil {
		return -1, err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir {
		if err := os.Mkdir(at, 0o700); err != nil {
			return -1, err
		}
	} else if err := os.WriteFile(at, nil, 0o600); err != nil {
		return -1, err
	}
	if err := unix.MoveMount(clone, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return -1, fmt.Errorf("move_mount: %w", err)
	}
	set := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if t.ReadOnly {
		set |= unix.MOUNT_ATTR_RDONLY
	}
	err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: set})
	if err == unix.ENOSYS {
		if err := remountAll(at, t.ReadOnly); err != nil {
			return -1, err
		}
	} else if err != nil {
		return -1, fmt.Errorf("mount_setattr: %w", err)
	}
	if err := hide(at, t, points); err != nil {
		return -1, err
	}
	return unix.Open(at, unix.O_PATH|unix.O_CLOEXEC, 0)
}

// remountAll does before Linux 5.12 what mount_setattr does in one call: it takes from the mount at a place, and from all
// below, what is not needed.
func remountAll(at string, readOnly bool) error {
	list, err := mounts()
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.path != at && below(at, m.path) == "" || m.fsType == "autofs" {
			continue
		}
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV)
		for _, o := range m.options { // what it has must stay; the times of access do by themselves
			switch o {
			case "ro":
				flags |= unix.MS_RDONLY
			case "noexec":
				flags |= unix.MS_NOEXEC
			}
		}
		if readOnly {
			flags |= unix.MS_RDONLY
		}
		err := unix.Mount("", m.path, "", flags, "")
		switch {
		case err == nil:
		case m.path != at && (err == unix.EINVAL || err == unix.ENOENT || err == unix.ENOTDIR):
			// Another mount hides it, and its name means something else.
		default:
			return fmt.Errorf("remounting %s: %w", strings.TrimPrefix(m.path, at), err)
		}
	}
	return nil
}

// DropCapabilities takes every capability from every thread of the process, for good, and sets
// no_new_privs.
func DropCapabilities() error {
	// Mostly Start has done that for the first thread, and so for all.
	for c := uintptr(0); ; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err == unix.EINVAL && c > 0 {
			break // there are no more
		}
		if err != nil {
			return fmt.Errorf("reading the bounding set: %w", err)
		}
		if has == 0 {
			continue
		}
		if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0); e != 0 {
			return fmt.Errorf("dropping capability %d from the bounding set: %w", c, e)
		}
	}
	// The ambient set is a part of the permitted one, always.
	if err := capsetNone(); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("no_new_privs: %w", e)
	}
	// Dropping made the process undumpable, and its stubs could not be traced.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	return nil
}
