// Package vfs is the virtual file system: inodes, dentries, mounts and mount
// namespaces, path walk, open files and descriptor tables, file locks and
// notification, as in Linux. File systems are sub-packages: each has a
// FileSystemType, whose Mount makes a Superblock with a root Inode, and InodeOps and
// FileOps that do the work.
//
// # Main types
//
// Inode is a file, Dentry a name of one that is cached, Mount a file system attached to a
// tree, Path a Dentry seen through a Mount. Lookup walks a path and returns a Path with a
// reference. File is an open file description, FDTable a table of descriptors, FSContext a
// task's root and working directory, MountNamespace a tree of mounts, Registry what a
// sandbox has of all this. A caller is a Context.
//
// # References
//
// Inodes are counted: when the last reference goes, InodeOps.Evict runs. A Dentry holds one
// on its inode, until the name has gone and nobody pins the Dentry. A Path that is kept pins
// Dentry and Mount; an open file keeps its Path. Dentries that nobody pins are dropped when
// there are too many (Superblock.MaxCached), or when memory is short (Registry.ShrinkDentries).
//
// # What never blocks
//
// FileOps. A File's Read and Write try, register with the wait queue, try again, and
// wait in Context.Block, with no lock held. Only locks of files, leases and opens of FIFOs
// wait besides.
//
// # Lock order
//
//	File.posMu
//	  Inode.WriteMu                of a regular file, over a write
//	    locks of mm and of the file system's pages
//	  (alone:)
//	Superblock.renameMu            over renames from one directory to another
//	  Inode.DirMu                  of directories; ancestors first; a directory that is removed last
//	    Inode.linkMu
//	      locks of the file system
//	    Dentry.childMu             one, or two under renameMu
//	    Registry.mountMu           all mount trees; waiters of /proc/PID/mounts are told under it
//	      Superblock.lruMu
//	      Inode.mu                 attributes
//	        wait queues
//	fileLocks.mu                   of one inode
//	  lockRegistry.mu
//	notifyMarks.mu                 marks of one inode; events are sent with no lock of this kind held
//
// FDTable.mu is held over changes of the table only, never while a file is closed.
// Dropping the last reference of a File, Path, Inode or Mount runs code of file systems: do
// not do so with locks held that those may take.
package vfs
