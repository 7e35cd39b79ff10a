// Package host gives guests directories of the host, and the open files that the sandbox
// inherits (its standard input and output).
//
// # Directories
//
// New makes a file system of a host directory that the caller has opened. Everything is
// reached from there one component at a time, by openat(2) and its relatives on a directory's
// descriptor, with O_NOFOLLOW: no symbolic link of the host is ever followed, no "..", no absolute
// path. So nothing needs to be there in the sentry's own root. Devices, FIFOs and sockets of the
// host are never opened: their inodes have a type and a number, and package vfs does the rest.
//
// In an exclusive file system nobody else changes the directory: what was read once is
// known. It is what a read-only lower layer of an overlay wants. Otherwise (volumes) names
// and attributes are asked for again at each lookup, stat and open, and pages are dropped when size
// or times show that the host changed the file.
//
// Regular files are an mm.PageCache that reads and writes a host descriptor. write(2) goes
// through to the host before it returns; pages changed by mappings go at msync, fsync, close
// and the end of the mapping. Times, sizes and link counts are the host's own.
//
// What the host forbids, it forbids: EACCES and EPERM of the host reach the guest. User ids
// are translated by a table.
//
// Descriptors are cached: a bounded number for the whole process, least recently used closed
// first, opened again by name when needed (and checked to be the same file). Only files that
// have lost their name while open keep theirs.
//
// # Inherited descriptors
//
// NewFDFile wraps a descriptor. The open file description behind it belongs to others
// too, so its flags are never changed: reads and writes are tried only when poll(2) says that
// they will not wait, or with RWF_NOWAIT. Waiting is done by one goroutine with an epoll
// instance, started when somebody waits for the first time.
//
// LOCK ORDER
//
//	Inode.DirMu, Inode.WriteMu (held by package vfs)
//	  node.listMu
//	  locks of mm.PageCache
//	    node.fdMu (child before parent)
//	      node.locMu
//	      fdCache.mu
//	  fileSystem.mu
//	FDFile.mu
//	  poller.mu
package host
