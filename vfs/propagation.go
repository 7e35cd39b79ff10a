package vfs

import (
	"cmp"
	"slices"
)

// Mount propagation (shared subtrees). Mounts that are shared form peer groups; what
// happens at a place in one member happens in all. A slave of a group gets the group's
// events and sends none; it may itself be shared with peers of its own. A mount event
// goes from the group of the mount it happens in to the members, then to the slaves of the
// group, then from the groups of the slaves that are shared, and so on.

// peerGroup is a set of mounts that share. All fields are under Registry.mountMu.
type peerGroup struct {
	id      int
	members []*Mount
	slaves  []*Mount
}

func sortMounts(ms []*Mount) {
	slices.SortFunc(ms, func(a, b *Mount) int { return cmp.Compare(a.ID, b.ID) })
}

func drop(list []*Mount, m *Mount) []*Mount {
	if i := slices.Index(list, m); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// makeShared gives m a group of its own if it has none.
func (m *Mount) makeShared() {
	m.unbindable = false
	if m.group == nil {
		m.joinGroup(&peerGroup{id: m.reg.groupIDs.get()})
	}
}

func (m *Mount) joinGroup(g *peerGroup) {
	m.group = g
	g.members = append(g.members, m)
}

func (m *Mount) setMaster(g *peerGroup) {
	if m.master != nil {
		m.master.slaves = drop(m.master.slaves, m)
	}
	m.master = g
	if g != nil {
		g.slaves = append(g.slaves, m)
	}
}

// leaveGroup makes m no longer shared. The slaves of a group whose last member has gone
// pass to the group's own master.
func (m *Mount) leaveGroup() {
	g := m.group
	if g == nil {
		return
	}
	m.group = nil
	g.members = drop(g.members, m)
	if len(g.members) > 0 {
		return
	}
	for _, s := range slices.Clone(g.slaves) {
		s.setMaster(m.master)
	}
	m.reg.groupIDs.put(g.id)
}

// makeSlave makes m a slave of the group that it was a member of. Of a mount that
// shares with nobody nothing comes but its master's events.
func (m *Mount) makeSlave() {
	g := m.group
	m.unbindable = false
	if g == nil {
		return
	}
	if len(g.members) == 1 {
		m.leaveGroup()
		return
	}
	m.leaveGroup()
	m.setMaster(g)
}

func (m *Mount) makePrivate(unbindable bool) {
	m.leaveGroup()
	m.setMaster(nil)
	m.unbindable = unbindable
}

// receivers calls f for every mount that an event in m propagates to, but m itself:
// with the group that the event comes from.
func (m *Mount) receivers(f func(to *Mount, from *peerGroup)) {
	if m.group == nil {
		return
	}
	seen := map[*peerGroup]bool{m.group: true}
	for _, p := range slices.Clone(m.group.members) {
		if p != m {
			f(p, m.group)
		}
	}
	queue := []*peerGroup{m.group}
	for len(queue) > 0 {
		g := queue[0]
		queue = queue[1:]
		for _, s := range slices.Clone(g.slaves) {
			if s.group == nil {
				f(s, g)
				continue
			}
			if seen[s.group] {
				continue
			}
			seen[s.group] = true
			for _, p := range slices.Clone(s.group.members) {
				f(p, g)
			}
			queue = append(queue, s.group)
		}
	}
}

// How copies of a tree relate to the original.
type copyMode uint8

const (
	copyPlain   copyMode = iota // as bind mounts do: peers of shared mounts, slaves of the same master
	copySlave                   // slaves of the original's groups
	copyPrivate                 // no relation
)

// clone copies one mount, with reg.mountMu held. The copy is attached nowhere.
func (m *Mount) clone(root *Dentry, mode copyMode) *Mount {
	c := m.reg.newMount(m.SB, root, m.source, 0)
	c.flags.Store(m.flags.Load())
	c.locked = m.locked &^ lockMount
	switch mode {
	case copyPlain:
		if m.group != nil {
			c.joinGroup(m.group)
		}
		c.setMaster(m.master)
		c.unbindable = m.unbindable
	case copySlave:
		if m.group != nil {
			c.setMaster(m.group)
		} else {
			c.setMaster(m.master)
		}
	}
	return c
}

// copyTree copies m, showing root, and the mounts beneath root. skip says which to leave out
// (with what is beneath them).
func (m *Mount) copyTree(root *Dentry, mode copyMode, skip func(*Mount) bool) *Mount {
	c := m.clone(root, mode)
	var copyKids func(from, to *Mount)
	copyKids = func(from, to *Mount) {
		for _, k := range from.children() {
			point := k.loc.Load().point
			if !point.isUnder(to.root) || skip != nil && skip(k) {
				continue
			}
			kc := k.clone(k.root, mode)
			kc.locked |= k.locked & lockMount
			kc.attach(to, point)
			copyKids(k, kc)
		}
	}
	copyKids(m, c)
	return c
}

// discard drops a tree that was never attached, or has just been taken off.
func (m *Mount) discard() []*Mount {
	all := m.tree()
	for i := len(all) - 1; i >= 0; i-- {
		x := all[i]
		x.detach()
		x.makePrivate(false)
		x.ns = nil
	}
	return all
}

// attachRecursive attaches the tree src at point of dest and everywhere that dest
// propagates to. Should it fail, nothing has been done. moved: the tree was attached before.
func (ns *MountNamespace) attachRecursive(src *Mount, dest *Mount, point *Dentry, moved bool) error {
	type place struct {
		tree *Mount
		at   *Mount
	}
	var places []place
	if dest.group != nil {
		for _, x := range src.tree() {
			x.makeShared()
		}
		// One copy for each receiver: a member of the group gets peers of src, slaves get slaves.
		bySource := map[*peerGroup]*Mount{dest.group: src}
		dest.receivers(func(to *Mount, from *peerGroup) {
			if to.ns == nil || !point.isUnder(to.root) || to.isBelow(src) {
				return
			}
			if !ns.roomFor(to.ns, src) {
				return
			}
			var c *Mount
			switch first := bySource[to.group]; {
			case to.group != nil && first != nil:
				c = first.copyTree(first.root, copyPlain, nil)
			default:
				orig := bySource[from]
				if orig == nil {
					orig = src
				}
				c = orig.copyTree(orig.root, copySlave, nil)
				if to.group != nil {
					for _, x := range c.tree() {
						x.makeShared()
					}
					bySource[to.group] = c
				}
			}
			if to.ns.UserNS != ns.UserNS {
				// What comes from a more privileged namespace cannot be taken apart.
				for _, x := range c.tree() {
					x.lockFlags()
					if x != c {
						x.locked |= lockMount
					}
				}
			}
			places = append(places, place{tree: c, at: to})
		})
	}
	if moved {
		src.detach()
	}
	places = append([]place{{tree: src, at: dest}}, places...)
	touched := map[*MountNamespace]bool{}
	for _, p := range places {
		owner := p.at.ns
		// A mount that is there already comes to lie on top of the new one.
		if old := p.at.childAt(point); old != nil {
			old.detach()
			p.tree.attach(p.at, point)
			top := p.tree
			for k := top.childAt(top.root); k != nil; k = top.childAt(top.root) {
				top = k
			}
			old.attach(top, top.root)
		} else {
			p.tree.attach(p.at, point)
		}
		for _, x := range p.tree.tree() {
			if x.ns != owner {
				if x.ns != nil {
					x.ns.count--
				}
				x.ns = owner
				if owner != nil {
					owner.count++
				}
			}
		}
		if owner != nil {
			touched[owner] = true
		}
	}
	for n := range touched {
		n.changed()
	}
	return nil
}

func (ns *MountNamespace) roomFor(to *MountNamespace, src *Mount) bool {
	return to.count+len(src.tree()) <= int(to.reg.MountMax.Load())
}

// lockFlags keeps a less privileged namespace from clearing flags.
func (m *Mount) lockFlags() {
	f := m.flags.Load()
	m.locked |= lockAtime
	for _, x := range flagLocks {
		if f&x.flag != 0 {
			m.locked |= x.lock
		}
	}
}
