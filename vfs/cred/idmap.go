package cred

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxExtents is how many lines uid_map and gid_map may have.
const MaxExtents = 340

// extent maps count ids from first on to ids of the parent namespace from lower on, which
// are kernel ids from kernel on.
type extent struct {
	first, lower, kernel, count uint32
}

// idMap is a uid_map or gid_map. It is immutable.
type idMap struct {
	extents  []extent // as written
	forward  []extent // sorted by first
	reverse  []extent // sorted by kernel
	identity bool     // the initial namespace's
}

func newIDMap(extents []extent) *idMap {
	m := &idMap{extents: extents}
	m.forward = slices.Clone(extents)
	slices.SortFunc(m.forward, func(a, b extent) int { return cmp(a.first, b.first) })
	m.reverse = slices.Clone(extents)
	slices.SortFunc(m.reverse, func(a, b extent) int { return cmp(a.kernel, b.kernel) })
	return m
}

func cmp(a, b uint32) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// down translates an id to a kernel id, if count ids from it on are in one extent.
func (m *idMap) down(id, count uint32) uint32 {
	if m == nil {
		return Invalid
	}
	if m.identity {
		return id
	}
	i, ok := slices.BinarySearchFunc(m.forward, id, func(e extent, id uint32) int { return cmp(e.first, id) })
	if !ok {
		i--
	}
	if i < 0 {
		return Invalid
	}
	e := &m.forward[i]
	if off := id - e.first; off < e.count && count <= e.count-off {
		return e.kernel + off
	}
	return Invalid
}

// up translates a kernel id to the namespace's.
func (m *idMap) up(k uint32) uint32 {
	if m == nil {
		return Invalid
	}
	if m.identity {
		return k
	}
	i, ok := slices.BinarySearchFunc(m.reverse, k, func(e extent, k uint32) int { return cmp(e.kernel, k) })
	if !ok {
		i--
	}
	if i < 0 {
		return Invalid
	}
	e := &m.reverse[i]
	if off := k - e.kernel; off < e.count {
		return e.first + off
	}
	return Invalid
}

// MapUIDToKernel translates a user id of ns; Invalid if it is not mapped.
func (ns *UserNamespace) MapUIDToKernel(id uint32) KUID { return ns.uids.Load().down(id, 1) }

// MapGIDToKernel translates a group id of ns; Invalid if it is not mapped.
func (ns *UserNamespace) MapGIDToKernel(id uint32) KGID { return ns.gids.Load().down(id, 1) }

// MapUIDFromKernel translates to a user id of ns; Invalid if it has none.
func (ns *UserNamespace) MapUIDFromKernel(k KUID) uint32 { return ns.uids.Load().up(k) }

// MapGIDFromKernel translates to a group id of ns; Invalid if it has none.
func (ns *UserNamespace) MapGIDFromKernel(k KGID) uint32 { return ns.gids.Load().up(k) }

// ShowUID is the user id as the guest sees it: Overflow if it is not mapped (Linux: from_kuid_munged).
func (ns *UserNamespace) ShowUID(k KUID) uint32 { return munge(ns.MapUIDFromKernel(k)) }

// ShowGID is the group id as the guest sees it.
func (ns *UserNamespace) ShowGID(k KGID) uint32 { return munge(ns.MapGIDFromKernel(k)) }

func munge(id uint32) uint32 {
	if id == Invalid {
		return Overflow
	}
	return id
}

// parseMap decodes what is written to a map: lines of three decimal numbers.
func parseMap(b []byte) ([]extent, error) {
	var extents []extent
	text := string(b)
	if i := strings.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, unix.EINVAL
		}
		var v [3]uint32
		for i, s := range f {
			n, ok := parseID(s)
			if !ok {
				return nil, unix.EINVAL
			}
			v[i] = n
		}
		e := extent{first: v[0], lower: v[1], count: v[2]}
		if e.first == Invalid || e.lower == Invalid ||
			e.first+e.count <= e.first || e.lower+e.count <= e.lower {
			return nil, unix.EINVAL
		}
		for _, o := range extents {
			if overlap(e.first, o.first, e.count, o.count) || overlap(e.lower, o.lower, e.count, o.count) {
				return nil, unix.EINVAL
			}
		}
		if len(extents) == MaxExtents {
			return nil, unix.EINVAL
		}
		extents = append(extents, e)
	}
	if len(extents) == 0 {
		return nil, unix.EINVAL
	}
	return extents, nil
}

// parseID reads a decimal number, cut to 32 bits as the kernel's parser does.
func parseID(s string) (uint32, bool) {
	if s == "" {
		return 0, false
	}
	var n uint64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), true
}

func overlap(a, b, na, nb uint32) bool { return a <= b+(nb-1) && b <= a+(na-1) }

// WriteUIDMap is a write to /proc/PID/uid_map of a process in ns. opener are the credentials
// that the file was opened with, writer those of the task that writes.
func (ns *UserNamespace) WriteUIDMap(opener, writer *Cred, off int64, b []byte) error {
	return ns.writeMap(opener, writer, off, b, unix.CAP_SETUID)
}

// WriteGIDMap is a write to /proc/PID/gid_map.
func (ns *UserNamespace) WriteGIDMap(opener, writer *Cred, off int64, b []byte) error {
	return ns.writeMap(opener, writer, off, b, unix.CAP_SETGID)
}

func (ns *UserNamespace) writeMap(opener, writer *Cred, off int64, b []byte, setid int) error {
	if ns.parent == nil || opener.UserNS != ns && opener.UserNS != ns.parent {
		return unix.EPERM
	}
	if off != 0 || len(b) >= 4096 {
		return unix.EINVAL
	}
	mapsMu.Lock()
	defer mapsMu.Unlock()
	p, parent := &ns.uids, ns.parent.uids.Load()
	if setid == unix.CAP_SETGID {
		p, parent = &ns.gids, ns.parent.gids.Load()
	}
	if p.Load() != nil {
		return unix.EPERM // maps are written once
	}
	if !opener.HasIn(ns, unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	extents, err := parseMap(b)
	if err != nil {
		return err
	}
	if !ns.mayMap(opener, writer, extents, setid, parent) {
		return unix.EPERM
	}
	for i := range extents {
		e := &extents[i]
		if e.kernel = parent.down(e.lower, e.count); e.kernel == Invalid {
			return unix.EPERM
		}
	}
	p.Store(newIDMap(extents))
	return nil
}

// mayMap tells whether the writer has a right to these ids. mapsMu is held.
func (ns *UserNamespace) mayMap(opener, writer *Cred, extents []extent, setid int, parent *idMap) bool {
	if setid == unix.CAP_SETUID && slices.ContainsFunc(extents, func(e extent) bool { return e.lower == 0 }) {
		// Who maps the parent's root could give files capabilities that hold there.
		if opener.UserNS == ns {
			if !ns.parentCouldSetFCap {
				return false
			}
		} else if !opener.HasIn(ns.parent, unix.CAP_SETFCAP) {
			return false
		}
	}
	// Anyone may map just itself.
	if len(extents) == 1 && extents[0].count == 1 && ns.owner == opener.EUID {
		k := parent.down(extents[0].lower, 1)
		if setid == unix.CAP_SETUID && k == opener.EUID {
			return true
		}
		if setid == unix.CAP_SETGID && k == opener.EGID && ns.setgroupsDenied.Load() {
			return true
		}
	}
	return writer.HasIn(ns.parent, setid) && opener.HasIn(ns.parent, setid)
}

// ShowUIDMap is the content of uid_map as a reader in the given namespace sees it.
func (ns *UserNamespace) ShowUIDMap(reader *UserNamespace) []byte {
	return show(ns.uids.Load(), ns.shownIn(reader).uids.Load())
}

// ShowGIDMap is the content of gid_map.
func (ns *UserNamespace) ShowGIDMap(reader *UserNamespace) []byte {
	return show(ns.gids.Load(), ns.shownIn(reader).gids.Load())
}

func (ns *UserNamespace) shownIn(reader *UserNamespace) *UserNamespace {
	if reader == ns && ns.parent != nil {
		return ns.parent
	}
	return reader
}

func show(m, lower *idMap) []byte {
	if m == nil {
		return nil
	}
	var b bytes.Buffer
	for _, e := range m.extents {
		fmt.Fprintf(&b, "%10d %10d %10d\n", e.first, lower.up(e.kernel), e.count)
	}
	return b.Bytes()
}

// MaySetGroups tells whether the namespace allows setgroups(2): its gids are mapped, and
// nobody denied it.
func (ns *UserNamespace) MaySetGroups() bool {
	return ns.gids.Load() != nil && !ns.setgroupsDenied.Load()
}

// ShowSetgroups is the content of /proc/PID/setgroups.
func (ns *UserNamespace) ShowSetgroups() string {
	if ns.setgroupsDenied.Load() {
		return "deny\n"
	}
	return "allow\n"
}

// WriteSetgroups is a write to /proc/PID/setgroups; the file may be opened for writing
// only with CAP_SYS_ADMIN in ns.
func (ns *UserNamespace) WriteSetgroups(off int64, b []byte) error {
	if off != 0 || len(b) >= 8 {
		return unix.EINVAL
	}
	var deny bool
	switch strings.TrimRight(string(b), " \t\n\v\f\r\x00") {
	case "allow":
	case "deny":
		deny = true
	default:
		return unix.EINVAL
	}
	mapsMu.Lock()
	defer mapsMu.Unlock()
	if deny {
		// Groups that a process has may deny it access: it must not be able to drop
		// them, once its gids work.
		if ns.gids.Load() != nil {
			return unix.EPERM
		}
		ns.setgroupsDenied.Store(true)
		return nil
	}
	if ns.setgroupsDenied.Load() {
		return unix.EPERM
	}
	return nil
}
