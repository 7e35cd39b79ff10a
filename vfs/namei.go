package vfs

import (
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Path walk. The walk goes from dentry to dentry without locks and without taking
// references: each step is a look into a hash table that is read atomically. A name that
// is not cached is asked of the file system under the directory's DirMu, with the
// directory pinned. When the walk arrives, it takes its one reference; should the place have
// been dropped from the cache meanwhile, the walk begins again.
//
// errRetry is how a step says that what it stands on is dead.

// LookupFlags say how a path is resolved.
type LookupFlags uint32

const (
	// LookupFollow follows a symbolic link in the last component.
	LookupFollow LookupFlags = 1 << iota
	// LookupDirectory wants a directory: ENOTDIR.
	LookupDirectory
	// LookupEmpty lets the empty path mean the start (AT_EMPTY_PATH).
	LookupEmpty
	// LookupNoAutomount has no effect: there is nothing that mounts itself.
	LookupNoAutomount
	// The RESOLVE_* flags of openat2(2).
	LookupBeneath
	LookupInRoot
	LookupNoSymlinks
	LookupNoMagicLinks
	LookupNoXDev
	LookupCached
)

const (
	resolveCached = 0x20 // RESOLVE_CACHED

	maxSymlinks = 40
	pathMax     = 4096
)

const errRetry = unix.Errno(0x10001) // never leaves the package

// ResolveFlags translates RESOLVE_* of openat2(2).
func ResolveFlags(resolve uint64) (LookupFlags, error) {
	if resolve == 0 {
		return 0, nil
	}
	const all = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS |
		unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV | resolveCached
	if resolve&^all != 0 || resolve&unix.RESOLVE_BENEATH != 0 && resolve&unix.RESOLVE_IN_ROOT != 0 {
		return 0, unix.EINVAL
	}
	var f LookupFlags
	for _, x := range []struct {
		r uint64
		f LookupFlags
	}{
		{unix.RESOLVE_BENEATH, LookupBeneath},
		{unix.RESOLVE_IN_ROOT, LookupInRoot},
		{unix.RESOLVE_NO_SYMLINKS, LookupNoSymlinks},
		{unix.RESOLVE_NO_MAGICLINKS, LookupNoMagicLinks},
		{unix.RESOLVE_NO_XDEV, LookupNoXDev},
		{resolveCached, LookupCached},
	} {
		if resolve&x.r != 0 {
			f |= x.f
		}
	}
	return f, nil
}

// lastKind is what the last component is.
type lastKind uint8

const (
	lastNormal lastKind = iota
	lastDot
	lastDotDot
	lastRoot // there is none: "/"
)

type walker struct {
	ctx   Context
	flags LookupFlags
	root  Path
	start Path
	cur   Path // where the walk is; no references

	rest  string    // what is still to go of the innermost path
	depth int       // of the stack: paths around it
	stack [4]string // what is still to go of them; a slice of itself would put the walker on the heap
	more  []string  // from the fifth on
	links int

	// The last component, once walkParent returned.
	last     string
	kind     lastKind
	trailing bool // slashes follow it

	held Path // where a magic link led: the reference that keeps it
}

// rootOf finds the root of the caller, or for the kernel that of the tree p is in.
func rootOf(ctx Context, p Path) Path {
	if fs := ctx.FS(); fs != nil {
		return fs.Root()
	}
	m := p.Mount
	if m == nil {
		return p
	}
	for {
		loc := m.loc.Load()
		if loc == nil {
			return Path{m, m.root}
		}
		m = loc.parent
	}
}

// begin sets the walk up for a path from start.
func (w *walker) begin(start Path, path string) error {
	if len(path) >= pathMax {
		return unix.ENAMETOOLONG
	}
	if start.Dentry == nil {
		fs := w.ctx.FS()
		if fs == nil {
			return unix.ENOENT
		}
		start = fs.Cwd()
	}
	w.start, w.rest = start, path
	w.depth, w.more, w.links, w.trailing = 0, nil, 0, false
	if w.flags&(LookupBeneath|LookupInRoot) != 0 {
		w.root = start
	} else {
		w.root = rootOf(w.ctx, start)
	}
	if path == "" {
		w.cur = start
		if w.flags&LookupEmpty == 0 {
			return unix.ENOENT
		}
		return nil
	}
	w.cur = start
	if path[0] == '/' {
		if w.flags&LookupBeneath != 0 {
			return unix.EXDEV
		}
		w.cur = w.root
	}
	return nil
}

func (w *walker) push(s string) {
	if w.depth < len(w.stack) {
		w.stack[w.depth] = s
	} else {
		w.more = append(w.more, s)
	}
	w.depth++
}

func (w *walker) pop() string {
	w.depth--
	if w.depth < len(w.stack) {
		return w.stack[w.depth]
	}
	s := w.more[len(w.more)-1]
	w.more = w.more[:len(w.more)-1]
	return s
}

func (w *walker) end() {
	if w.held.Dentry != nil {
		w.held.DecRef()
		w.held = Path{}
	}
}

// walkParent goes on to the last component: cur is then the directory it is in, which
// the caller may search, and last and kind what it is.
func (w *walker) walkParent() error {
	for {
		s := w.rest
		for len(s) > 0 && s[0] == '/' {
			s = s[1:]
		}
		if s == "" {
			if w.depth > 0 {
				w.rest = w.pop()
				continue
			}
			w.last, w.kind = "", lastRoot
			return nil
		}
		i := w.cur.Inode()
		if i == nil {
			return unix.ENOENT
		}
		if !i.IsDir() {
			return unix.ENOTDIR
		}
		if err := Permission(w.ctx, i, MayExec); err != nil {
			return err
		}
		name := s
		rest := ""
		if k := strings.IndexByte(s, '/'); k >= 0 {
			name, rest = s[:k], s[k:]
			for len(rest) > 0 && rest[0] == '/' {
				rest = rest[1:]
			}
			if rest == "" && w.depth == 0 {
				w.trailing = true
			}
		}
		for rest == "" && w.depth > 0 {
			// The end of a link's target: go on with what stands after the link.
			rest = w.pop()
			for len(rest) > 0 && rest[0] == '/' {
				rest = rest[1:]
			}
		}
		w.rest = rest
		kind := lastNormal
		switch name {
		case ".":
			kind = lastDot
		case "..":
			kind = lastDotDot
		}
		if rest == "" {
			w.last, w.kind = name, kind
			return nil
		}
		if err := w.step(name, kind); err != nil {
			return err
		}
	}
}

// step goes through one component that is not the last, links followed.
func (w *walker) step(name string, kind lastKind) error {
	switch kind {
	case lastDot:
		return nil
	case lastDotDot:
		return w.dotdot()
	}
	c, err := w.lookup(name)
	if err != nil {
		return err
	}
	i := inodeOf(c)
	if i == nil {
		return unix.ENOENT
	}
	next := Path{w.cur.Mount, c}
	if c.mounted.Load() != 0 {
		if next, err = w.intoMount(next); err != nil {
			return err
		}
		i = next.Inode()
	}
	if i.modeBits.Load()&unix.S_IFMT == unix.S_IFLNK {
		return w.follow(next, false)
	}
	w.cur = next
	return nil
}

func inodeOf(d *Dentry) *Inode {
	if d == nil {
		return nil
	}
	return d.Inode()
}

// lookup finds name in cur. Nil or a negative dentry: it does not exist.
func (w *walker) lookup(name string) (*Dentry, error) {
	d := w.cur.Dentry
	if len(name) > d.sb.MaxNameLen {
		return nil, unix.ENAMETOOLONG
	}
	h := hashName(name)
	c := d.child(name, h)
	if c != nil && d.Inode().opFlags&opRevalidate == 0 {
		return c, nil
	}
	if w.flags&LookupCached != 0 {
		return nil, unix.EAGAIN
	}
	return lookupSlow(w.ctx, d, c, name, h)
}

// lookupSlow asks the file system, or whether the cached c is still right.
func lookupSlow(ctx Context, d, c *Dentry, name string, h uint64) (*Dentry, error) {
	if !d.tryPin() {
		return nil, errRetry
	}
	defer d.unpin()
	i := d.Inode()
	if c != nil {
		if revalidate(ctx, d, c, name) {
			return c, nil
		}
	}
	i.DirMu.RLock()
	defer i.DirMu.RUnlock()
	return lookupLocked(ctx, d, name, h)
}

// revalidate asks whether c is still what its name means, and drops it if not.
func revalidate(ctx Context, d, c *Dentry, name string) bool {
	if d.Inode().opFlags&opRevalidate == 0 {
		return true
	}
	if !c.tryPin() {
		return false
	}
	defer c.unpin()
	if d.Inode().Ops.(Revalidator).Revalidate(ctx, d.Inode(), name, c.Inode()) {
		return true
	}
	c.drop()
	return false
}

// lookupLocked finds name in d, whose DirMu is held (for reading at least) and which is pinned.
func lookupLocked(ctx Context, d *Dentry, name string, h uint64) (*Dentry, error) {
	if d.has(dDeadDir) {
		return nil, unix.ENOENT
	}
	if len(name) > d.sb.MaxNameLen {
		return nil, unix.ENAMETOOLONG
	}
	if c := d.child(name, h); c != nil && revalidate(ctx, d, c, name) {
		return c, nil
	}
	i, err := d.Inode().Ops.Lookup(ctx, d.Inode(), name)
	if err == unix.ENOENT {
		if d.sb.NoNegative {
			return nil, nil
		}
		return d.add(name, h, nil, false), nil
	}
	if err != nil {
		return nil, err
	}
	return d.add(name, h, i, false), nil
}

// lookupPinned is lookupLocked for who changes the directory: the dentry that it finds is pinned, so
// that it is not dropped meanwhile.
func lookupPinned(ctx Context, d *Dentry, name string, h uint64) (*Dentry, error) {
	for {
		c, err := lookupLocked(ctx, d, name, h)
		if c == nil || err != nil {
			return nil, err
		}
		if c.tryPin() {
			if !c.has(dUnhashed) {
				return c, nil
			}
			c.unpin()
		}
		runtime.Gosched()
	}
}

// intoMount goes to the root of what is mounted on p, and on that.
func (w *walker) intoMount(p Path) (Path, error) {
	for p.Dentry.mounted.Load() != 0 {
		c := p.Mount.childAt(p.Dentry)
		if c == nil {
			break
		}
		if w.flags&LookupNoXDev != 0 {
			return p, unix.EXDEV
		}
		p = Path{c, c.root}
	}
	return p, nil
}

// followMounts is intoMount without restrictions.
func followMounts(p Path) Path {
	for p.Mount != nil && p.Dentry.mounted.Load() != 0 {
		c := p.Mount.childAt(p.Dentry)
		if c == nil {
			break
		}
		p = Path{c, c.root}
	}
	return p
}

func (w *walker) dotdot() error {
	p := w.cur
	for {
		if p == w.root {
			if w.flags&LookupBeneath != 0 {
				return unix.EXDEV
			}
			// ".." of the root is what is mounted there.
			next, err := w.intoMount(p)
			if err != nil {
				return err
			}
			w.cur = next
			return nil
		}
		if p.Mount == nil || p.Dentry != p.Mount.root {
			break
		}
		loc := p.Mount.loc.Load()
		if loc == nil {
			w.cur = p
			return nil
		}
		if w.flags&LookupNoXDev != 0 {
			return unix.EXDEV
		}
		p = Path{loc.parent, loc.point}
	}
	parent := p.Dentry.Parent()
	if p.Mount != nil && p.Mount.root != p.Dentry.sb.Root && !parent.isUnder(p.Mount.root) {
		return unix.ENOENT // moved out of what this mount shows
	}
	p.Dentry = parent
	p, err := w.intoMount(p)
	if err != nil {
		return err
	}
	if w.flags&(LookupBeneath|LookupInRoot) != 0 && !Reachable(p, w.root) {
		return unix.EAGAIN // a rename has moved us out meanwhile
	}
	w.cur = p
	return nil
}

// follow goes on with the target of a symbolic link that is in cur. last: it is the last component.
func (w *walker) follow(link Path, last bool) error {
	if w.links++; w.links > maxSymlinks {
		return unix.ELOOP
	}
	if w.flags&LookupNoSymlinks != 0 || link.Mount != nil && link.Mount.flags.Load()&MountNoSymFollow != 0 {
		return unix.ELOOP
	}
	i := link.Inode()
	if last {
		if err := w.mayFollow(i); err != nil {
			return err
		}
	}
	if !link.TryIncRef() {
		return errRetry
	}
	if w.flags&LookupCached != 0 && i.opFlags&opMagicLink != 0 {
		link.DecRef()
		return unix.EAGAIN
	}
	if i.opFlags&opMagicLink != 0 {
		if w.flags&LookupNoMagicLinks != 0 {
			link.DecRef()
			return unix.ELOOP
		}
		p, err := i.Ops.(MagicLink).Follow(w.ctx, i)
		if err != nil || p.Dentry != nil {
			link.DecRef()
			if err != nil {
				return err
			}
			if w.held.Dentry != nil {
				w.held.DecRef()
			}
			w.held = p
			if w.flags&LookupNoXDev != 0 && p.Mount != w.cur.Mount {
				return unix.EXDEV
			}
			if w.flags&(LookupBeneath|LookupInRoot) != 0 {
				return unix.EXDEV
			}
			w.cur = p
			if w.rest == "" {
				w.rest = "/" // nothing more to look up, but what was after the link
			}
			return nil
		}
		// It is an ordinary link after all.
	}
	target, err := i.Ops.Readlink(w.ctx, i)
	link.DecRef()
	if err != nil {
		return err
	}
	if target == "" {
		return unix.ENOENT
	}
	if w.rest != "" {
		w.push(w.rest)
	}
	w.rest = target
	if target[0] == '/' {
		if w.flags&LookupBeneath != 0 {
			return unix.EXDEV
		}
		if w.flags&LookupNoXDev != 0 && w.cur.Mount != w.root.Mount {
			return unix.EXDEV
		}
		w.cur = w.root
	}
	return nil
}

// mayFollow is fs.protected_symlinks.
func (w *walker) mayFollow(i *Inode) error {
	r := w.cur.registry()
	if r == nil || r.ProtectedSymlinks.Load() == 0 {
		return nil
	}
	dir := w.cur.Inode()
	if dir == nil || dir.Mode()&(unix.S_ISVTX|0002) != unix.S_ISVTX|0002 {
		return nil
	}
	uid, _ := i.owner()
	if duid, _ := dir.owner(); uid == w.ctx.Cred().FSUID || uid == duid {
		return nil
	}
	return unix.EACCES
}

// walk goes to the end of the path: cur is where it leads, without a reference.
func (w *walker) walk() error {
	if w.rest == "" {
		return nil // an empty path
	}
	for {
		if err := w.walkParent(); err != nil {
			return err
		}
		switch w.kind {
		case lastDotDot:
			if err := w.dotdot(); err != nil {
				return err
			}
		case lastNormal:
			c, err := w.lookup(w.last)
			if err != nil {
				return err
			}
			if inodeOf(c) == nil {
				return unix.ENOENT
			}
			next := Path{w.cur.Mount, c}
			if next, err = w.intoMount(next); err != nil {
				return err
			}
			if next.Inode().IsSymlink() && (w.flags&LookupFollow != 0 || w.trailing) {
				if err := w.follow(next, true); err != nil {
					return err
				}
				continue
			}
			w.cur = next
		}
		break
	}
	if w.flags&LookupDirectory != 0 || w.trailing {
		i := w.cur.Inode()
		if i == nil {
			return unix.ENOENT
		}
		if !i.IsDir() {
			return unix.ENOTDIR
		}
	}
	return nil
}

// Lookup resolves path. The result has a reference, which the caller drops with DecRef.
// start is the directory that relative paths begin at (the zero Path: the working
// directory); the caller keeps its reference.
func Lookup(ctx Context, start Path, path string, flags LookupFlags) (Path, error) {
	var w walker
	w.ctx, w.flags = ctx, flags
	for try := 0; ; try++ {
		p, err := w.lookupOnce(start, path)
		if err != errRetry {
			return p, err
		}
		if !again(try) {
			return Path{}, unix.ESTALE
		}
	}
}

// again lets those run who are dropping what the walk met, and says whether to walk again.
func again(try int) bool {
	switch {
	case try > 2000:
		return false
	case try > 20:
		time.Sleep(20 * time.Microsecond)
	case try > 0:
		runtime.Gosched()
	}
	return true
}

func (w *walker) lookupOnce(start Path, path string) (Path, error) {
	err := w.begin(start, path)
	if err == nil {
		err = w.walk()
	}
	p := w.cur
	if err == nil && !p.TryIncRef() {
		err = errRetry
		if path == "" || p == w.start || p == w.root {
			err = unix.ENOENT // it will not come back
		}
	}
	w.end()
	if err != nil {
		return Path{}, err
	}
	return p, nil
}

// lookupParent resolves path up to its last component; w.cur has then a reference
// (which the caller drops), and w.last and w.kind say what the last component is.
func (w *walker) lookupParent(ctx Context, start Path, path string, flags LookupFlags) error {
	w.ctx, w.flags = ctx, flags
	for try := 0; ; try++ {
		err := w.begin(start, path)
		if err == nil {
			err = w.walkParent()
		}
		if err == nil && !w.cur.TryIncRef() {
			err = errRetry
			if w.cur == w.start || w.cur == w.root {
				err = unix.ENOENT
			}
		}
		w.end()
		if err == errRetry && again(try) {
			continue
		}
		if err == errRetry {
			err = unix.ESTALE
		}
		return err
	}
}
