package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
)

// What fits nowhere else: names of the system, random numbers, and privileged calls
// that a sandbox has no use for.

// uname(2)
func uname(t *sentry.Task, buf usermem.Addr) (uintptr, error) {
	var u unix.Utsname
	sys, node, release, version, machine, domain := t.UTSNames()
	copy(u.Sysname[:64], sys)
	copy(u.Nodename[:64], node)
	copy(u.Release[:64], release)
	copy(u.Version[:64], version)
	copy(u.Machine[:64], machine)
	copy(u.Domainname[:64], domain)
	return 0, usermem.CopyObjectOut(t.MM(), buf, &u)
}

const utsNameMax = 64

func copyUTSName(t *sentry.Task, addr usermem.Addr, n int32) (string, error) {
	if !t.Cred().HasIn(t.Namespaces().UTS.UserNS(), unix.CAP_SYS_ADMIN) {
		return "", unix.EPERM
	}
	if n < 0 || n > utsNameMax {
		return "", unix.EINVAL
	}
	b := make([]byte, n)
	if _, err := t.MM().CopyIn(addr, b); err != nil {
		return "", err
	}
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	return string(b), nil
}

// sethostname(2)
func sethostname(t *sentry.Task, addr usermem.Addr, n int32) (uintptr, error) {
	s, err := copyUTSName(t, addr, n)
	if err == nil {
		t.Namespaces().UTS.SetHost(s)
	}
	return 0, err
}

// setdomainname(2)
func setdomainname(t *sentry.Task, addr usermem.Addr, n int32) (uintptr, error) {
	s, err := copyUTSName(t, addr, n)
	if err == nil {
		t.Namespaces().UTS.SetDomain(s)
	}
	return 0, err
}

// sysinfo(2)
func sysinfo(t *sentry.Task, addr usermem.Addr) (uintptr, error) {
	k := t.Kernel()
	st := k.Memory.Stats()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, err
	}
	_, boottime := t.Namespaces().Time.Offsets()
	uptime := time.Duration(now.Nano()) + boottime
	tasks, _, _, _ := k.Counts()
	si := unix.Sysinfo_t{
		Uptime: int64((uptime + time.Second - 1) / time.Second), Totalram: st.Total, Freeram: st.Free, Sharedram: st.Shmem,
		Procs: uint16(min(tasks, 65535)), Unit: 1,
	}
	for i, l := range k.LoadAverage() {
		si.Loads[i] = uint64(l * 65536)
	}
	return 0, usermem.CopyObjectOut(t.MM(), addr, &si)
}

// getrandom(2): the host's numbers, which are good from boot on.
func getrandom(t *sentry.Task, buf usermem.Addr, n uint64, flags uint32) (uintptr, error) {
	if flags&^(unix.GRND_NONBLOCK|unix.GRND_RANDOM|unix.GRND_INSECURE) != 0 ||
		flags&(unix.GRND_RANDOM|unix.GRND_INSECURE) == unix.GRND_RANDOM|unix.GRND_INSECURE {
		return 0, unix.EINVAL
	}
	n = min(n, 1<<31-1)
	if err := userRange(buf, n); err != nil {
		return 0, err
	}
	var chunk [4096]byte
	done := uint64(0)
	for done < n {
		b := chunk[:min(uint64(len(chunk)), n-done)]
		if got, err := unix.Getrandom(b, 0); err != nil || got < len(b) {
			if err == nil || err == unix.EINTR {
				continue
			}
			return 0, err
		}
		w, err := t.MM().CopyOut(buf+usermem.Addr(done), b)
		done += uint64(w)
		if err != nil {
			if done == 0 {
				return 0, err
			}
			return uintptr(done), nil
		}
		if done < n && t.Interrupted() {
			return uintptr(done), nil
		}
	}
	return uintptr(done), nil
}

// getcpu(2)
func getcpu(t *sentry.Task, cpu, node usermem.Addr) (uintptr, error) {
	if cpu != 0 {
		v := uint32(t.CPU())
		if err := usermem.CopyObjectOut(t.MM(), cpu, &v); err != nil {
			return 0, err
		}
	}
	if node != 0 {
		var v uint32
		if err := usermem.CopyObjectOut(t.MM(), node, &v); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// syslog(2): the log buffer of the sandbox is empty; its size is what Linux has by default.
func syslog(t *sentry.Task, action int32, buf usermem.Addr, n int32) (uintptr, error) {
	const (
		actClose, actOpen, actRead, actReadAll, actReadClear, actClear = 0, 1, 2, 3, 4, 5
		actConsoleOff, actConsoleOn, actConsoleLevel                   = 6, 7, 8
		actSizeUnread, actSizeBuffer                                   = 9, 10
	)
	if action < 0 || action > actSizeBuffer {
		return 0, unix.EINVAL
	}
	if action != actReadAll && action != actSizeBuffer && !t.Cred().HasInitial(unix.CAP_SYSLOG) &&
		!t.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	switch action {
	case actRead:
		if buf == 0 || n < 0 {
			return 0, unix.EINVAL
		}
		if n == 0 {
			return 0, nil
		}
		// Nothing will ever come.
		return 0, t.Block(nil, -1)
	case actReadAll, actReadClear:
		if buf == 0 || n < 0 {
			return 0, unix.EINVAL
		}
	case actConsoleLevel:
		if n < 1 || n > 8 {
			return 0, unix.EINVAL
		}
	case actSizeBuffer:
		return 1 << 17, nil
	}
	return 0, nil
}

// reboot(2): a guest has no machine. In a pid namespace of its own Linux ends the namespace's init.
func reboot(t *sentry.Task, magic1, magic2, cmd uint32, _ usermem.Addr) (uintptr, error) {
	if !t.Cred().HasIn(t.PIDNS().UserNS(), unix.CAP_SYS_BOOT) {
		return 0, unix.EPERM
	}
	if magic1 != unix.LINUX_REBOOT_MAGIC1 || magic2 != unix.LINUX_REBOOT_MAGIC2 && magic2 != 0x05121996 &&
		magic2 != 0x16041998 && magic2 != 0x20112000 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case unix.LINUX_REBOOT_CMD_CAD_ON, unix.LINUX_REBOOT_CMD_CAD_OFF:
		return 0, unix.EINVAL
	case unix.LINUX_REBOOT_CMD_RESTART, unix.LINUX_REBOOT_CMD_RESTART2:
		return 0, t.EndNamespace(unix.SIGHUP)
	case unix.LINUX_REBOOT_CMD_POWER_OFF, unix.LINUX_REBOOT_CMD_HALT:
		return 0, t.EndNamespace(unix.SIGINT)
	}
	return 0, unix.EINVAL
}

// personality(2)
func personality(t *sentry.Task, p uint32) (uintptr, error) {
	old := t.Personality()
	if p != 0xffffffff {
		t.SetPersonality(p)
	}
	return uintptr(old), nil
}

// vhangup(2)
func vhangup(t *sentry.Task) (uintptr, error) {
	if !t.Cred().Has(unix.CAP_SYS_TTY_CONFIG) {
		return 0, unix.EPERM
	}
	if term := t.Process().Terminal(); term != nil {
		term.HangUp()
	}
	return 0, nil
}
