// Package overlay is Linux's overlayfs: one tree made of several. The lower layers are only
// read. The upper layer takes all changes: a file of a lower layer is copied up to it before
// it is changed, and what is deleted is covered there by a whiteout, a character device 0:0. A
// directory is merged from all layers that have it, down to one that is marked opaque.
//
// The format of the upper layer is Linux's (attributes trusted.overlay.opaque and so on, or
// user.overlay.* with the option userxattr), so layers made by container engines can be
// used. Directories that exist in a lower layer cannot be renamed: EXDEV, as in Linux without
// redirect_dir.
//
// An inode of the overlay knows its real inodes as paths on private mounts of the layers, and
// works on them with package vfs's functions, with the rights of who mounted. Its number is
// that of the lower file and stays the same when it is copied up. Hard links of a lower layer stay
// together: an index in memory remembers which lower inode with several links was copied up.
//
// An open file has a real file below it, of the lower layer as long as the inode has not been
// copied up: programs share the lower file's page cache.
//
// LOCK ORDER
//
//	Inode.DirMu, Inode.WriteMu of the overlay (held by package vfs)
//	  inode.copyMu (child before parent; renames lock in the order of addresses)
//	    locks of the layers' file systems
//	file.mu
//	fileSystem.mu
package overlay
