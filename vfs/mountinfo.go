package vfs

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// all returns the mounts of ns, in the order they were made.
func (ns *MountNamespace) all() []*Mount {
	if ns.root == nil {
		return nil
	}
	ms := ns.root.tree()
	sortMounts(ms)
	return ms
}

var sbOptNames = []struct {
	flag uint64
	name string
}{
	{unix.MS_SYNCHRONOUS, ",sync"}, {unix.MS_DIRSYNC, ",dirsync"}, {unix.MS_MANDLOCK, ",mand"}, {unix.MS_LAZYTIME, ",lazytime"},
}

var mountOptNames = []struct {
	flag uint64
	name string
}{
	{unix.MS_NOSUID, ",nosuid"}, {unix.MS_NODEV, ",nodev"}, {unix.MS_NOEXEC, ",noexec"}, {unix.MS_NOATIME, ",noatime"},
	{unix.MS_NODIRATIME, ",nodiratime"}, {unix.MS_RELATIME, ",relatime"}, {MountNoSymFollow, ",nosymfollow"},
}

func (m *Mount) mountOpts() string {
	var b strings.Builder
	for _, o := range mountOptNames {
		if m.flags.Load()&o.flag != 0 {
			b.WriteString(o.name)
		}
	}
	return b.String()
}

func (sb *Superblock) sbOpts() string {
	var b strings.Builder
	for _, o := range sbOptNames {
		if sb.Flags()&o.flag != 0 {
			b.WriteString(o.name)
		}
	}
	return b.String()
}

func (sb *Superblock) ownOpts() string {
	if sb.Type != nil && sb.Type.ShowOptions != nil {
		if s := sb.Type.ShowOptions(sb); s != "" {
			return "," + strings.TrimPrefix(s, ",")
		}
	}
	return ""
}

func (sb *Superblock) typeName() string {
	if sb.Type == nil {
		return "none"
	}
	return sb.Type.Name
}

func rorw(ro bool) string {
	if ro {
		return "ro"
	}
	return "rw"
}

func (m *Mount) sourceName() string {
	if m.source == "" {
		return "none"
	}
	return escapeMount(m.source)
}

// rootPath is the directory of the file system that m shows.
func (m *Mount) rootPath() string {
	s, deleted, _ := fullPath(Path{nil, m.root}, Path{})
	if deleted {
		s += "//deleted"
	}
	return s
}

// place is where m is attached as seen from root; ok is false if it cannot be reached.
func (m *Mount) place(root Path) (string, bool) {
	s, _, ok := fullPath(Path{m, m.root}, root)
	return s, ok
}

// visible calls f for the mounts that a task with the given root sees.
func (ns *MountNamespace) visible(root Path, f func(m *Mount, at string)) {
	ns.reg.mountMu.RLock()
	defer ns.reg.mountMu.RUnlock()
	if root.Dentry == nil && ns.root != nil {
		root = ns.root.Path()
	}
	for _, m := range ns.all() {
		if at, ok := m.place(root); ok {
			f(m, at)
		}
	}
}

// MountInfo is /proc/PID/mountinfo for a task whose root is root.
func (ns *MountNamespace) MountInfo(root Path) string {
	var b strings.Builder
	ns.visible(root, func(m *Mount, at string) {
		parent := 1
		if p := m.Parent(); p != nil {
			parent = p.ID
		}
		sb := m.SB
		fmt.Fprintf(&b, "%d %d %d:%d %s %s %s%s", m.ID, parent, unix.Major(sb.Dev), unix.Minor(sb.Dev),
			escapeMount(m.rootPath()), escapeMount(at), rorw(m.flags.Load()&unix.MS_RDONLY != 0), m.mountOpts())
		if m.group != nil {
			fmt.Fprintf(&b, " shared:%d", m.group.id)
		}
		if m.master != nil {
			fmt.Fprintf(&b, " master:%d", m.master.id)
			if from := m.propagateFrom(root); from != 0 && from != m.master.id {
				fmt.Fprintf(&b, " propagate_from:%d", from)
			}
		}
		if m.unbindable {
			b.WriteString(" unbindable")
		}
		fmt.Fprintf(&b, " - %s %s %s%s%s\n", escapeMount(sb.typeName()), m.sourceName(), rorw(sb.ReadOnly()), sb.sbOpts(), sb.ownOpts())
	})
	return b.String()
}

// Mounts is /proc/PID/mounts.
func (ns *MountNamespace) Mounts(root Path) string {
	var b strings.Builder
	ns.visible(root, func(m *Mount, at string) {
		sb := m.SB
		fmt.Fprintf(&b, "%s %s %s %s%s%s%s 0 0\n", m.sourceName(), escapeMount(at), escapeMount(sb.typeName()),
			rorw(m.ReadOnly()), sb.sbOpts(), m.mountOpts(), sb.ownOpts())
	})
	return b.String()
}

// MountStats is /proc/PID/mountstats.
func (ns *MountNamespace) MountStats(root Path) string {
	var b strings.Builder
	ns.visible(root, func(m *Mount, at string) {
		if m.source == "" {
			b.WriteString("no device")
		} else {
			fmt.Fprintf(&b, "device %s", m.sourceName())
		}
		fmt.Fprintf(&b, " mounted on %s with fstype %s\n", escapeMount(at), escapeMount(m.SB.typeName()))
	})
	return b.String()
}

// propagateFrom is the nearest of the groups that m gets events from, directly or through others, with a
// member below root (Linux: get_dominating_id); 0 if there is none. With mountMu held.
func (m *Mount) propagateFrom(root Path) int {
	for g := m.master; g != nil; {
		var next *peerGroup
		for _, x := range g.members {
			if _, ok := x.place(root); ok && x.ns == m.ns {
				return g.id
			}
			if x.master != nil {
				next = x.master
			}
		}
		g = next
	}
	return 0
}
