// Package proc is the proc file system (proc(5)): a tree of package kernfs whose files are
// written from what the sentry knows.
//
// fs is one mount, which shows the processes of one pid namespace; shared is what all mounts have in
// common. entry is the subject of /proc/PID or /proc/PID/task/TID: pid.go has the table of its files, and those
// after it (stat, maps, fd, net, misc) what is in them. system.go is what is directly in /proc, sysctl.go /proc/sys.
//
// The formats are Linux's to the column, since ps, top, free, lsof and language runtimes
// read them. What the sentry does not have (disks, interrupts) is shown as a machine without it
// shows it. A sysctl that has no effect here keeps what is written to it; one whose effect is asked
// for but missing cannot be written.
//
// Lock order: functions of this package run with no lock of theirs, and take those of the sentry
// one at a time.
package proc
