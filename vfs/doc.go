// Package vfs is the virtual file system: inodes, dentries, mounts and mount
// namespaces, path walk, open files and descriptor tables, file locks and
// notification, as in Linux. File systems are sub-packages.
package vfs
