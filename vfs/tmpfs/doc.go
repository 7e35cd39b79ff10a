// Package tmpfs is the file system in memory: what is mounted on /tmp and /dev/shm, the
// upper layer of overlays, and memfds and shared memory, which are its files without a name.
//
// Regular files are an mm.PageCache without storage; its quota callback charges the
// file system's size limit. A directory keeps its entries in a map by name and in a list
// in the order of their making, whose numbers are the positions that readdir and seekdir
// use: they stay what they are, whatever else is made or deleted.
//
// References: an entry of a directory holds one on its inode. So an inode lives until it has
// neither name nor user. A tree that is unmounted goes down with its root's Evict.
//
// LOCK ORDER
//
//	Inode.DirMu (held by package vfs)
//	  dir.mu
//	Inode.WriteMu (held by package vfs over write, truncate and fallocate; here over changes of seals)
//	  locks of mm.PageCache
//	    fileSystem counters (atomic)
//	node.xattrMu
package tmpfs
