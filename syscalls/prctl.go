package syscalls

import (
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry"
	"gosv.dev/vfs/cred"
)

// prctl(2) and arch_prctl(2).

// Numbers that package unix does not have.
const (
	prGetAuxv           = 0x41555856
	prSetMemoryMerge    = 67
	prGetMemoryMerge    = 68
	prSetVMA            = 0x53564d41
	prRiscv             = 69
	prTimerCreateRest   = 77
	prSetMMMap          = 14
	prSetMMMapSize      = 15
	prSetMMExeFile      = 13
	prGetShadowStack    = 74
	prSpecNotAffected   = 0
	maxAnonVMANameBytes = 80
)

// prctl(2)
func prctl(t *sentry.Task, option int32, a2, a3, a4, a5 uint64) (uintptr, error) {
	rest := func(args ...uint64) bool { // whether arguments that must be zero are not
		for _, a := range args {
			if a != 0 {
				return true
			}
		}
		return false
	}
	putInt := func(addr uint64, v int32) (uintptr, error) {
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(addr), &v)
	}
	b2u := func(b bool) uintptr {
		if b {
			return 1
		}
		return 0
	}
	switch option {
	case unix.PR_SET_PDEATHSIG:
		if a2 > 64 {
			return 0, unix.EINVAL
		}
		return 0, t.SetParentDeathSignal(int32(a2))
	case unix.PR_GET_PDEATHSIG:
		return putInt(a2, t.ParentDeathSignal())
	case unix.PR_GET_DUMPABLE:
		return uintptr(t.Dumpable()), nil
	case unix.PR_SET_DUMPABLE:
		return 0, t.SetDumpable(a2)
	case unix.PR_GET_UNALIGN, unix.PR_SET_UNALIGN, unix.PR_GET_FPEMU, unix.PR_SET_FPEMU, unix.PR_GET_FPEXC,
		unix.PR_SET_FPEXC, unix.PR_GET_ENDIAN, unix.PR_SET_ENDIAN, unix.PR_SET_FP_MODE, unix.PR_GET_FP_MODE,
		unix.PR_SVE_SET_VL, unix.PR_SVE_GET_VL, unix.PR_PAC_RESET_KEYS, unix.PR_SET_TAGGED_ADDR_CTRL,
		unix.PR_GET_TAGGED_ADDR_CTRL, unix.PR_MPX_ENABLE_MANAGEMENT, unix.PR_MPX_DISABLE_MANAGEMENT:
		return 0, unix.EINVAL // other processors'
	case unix.PR_GET_TIMING:
		return unix.PR_TIMING_STATISTICAL, nil
	case unix.PR_SET_TIMING:
		if a2 != unix.PR_TIMING_STATISTICAL {
			return 0, unix.EINVAL
		}
		return 0, nil
	case unix.PR_GET_KEEPCAPS:
		return b2u(t.Cred().Securebits&cred.SecbitKeepCaps != 0), nil
	case unix.PR_SET_KEEPCAPS:
		n, err := t.Cred().SetKeepCaps(a2)
		return setCred(t, n, err)
	case unix.PR_SET_NAME:
		name, err := copyName(t, usermem.Addr(a2), 15)
		if err != nil {
			return 0, err
		}
		t.SetName(name)
		return 0, nil
	case unix.PR_GET_NAME:
		var b [16]byte
		copy(b[:15], t.Name())
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(a2), &b)
	case unix.PR_SET_SECCOMP, unix.PR_GET_SECCOMP:
		return prctlSeccomp(t, option, a2, a3)
	case unix.PR_CAPBSET_READ:
		if !cred.ValidCap(a2) {
			return 0, unix.EINVAL
		}
		return b2u(t.Cred().Bounding.Has(int(a2))), nil
	case unix.PR_CAPBSET_DROP:
		n, err := t.Cred().DropBounding(a2)
		return setCred(t, n, err)
	case unix.PR_GET_TSC:
		return putInt(a2, t.TSC())
	case unix.PR_SET_TSC:
		if a2 == unix.PR_TSC_ENABLE {
			return 0, nil
		}
		return 0, unix.EINVAL // RDTSC cannot be made to trap here
	case unix.PR_GET_SECUREBITS:
		return uintptr(t.Cred().Securebits), nil
	case unix.PR_SET_SECUREBITS:
		n, err := t.Cred().SetSecurebits(a2)
		return setCred(t, n, err)
	case unix.PR_SET_TIMERSLACK:
		t.SetTimerSlack(int64(a2))
		return 0, nil
	case unix.PR_GET_TIMERSLACK:
		return uintptr(t.TimerSlack()), nil
	case unix.PR_TASK_PERF_EVENTS_DISABLE, unix.PR_TASK_PERF_EVENTS_ENABLE:
		return 0, nil // there are no counters of the task
	case unix.PR_MCE_KILL:
		return prctlMCE(t, a2, a3, rest(a4, a5))
	case unix.PR_MCE_KILL_GET:
		if rest(a2, a3, a4, a5) {
			return 0, unix.EINVAL
		}
		v := t.MCEKill()
		if v == 0 {
			v = unix.PR_MCE_KILL_DEFAULT
		} else {
			v--
		}
		return uintptr(v), nil
	case unix.PR_SET_MM:
		return prctlSetMM(t, a2, a3, a4, a5)
	case unix.PR_SET_PTRACER:
		return 0, unix.EINVAL // only with the Yama security module
	case unix.PR_SET_CHILD_SUBREAPER:
		t.SetChildSubreaper(a2 != 0)
		return 0, nil
	case unix.PR_GET_CHILD_SUBREAPER:
		return putInt(a2, int32(b2u(t.ChildSubreaper())))
	case unix.PR_SET_NO_NEW_PRIVS:
		if a2 != 1 || rest(a3, a4, a5) {
			return 0, unix.EINVAL
		}
		t.SetNoNewPrivs()
		return 0, nil
	case unix.PR_GET_NO_NEW_PRIVS:
		if rest(a2, a3, a4, a5) {
			return 0, unix.EINVAL
		}
		return b2u(t.NoNewPrivs()), nil
	case unix.PR_GET_TID_ADDRESS:
		v := t.TIDAddress()
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(a2), &v)
	case unix.PR_SET_THP_DISABLE:
		if rest(a3, a4, a5) {
			return 0, unix.EINVAL
		}
		t.SetTHPDisabled(a2 != 0)
		return 0, nil
	case unix.PR_GET_THP_DISABLE:
		if rest(a2, a3, a4, a5) {
			return 0, unix.EINVAL
		}
		return b2u(t.THPDisabled()), nil
	case unix.PR_CAP_AMBIENT:
		return prctlAmbient(t, a2, a3, rest(a4, a5))
	case unix.PR_GET_SPECULATION_CTRL:
		if rest(a3, a4, a5) {
			return 0, unix.EINVAL
		}
		if a2 > 2 {
			return 0, unix.ENODEV
		}
		return prSpecNotAffected, nil
	case unix.PR_SET_SPECULATION_CTRL:
		if rest(a4, a5) {
			return 0, unix.EINVAL
		}
		if a2 > 2 {
			return 0, unix.ENODEV
		}
		return 0, unix.ENXIO // no control by thread
	case unix.PR_SET_IO_FLUSHER:
		if !t.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
			return 0, unix.EPERM
		}
		if a2 > 1 || rest(a3, a4, a5) {
			return 0, unix.EINVAL
		}
		t.SetIOFlusher(a2 == 1)
		return 0, nil
	case unix.PR_GET_IO_FLUSHER:
		if !t.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
			return 0, unix.EPERM
		}
		if rest(a2, a3, a4, a5) {
			return 0, unix.EINVAL
		}
		return b2u(t.IOFlusher()), nil
	case unix.PR_SET_SYSCALL_USER_DISPATCH:
		return 0, unix.EINVAL
	case unix.PR_SCHED_CORE:
		return 0, unix.EINVAL // as on a machine without SMT
	case unix.PR_SET_MDWE:
		if rest(a3, a4, a5) {
			return 0, unix.EINVAL
		}
		return 0, t.SetMDWE(uint32(a2))
	case unix.PR_GET_MDWE:
		if rest(a2, a3, a4, a5) {
			return 0, unix.EINVAL
		}
		return uintptr(t.MDWE()), nil
	case prSetVMA:
		return prctlSetVMA(t, a2, a3, a4, a5)
	case prGetAuxv:
		if rest(a4, a5) {
			return 0, unix.EINVAL
		}
		aux := t.MM().Auxv()
		n := uint64(len(aux)) * 8
		if len(aux) > 0 && a3 > 0 {
			var b []byte
			for i := range aux {
				b = append(b, usermem.AsBytes(&aux[i])...)
			}
			if _, err := t.MM().CopyOut(usermem.Addr(a2), b[:min(n, a3)]); err != nil {
				return 0, err
			}
		}
		return uintptr(n), nil
	case prSetMemoryMerge:
		if rest(a3, a4, a5) || a2 > 1 {
			return 0, unix.EINVAL
		}
		t.SetMemoryMerge(a2 == 1)
		return 0, nil
	case prGetMemoryMerge:
		if rest(a2, a3, a4, a5) {
			return 0, unix.EINVAL
		}
		return b2u(t.MemoryMerge()), nil
	}
	return 0, unix.EINVAL
}

// copyName copies in a name of at most max bytes; what follows is cut off.
func copyName(t *sentry.Task, addr usermem.Addr, max int) (string, error) {
	var b []byte
	for len(b) < max {
		var c byte
		if err := usermem.CopyObjectIn(t.MM(), addr+usermem.Addr(len(b)), &c); err != nil {
			return "", err
		}
		if c == 0 {
			break
		}
		b = append(b, c)
	}
	return string(b), nil
}

func prctlMCE(t *sentry.Task, op, arg uint64, bad bool) (uintptr, error) {
	if bad {
		return 0, unix.EINVAL
	}
	switch op {
	case unix.PR_MCE_KILL_CLEAR:
		if arg != 0 {
			return 0, unix.EINVAL
		}
		t.SetMCEKill(0)
	case unix.PR_MCE_KILL_SET:
		switch arg {
		case unix.PR_MCE_KILL_LATE, unix.PR_MCE_KILL_EARLY:
			t.SetMCEKill(int32(arg) + 1)
		case unix.PR_MCE_KILL_DEFAULT:
			t.SetMCEKill(0)
		default:
			return 0, unix.EINVAL
		}
	default:
		return 0, unix.EINVAL
	}
	return 0, nil
}

func prctlAmbient(t *sentry.Task, op, c uint64, bad bool) (uintptr, error) {
	if bad {
		return 0, unix.EINVAL
	}
	cr := t.Cred()
	switch op {
	case unix.PR_CAP_AMBIENT_CLEAR_ALL:
		if c != 0 {
			return 0, unix.EINVAL
		}
		return setCred(t, cr.ClearAmbient(), nil)
	case unix.PR_CAP_AMBIENT_IS_SET:
		if !cred.ValidCap(c) {
			return 0, unix.EINVAL
		}
		if cr.Ambient.Has(int(c)) {
			return 1, nil
		}
		return 0, nil
	case unix.PR_CAP_AMBIENT_RAISE:
		n, err := cr.RaiseAmbient(c)
		return setCred(t, n, err)
	case unix.PR_CAP_AMBIENT_LOWER:
		n, err := cr.LowerAmbient(c)
		return setCred(t, n, err)
	}
	return 0, unix.EINVAL
}

// prctlMM is struct prctl_mm_map.
type prctlMM struct {
	StartCode, EndCode, StartData, EndData, StartBrk, Brk, StartStack uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd                                uint64
	Auxv                                                              uint64
	AuxvSize, ExeFD                                                   uint32
}

func prctlSetMM(t *sentry.Task, opt, addr, a4, a5 uint64) (uintptr, error) {
	if a5 != 0 || a4 != 0 && opt != unix.PR_SET_MM_AUXV && opt != prSetMMMap && opt != prSetMMMapSize {
		return 0, unix.EINVAL
	}
	switch opt {
	case prSetMMMapSize:
		v := uint32(104)
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(addr), &v)
	case prSetMMMap:
		return prctlSetMMMap(t, usermem.Addr(addr), a4)
	}
	if !t.Cred().HasInitial(unix.CAP_SYS_RESOURCE) {
		return 0, unix.EPERM
	}
	switch opt {
	case prSetMMExeFile:
		return 0, setExeFD(t, int32(addr))
	case unix.PR_SET_MM_AUXV:
		return 0, setAuxv(t, usermem.Addr(addr), a4)
	}
	if addr >= arch.MaxAddr || addr < arch.MinAddr {
		return 0, unix.EINVAL
	}
	return 0, t.MM().PrctlSetMM(int(opt), addr)
}

func setExeFD(t *sentry.Task, fd int32) error {
	f, err := t.Files().Get(fd)
	if err != nil {
		return err
	}
	defer f.DecRef()
	return t.SetExeFile(f)
}

// auxvWords is how many words a saved auxiliary vector may have.
const auxvWords = 52

func setAuxv(t *sentry.Task, addr usermem.Addr, size uint64) error {
	if size == 0 || size > auxvWords*8 {
		return unix.EINVAL
	}
	v, err := usermem.CopySliceIn[uint64](t.MM(), addr, int(size/8))
	if err != nil {
		return err
	}
	if n := len(v); n >= 2 {
		v[n-1], v[n-2] = 0, 0
	}
	t.MM().SetAuxv(v)
	return nil
}

func prctlSetMMMap(t *sentry.Task, addr usermem.Addr, size uint64) (uintptr, error) {
	var m prctlMM
	b := usermem.AsBytes(&m)
	if size != uint64(len(b)) {
		return 0, unix.EINVAL
	}
	if _, err := t.MM().CopyIn(addr, b); err != nil {
		return 0, err
	}
	for _, v := range []uint64{m.StartCode, m.EndCode, m.StartData, m.EndData, m.StartBrk, m.Brk,
		m.StartStack, m.ArgStart, m.ArgEnd, m.EnvStart, m.EnvEnd} {
		if v >= arch.MaxAddr || v < arch.MinAddr {
			return 0, unix.EINVAL
		}
	}
	if m.StartCode >= m.EndCode || m.StartData > m.EndData || m.StartBrk > m.Brk || m.ArgStart > m.ArgEnd ||
		m.EnvStart > m.EnvEnd || m.AuxvSize > auxvWords*8 {
		return 0, unix.EINVAL
	}
	c := t.Cred()
	if m.ExeFD != ^uint32(0) {
		if !c.Has(unix.CAP_SYS_ADMIN) && !c.Has(unix.CAP_CHECKPOINT_RESTORE) {
			return 0, unix.EPERM
		}
		if err := setExeFD(t, int32(m.ExeFD)); err != nil {
			return 0, err
		}
	}
	for opt, v := range map[int]uint64{
		unix.PR_SET_MM_START_CODE: m.StartCode, unix.PR_SET_MM_END_CODE: m.EndCode,
		unix.PR_SET_MM_START_DATA: m.StartData, unix.PR_SET_MM_END_DATA: m.EndData,
		unix.PR_SET_MM_START_STACK: m.StartStack, unix.PR_SET_MM_START_BRK: m.StartBrk, unix.PR_SET_MM_BRK: m.Brk,
		unix.PR_SET_MM_ARG_START: m.ArgStart, unix.PR_SET_MM_ARG_END: m.ArgEnd,
		unix.PR_SET_MM_ENV_START: m.EnvStart, unix.PR_SET_MM_ENV_END: m.EnvEnd,
	} {
		if err := t.MM().PrctlSetMM(opt, v); err != nil {
			return 0, err
		}
	}
	if m.AuxvSize > 0 {
		return 0, setAuxv(t, usermem.Addr(m.Auxv), uint64(m.AuxvSize))
	}
	return 0, nil
}

// prctlSetVMA names anonymous memory.
func prctlSetVMA(t *sentry.Task, op, addr, size, name uint64) (uintptr, error) {
	if op != unix.PR_SET_VMA_ANON_NAME {
		return 0, unix.EINVAL
	}
	s := ""
	if name != 0 {
		var err error
		s, err = usermem.CopyInString(t.MM(), usermem.Addr(name), maxAnonVMANameBytes-1)
		if err == unix.ENAMETOOLONG {
			return 0, unix.EINVAL
		}
		if err != nil {
			return 0, err
		}
		for _, c := range []byte(s) {
			if c < ' ' || c > '~' || c == '[' || c == ']' || c == '\\' || c == '$' || c == '`' {
				return 0, unix.EINVAL
			}
		}
	}
	if addr&(arch.PageSize-1) != 0 {
		return 0, unix.EINVAL
	}
	end := addr + (size+arch.PageSize-1)&^(arch.PageSize-1)
	if end < addr {
		return 0, unix.EINVAL
	}
	if end == addr {
		return 0, nil
	}
	return 0, t.MM().SetName(usermem.Addr(addr), size, s)
}

// Codes of arch_prctl(2).
const (
	archSetGS        = 0x1001
	archSetFS        = 0x1002
	archGetFS        = 0x1003
	archGetGS        = 0x1004
	archGetCPUID     = 0x1011
	archSetCPUID     = 0x1012
	archGetXcompSupp = 0x1021
	archGetXcompPerm = 0x1022
	archReqXcompPerm = 0x1023
	archMapVDSO64    = 0x2003
	archShstkStatus  = 0x5005
)

// arch_prctl(2)
func archPrctl(t *sentry.Task, code int32, addr uint64) (uintptr, error) {
	switch code {
	case archSetFS, archSetGS:
		if addr >= arch.MaxAddr {
			return 0, unix.EPERM
		}
		if code == archSetFS {
			t.Regs.Fs_base, t.Regs.Fs = addr, 0
		} else {
			t.Regs.Gs_base, t.Regs.Gs = addr, 0
		}
		return 0, nil
	case archGetFS:
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(addr), &t.Regs.Fs_base)
	case archGetGS:
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(addr), &t.Regs.Gs_base)
	case archGetCPUID:
		return 1, nil
	case archSetCPUID:
		return 0, unix.ENODEV // CPUID cannot be made to fault here
	case archGetXcompSupp, archGetXcompPerm:
		v := sentry.XCR0()
		return 0, usermem.CopyObjectOut(t.MM(), usermem.Addr(addr), &v)
	case archReqXcompPerm:
		if addr > 63 || sentry.XCR0()>>addr&1 == 0 {
			return 0, unix.EOPNOTSUPP
		}
		return 0, nil
	}
	return 0, unix.EINVAL
}

// prctlSeccomp is the older way to seccomp(2).
func prctlSeccomp(t *sentry.Task, option int32, mode, addr uint64) (uintptr, error) {
	if option == unix.PR_GET_SECCOMP {
		m, _ := t.SeccompMode()
		return uintptr(m), nil
	}
	switch mode {
	case unix.SECCOMP_MODE_STRICT:
		return 0, t.SeccompStrict()
	case unix.SECCOMP_MODE_FILTER:
		return t.SeccompFilterFrom(0, usermem.Addr(addr))
	}
	return 0, unix.EINVAL
}
