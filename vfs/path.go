package vfs

import "strings"

// Path is a place: a dentry seen through a mount (Linux: struct path). It is a plain
// value. Who keeps one calls IncRef and later DecRef: functions that return a Path say
// whether they have taken a reference. Mount is nil for anonymous inodes.
type Path struct {
	Mount  *Mount
	Dentry *Dentry
}

// Inode is nil for a negative or zero path.
func (p Path) Inode() *Inode {
	if p.Dentry == nil {
		return nil
	}
	return p.Dentry.Inode()
}

// Valid tells whether p is not the zero Path.
func (p Path) Valid() bool { return p.Dentry != nil }

// TryIncRef takes a reference on mount, dentry and inode; false if the dentry or the mount has gone.
func (p Path) TryIncRef() bool {
	if p.Mount != nil && !p.Mount.tryIncRef() {
		return false
	}
	if !p.Dentry.tryPin() {
		if p.Mount != nil {
			p.Mount.DecRef()
		}
		return false
	}
	return true
}

// IncRef takes another reference; the caller has one.
func (p Path) IncRef() {
	if p.Mount != nil {
		p.Mount.IncRef()
	}
	if p.Dentry != nil {
		p.Dentry.pin()
	}
}

// DecRef drops a reference. The zero Path has none.
func (p Path) DecRef() {
	if p.Dentry != nil {
		p.Dentry.unpin()
	}
	if p.Mount != nil {
		p.Mount.DecRef()
	}
}

// registry is nil for paths without a mount.
func (p Path) registry() *Registry {
	if p.Mount == nil {
		return nil
	}
	return p.Mount.reg
}

// FullPath is p's name as seen from root (Linux: d_path, without the marks it adds).
// deleted: the name has been removed. A path that cannot be reached from root gives
// its name in the highest directory that can be found, and PathUnreachable tells.
func FullPath(p Path, root Path) (name string, deleted bool) {
	name, deleted, _ = fullPath(p, root)
	return name, deleted
}

// PathString is what /proc/PID/fd and /proc/PID/maps show: FullPath, with " (deleted)".
func PathString(p Path, root Path) string {
	s, deleted, _ := fullPath(p, root)
	if deleted {
		s += " (deleted)"
	}
	return s
}

// CwdString is what getcwd(2) returns: with "(unreachable)" before what cannot be
// reached from root. deleted tells that getcwd gives ENOENT.
func CwdString(p Path, root Path) (name string, deleted bool) {
	s, deleted, ok := fullPath(p, root)
	if !ok {
		s = "(unreachable)" + s
	}
	return s, deleted
}

// Reachable tells whether p can be reached by walking down from root.
func Reachable(p Path, root Path) bool {
	_, _, ok := fullPath(p, root)
	return ok
}

func fullPath(p Path, root Path) (string, bool, bool) {
	if p.Dentry == nil {
		return "", false, false
	}
	if p.Dentry.has(dAnon) {
		return p.Dentry.anonName(), false, true
	}
	deleted := p.Dentry.has(dDeleted)
	// A rename under way may show a mixture: try again.
	for try := 0; ; try++ {
		var seqs [4]uint64
		var sbs [4]*Superblock
		n := 0
		note := func(sb *Superblock) {
			for i := 0; i < n; i++ {
				if sbs[i] == sb {
					return
				}
			}
			if n < len(sbs) {
				sbs[n], seqs[n] = sb, sb.renameSeq.Load()
				n++
			}
		}
		var parts [32]string
		names := parts[:0]
		ok := true
		m, d := p.Mount, p.Dentry
		note(d.sb)
		for {
			if d == root.Dentry && m == root.Mount {
				break
			}
			if m != nil && d == m.root || d.IsRoot() {
				if m == nil {
					ok = false
					break
				}
				if d != m.root {
					// Above the root of a bind mount: it was moved out of it.
					ok = false
					break
				}
				loc := m.loc.Load()
				if loc == nil {
					ok = root.Dentry == nil
					break
				}
				m, d = loc.parent, loc.point
				note(d.sb)
				continue
			}
			at := d.at.Load()
			names = append(names, at.name)
			d = at.parent
		}
		changed := false
		for i := 0; i < n; i++ {
			if s := sbs[i].renameSeq.Load(); s != seqs[i] || s&1 != 0 {
				changed = true
			}
		}
		if changed && try < 100 {
			continue
		}
		if len(names) == 0 {
			return "/", deleted, ok
		}
		size := 0
		for _, s := range names {
			size += 1 + len(s)
		}
		var b strings.Builder
		b.Grow(size)
		for i := len(names) - 1; i >= 0; i-- {
			b.WriteByte('/')
			b.WriteString(names[i])
		}
		return b.String(), deleted, ok
	}
}
