package overlay

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// readAll reads a directory of a layer, without "." and "..".
func readAll(ctx vfs.Context, dir vfs.Path) ([]vfs.Dirent, error) {
	f, err := vfs.OpenPath(ctx, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.DecRef()
	var list []vfs.Dirent
	for pos := int64(0); ; {
		before := len(list)
		next, err := f.Ops.ReadDir(ctx, f, pos, func(e vfs.Dirent) bool {
			if e.Name != "." && e.Name != ".." {
				list = append(list, e)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if next == pos || len(list) == before {
			return list, nil
		}
		pos = next
	}
}

// list merges the entries of all layers.
func (i *inode) list(ctx vfs.Context) ([]vfs.Dirent, error) {
	fs := i.fs
	up := i.upper.Load()
	var merged []vfs.Dirent
	var seen map[string]bool // names that are decided, whiteouts too
	if up != nil {
		entries, err := readAll(ctx, *up)
		if err != nil {
			return nil, err
		}
		if len(i.lower) > 0 {
			seen = make(map[string]bool, len(entries))
		}
		for _, e := range entries {
			if seen != nil {
				seen[e.Name] = true
			}
			p, white, err := i.lookupUpper(ctx, e.Name)
			if err != nil {
				continue // just deleted
			}
			if !white {
				e.Ino = i.upperIno(ctx, p, e.Name)
				merged = append(merged, e)
			}
			p.DecRef()
		}
	}
	for k, l := range i.lower {
		entries, err := readAll(ctx, l.Path)
		if err != nil {
			return nil, err
		}
		last := k == len(i.lower)-1
		if seen == nil && !last {
			seen = make(map[string]bool, len(entries))
		}
		if merged == nil {
			merged = make([]vfs.Dirent, 0, len(entries))
		}
		sb := l.Dentry.SB()
		x := fs.lowers[l.layer].xwhiteouts
		for _, e := range entries {
			if seen[e.Name] {
				continue
			}
			if !last {
				seen[e.Name] = true
			}
			if e.Type == unix.DT_CHR || e.Type == unix.DT_UNKNOWN || x && e.Type == unix.DT_REG {
				p, err := vfs.Lookup(ctx, l.Path, e.Name, 0)
				if err != nil {
					continue
				}
				white := fs.isWhiteout(ctx, p, x)
				e.Type = uint8(p.Inode().Type() >> 12)
				p.DecRef()
				if white {
					continue
				}
			}
			e.Ino = fs.ino(sb, e.Ino)
			merged = append(merged, e)
		}
	}
	for k := range merged {
		merged[k].Off = int64(k) + 3
	}
	return merged, nil
}

// upperIno is the number of the entry for an upper inode: that of where it came from.
func (i *inode) upperIno(ctx vfs.Context, p vfs.Path, name string) uint64 {
	fs := i.fs
	real := p.Inode()
	fs.mu.Lock()
	if o := fs.inodes[real]; o != nil {
		fs.mu.Unlock()
		return o.self.Ino
	}
	fs.mu.Unlock()
	if n, ok := fs.origin(ctx, p); ok {
		return n
	}
	if real.IsDir() && len(i.lower) > 0 && !fs.isOpaque(ctx, p) {
		if found, err := i.lookupLower(ctx, name, true, true); err == nil && len(found) > 0 {
			n := fs.ino(found[0].Inode().SB, found[0].Inode().Ino)
			put(found)
			return n
		}
	}
	return fs.ino(real.SB, real.Ino)
}

// dirFile is an open directory. Position 0 is ".", 1 "..", and from 2 on the entries as they were
// when the file was at its beginning.
type dirFile struct {
	vfs.DefaultFileOps
	i    *inode
	mu   sync.Mutex
	list []vfs.Dirent
}

// ReadDir implements vfs.FileOps.
func (df *dirFile) ReadDir(ctx vfs.Context, f *vfs.File, pos int64, emit func(vfs.Dirent) bool) (int64, error) {
	df.mu.Lock()
	if pos == 0 || df.list == nil {
		list, err := df.i.list(df.i.fs.context(ctx))
		if err != nil {
			df.mu.Unlock()
			return pos, err
		}
		if list == nil {
			list = []vfs.Dirent{}
		}
		df.list = list
	}
	list := df.list
	df.mu.Unlock()

	return vfs.EmitList(f, pos, list, emit), nil
}

// Seek implements vfs.FileOps.
func (*dirFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	return vfs.SeekDir(pos, off, whence)
}

// Sync implements vfs.FileOps.
func (df *dirFile) Sync(ctx vfs.Context, _ *vfs.File, off, length int64, dataOnly bool) error {
	up := df.i.upper.Load()
	if up == nil {
		return nil
	}
	ctx = df.i.fs.context(ctx)
	f, err := vfs.OpenPath(ctx, *up, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.DecRef()
	return f.Sync(ctx, off, length, dataOnly)
}
