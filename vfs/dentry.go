package vfs

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// A Dentry is a name in a directory, or the root of a file system (Linux: struct
// dentry). It caches what the file system answered for the name: an inode, or that
// there is none (a negative dentry). File systems keep their own directories; all
// dentries that nobody uses can be dropped.
//
// Dentries are read without locks. A name and its parent change together, by one
// store. Memory is the garbage collector's; what is counted are pins: a dentry that
// is pinned (by a Path that someone keeps: an open file, a working directory, a mount)
// is not dropped, and its inode reference lasts. A dentry that has been taken out of
// the cache and whose last pin goes is dead: its inode reference is dropped, and it
// can never be pinned again.
type Dentry struct {
	sb    *Superblock
	inode atomic.Pointer[Inode] // nil: negative; never changes once set
	at    atomic.Pointer[dname]
	first dname // where at points to until the first rename

	pins    atomic.Int32
	state   atomic.Uint32
	mounted atomic.Int32 // number of mounts whose mountpoint this is

	// kids is a hash table of children that is read without locks; childMu is held to change it.
	kids    atomic.Pointer[childTable]
	childMu sync.Mutex
	nkids   int                    // under childMu
	next    atomic.Pointer[Dentry] // in the chain of the parent's table; changed under the parent's childMu

	// The superblock's list of dentries that may be dropped; under its lruMu.
	lruPrev, lruNext *Dentry
	inLRU            bool
	used             atomic.Bool // looked up since the list's hand came by
}

// dname is where a dentry is: immutable, replaced as a whole.
type dname struct {
	parent *Dentry // itself for a root
	name   string
	hash   uint64
}

const (
	// dUnhashed: the name is not (any longer) in its parent: removed, or never had one.
	dUnhashed = 1 << iota
	// dDeadDir: the directory has been removed; nothing can be made in it.
	dDeadDir
	// dDeleted: unlinked (as opposed to dropped from the cache); paths say "(deleted)".
	dDeleted
	// dAnon: the dentry of an anonymous inode: its path is its name.
	dAnon
	// dCantMount: became a removed name; nothing can be mounted on it.
	dCantMount
)

// dead is what pins becomes when a dentry is done with.
const dead = -1 << 30

type childTable struct {
	buckets []atomic.Pointer[Dentry] // a power of two
}

var nameSeed = maphash.MakeSeed()

func hashName(name string) uint64 { return maphash.String(nameSeed, name) }

// newDentry makes a hashed-to-be child of parent; i's reference (if any) is taken over.
func newDentry(parent *Dentry, name string, hash uint64, i *Inode) *Dentry {
	d := &Dentry{sb: parent.sb, first: dname{parent, name, hash}}
	d.at.Store(&d.first)
	if i != nil {
		d.inode.Store(i)
	}
	return d
}

// newRoot makes a dentry without a parent.
func newRoot(sb *Superblock, name string, i *Inode) *Dentry {
	d := &Dentry{sb: sb}
	d.first = dname{d, name, 0}
	d.at.Store(&d.first)
	d.inode.Store(i)
	return d
}

// Name is the last component, "/" for a root.
func (d *Dentry) Name() string { return d.at.Load().name }

// Parent is the directory; a root is its own.
func (d *Dentry) Parent() *Dentry { return d.at.Load().parent }

// Inode is nil for a negative dentry.
func (d *Dentry) Inode() *Inode { return d.inode.Load() }

// SB is the file system.
func (d *Dentry) SB() *Superblock { return d.sb }

// Deleted tells whether the name has been removed from its directory.
func (d *Dentry) Deleted() bool { return d.state.Load()&dDeleted != 0 }

// IsRoot tells whether it has no parent.
func (d *Dentry) IsRoot() bool { return d.at.Load().parent == d }

func (d *Dentry) has(flag uint32) bool { return d.state.Load()&flag != 0 }

func (d *Dentry) set(flag uint32) { d.state.Or(flag) }

// tryPin pins d unless it is dead.
func (d *Dentry) tryPin() bool {
	for {
		n := d.pins.Load()
		if n < 0 {
			return false
		}
		if d.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// pin is for who has a pin, or holds a lock that keeps d in the cache.
func (d *Dentry) pin() {
	if d.pins.Add(1) <= 0 {
		panic("vfs: pin of a dead dentry")
	}
}

func (d *Dentry) unpin() {
	switch n := d.pins.Add(-1); {
	case n == 0 && d.has(dUnhashed):
		d.kill()
	case n < 0:
		panic("vfs: dentry unpinned twice")
	}
}

// kill ends an unhashed dentry that is not pinned.
func (d *Dentry) kill() {
	if d.pins.CompareAndSwap(0, dead) {
		if !d.has(dAnon) {
			d.sb.lruRemove(d)
		}
		if i := d.inode.Load(); i != nil {
			i.DecRef()
		}
	}
}

// child finds name in the cache, without locks. It may miss a dentry that is being
// moved: who needs certainty asks under the directory's DirMu.
func (d *Dentry) child(name string, hash uint64) *Dentry {
	t := d.kids.Load()
	if t == nil {
		return nil
	}
	for c := t.buckets[hash&uint64(len(t.buckets)-1)].Load(); c != nil; c = c.next.Load() {
		n := c.at.Load()
		if n.hash == hash && n.parent == d && n.name == name && !c.has(dUnhashed) {
			if !c.used.Load() {
				c.used.Store(true)
			}
			return c
		}
	}
	return nil
}

// insert puts c among d's children; under d.childMu.
func (d *Dentry) insert(c *Dentry) {
	t := d.kids.Load()
	if t == nil {
		t = &childTable{make([]atomic.Pointer[Dentry], 4)}
		d.kids.Store(t)
	} else if d.nkids >= 2*len(t.buckets) {
		nt := &childTable{make([]atomic.Pointer[Dentry], 4*len(t.buckets))}
		for b := range t.buckets {
			for e := t.buckets[b].Load(); e != nil; {
				next := e.next.Load()
				nb := &nt.buckets[e.at.Load().hash&uint64(len(nt.buckets)-1)]
				e.next.Store(nb.Load())
				nb.Store(e)
				e = next
			}
		}
		d.kids.Store(nt)
		t = nt
	}
	b := &t.buckets[c.at.Load().hash&uint64(len(t.buckets)-1)]
	c.next.Store(b.Load())
	b.Store(c)
	d.nkids++
}

// remove takes c out of d's children; under d.childMu.
func (d *Dentry) remove(c *Dentry) bool {
	t := d.kids.Load()
	if t == nil {
		return false
	}
	b := &t.buckets[c.at.Load().hash&uint64(len(t.buckets)-1)]
	for p := b; ; {
		e := p.Load()
		if e == nil {
			return false
		}
		if e == c {
			p.Store(c.next.Load())
			d.nkids--
			return true
		}
		p = &e.next
	}
}

// add inserts a dentry for name with i (nil: negative), whose reference it takes over,
// unless there is one already: then that one is returned. DirMu is held. With pin the
// result is pinned before anybody can drop it.
func (d *Dentry) add(name string, hash uint64, i *Inode, pin bool) *Dentry {
	d.childMu.Lock()
	if c := d.child(name, hash); c != nil {
		if pin {
			c.pin()
		}
		if c.Inode() != nil || i == nil {
			d.childMu.Unlock()
			if i != nil {
				i.DecRef()
			}
			return c
		}
		c.inode.Store(i)
		d.childMu.Unlock()
		return c
	}
	c := newDentry(d, name, hash, i)
	c.used.Store(true)
	if pin {
		c.pin()
	}
	d.insert(c)
	d.childMu.Unlock()
	d.sb.lruAdd(c)
	return c
}

// unhash takes d out of its parent's children. Its inode reference goes with the last pin.
func (d *Dentry) unhash(flags uint32) {
	p := d.Parent()
	if p == d {
		return
	}
	p.childMu.Lock()
	if !d.has(dUnhashed) {
		p.remove(d)
		d.set(dUnhashed | flags)
	} else {
		d.set(flags)
	}
	p.childMu.Unlock()
	d.sb.lruRemove(d)
	d.kill()
}

// forEachChild calls f for the children that are cached now.
func (d *Dentry) forEachChild(f func(*Dentry)) {
	d.childMu.Lock()
	var all []*Dentry
	if t := d.kids.Load(); t != nil {
		for b := range t.buckets {
			for e := t.buckets[b].Load(); e != nil; e = e.next.Load() {
				all = append(all, e)
			}
		}
	}
	d.childMu.Unlock()
	for _, c := range all {
		f(c)
	}
}

// drop takes d and everything beneath it out of the cache, but for what is pinned or mounted on:
// of a name that the file system says is gone.
func (d *Dentry) drop() {
	d.forEachChild((*Dentry).drop)
	d.unhash(0)
}

// Forget drops what the cache has of the name at the end of a path beneath d, and everything beneath it: for a file
// system that knows that the name has gone (Linux: d_invalidate).
func (d *Dentry) Forget(path ...string) {
	for _, name := range path {
		if d = d.child(name, hashName(name)); d == nil {
			return
		}
	}
	d.drop()
}

// moveTo gives d the place newParent/name, under the DirMu of both directories and the rename lock.
func (d *Dentry) moveTo(newParent *Dentry, name string, hash uint64) {
	old := d.Parent()
	first, second := old, newParent
	if first != second {
		// Only renames hold two child locks, and they hold the rename lock: any order does.
		first.childMu.Lock()
		second.childMu.Lock()
		defer second.childMu.Unlock()
	} else {
		first.childMu.Lock()
	}
	defer first.childMu.Unlock()
	if !d.has(dUnhashed) {
		old.remove(d)
	}
	d.at.Store(&dname{newParent, name, hash})
	if !d.has(dUnhashed) {
		newParent.insert(d)
	}
}

// isUnder tells whether d is top or beneath it, in one file system.
func (d *Dentry) isUnder(top *Dentry) bool {
	for {
		if d == top {
			return true
		}
		p := d.Parent()
		if p == d {
			return false
		}
		d = p
	}
}

// reclaim drops d from the cache if nobody uses it.
func (d *Dentry) reclaim() bool {
	p := d.Parent()
	if p == d || d.mounted.Load() != 0 {
		return false
	}
	if i := d.Inode(); i != nil && i.marks.Load() != nil && i.marks.Load().any() {
		return false // being watched must not end because memory is short
	}
	p.childMu.Lock()
	if d.Parent() != p || d.has(dUnhashed) {
		p.childMu.Unlock()
		return false
	}
	d.childMu.Lock()
	n := d.nkids
	d.childMu.Unlock()
	// Nobody adds children to d but with a pin on it.
	if n != 0 || !d.pins.CompareAndSwap(0, dead) {
		p.childMu.Unlock()
		return false
	}
	d.childMu.Lock()
	n = d.nkids // again, now that nobody can have a pin
	d.childMu.Unlock()
	if n != 0 {
		d.pins.Store(0)
		p.childMu.Unlock()
		return false
	}
	p.remove(d)
	d.set(dUnhashed)
	p.childMu.Unlock()
	if i := d.inode.Load(); i != nil {
		i.DecRef()
	}
	return true
}
