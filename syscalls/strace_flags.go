package syscalls

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// flagName is one value of a set, and its name.
type flagName struct {
	v    uint64
	name string
}

// flagSet is how an argument of kind flags/NAME is printed.
type flagSet struct {
	// enum are values of the bits in mask; with a mask of all ones the argument is one value.
	mask uint64
	enum []flagName
	// bits are flags; those of more than one bit come before their parts, or are sorted out
	// by being matched whole.
	bits []flagName
	// zero is the name of no flags at all.
	zero string
}

const allBits = ^uint64(0)

// flagText prints v as the set called name says.
func flagText(name string, v uint64) string {
	s, ok := flagSets[name]
	if !ok {
		return "0x" + strconv.FormatUint(v, 16)
	}
	if s.mask == allBits {
		for _, w := range []uint64{v, uint64(uint32(v))} {
			for _, f := range s.enum {
				if f.v == w {
					return f.name
				}
			}
		}
		return "0x" + strconv.FormatUint(uint64(uint32(v)), 16) + " /* ??? */"
	}
	var l []string
	if s.mask != 0 {
		found := false
		for _, f := range s.enum {
			if f.v == v&s.mask {
				l = append(l, f.name)
				found = true
				break
			}
		}
		if found {
			v &^= s.mask
		}
	}
	// Flags of several bits first: O_SYNC is O_DSYNC and more.
	for _, many := range []bool{true, false} {
		for _, f := range s.bits {
			if (f.v&(f.v-1) != 0) == many && v&f.v == f.v {
				l = append(l, f.name)
				v &^= f.v
			}
		}
	}
	if v != 0 {
		l = append(l, "0x"+strconv.FormatUint(v, 16))
	}
	if len(l) == 0 {
		if s.zero != "" {
			return s.zero
		}
		return "0"
	}
	return strings.Join(l, "|")
}

// sockoptText is the name of a socket option of a level.
func sockoptText(level, name uint64) string {
	set := map[uint32]string{unix.SOL_SOCKET: "so", unix.SOL_TCP: "tcp", unix.SOL_IP: "ipopt", unix.SOL_IPV6: "ipv6opt"}[uint32(level)]
	if set == "" {
		return strconv.Itoa(int(int32(name)))
	}
	return flagText(set, name)
}

// flagSets are the sets by name.
var flagSets = map[string]flagSet{
	"access": {bits: []flagName{
		{unix.R_OK, "R_OK"}, {unix.W_OK, "W_OK"}, {unix.X_OK, "X_OK"},
	}, zero: "F_OK"},
	"af": {mask: allBits, enum: []flagName{
		{unix.AF_UNSPEC, "AF_UNSPEC"}, {unix.AF_UNIX, "AF_UNIX"}, {unix.AF_INET, "AF_INET"}, {unix.AF_AX25, "AF_AX25"},
		{unix.AF_IPX, "AF_IPX"}, {unix.AF_APPLETALK, "AF_APPLETALK"}, {unix.AF_NETROM, "AF_NETROM"},
		{unix.AF_BRIDGE, "AF_BRIDGE"}, {unix.AF_ATMPVC, "AF_ATMPVC"}, {unix.AF_X25, "AF_X25"}, {unix.AF_INET6, "AF_INET6"},
		{unix.AF_ROSE, "AF_ROSE"}, {unix.AF_NETLINK, "AF_NETLINK"}, {unix.AF_PACKET, "AF_PACKET"}, {unix.AF_RDS, "AF_RDS"},
		{unix.AF_TIPC, "AF_TIPC"}, {unix.AF_BLUETOOTH, "AF_BLUETOOTH"}, {unix.AF_ALG, "AF_ALG"}, {unix.AF_NFC, "AF_NFC"},
		{unix.AF_VSOCK, "AF_VSOCK"}, {unix.AF_KCM, "AF_KCM"}, {unix.AF_SMC, "AF_SMC"}, {unix.AF_XDP, "AF_XDP"},
		{unix.AF_CAN, "AF_CAN"}, {unix.AF_LLC, "AF_LLC"}, {unix.AF_KEY, "AF_KEY"},
	}},
	"arch_prctl": {mask: allBits, enum: []flagName{
		{0x1001, "ARCH_SET_GS"}, {0x1002, "ARCH_SET_FS"}, {0x1003, "ARCH_GET_FS"}, {0x1004, "ARCH_GET_GS"},
		{0x1011, "ARCH_GET_CPUID"}, {0x1012, "ARCH_SET_CPUID"}, {0x1021, "ARCH_GET_XCOMP_SUPP"},
		{0x1022, "ARCH_GET_XCOMP_PERM"}, {0x1023, "ARCH_REQ_XCOMP_PERM"}, {0x3001, "ARCH_CET_STATUS"},
	}},
	"at": {bits: []flagName{
		{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
		{unix.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"}, {unix.AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"},
		{unix.AT_RECURSIVE, "AT_RECURSIVE"},
	}},
	"clock": {mask: allBits, enum: []flagName{
		{unix.CLOCK_REALTIME, "CLOCK_REALTIME"}, {unix.CLOCK_MONOTONIC, "CLOCK_MONOTONIC"},
		{unix.CLOCK_PROCESS_CPUTIME_ID, "CLOCK_PROCESS_CPUTIME_ID"},
		{unix.CLOCK_THREAD_CPUTIME_ID, "CLOCK_THREAD_CPUTIME_ID"}, {unix.CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW"},
		{unix.CLOCK_REALTIME_COARSE, "CLOCK_REALTIME_COARSE"}, {unix.CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE"},
		{unix.CLOCK_BOOTTIME, "CLOCK_BOOTTIME"}, {unix.CLOCK_REALTIME_ALARM, "CLOCK_REALTIME_ALARM"},
		{unix.CLOCK_BOOTTIME_ALARM, "CLOCK_BOOTTIME_ALARM"}, {unix.CLOCK_TAI, "CLOCK_TAI"},
	}},
	"clone": {mask: 0xff, enum: []flagName{
		{17, "SIGCHLD"},
	}, bits: []flagName{
		{unix.CLONE_VM, "CLONE_VM"}, {unix.CLONE_FS, "CLONE_FS"}, {unix.CLONE_FILES, "CLONE_FILES"},
		{unix.CLONE_SIGHAND, "CLONE_SIGHAND"}, {unix.CLONE_PIDFD, "CLONE_PIDFD"}, {unix.CLONE_PTRACE, "CLONE_PTRACE"},
		{unix.CLONE_VFORK, "CLONE_VFORK"}, {unix.CLONE_PARENT, "CLONE_PARENT"}, {unix.CLONE_THREAD, "CLONE_THREAD"},
		{unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_SYSVSEM, "CLONE_SYSVSEM"}, {unix.CLONE_SETTLS, "CLONE_SETTLS"},
		{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"}, {unix.CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID"},
		{unix.CLONE_DETACHED, "CLONE_DETACHED"}, {unix.CLONE_UNTRACED, "CLONE_UNTRACED"},
		{unix.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID"}, {unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"}, {unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_IO, "CLONE_IO"},
	}},
	"clone3": {bits: []flagName{
		{unix.CLONE_VM, "CLONE_VM"}, {unix.CLONE_FS, "CLONE_FS"}, {unix.CLONE_FILES, "CLONE_FILES"},
		{unix.CLONE_SIGHAND, "CLONE_SIGHAND"}, {unix.CLONE_PIDFD, "CLONE_PIDFD"}, {unix.CLONE_PTRACE, "CLONE_PTRACE"},
		{unix.CLONE_VFORK, "CLONE_VFORK"}, {unix.CLONE_PARENT, "CLONE_PARENT"}, {unix.CLONE_THREAD, "CLONE_THREAD"},
		{unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_SYSVSEM, "CLONE_SYSVSEM"}, {unix.CLONE_SETTLS, "CLONE_SETTLS"},
		{unix.CLONE_PARENT_SETTID, "CLONE_PARENT_SETTID"}, {unix.CLONE_CHILD_CLEARTID, "CLONE_CHILD_CLEARTID"},
		{unix.CLONE_DETACHED, "CLONE_DETACHED"}, {unix.CLONE_UNTRACED, "CLONE_UNTRACED"},
		{unix.CLONE_CHILD_SETTID, "CLONE_CHILD_SETTID"}, {unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"}, {unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_IO, "CLONE_IO"},
		{unix.CLONE_NEWTIME, "CLONE_NEWTIME"}, {unix.CLONE_CLEAR_SIGHAND, "CLONE_CLEAR_SIGHAND"},
		{unix.CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP"},
	}},
	"closerange": {bits: []flagName{
		{unix.CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"}, {unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"},
	}},
	"epoll": {bits: []flagName{
		{unix.EPOLLIN, "EPOLLIN"}, {unix.EPOLLPRI, "EPOLLPRI"}, {unix.EPOLLOUT, "EPOLLOUT"}, {unix.EPOLLERR, "EPOLLERR"},
		{unix.EPOLLHUP, "EPOLLHUP"}, {unix.EPOLLRDNORM, "EPOLLRDNORM"}, {unix.EPOLLRDBAND, "EPOLLRDBAND"},
		{unix.EPOLLWRNORM, "EPOLLWRNORM"}, {unix.EPOLLWRBAND, "EPOLLWRBAND"}, {unix.EPOLLMSG, "EPOLLMSG"},
		{unix.EPOLLRDHUP, "EPOLLRDHUP"}, {unix.EPOLLEXCLUSIVE, "EPOLLEXCLUSIVE"}, {unix.EPOLLWAKEUP, "EPOLLWAKEUP"},
		{unix.EPOLLONESHOT, "EPOLLONESHOT"}, {unix.EPOLLET, "EPOLLET"},
	}},
	"epollcreate": {bits: []flagName{
		{unix.EPOLL_CLOEXEC, "EPOLL_CLOEXEC"},
	}},
	"epollop": {mask: allBits, enum: []flagName{
		{unix.EPOLL_CTL_ADD, "EPOLL_CTL_ADD"}, {unix.EPOLL_CTL_DEL, "EPOLL_CTL_DEL"},
		{unix.EPOLL_CTL_MOD, "EPOLL_CTL_MOD"},
	}},
	"eventfd": {bits: []flagName{
		{unix.EFD_SEMAPHORE, "EFD_SEMAPHORE"}, {unix.EFD_CLOEXEC, "EFD_CLOEXEC"}, {unix.EFD_NONBLOCK, "EFD_NONBLOCK"},
	}},
	"faccessat": {bits: []flagName{
		{unix.AT_EACCESS, "AT_EACCESS"}, {unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
		{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
	}},
	"fadvise": {mask: allBits, enum: []flagName{
		{0, "POSIX_FADV_NORMAL"}, {1, "POSIX_FADV_RANDOM"}, {2, "POSIX_FADV_SEQUENTIAL"}, {3, "POSIX_FADV_WILLNEED"},
		{4, "POSIX_FADV_DONTNEED"}, {5, "POSIX_FADV_NOREUSE"},
	}},
	"fallocate": {bits: []flagName{
		{unix.FALLOC_FL_KEEP_SIZE, "FALLOC_FL_KEEP_SIZE"}, {unix.FALLOC_FL_PUNCH_HOLE, "FALLOC_FL_PUNCH_HOLE"},
		{unix.FALLOC_FL_COLLAPSE_RANGE, "FALLOC_FL_COLLAPSE_RANGE"}, {unix.FALLOC_FL_ZERO_RANGE, "FALLOC_FL_ZERO_RANGE"},
		{unix.FALLOC_FL_INSERT_RANGE, "FALLOC_FL_INSERT_RANGE"}, {unix.FALLOC_FL_UNSHARE_RANGE, "FALLOC_FL_UNSHARE_RANGE"},
	}},
	"fcntl": {mask: allBits, enum: []flagName{
		{unix.F_GETLK, "F_GETLK"}, {unix.F_SETLK, "F_SETLK"}, {unix.F_SETLKW, "F_SETLKW"}, {unix.F_SETOWN, "F_SETOWN"},
		{unix.F_GETOWN, "F_GETOWN"}, {unix.F_SETSIG, "F_SETSIG"}, {unix.F_GETSIG, "F_GETSIG"},
		{unix.F_SETOWN_EX, "F_SETOWN_EX"}, {unix.F_GETOWN_EX, "F_GETOWN_EX"}, {unix.F_OFD_GETLK, "F_OFD_GETLK"},
		{unix.F_OFD_SETLK, "F_OFD_SETLK"}, {unix.F_OFD_SETLKW, "F_OFD_SETLKW"}, {unix.F_SETLEASE, "F_SETLEASE"},
		{unix.F_GETLEASE, "F_GETLEASE"}, {unix.F_NOTIFY, "F_NOTIFY"}, {unix.F_DUPFD_QUERY, "F_DUPFD_QUERY"}, {fCreatedQuery, "F_CREATED_QUERY"},
		{unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"}, {unix.F_SETPIPE_SZ, "F_SETPIPE_SZ"},
		{unix.F_GETPIPE_SZ, "F_GETPIPE_SZ"}, {unix.F_ADD_SEALS, "F_ADD_SEALS"}, {unix.F_GET_SEALS, "F_GET_SEALS"},
		{unix.F_GET_RW_HINT, "F_GET_RW_HINT"}, {unix.F_SET_RW_HINT, "F_SET_RW_HINT"},
		{unix.F_GET_FILE_RW_HINT, "F_GET_FILE_RW_HINT"}, {unix.F_SET_FILE_RW_HINT, "F_SET_FILE_RW_HINT"}, {0, "F_DUPFD"},
		{1, "F_GETFD"}, {2, "F_SETFD"}, {3, "F_GETFL"}, {4, "F_SETFL"}, {1028, "F_CREATED_QUERY"},
	}},
	"fdflags": {bits: []flagName{
		{unix.FD_CLOEXEC, "FD_CLOEXEC"},
	}},
	"flock": {mask: 3 | 8, enum: []flagName{
		{1, "LOCK_SH"}, {2, "LOCK_EX"}, {8, "LOCK_UN"},
	}, bits: []flagName{
		{4, "LOCK_NB"},
	}},
	"fsconfig": {mask: allBits, enum: []flagName{}},
	"fsmount": {bits: []flagName{
		{1, "FSMOUNT_CLOEXEC"},
	}},
	"fsopen": {bits: []flagName{
		{1, "FSOPEN_CLOEXEC"},
	}},
	"fstype": {mask: allBits, enum: []flagName{
		{unix.TMPFS_MAGIC, "TMPFS_MAGIC"}, {unix.PROC_SUPER_MAGIC, "PROC_SUPER_MAGIC"}, {unix.SYSFS_MAGIC, "SYSFS_MAGIC"},
		{unix.DEVPTS_SUPER_MAGIC, "DEVPTS_SUPER_MAGIC"}, {unix.OVERLAYFS_SUPER_MAGIC, "OVERLAYFS_SUPER_MAGIC"},
		{unix.CGROUP2_SUPER_MAGIC, "CGROUP2_SUPER_MAGIC"}, {unix.PIPEFS_MAGIC, "PIPEFS_MAGIC"},
		{unix.SOCKFS_MAGIC, "SOCKFS_MAGIC"}, {unix.ANON_INODE_FS_MAGIC, "ANON_INODE_FS_MAGIC"},
		{unix.EXT4_SUPER_MAGIC, "EXT4_SUPER_MAGIC"}, {unix.NSFS_MAGIC, "NSFS_MAGIC"},
		{unix.FUSE_SUPER_MAGIC, "FUSE_SUPER_MAGIC"},
	}},
	"futex": {mask: 0x7f, enum: []flagName{
		{0, "FUTEX_WAIT"}, {1, "FUTEX_WAKE"}, {2, "FUTEX_FD"}, {3, "FUTEX_REQUEUE"}, {4, "FUTEX_CMP_REQUEUE"},
		{5, "FUTEX_WAKE_OP"}, {6, "FUTEX_LOCK_PI"}, {7, "FUTEX_UNLOCK_PI"}, {8, "FUTEX_TRYLOCK_PI"},
		{9, "FUTEX_WAIT_BITSET"}, {10, "FUTEX_WAKE_BITSET"}, {11, "FUTEX_WAIT_REQUEUE_PI"}, {12, "FUTEX_CMP_REQUEUE_PI"},
		{13, "FUTEX_LOCK_PI2"},
	}, bits: []flagName{
		{128, "FUTEX_PRIVATE_FLAG"}, {256, "FUTEX_CLOCK_REALTIME"},
	}},
	"futex2": {bits: []flagName{
		{4, "FUTEX2_NUMA"}, {128, "FUTEX2_PRIVATE"},
	}},
	"getrandom": {bits: []flagName{
		{unix.GRND_NONBLOCK, "GRND_NONBLOCK"}, {unix.GRND_RANDOM, "GRND_RANDOM"}, {unix.GRND_INSECURE, "GRND_INSECURE"},
	}},
	"idtype": {mask: allBits, enum: []flagName{
		{unix.P_ALL, "P_ALL"}, {unix.P_PID, "P_PID"}, {unix.P_PGID, "P_PGID"}, {unix.P_PIDFD, "P_PIDFD"},
	}},
	"inotify": {bits: []flagName{
		{unix.IN_ACCESS, "IN_ACCESS"}, {unix.IN_MODIFY, "IN_MODIFY"}, {unix.IN_ATTRIB, "IN_ATTRIB"},
		{unix.IN_CLOSE_WRITE, "IN_CLOSE_WRITE"}, {unix.IN_CLOSE_NOWRITE, "IN_CLOSE_NOWRITE"}, {unix.IN_OPEN, "IN_OPEN"},
		{unix.IN_MOVED_FROM, "IN_MOVED_FROM"}, {unix.IN_MOVED_TO, "IN_MOVED_TO"}, {unix.IN_CREATE, "IN_CREATE"},
		{unix.IN_DELETE, "IN_DELETE"}, {unix.IN_DELETE_SELF, "IN_DELETE_SELF"}, {unix.IN_MOVE_SELF, "IN_MOVE_SELF"},
		{unix.IN_UNMOUNT, "IN_UNMOUNT"}, {unix.IN_Q_OVERFLOW, "IN_Q_OVERFLOW"}, {unix.IN_IGNORED, "IN_IGNORED"},
		{unix.IN_ONLYDIR, "IN_ONLYDIR"}, {unix.IN_DONT_FOLLOW, "IN_DONT_FOLLOW"}, {unix.IN_EXCL_UNLINK, "IN_EXCL_UNLINK"},
		{unix.IN_MASK_CREATE, "IN_MASK_CREATE"}, {unix.IN_MASK_ADD, "IN_MASK_ADD"}, {unix.IN_ISDIR, "IN_ISDIR"},
		{unix.IN_ONESHOT, "IN_ONESHOT"},
	}},
	"inotifyinit": {bits: []flagName{
		{unix.IN_CLOEXEC, "IN_CLOEXEC"}, {unix.IN_NONBLOCK, "IN_NONBLOCK"},
	}},
	"ioctl": {mask: allBits, enum: []flagName{
		{unix.TCGETS, "TCGETS"}, {unix.TCSETS, "TCSETS"}, {unix.TCSETSW, "TCSETSW"}, {unix.TCSETSF, "TCSETSF"},
		{unix.TIOCGPGRP, "TIOCGPGRP"}, {unix.TIOCSPGRP, "TIOCSPGRP"}, {unix.TIOCGWINSZ, "TIOCGWINSZ"},
		{unix.TIOCSWINSZ, "TIOCSWINSZ"}, {unix.TIOCSCTTY, "TIOCSCTTY"}, {unix.TIOCNOTTY, "TIOCNOTTY"},
		{unix.TIOCGSID, "TIOCGSID"}, {unix.TIOCGPTN, "TIOCGPTN"}, {unix.TIOCSPTLCK, "TIOCSPTLCK"},
		{unix.TIOCGPTPEER, "TIOCGPTPEER"}, {unix.TIOCSTI, "TIOCSTI"}, {unix.TCFLSH, "TCFLSH"}, {unix.TCXONC, "TCXONC"},
		{unix.TCSBRK, "TCSBRK"}, {unix.TIOCOUTQ, "TIOCOUTQ"}, {unix.SIOCGIFCONF, "SIOCGIFCONF"},
		{unix.SIOCGIFFLAGS, "SIOCGIFFLAGS"}, {unix.SIOCGIFADDR, "SIOCGIFADDR"}, {unix.SIOCGIFINDEX, "SIOCGIFINDEX"},
		{unix.SIOCGIFNAME, "SIOCGIFNAME"}, {unix.FICLONE, "FICLONE"}, {unix.FICLONERANGE, "FICLONERANGE"},
		{unix.FIDEDUPERANGE, "FIDEDUPERANGE"}, {unix.FS_IOC_GETFLAGS, "FS_IOC_GETFLAGS"},
		{unix.FS_IOC_SETFLAGS, "FS_IOC_SETFLAGS"}, {0x541b, "FIONREAD"}, {0x5421, "FIONBIO"}, {0x5450, "FIONCLEX"},
		{0x5451, "FIOCLEX"}, {0x5452, "FIOASYNC"}, {0x5460, "FIOQSIZE"},
	}},
	"ipcctl": {mask: 0xff, enum: []flagName{
		{0, "IPC_RMID"}, {1, "IPC_SET"}, {2, "IPC_STAT"}, {3, "IPC_INFO"}, {11, "SHM_LOCK"}, {12, "SHM_UNLOCK"},
		{13, "SHM_STAT"}, {14, "SHM_INFO"}, {15, "SHM_STAT_ANY"},
	}, bits: []flagName{}},
	"ipcget": {mask: 0, enum: []flagName{}, bits: []flagName{
		{01000, "IPC_CREAT"}, {02000, "IPC_EXCL"}, {04000, "IPC_NOWAIT"},
	}},
	"ipopt": {mask: allBits, enum: []flagName{
		{unix.IP_TOS, "IP_TOS"}, {unix.IP_TTL, "IP_TTL"}, {unix.IP_HDRINCL, "IP_HDRINCL"}, {unix.IP_OPTIONS, "IP_OPTIONS"},
		{unix.IP_RECVOPTS, "IP_RECVOPTS"}, {unix.IP_PKTINFO, "IP_PKTINFO"}, {unix.IP_MTU_DISCOVER, "IP_MTU_DISCOVER"},
		{unix.IP_RECVERR, "IP_RECVERR"}, {unix.IP_RECVTTL, "IP_RECVTTL"}, {unix.IP_RECVTOS, "IP_RECVTOS"},
		{unix.IP_MTU, "IP_MTU"}, {unix.IP_FREEBIND, "IP_FREEBIND"}, {unix.IP_TRANSPARENT, "IP_TRANSPARENT"},
		{unix.IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT"}, {unix.IP_MULTICAST_IF, "IP_MULTICAST_IF"},
		{unix.IP_MULTICAST_TTL, "IP_MULTICAST_TTL"}, {unix.IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP"},
		{unix.IP_ADD_MEMBERSHIP, "IP_ADD_MEMBERSHIP"}, {unix.IP_DROP_MEMBERSHIP, "IP_DROP_MEMBERSHIP"},
	}},
	"ipv6opt": {mask: allBits, enum: []flagName{
		{unix.IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"}, {unix.IPV6_MULTICAST_IF, "IPV6_MULTICAST_IF"},
		{unix.IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS"}, {unix.IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP"},
		{unix.IPV6_JOIN_GROUP, "IPV6_JOIN_GROUP"}, {unix.IPV6_LEAVE_GROUP, "IPV6_LEAVE_GROUP"},
		{unix.IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER"}, {unix.IPV6_MTU, "IPV6_MTU"}, {unix.IPV6_RECVERR, "IPV6_RECVERR"},
		{unix.IPV6_V6ONLY, "IPV6_V6ONLY"}, {unix.IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"},
		{unix.IPV6_PKTINFO, "IPV6_PKTINFO"}, {unix.IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT"},
		{unix.IPV6_HOPLIMIT, "IPV6_HOPLIMIT"}, {unix.IPV6_RECVTCLASS, "IPV6_RECVTCLASS"},
		{unix.IPV6_TCLASS, "IPV6_TCLASS"},
	}},
	"itimer": {mask: allBits, enum: []flagName{
		{0, "ITIMER_REAL"}, {1, "ITIMER_VIRTUAL"}, {2, "ITIMER_PROF"},
	}},
	"kcmp": {mask: allBits, enum: []flagName{
		{0, "KCMP_FILE"}, {1, "KCMP_VM"}, {2, "KCMP_FILES"}, {3, "KCMP_FS"}, {4, "KCMP_SIGHAND"}, {5, "KCMP_IO"},
		{6, "KCMP_SYSVSEM"}, {7, "KCMP_EPOLL_TFD"},
	}},
	"locktype": {mask: allBits, enum: []flagName{
		{unix.F_RDLCK, "F_RDLCK"}, {unix.F_WRLCK, "F_WRLCK"}, {unix.F_UNLCK, "F_UNLCK"},
	}},
	"madvise": {mask: allBits, enum: []flagName{
		{unix.MADV_NORMAL, "MADV_NORMAL"}, {unix.MADV_RANDOM, "MADV_RANDOM"}, {unix.MADV_SEQUENTIAL, "MADV_SEQUENTIAL"},
		{unix.MADV_WILLNEED, "MADV_WILLNEED"}, {unix.MADV_DONTNEED, "MADV_DONTNEED"}, {unix.MADV_FREE, "MADV_FREE"},
		{unix.MADV_REMOVE, "MADV_REMOVE"}, {unix.MADV_DONTFORK, "MADV_DONTFORK"}, {unix.MADV_DOFORK, "MADV_DOFORK"},
		{unix.MADV_MERGEABLE, "MADV_MERGEABLE"}, {unix.MADV_UNMERGEABLE, "MADV_UNMERGEABLE"},
		{unix.MADV_HUGEPAGE, "MADV_HUGEPAGE"}, {unix.MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE"},
		{unix.MADV_DONTDUMP, "MADV_DONTDUMP"}, {unix.MADV_DODUMP, "MADV_DODUMP"},
		{unix.MADV_WIPEONFORK, "MADV_WIPEONFORK"}, {unix.MADV_KEEPONFORK, "MADV_KEEPONFORK"},
		{unix.MADV_COLD, "MADV_COLD"}, {unix.MADV_PAGEOUT, "MADV_PAGEOUT"},
		{unix.MADV_POPULATE_READ, "MADV_POPULATE_READ"}, {unix.MADV_POPULATE_WRITE, "MADV_POPULATE_WRITE"},
		{unix.MADV_DONTNEED_LOCKED, "MADV_DONTNEED_LOCKED"}, {unix.MADV_COLLAPSE, "MADV_COLLAPSE"},
		{unix.MADV_GUARD_INSTALL, "MADV_GUARD_INSTALL"}, {unix.MADV_GUARD_REMOVE, "MADV_GUARD_REMOVE"},
		{unix.MADV_HWPOISON, "MADV_HWPOISON"},
	}},
	"membarrier": {mask: allBits, enum: []flagName{
		{0, "MEMBARRIER_CMD_QUERY"}, {1, "MEMBARRIER_CMD_GLOBAL"}, {2, "MEMBARRIER_CMD_GLOBAL_EXPEDITED"},
		{4, "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED"}, {8, "MEMBARRIER_CMD_PRIVATE_EXPEDITED"},
		{16, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED"}, {32, "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE"},
		{64, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE"}, {128, "MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ"},
		{256, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ"},
	}},
	"memfd": {bits: []flagName{
		{unix.MFD_CLOEXEC, "MFD_CLOEXEC"}, {unix.MFD_ALLOW_SEALING, "MFD_ALLOW_SEALING"},
		{unix.MFD_HUGETLB, "MFD_HUGETLB"}, {unix.MFD_NOEXEC_SEAL, "MFD_NOEXEC_SEAL"}, {unix.MFD_EXEC, "MFD_EXEC"},
	}},
	"mlock2": {bits: []flagName{
		{unix.MLOCK_ONFAULT, "MLOCK_ONFAULT"},
	}},
	"mlockall": {bits: []flagName{
		{unix.MCL_CURRENT, "MCL_CURRENT"}, {unix.MCL_FUTURE, "MCL_FUTURE"}, {unix.MCL_ONFAULT, "MCL_ONFAULT"},
	}},
	"mmap": {mask: 0xf, enum: []flagName{
		{unix.MAP_SHARED, "MAP_SHARED"}, {unix.MAP_PRIVATE, "MAP_PRIVATE"},
		{unix.MAP_SHARED_VALIDATE, "MAP_SHARED_VALIDATE"},
	}, bits: []flagName{
		{unix.MAP_FIXED, "MAP_FIXED"}, {unix.MAP_ANONYMOUS, "MAP_ANONYMOUS"}, {unix.MAP_32BIT, "MAP_32BIT"},
		{unix.MAP_GROWSDOWN, "MAP_GROWSDOWN"}, {unix.MAP_DENYWRITE, "MAP_DENYWRITE"},
		{unix.MAP_EXECUTABLE, "MAP_EXECUTABLE"}, {unix.MAP_LOCKED, "MAP_LOCKED"}, {unix.MAP_NORESERVE, "MAP_NORESERVE"},
		{unix.MAP_POPULATE, "MAP_POPULATE"}, {unix.MAP_NONBLOCK, "MAP_NONBLOCK"}, {unix.MAP_STACK, "MAP_STACK"},
		{unix.MAP_HUGETLB, "MAP_HUGETLB"}, {unix.MAP_SYNC, "MAP_SYNC"}, {unix.MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"},
	}},
	"mount": {bits: []flagName{
		{unix.MS_RDONLY, "MS_RDONLY"}, {unix.MS_NOSUID, "MS_NOSUID"}, {unix.MS_NODEV, "MS_NODEV"},
		{unix.MS_NOEXEC, "MS_NOEXEC"}, {unix.MS_SYNCHRONOUS, "MS_SYNCHRONOUS"}, {unix.MS_REMOUNT, "MS_REMOUNT"},
		{unix.MS_MANDLOCK, "MS_MANDLOCK"}, {unix.MS_DIRSYNC, "MS_DIRSYNC"}, {unix.MS_NOATIME, "MS_NOATIME"},
		{unix.MS_NODIRATIME, "MS_NODIRATIME"}, {unix.MS_BIND, "MS_BIND"}, {unix.MS_MOVE, "MS_MOVE"},
		{unix.MS_REC, "MS_REC"}, {unix.MS_SILENT, "MS_SILENT"}, {unix.MS_POSIXACL, "MS_POSIXACL"},
		{unix.MS_UNBINDABLE, "MS_UNBINDABLE"}, {unix.MS_PRIVATE, "MS_PRIVATE"}, {unix.MS_SLAVE, "MS_SLAVE"},
		{unix.MS_SHARED, "MS_SHARED"}, {unix.MS_RELATIME, "MS_RELATIME"}, {unix.MS_STRICTATIME, "MS_STRICTATIME"},
		{unix.MS_LAZYTIME, "MS_LAZYTIME"}, {unix.MS_NOSYMFOLLOW, "MS_NOSYMFOLLOW"},
	}},
	"mountattr": {bits: []flagName{
		{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"}, {unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
		{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"}, {unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
		{unix.MOUNT_ATTR_NOATIME, "MOUNT_ATTR_NOATIME"}, {unix.MOUNT_ATTR_STRICTATIME, "MOUNT_ATTR_STRICTATIME"},
		{unix.MOUNT_ATTR_NODIRATIME, "MOUNT_ATTR_NODIRATIME"}, {unix.MOUNT_ATTR_IDMAP, "MOUNT_ATTR_IDMAP"},
		{unix.MOUNT_ATTR_NOSYMFOLLOW, "MOUNT_ATTR_NOSYMFOLLOW"},
	}},
	"movemount": {bits: []flagName{
		{unix.MOVE_MOUNT_F_SYMLINKS, "MOVE_MOUNT_F_SYMLINKS"}, {unix.MOVE_MOUNT_F_AUTOMOUNTS, "MOVE_MOUNT_F_AUTOMOUNTS"},
		{unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH"}, {unix.MOVE_MOUNT_T_SYMLINKS, "MOVE_MOUNT_T_SYMLINKS"},
		{unix.MOVE_MOUNT_T_AUTOMOUNTS, "MOVE_MOUNT_T_AUTOMOUNTS"},
		{unix.MOVE_MOUNT_T_EMPTY_PATH, "MOVE_MOUNT_T_EMPTY_PATH"}, {unix.MOVE_MOUNT_SET_GROUP, "MOVE_MOUNT_SET_GROUP"},
	}},
	"mpol": {mask: 0xff, enum: []flagName{
		{0, "MPOL_DEFAULT"}, {1, "MPOL_PREFERRED"}, {2, "MPOL_BIND"}, {3, "MPOL_INTERLEAVE"}, {4, "MPOL_LOCAL"},
		{5, "MPOL_PREFERRED_MANY"}, {6, "MPOL_WEIGHTED_INTERLEAVE"},
	}, bits: []flagName{
		{1 << 13, "MPOL_F_NUMA_BALANCING"}, {1 << 14, "MPOL_F_RELATIVE_NODES"}, {1 << 15, "MPOL_F_STATIC_NODES"},
	}},
	"mpolf": {bits: []flagName{
		{1, "MPOL_F_NODE"}, {2, "MPOL_F_ADDR"}, {4, "MPOL_F_MEMS_ALLOWED"},
	}},
	"mpolmf": {bits: []flagName{
		{1, "MPOL_MF_STRICT"}, {2, "MPOL_MF_MOVE"}, {4, "MPOL_MF_MOVE_ALL"},
	}},
	"mremap": {bits: []flagName{
		{unix.MREMAP_MAYMOVE, "MREMAP_MAYMOVE"}, {unix.MREMAP_FIXED, "MREMAP_FIXED"},
		{unix.MREMAP_DONTUNMAP, "MREMAP_DONTUNMAP"},
	}},
	"msg": {bits: []flagName{
		{unix.MSG_OOB, "MSG_OOB"}, {unix.MSG_PEEK, "MSG_PEEK"}, {unix.MSG_DONTROUTE, "MSG_DONTROUTE"},
		{unix.MSG_CTRUNC, "MSG_CTRUNC"}, {unix.MSG_PROXY, "MSG_PROXY"}, {unix.MSG_TRUNC, "MSG_TRUNC"},
		{unix.MSG_DONTWAIT, "MSG_DONTWAIT"}, {unix.MSG_EOR, "MSG_EOR"}, {unix.MSG_WAITALL, "MSG_WAITALL"},
		{unix.MSG_FIN, "MSG_FIN"}, {unix.MSG_SYN, "MSG_SYN"}, {unix.MSG_CONFIRM, "MSG_CONFIRM"}, {unix.MSG_RST, "MSG_RST"},
		{unix.MSG_ERRQUEUE, "MSG_ERRQUEUE"}, {unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"}, {unix.MSG_MORE, "MSG_MORE"},
		{unix.MSG_WAITFORONE, "MSG_WAITFORONE"}, {unix.MSG_BATCH, "MSG_BATCH"}, {unix.MSG_ZEROCOPY, "MSG_ZEROCOPY"},
		{unix.MSG_FASTOPEN, "MSG_FASTOPEN"}, {unix.MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"},
	}},
	"msgctl": {mask: 0xff, enum: []flagName{
		{0, "IPC_RMID"}, {1, "IPC_SET"}, {2, "IPC_STAT"}, {3, "IPC_INFO"}, {11, "MSG_STAT"}, {12, "MSG_INFO"},
		{13, "MSG_STAT_ANY"},
	}, bits: []flagName{}},
	"msgrcv": {bits: []flagName{
		{04000, "IPC_NOWAIT"}, {010000, "MSG_NOERROR"}, {020000, "MSG_EXCEPT"}, {040000, "MSG_COPY"},
	}},
	"msync": {bits: []flagName{
		{unix.MS_ASYNC, "MS_ASYNC"}, {unix.MS_INVALIDATE, "MS_INVALIDATE"}, {unix.MS_SYNC, "MS_SYNC"},
	}},
	"open": {mask: 3, enum: []flagName{
		{unix.O_RDONLY, "O_RDONLY"}, {unix.O_WRONLY, "O_WRONLY"}, {unix.O_RDWR, "O_RDWR"},
	}, bits: []flagName{
		{unix.O_CREAT, "O_CREAT"}, {unix.O_EXCL, "O_EXCL"}, {unix.O_NOCTTY, "O_NOCTTY"}, {unix.O_TRUNC, "O_TRUNC"},
		{unix.O_APPEND, "O_APPEND"}, {unix.O_NONBLOCK, "O_NONBLOCK"}, {unix.O_SYNC, "O_SYNC"}, {unix.O_DSYNC, "O_DSYNC"},
		{unix.O_ASYNC, "O_ASYNC"}, {unix.O_DIRECT, "O_DIRECT"}, {unix.O_TMPFILE, "O_TMPFILE"},
		{unix.O_DIRECTORY, "O_DIRECTORY"}, {unix.O_NOFOLLOW, "O_NOFOLLOW"}, {unix.O_NOATIME, "O_NOATIME"},
		{unix.O_CLOEXEC, "O_CLOEXEC"}, {unix.O_PATH, "O_PATH"}, {0x8000, "O_LARGEFILE"},
	}},
	"opentree": {bits: []flagName{
		{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"}, {unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"},
		{unix.AT_RECURSIVE, "AT_RECURSIVE"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
		{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"},
	}},
	"pidfd": {bits: []flagName{
		{unix.PIDFD_NONBLOCK, "PIDFD_NONBLOCK"}, {0x80, "PIDFD_THREAD"},
	}},
	"poll": {bits: []flagName{
		{unix.POLLIN, "POLLIN"}, {unix.POLLPRI, "POLLPRI"}, {unix.POLLOUT, "POLLOUT"}, {unix.POLLERR, "POLLERR"},
		{unix.POLLHUP, "POLLHUP"}, {unix.POLLNVAL, "POLLNVAL"}, {0x40, "POLLRDNORM"}, {0x80, "POLLRDBAND"},
		{0x100, "POLLWRNORM"}, {0x200, "POLLWRBAND"}, {0x400, "POLLMSG"}, {0x2000, "POLLRDHUP"},
	}},
	"prctl": {mask: allBits, enum: []flagName{
		{unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"}, {unix.PR_GET_PDEATHSIG, "PR_GET_PDEATHSIG"},
		{unix.PR_GET_DUMPABLE, "PR_GET_DUMPABLE"}, {unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"},
		{unix.PR_GET_UNALIGN, "PR_GET_UNALIGN"}, {unix.PR_SET_UNALIGN, "PR_SET_UNALIGN"},
		{unix.PR_GET_KEEPCAPS, "PR_GET_KEEPCAPS"}, {unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"},
		{unix.PR_GET_TIMING, "PR_GET_TIMING"}, {unix.PR_SET_TIMING, "PR_SET_TIMING"}, {unix.PR_SET_NAME, "PR_SET_NAME"},
		{unix.PR_GET_NAME, "PR_GET_NAME"}, {unix.PR_GET_SECCOMP, "PR_GET_SECCOMP"},
		{unix.PR_SET_SECCOMP, "PR_SET_SECCOMP"}, {unix.PR_CAPBSET_READ, "PR_CAPBSET_READ"},
		{unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"}, {unix.PR_GET_TSC, "PR_GET_TSC"}, {unix.PR_SET_TSC, "PR_SET_TSC"},
		{unix.PR_GET_SECUREBITS, "PR_GET_SECUREBITS"}, {unix.PR_SET_SECUREBITS, "PR_SET_SECUREBITS"},
		{unix.PR_SET_TIMERSLACK, "PR_SET_TIMERSLACK"}, {unix.PR_GET_TIMERSLACK, "PR_GET_TIMERSLACK"},
		{unix.PR_MCE_KILL, "PR_MCE_KILL"}, {unix.PR_MCE_KILL_GET, "PR_MCE_KILL_GET"}, {unix.PR_SET_MM, "PR_SET_MM"},
		{unix.PR_SET_CHILD_SUBREAPER, "PR_SET_CHILD_SUBREAPER"}, {unix.PR_GET_CHILD_SUBREAPER, "PR_GET_CHILD_SUBREAPER"},
		{unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"}, {unix.PR_GET_NO_NEW_PRIVS, "PR_GET_NO_NEW_PRIVS"},
		{unix.PR_GET_TID_ADDRESS, "PR_GET_TID_ADDRESS"}, {unix.PR_SET_THP_DISABLE, "PR_SET_THP_DISABLE"},
		{unix.PR_GET_THP_DISABLE, "PR_GET_THP_DISABLE"}, {unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"},
		{unix.PR_GET_SPECULATION_CTRL, "PR_GET_SPECULATION_CTRL"},
		{unix.PR_SET_SPECULATION_CTRL, "PR_SET_SPECULATION_CTRL"}, {unix.PR_SET_VMA, "PR_SET_VMA"},
		{unix.PR_SET_PTRACER, "PR_SET_PTRACER"},
	}},
	"prio": {mask: allBits, enum: []flagName{
		{unix.PRIO_PROCESS, "PRIO_PROCESS"}, {unix.PRIO_PGRP, "PRIO_PGRP"}, {unix.PRIO_USER, "PRIO_USER"},
	}},
	"prot": {bits: []flagName{
		{unix.PROT_READ, "PROT_READ"}, {unix.PROT_WRITE, "PROT_WRITE"}, {unix.PROT_EXEC, "PROT_EXEC"},
		{unix.PROT_GROWSDOWN, "PROT_GROWSDOWN"}, {unix.PROT_GROWSUP, "PROT_GROWSUP"}, {8, "PROT_SEM"},
	}, zero: "PROT_NONE"},
	"ptrace": {mask: allBits, enum: []flagName{
		{unix.PTRACE_TRACEME, "PTRACE_TRACEME"}, {unix.PTRACE_PEEKTEXT, "PTRACE_PEEKTEXT"},
		{unix.PTRACE_PEEKDATA, "PTRACE_PEEKDATA"}, {unix.PTRACE_POKETEXT, "PTRACE_POKETEXT"},
		{unix.PTRACE_POKEDATA, "PTRACE_POKEDATA"}, {unix.PTRACE_CONT, "PTRACE_CONT"}, {unix.PTRACE_KILL, "PTRACE_KILL"},
		{unix.PTRACE_SINGLESTEP, "PTRACE_SINGLESTEP"}, {unix.PTRACE_GETREGS, "PTRACE_GETREGS"},
		{unix.PTRACE_SETREGS, "PTRACE_SETREGS"}, {unix.PTRACE_GETFPREGS, "PTRACE_GETFPREGS"},
		{unix.PTRACE_SETFPREGS, "PTRACE_SETFPREGS"}, {unix.PTRACE_ATTACH, "PTRACE_ATTACH"},
		{unix.PTRACE_DETACH, "PTRACE_DETACH"}, {unix.PTRACE_SYSCALL, "PTRACE_SYSCALL"},
		{unix.PTRACE_SETOPTIONS, "PTRACE_SETOPTIONS"}, {unix.PTRACE_GETEVENTMSG, "PTRACE_GETEVENTMSG"},
		{unix.PTRACE_GETSIGINFO, "PTRACE_GETSIGINFO"}, {unix.PTRACE_SETSIGINFO, "PTRACE_SETSIGINFO"},
		{unix.PTRACE_GETREGSET, "PTRACE_GETREGSET"}, {unix.PTRACE_SETREGSET, "PTRACE_SETREGSET"},
		{unix.PTRACE_SEIZE, "PTRACE_SEIZE"}, {unix.PTRACE_INTERRUPT, "PTRACE_INTERRUPT"},
		{unix.PTRACE_LISTEN, "PTRACE_LISTEN"}, {unix.PTRACE_PEEKSIGINFO, "PTRACE_PEEKSIGINFO"},
		{unix.PTRACE_GETSIGMASK, "PTRACE_GETSIGMASK"}, {unix.PTRACE_SETSIGMASK, "PTRACE_SETSIGMASK"},
		{unix.PTRACE_SECCOMP_GET_FILTER, "PTRACE_SECCOMP_GET_FILTER"},
		{unix.PTRACE_GET_SYSCALL_INFO, "PTRACE_GET_SYSCALL_INFO"}, {3, "PTRACE_PEEKUSER"}, {6, "PTRACE_POKEUSER"},
	}},
	"rename": {bits: []flagName{
		{unix.RENAME_NOREPLACE, "RENAME_NOREPLACE"}, {unix.RENAME_EXCHANGE, "RENAME_EXCHANGE"},
		{unix.RENAME_WHITEOUT, "RENAME_WHITEOUT"},
	}},
	"resolve": {bits: []flagName{
		{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"}, {unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
		{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"}, {unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
		{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"}, {0x20, "RESOLVE_CACHED"},
	}},
	"rlimit": {mask: allBits, enum: []flagName{
		{unix.RLIMIT_CPU, "RLIMIT_CPU"}, {unix.RLIMIT_FSIZE, "RLIMIT_FSIZE"}, {unix.RLIMIT_DATA, "RLIMIT_DATA"},
		{unix.RLIMIT_STACK, "RLIMIT_STACK"}, {unix.RLIMIT_CORE, "RLIMIT_CORE"}, {unix.RLIMIT_RSS, "RLIMIT_RSS"},
		{unix.RLIMIT_NPROC, "RLIMIT_NPROC"}, {unix.RLIMIT_NOFILE, "RLIMIT_NOFILE"},
		{unix.RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"}, {unix.RLIMIT_AS, "RLIMIT_AS"}, {10, "RLIMIT_LOCKS"},
		{11, "RLIMIT_SIGPENDING"}, {12, "RLIMIT_MSGQUEUE"}, {13, "RLIMIT_NICE"}, {14, "RLIMIT_RTPRIO"},
		{15, "RLIMIT_RTTIME"},
	}},
	"rusage": {mask: allBits, enum: []flagName{
		{0, "RUSAGE_SELF"}, {0xffffffff, "RUSAGE_CHILDREN"}, {1, "RUSAGE_THREAD"},
	}},
	"rwf": {bits: []flagName{
		{1, "RWF_HIPRI"}, {2, "RWF_DSYNC"}, {4, "RWF_SYNC"}, {8, "RWF_NOWAIT"}, {16, "RWF_APPEND"}, {32, "RWF_NOAPPEND"},
	}},
	"sa": {bits: []flagName{
		{1, "SA_NOCLDSTOP"}, {2, "SA_NOCLDWAIT"}, {4, "SA_SIGINFO"}, {0x800, "SA_EXPOSE_TAGBITS"},
		{0x4000000, "SA_RESTORER"}, {0x8000000, "SA_ONSTACK"}, {0x10000000, "SA_RESTART"}, {0x40000000, "SA_NODEFER"},
		{0x80000000, "SA_RESETHAND"},
	}},
	"sched": {mask: allBits, enum: []flagName{
		{0, "SCHED_OTHER"}, {1, "SCHED_FIFO"}, {2, "SCHED_RR"}, {3, "SCHED_BATCH"}, {5, "SCHED_IDLE"},
		{6, "SCHED_DEADLINE"},
	}},
	"seals": {bits: []flagName{
		{unix.F_SEAL_SEAL, "F_SEAL_SEAL"}, {unix.F_SEAL_SHRINK, "F_SEAL_SHRINK"}, {unix.F_SEAL_GROW, "F_SEAL_GROW"},
		{unix.F_SEAL_WRITE, "F_SEAL_WRITE"}, {unix.F_SEAL_FUTURE_WRITE, "F_SEAL_FUTURE_WRITE"},
		{unix.F_SEAL_EXEC, "F_SEAL_EXEC"},
	}},
	"seccomp": {mask: allBits, enum: []flagName{
		{unix.SECCOMP_SET_MODE_STRICT, "SECCOMP_SET_MODE_STRICT"},
		{unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"}, {2, "SECCOMP_GET_ACTION_AVAIL"},
		{3, "SECCOMP_GET_NOTIF_SIZES"},
	}},
	"semctl": {mask: 0xff, enum: []flagName{
		{0, "IPC_RMID"}, {1, "IPC_SET"}, {2, "IPC_STAT"}, {3, "IPC_INFO"}, {11, "GETPID"}, {12, "GETVAL"}, {13, "GETALL"},
		{14, "GETNCNT"}, {15, "GETZCNT"}, {16, "SETVAL"}, {17, "SETALL"}, {18, "SEM_STAT"}, {19, "SEM_INFO"},
		{20, "SEM_STAT_ANY"},
	}, bits: []flagName{}},
	"shmat": {bits: []flagName{
		{010000, "SHM_RDONLY"}, {020000, "SHM_RND"}, {040000, "SHM_REMAP"}, {0100000, "SHM_EXEC"},
	}},
	"shmget": {mask: 0, enum: []flagName{}, bits: []flagName{
		{01000, "IPC_CREAT"}, {02000, "IPC_EXCL"}, {04000, "SHM_HUGETLB"}, {010000, "SHM_NORESERVE"},
	}},
	"shutdown": {mask: allBits, enum: []flagName{
		{unix.SHUT_RD, "SHUT_RD"}, {unix.SHUT_WR, "SHUT_WR"}, {unix.SHUT_RDWR, "SHUT_RDWR"},
	}},
	"signalfd": {bits: []flagName{
		{unix.SFD_CLOEXEC, "SFD_CLOEXEC"}, {unix.SFD_NONBLOCK, "SFD_NONBLOCK"},
	}},
	"sigprocmask": {mask: allBits, enum: []flagName{
		{unix.SIG_BLOCK, "SIG_BLOCK"}, {unix.SIG_UNBLOCK, "SIG_UNBLOCK"}, {unix.SIG_SETMASK, "SIG_SETMASK"},
	}},
	"so": {mask: allBits, enum: []flagName{
		{unix.SO_DEBUG, "SO_DEBUG"}, {unix.SO_REUSEADDR, "SO_REUSEADDR"}, {unix.SO_TYPE, "SO_TYPE"},
		{unix.SO_ERROR, "SO_ERROR"}, {unix.SO_DONTROUTE, "SO_DONTROUTE"}, {unix.SO_BROADCAST, "SO_BROADCAST"},
		{unix.SO_SNDBUF, "SO_SNDBUF"}, {unix.SO_RCVBUF, "SO_RCVBUF"}, {unix.SO_KEEPALIVE, "SO_KEEPALIVE"},
		{unix.SO_OOBINLINE, "SO_OOBINLINE"}, {unix.SO_NO_CHECK, "SO_NO_CHECK"}, {unix.SO_PRIORITY, "SO_PRIORITY"},
		{unix.SO_LINGER, "SO_LINGER"}, {unix.SO_REUSEPORT, "SO_REUSEPORT"}, {unix.SO_PASSCRED, "SO_PASSCRED"},
		{unix.SO_PEERCRED, "SO_PEERCRED"}, {unix.SO_RCVLOWAT, "SO_RCVLOWAT"}, {unix.SO_SNDLOWAT, "SO_SNDLOWAT"},
		{unix.SO_RCVTIMEO, "SO_RCVTIMEO"}, {unix.SO_SNDTIMEO, "SO_SNDTIMEO"}, {unix.SO_BINDTODEVICE, "SO_BINDTODEVICE"},
		{unix.SO_ATTACH_FILTER, "SO_ATTACH_FILTER"}, {unix.SO_DETACH_FILTER, "SO_DETACH_FILTER"},
		{unix.SO_PEERNAME, "SO_PEERNAME"}, {unix.SO_TIMESTAMP, "SO_TIMESTAMP"}, {unix.SO_ACCEPTCONN, "SO_ACCEPTCONN"},
		{unix.SO_PEERSEC, "SO_PEERSEC"}, {unix.SO_SNDBUFFORCE, "SO_SNDBUFFORCE"}, {unix.SO_RCVBUFFORCE, "SO_RCVBUFFORCE"},
		{unix.SO_PASSSEC, "SO_PASSSEC"}, {unix.SO_MARK, "SO_MARK"}, {unix.SO_PROTOCOL, "SO_PROTOCOL"},
		{unix.SO_DOMAIN, "SO_DOMAIN"}, {unix.SO_RXQ_OVFL, "SO_RXQ_OVFL"}, {unix.SO_PEEK_OFF, "SO_PEEK_OFF"},
		{unix.SO_BUSY_POLL, "SO_BUSY_POLL"}, {unix.SO_INCOMING_CPU, "SO_INCOMING_CPU"},
		{unix.SO_PEERGROUPS, "SO_PEERGROUPS"}, {unix.SO_ZEROCOPY, "SO_ZEROCOPY"}, {unix.SO_COOKIE, "SO_COOKIE"},
		{unix.SO_TXTIME, "SO_TXTIME"},
	}},
	"socktype": {mask: 0xf, enum: []flagName{
		{unix.SOCK_STREAM, "SOCK_STREAM"}, {unix.SOCK_DGRAM, "SOCK_DGRAM"}, {unix.SOCK_RAW, "SOCK_RAW"},
		{unix.SOCK_RDM, "SOCK_RDM"}, {unix.SOCK_SEQPACKET, "SOCK_SEQPACKET"}, {unix.SOCK_DCCP, "SOCK_DCCP"},
		{unix.SOCK_PACKET, "SOCK_PACKET"},
	}, bits: []flagName{
		{unix.SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {unix.SOCK_NONBLOCK, "SOCK_NONBLOCK"},
	}},
	"sol": {mask: allBits, enum: []flagName{
		{unix.SOL_SOCKET, "SOL_SOCKET"}, {unix.SOL_TCP, "SOL_TCP"}, {unix.SOL_UDP, "SOL_UDP"}, {unix.SOL_IPV6, "SOL_IPV6"},
		{unix.SOL_ICMPV6, "SOL_ICMPV6"}, {unix.SOL_RAW, "SOL_RAW"}, {unix.SOL_PACKET, "SOL_PACKET"},
		{unix.SOL_NETLINK, "SOL_NETLINK"}, {0, "SOL_IP"},
	}},
	"splice": {bits: []flagName{
		{unix.SPLICE_F_MOVE, "SPLICE_F_MOVE"}, {unix.SPLICE_F_NONBLOCK, "SPLICE_F_NONBLOCK"},
		{unix.SPLICE_F_MORE, "SPLICE_F_MORE"}, {unix.SPLICE_F_GIFT, "SPLICE_F_GIFT"},
	}},
	"ss": {bits: []flagName{
		{1, "SS_ONSTACK"}, {2, "SS_DISABLE"}, {1 << 31, "SS_AUTODISARM"},
	}},
	"statx": {bits: []flagName{
		{unix.STATX_BASIC_STATS, "STATX_BASIC_STATS"}, {unix.STATX_TYPE, "STATX_TYPE"}, {unix.STATX_MODE, "STATX_MODE"},
		{unix.STATX_NLINK, "STATX_NLINK"}, {unix.STATX_UID, "STATX_UID"}, {unix.STATX_GID, "STATX_GID"},
		{unix.STATX_ATIME, "STATX_ATIME"}, {unix.STATX_MTIME, "STATX_MTIME"}, {unix.STATX_CTIME, "STATX_CTIME"},
		{unix.STATX_INO, "STATX_INO"}, {unix.STATX_SIZE, "STATX_SIZE"}, {unix.STATX_BLOCKS, "STATX_BLOCKS"},
		{unix.STATX_BTIME, "STATX_BTIME"}, {unix.STATX_MNT_ID, "STATX_MNT_ID"}, {unix.STATX_DIOALIGN, "STATX_DIOALIGN"},
		{unix.STATX_MNT_ID_UNIQUE, "STATX_MNT_ID_UNIQUE"},
	}},
	"statxat": {bits: []flagName{
		{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
		{unix.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"}, {unix.AT_STATX_FORCE_SYNC, "AT_STATX_FORCE_SYNC"},
		{unix.AT_STATX_DONT_SYNC, "AT_STATX_DONT_SYNC"},
	}, zero: "AT_STATX_SYNC_AS_STAT"},
	"syncrange": {bits: []flagName{
		{unix.SYNC_FILE_RANGE_WAIT_BEFORE, "SYNC_FILE_RANGE_WAIT_BEFORE"},
		{unix.SYNC_FILE_RANGE_WRITE, "SYNC_FILE_RANGE_WRITE"},
		{unix.SYNC_FILE_RANGE_WAIT_AFTER, "SYNC_FILE_RANGE_WAIT_AFTER"},
	}},
	"tcp": {mask: allBits, enum: []flagName{
		{unix.TCP_NODELAY, "TCP_NODELAY"}, {unix.TCP_MAXSEG, "TCP_MAXSEG"}, {unix.TCP_CORK, "TCP_CORK"},
		{unix.TCP_KEEPIDLE, "TCP_KEEPIDLE"}, {unix.TCP_KEEPINTVL, "TCP_KEEPINTVL"}, {unix.TCP_KEEPCNT, "TCP_KEEPCNT"},
		{unix.TCP_SYNCNT, "TCP_SYNCNT"}, {unix.TCP_LINGER2, "TCP_LINGER2"}, {unix.TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"},
		{unix.TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP"}, {unix.TCP_INFO, "TCP_INFO"}, {unix.TCP_QUICKACK, "TCP_QUICKACK"},
		{unix.TCP_CONGESTION, "TCP_CONGESTION"}, {unix.TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"},
		{unix.TCP_FASTOPEN, "TCP_FASTOPEN"}, {unix.TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"},
		{unix.TCP_FASTOPEN_CONNECT, "TCP_FASTOPEN_CONNECT"},
	}},
	"timer": {bits: []flagName{
		{unix.TIMER_ABSTIME, "TIMER_ABSTIME"},
	}},
	"timerfd": {bits: []flagName{
		{unix.TFD_CLOEXEC, "TFD_CLOEXEC"}, {unix.TFD_NONBLOCK, "TFD_NONBLOCK"},
	}},
	"timerfdset": {bits: []flagName{
		{unix.TFD_TIMER_ABSTIME, "TFD_TIMER_ABSTIME"}, {unix.TFD_TIMER_CANCEL_ON_SET, "TFD_TIMER_CANCEL_ON_SET"},
	}},
	"umount": {bits: []flagName{
		{unix.MNT_FORCE, "MNT_FORCE"}, {unix.MNT_DETACH, "MNT_DETACH"}, {unix.MNT_EXPIRE, "MNT_EXPIRE"},
		{unix.UMOUNT_NOFOLLOW, "UMOUNT_NOFOLLOW"},
	}},
	"unlinkat": {bits: []flagName{
		{unix.AT_REMOVEDIR, "AT_REMOVEDIR"},
	}},
	"unshare": {bits: []flagName{
		{unix.CLONE_FS, "CLONE_FS"}, {unix.CLONE_FILES, "CLONE_FILES"}, {unix.CLONE_NEWNS, "CLONE_NEWNS"},
		{unix.CLONE_SYSVSEM, "CLONE_SYSVSEM"}, {unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"}, {unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
		{unix.CLONE_VM, "CLONE_VM"}, {unix.CLONE_SIGHAND, "CLONE_SIGHAND"}, {unix.CLONE_THREAD, "CLONE_THREAD"},
	}},
	"wait": {bits: []flagName{
		{unix.WNOHANG, "WNOHANG"}, {unix.WUNTRACED, "WUNTRACED"}, {unix.WEXITED, "WEXITED"},
		{unix.WCONTINUED, "WCONTINUED"}, {unix.WNOWAIT, "WNOWAIT"}, {0x20000000, "__WNOTHREAD"}, {0x40000000, "__WALL"},
		{0x80000000, "__WCLONE"},
	}},
	"whence": {mask: allBits, enum: []flagName{
		{0, "SEEK_SET"}, {1, "SEEK_CUR"}, {2, "SEEK_END"}, {3, "SEEK_DATA"}, {4, "SEEK_HOLE"},
	}},
	"xattr": {bits: []flagName{
		{unix.XATTR_CREATE, "XATTR_CREATE"}, {unix.XATTR_REPLACE, "XATTR_REPLACE"},
	}},
}
