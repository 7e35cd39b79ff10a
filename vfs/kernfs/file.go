package kernfs

import (
	"bytes"
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// Pollable is something that can be waited for.
type Pollable = waitq.Waitable

const defaultMaxWrite = 64 << 10

type fileOps struct {
	base
	file *File
}

func (o *fileOps) Open(ctx vfs.Context, i *vfs.Inode, f *vfs.File) (vfs.FileOps, error) {
	if o.file.CheckOpen != nil {
		if err := o.file.CheckOpen(ctx, f); err != nil {
			return nil, err
		}
	}
	if o.file.Open != nil {
		return o.file.Open(ctx, i, f)
	}
	of := &openFile{file: o.file}
	if o.file.Poll != nil {
		of.poll = o.file.Poll(f)
	}
	return of, nil
}

// openFile is an open File: it keeps the content that is being read.
type openFile struct {
	vfs.DefaultFileOps
	file *File
	poll Pollable

	mu   sync.Mutex
	data []byte
	read bool // data has been generated
}

func (o *openFile) Read(ctx vfs.Context, f *vfs.File, dst *usermem.IO, off int64, _ vfs.IOFlags) (int64, error) {
	if o.file.Read == nil && o.file.ReadFile == nil {
		return 0, unix.EINVAL
	}
	o.mu.Lock()
	data, read := o.data, o.read
	o.mu.Unlock()
	if off == 0 || !read {
		var buf bytes.Buffer
		var err error
		if o.file.ReadFile != nil {
			err = o.file.ReadFile(ctx, f, &buf)
		} else {
			err = o.file.Read(ctx, &buf)
		}
		if err != nil {
			return 0, err
		}
		data = buf.Bytes()
		o.mu.Lock()
		o.data, o.read = data, true
		o.mu.Unlock()
	}
	if off >= int64(len(data)) {
		return 0, nil
	}
	part := data[off:]
	if uint64(len(part)) > dst.Len() {
		part = part[:dst.Len()]
	}
	n, err := dst.Write(part)
	if n > 0 {
		err = nil
	}
	return int64(n), err
}

func (o *openFile) Write(ctx vfs.Context, f *vfs.File, src *usermem.IO, off int64, _ vfs.IOFlags) (int64, int64, error) {
	if o.file.Write == nil && o.file.WriteFile == nil {
		return 0, off, unix.EINVAL
	}
	max := o.file.MaxWrite
	if max == 0 {
		max = defaultMaxWrite
	}
	if src.Len() > uint64(max) {
		return 0, off, unix.EINVAL
	}
	data := make([]byte, src.Len())
	if _, err := src.Read(data); err != nil && len(data) > 0 {
		return 0, off, err
	}
	n := len(data)
	var err error
	if o.file.WriteFile != nil {
		n, err = o.file.WriteFile(ctx, f, data, off)
	} else {
		err = o.file.Write(ctx, data)
	}
	if err != nil {
		return 0, off, err
	}
	o.mu.Lock()
	o.read = false // what is read next is what has come of it
	o.mu.Unlock()
	return int64(n), off + int64(n), nil
}

func (o *openFile) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	if whence != unix.SEEK_SET && whence != unix.SEEK_CUR {
		return 0, unix.EINVAL
	}
	return vfs.GenericSeek(pos, off, whence, 0, math.MaxInt64)
}

func (o *openFile) Readiness(mask waitq.Events) waitq.Events {
	if o.poll != nil {
		return o.poll.Readiness(mask)
	}
	return mask & (waitq.Readable | waitq.Writable)
}

func (o *openFile) EventRegister(e *waitq.Entry, mask waitq.Events) {
	if o.poll != nil {
		o.poll.EventRegister(e, mask)
	}
}

func (o *openFile) EventUnregister(e *waitq.Entry) {
	if o.poll != nil {
		o.poll.EventUnregister(e)
	}
}

// Ioctl implements vfs.FileOps.
func (o *openFile) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	if o.file.Ioctl == nil {
		return 0, unix.ENOTTY
	}
	return o.file.Ioctl(ctx, cmd, arg)
}

// CanPoll implements epoll.Poller.
func (o *openFile) CanPoll() bool { return o.poll != nil }

// openDir is an open Dir: it keeps the list of entries from when reading began.
type openDir struct {
	vfs.DefaultFileOps
	dir *Dir

	mu   sync.Mutex
	list []Entry
	have bool
}

func (o *openDir) entries(ctx vfs.Context, pos int64) ([]Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if pos > 2 && o.have {
		return o.list, nil
	}
	list := o.dir.fixed()
	if o.dir.List != nil {
		more, err := o.dir.List(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	o.list, o.have = list, true
	return list, nil
}

func (o *openDir) ReadDir(ctx vfs.Context, f *vfs.File, pos int64, emit func(vfs.Dirent) bool) (int64, error) {
	d := f.Path.Dentry
	for ; pos < 2; pos++ {
		e := vfs.Dirent{Name: ".", Ino: d.Inode().Ino, Type: unix.DT_DIR, Off: pos + 1}
		if pos == 1 {
			e.Name = ".."
			e.Ino = d.Parent().Inode().Ino
		}
		if !emit(e) {
			return pos, nil
		}
	}
	list, err := o.entries(ctx, pos)
	if err != nil {
		return pos, err
	}
	for ; pos-2 < int64(len(list)); pos++ {
		x := list[pos-2]
		e := vfs.Dirent{Name: x.Name, Ino: x.Ino, Type: x.Type, Off: pos + 1}
		if x.Node != nil {
			e.Type = uint8(typeOf(x.Node) >> 12)
			if e.Ino == 0 {
				e.Ino = x.Node.common().number(d.SB())
			}
		}
		if e.Ino == 0 {
			e.Ino = 1
		}
		if !emit(e) {
			return pos, nil
		}
	}
	return pos, nil
}

func (o *openDir) Seek(_ vfs.Context, _ *vfs.File, pos, off int64, whence int) (int64, error) {
	if whence != unix.SEEK_SET && whence != unix.SEEK_CUR {
		return 0, unix.EINVAL
	}
	return vfs.GenericSeek(pos, off, whence, 0, math.MaxInt64)
}

// CanPoll implements epoll.Poller.
func (o *openDir) CanPoll() bool { return false }

// Sync implements vfs.FileOps: there is nothing to write.
func (o *openDir) Sync(vfs.Context, *vfs.File, int64, int64, bool) error { return unix.EINVAL }
