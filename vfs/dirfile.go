package vfs

import "golang.org/x/sys/unix"

// SeekDir is FileOps.Seek for directories, whose positions are made by ReadDir.
func SeekDir(pos, off int64, whence int) (int64, error) {
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		off += pos
	default:
		return 0, unix.EINVAL
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	return off, nil
}

// EmitList is FileOps.ReadDir for directories that have all their entries in a list, with positions from 3 on: "." and
// ".." come first.
func EmitList(f *File, pos int64, list []Dirent, emit func(Dirent) bool) int64 {
	self := f.Inode()
	if pos == 0 {
		if !emit(Dirent{Name: ".", Ino: self.Ino, Type: unix.DT_DIR, Off: 1}) {
			return pos
		}
		pos = 1
	}
	if pos == 1 {
		parent := self
		if p := f.Path.Dentry.Parent().Inode(); p != nil {
			parent = p
		}
		if !emit(Dirent{Name: "..", Ino: parent.Ino, Type: unix.DT_DIR, Off: 2}) {
			return pos
		}
		pos = 2
	}
	for pos >= 2 && pos-2 < int64(len(list)) {
		if !emit(list[pos-2]) {
			break
		}
		pos++
	}
	return pos
}
