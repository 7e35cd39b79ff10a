package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// seccomp(2)
func seccomp(t *sentry.Task, op, flags uint32, args usermem.Addr) (uintptr, error) {
	switch op {
	case unix.SECCOMP_SET_MODE_STRICT:
		if flags != 0 || args != 0 {
			return 0, unix.EINVAL
		}
		return 0, t.SeccompStrict()
	case unix.SECCOMP_SET_MODE_FILTER:
		return t.SeccompFilterFrom(flags, args)
	case unix.SECCOMP_GET_ACTION_AVAIL:
		if flags != 0 {
			return 0, unix.EINVAL
		}
		var action uint32
		if err := usermem.CopyObjectIn(t.MM(), args, &action); err != nil {
			return 0, err
		}
		if !sentry.SeccompActionAvail(action) {
			return 0, unix.EOPNOTSUPP
		}
		return 0, nil
	case unix.SECCOMP_GET_NOTIF_SIZES:
		if flags != 0 {
			return 0, unix.EINVAL
		}
		sizes := [3]uint16{80, 24, 64} // seccomp_notif, seccomp_notif_resp, seccomp_data
		return 0, usermem.CopyObjectOut(t.MM(), args, &sizes)
	}
	return 0, unix.EINVAL
}

// ptrace(2)
func ptrace(t *sentry.Task, request int64, pid int32, addr, data uint64) (uintptr, error) {
	return t.Ptrace(request, pid, addr, data)
}

// rseq(2)
func rseq(t *sentry.Task, addr uint64, size, flags, sig uint32) (uintptr, error) {
	return 0, t.Rseq(addr, size, flags, sig)
}

// membarrier(2)
func membarrier(t *sentry.Task, cmd int32, flags uint32, cpu int32) (uintptr, error) {
	return t.Membarrier(cmd, flags, cpu)
}
