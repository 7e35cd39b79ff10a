package flat

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pages has the host show single pages of what is mapped, or hide them, without a change of mappings: by userfaultfd(2), with
// "minor" faults of shared memory (Linux 5.14) and SIGBUS in place of messages.
type pages struct{ fd uintptr }

// NoWindows is in place of a descriptor where the host does not give one.
const NoWindows = ^uintptr(0)

// From <linux/userfaultfd.h>.
const (
	uffdUserModeOnly    = 1
	uffdAPI             = 0xaa
	uffdFeatureSigbus   = 1 << 7
	uffdFeatureMinor    = 1 << 10 // of shared memory
	uffdModeMissing     = 1 << 0
	uffdModeMinor       = 1 << 2
	uffdDontWake        = 1 << 0
	uffdioAPI           = 0xc018aa3f
	uffdioRegister      = 0xc020aa00
	uffdioContinue      = 0xc020aa07
	uffdContinueAllowed = 1 << 7
)

// newPages asks the host for the means. Where it refuses, pages do not work, and all that is lost is time.
func newPages() pages {
	fd, _, e := syscall.RawSyscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|uffdUserModeOnly, 0, 0)
	if e != 0 {
		return pages{NoWindows}
	}
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI, features: uffdFeatureSigbus | uffdFeatureMinor}
	if _, _, e := syscall.RawSyscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&api))); e != 0 {
		_ = unix.Close(int(fd))
		return pages{NoWindows}
	}
	return pages{fd}
}

func (p *pages) works() bool { return p.fd != NoWindows }

// register makes an access to what is not shown of a mapping a SIGBUS.
func (p *pages) register(addr, length uint64) syscall.Errno {
	reg := struct{ start, length, mode, ioctls uint64 }{start: addr, length: length, mode: uffdModeMissing | uffdModeMinor}
	if _, _, e := syscall.RawSyscall(unix.SYS_IOCTL, p.fd, uffdioRegister, uintptr(unsafe.Pointer(&reg))); e != 0 {
		return e
	}
	if reg.ioctls&uffdContinueAllowed == 0 {
		return unix.EOPNOTSUPP
	}
	return 0
}

// show shows all of a range that is registered. EEXIST: a part was shown already; EFAULT: the memory has no page for a part of it.
// The rest may be shown then.
func (p *pages) show(addr, length uint64) syscall.Errno {
	arg := struct {
		start, length, mode uint64
		mapped              int64
	}{start: addr, length: length, mode: uffdDontWake}
	_, _, e := syscall.RawSyscall(unix.SYS_IOCTL, p.fd, uffdioContinue, uintptr(unsafe.Pointer(&arg)))
	return e
}

// hide hides a range that is registered.
func (p *pages) hide(addr, length uint64) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_MADVISE, uintptr(addr), uintptr(length), unix.MADV_DONTNEED)
	return e
}

// close gives the means back.
func (p *pages) close() error {
	if !p.works() {
		return nil
	}
	return unix.Close(int(p.fd))
}
