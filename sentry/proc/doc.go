// Package proc is the proc file system (proc(5)): a tree of package kernfs whose files are
// written from what the sentry knows.
//
// fs is one mount, which shows the processes of one pid namespace. pid.go and the files after it
// have what is in /proc/PID, system.go what is above it, sysctl.go /proc/sys.
//
// The formats are Linux's to the column, since ps, top, free, lsof and language runtimes
// read them. What the sentry does not have (disks, interrupts) is shown as a machine without it
// shows it.
//
// Lock order: functions of this package run with no lock of theirs, and take those of the sentry
// one at a time.
package proc
