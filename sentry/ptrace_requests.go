package sentry

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
)

// Requests of ptrace(2) that package unix has no names for on this architecture, or names differently.
const (
	ptracePeekSigInfo   = 0x4209
	ptraceGetSigMask    = 0x420a
	ptraceSetSigMask    = 0x420b
	ptraceSyscallInfo   = 0x420e
	ptraceGetRseqConfig = 0x420f
	ptraceSysemu        = 31
	ptraceSysemuStep    = 32
	ptraceArchPrctl     = 30

	ptracePeekShared = 1 // PTRACE_PEEKSIGINFO_SHARED

	ntX86XState = 0x202

	// struct user
	userRegsSize  = 27 * 8
	userDebugRegs = 848
	userSize      = 928

	archSetGS = 0x1001
	archSetFS = 0x1002
	archGetFS = 0x1003
	archGetGS = 0x1004
)

// Ptrace is ptrace(2).
func (t *Task) Ptrace(request int64, tid int32, addr, data uint64) (uintptr, error) {
	switch request {
	case unix.PTRACE_TRACEME:
		return 0, t.PtraceTraceme()
	case unix.PTRACE_ATTACH:
		return 0, t.PtraceAttach(tid, false, 0, 0)
	case unix.PTRACE_SEIZE:
		return 0, t.PtraceAttach(tid, true, addr, data)
	}
	var ret uintptr
	stop := request != unix.PTRACE_KILL && request != unix.PTRACE_INTERRUPT
	detached := false
	err := t.onTracee(tid, stop, func(o *Task) (err error) {
		if request == unix.PTRACE_DETACH {
			detached = true
			return t.ptraceDetach(o, data)
		}
		ret, err = t.ptraceRequest(o, request, addr, data)
		return err
	})
	_ = detached
	return ret, err
}

// ptraceDetach lets o go, with a signal.
func (t *Task) ptraceDetach(o *Task, sig uint64) error {
	if sig > NumSignals {
		return unix.EIO
	}
	k := t.k
	k.tasks.Lock()
	defer k.unlockTasks()
	if o.tracing.tracer != t {
		return unix.ESRCH
	}
	sh := o.proc.lockSig()
	o.tracing.code = uint32(sig)
	sh.mu.Unlock()
	o.ptraceUnlink()
	o.kick()
	k.untracedLocked(o, t.proc)
	return nil
}

func (t *Task) ptraceRequest(o *Task, request int64, addr, data uint64) (uintptr, error) {
	mem, ptr := t.mm, usermem.Addr(data)
	le := binary.LittleEndian
	switch request {
	case unix.PTRACE_CONT:
		return 0, o.resumeCode(data, 0)
	case unix.PTRACE_SYSCALL:
		return 0, o.resumeCode(data, resumeSyscall)
	case unix.PTRACE_SINGLESTEP:
		return 0, o.resumeCode(data, resumeStep)
	case ptraceSysemu:
		return 0, o.resumeCode(data, resumeEmu)
	case ptraceSysemuStep:
		return 0, o.resumeCode(data, resumeEmu|resumeStep)
	case unix.PTRACE_KILL:
		if !o.dead {
			_ = o.sendSignal(kernelInfo(unix.SIGKILL))
		}
		return 0, nil

	case unix.PTRACE_INTERRUPT:
		sh := o.proc.lockSig()
		defer sh.mu.Unlock()
		if !o.tracing.seized {
			return 0, unix.EIO
		}
		if o.setJobctlLocked(jobctlTrapStop) {
			if o.sig.jobctl&jobctlListening != 0 {
				o.tracing.stopped = false
			}
			o.signalWake()
		}
		return 0, nil
	case unix.PTRACE_LISTEN:
		sh := o.proc.lockSig()
		defer sh.mu.Unlock()
		if !o.tracing.seized || o.tracing.info == nil || o.tracing.info.Code>>8 != unix.PTRACE_EVENT_STOP {
			return 0, unix.EIO
		}
		o.sig.jobctl |= jobctlListening
		if o.sig.jobctl&jobctlTrapNotify != 0 {
			o.tracing.stopped = false
			o.signalWake()
		}
		return 0, nil

	case unix.PTRACE_PEEKTEXT, unix.PTRACE_PEEKDATA:
		var w [8]byte
		if o.mm == nil {
			return 0, unix.ESRCH
		}
		if _, err := o.mm.CopyInForce(usermem.Addr(addr), w[:]); err != nil {
			return 0, unix.EIO
		}
		_, err := mem.CopyOut(ptr, w[:])
		return 0, err
	case unix.PTRACE_POKETEXT, unix.PTRACE_POKEDATA:
		var w [8]byte
		le.PutUint64(w[:], data)
		if o.mm == nil {
			return 0, unix.ESRCH
		}
		if _, err := o.mm.CopyOutForce(usermem.Addr(addr), w[:]); err != nil {
			return 0, unix.EIO
		}
		return 0, nil
	case unix.PTRACE_PEEKUSR:
		if addr%8 != 0 || addr > userSize-8 {
			return 0, unix.EIO
		}
		var v uint64
		if addr < userRegsSize {
			v = le.Uint64(usermem.AsBytes(&o.Regs)[addr:])
		}
		return 0, usermem.CopyObjectOut(mem, ptr, &v)
	case unix.PTRACE_POKEUSR:
		if addr%8 != 0 || addr > userSize-8 {
			return 0, unix.EIO
		}
		switch {
		case addr < userRegsSize:
			r := o.Regs
			le.PutUint64(usermem.AsBytes(&r)[addr:], data)
			return 0, o.setRegs(&r)
		case addr >= userDebugRegs && addr < userDebugRegs+64 && data == 0:
			return 0, nil // no debug register is ever set
		}
		return 0, unix.EIO

	case unix.PTRACE_GETREGS:
		r := o.Regs
		return 0, usermem.CopyObjectOut(mem, ptr, &r)
	case unix.PTRACE_SETREGS:
		r := o.Regs
		if err := usermem.CopyObjectIn(mem, ptr, &r); err != nil {
			return 0, err
		}
		return 0, o.setRegs(&r)
	case unix.PTRACE_GETFPREGS:
		fp, err := o.fpState()
		if err != nil {
			return 0, err
		}
		clear(fp[fxSwReserved:512])
		_, err = mem.CopyOut(ptr, fp[:512])
		return 0, err
	case unix.PTRACE_SETFPREGS:
		b := make([]byte, 512)
		if _, err := mem.CopyIn(ptr, b); err != nil {
			return 0, err
		}
		return 0, o.setFPState(b)
	case unix.PTRACE_GETREGSET, unix.PTRACE_SETREGSET:
		return 0, t.ptraceRegset(o, request == unix.PTRACE_SETREGSET, addr, ptr)

	case unix.PTRACE_SETOPTIONS:
		if data&^uint64(ptraceOptions) != 0 {
			return 0, unix.EINVAL
		}
		sh := o.proc.lockSig()
		o.tracing.options = uint32(data)
		sh.mu.Unlock()
		return 0, nil
	case unix.PTRACE_GETEVENTMSG:
		sh := o.proc.lockSig()
		v := o.tracing.message
		sh.mu.Unlock()
		return 0, usermem.CopyObjectOut(mem, ptr, &v)
	case unix.PTRACE_GETSIGINFO:
		sh := o.proc.lockSig()
		var info SigInfo
		has := o.tracing.info != nil
		if has {
			info = *o.tracing.info
		}
		sh.mu.Unlock()
		if !has {
			return 0, unix.EINVAL
		}
		return 0, usermem.CopyObjectOut(mem, ptr, &info)
	case unix.PTRACE_SETSIGINFO:
		var info SigInfo
		if err := usermem.CopyObjectIn(mem, ptr, &info); err != nil {
			return 0, err
		}
		sh := o.proc.lockSig()
		defer sh.mu.Unlock()
		if o.tracing.info == nil {
			return 0, unix.EINVAL
		}
		*o.tracing.info = info
		return 0, nil
	case ptracePeekSigInfo:
		return t.ptracePeekSigInfo(o, addr, ptr)
	case ptraceGetSigMask, ptraceSetSigMask:
		if addr != 8 {
			return 0, unix.EINVAL
		}
		if request == ptraceGetSigMask {
			sh := o.proc.lockSig()
			m := o.sig.blocked
			if o.sig.hasSaved {
				m = o.sig.saved
			}
			sh.mu.Unlock()
			return 0, usermem.CopyObjectOut(mem, ptr, &m)
		}
		var m SigSet
		if err := usermem.CopyObjectIn(mem, ptr, &m); err != nil {
			return 0, err
		}
		sh := o.proc.lockSig()
		o.sig.hasSaved = false
		o.sig.blocked = m &^ sigsOnlyKernel
		sh.mu.Unlock()
		return 0, nil

	case ptraceSyscallInfo:
		return t.ptraceSyscallInfo(o, addr, ptr)
	case ptraceGetRseqConfig:
		b := make([]byte, 24)
		le.PutUint64(b, o.rseq.addr)
		le.PutUint32(b[8:], o.rseq.size)
		le.PutUint32(b[12:], o.rseq.signature)
		n := min(int(addr), len(b))
		if _, err := mem.CopyOut(ptr, b[:n]); err != nil {
			return 0, err
		}
		return uintptr(len(b)), nil
	case ptraceArchPrctl:
		r := o.Regs
		switch data {
		case archGetFS:
			return 0, usermem.CopyObjectOut(mem, usermem.Addr(addr), &r.Fs_base)
		case archGetGS:
			return 0, usermem.CopyObjectOut(mem, usermem.Addr(addr), &r.Gs_base)
		case archSetFS:
			r.Fs_base = addr
		case archSetGS:
			r.Gs_base = addr
		default:
			return 0, unix.EINVAL
		}
		return 0, o.setRegs(&r)
	}
	return 0, unix.EIO
}

func (o *Task) resumeCode(sig uint64, mode resumeMode) error {
	if sig > NumSignals {
		return unix.EIO
	}
	return o.resume(uint32(sig), mode)
}

// setRegs gives a stopped task registers that its tracer made up.
func (o *Task) setRegs(r *arch.State) error {
	if r.Cs != arch.UserCS && r.Cs != o.Regs.Cs || r.Ss != arch.UserSS && r.Ss != o.Regs.Ss {
		return unix.EIO // other kinds of code segments are not there
	}
	if r.Fs_base >= arch.MaxAddr || r.Gs_base >= arch.MaxAddr {
		return unix.EIO
	}
	r.Eflags = o.Regs.Eflags&^arch.UserFlags | r.Eflags&arch.UserFlags | 0x202
	r.Ds, r.Es, r.Fs, r.Gs = o.Regs.Ds, o.Regs.Es, o.Regs.Fs, o.Regs.Gs
	o.Regs = *r
	return nil
}

// fpState is a copy of the floating point state of a stopped task.
func (o *Task) fpState() (b []byte, err error) {
	err = o.onGoroutine(func() error {
		fp, err := o.ctx.FP()
		b = append([]byte(nil), fp...)
		return err
	})
	return b, err
}

// setFPState replaces the first part of the floating point state of a stopped task by image, at least the
// 512 bytes of FXSAVE.
func (o *Task) setFPState(image []byte) error {
	return o.onGoroutine(func() error {
		fp, err := o.ctx.FP()
		if err != nil {
			return err
		}
		b := append([]byte(nil), fp...)
		bv := uint64(3)
		if len(image) > 512 {
			bv = 0
		}
		copy(b, image)
		if len(b) >= xsaveMinSize {
			le := binary.LittleEndian
			le.PutUint64(b[512:], (le.Uint64(b[512:])|bv)&xfeatures)
		}
		return o.ctx.SetFP(b)
	})
}

// ptraceRegset is PTRACE_GETREGSET and PTRACE_SETREGSET.
func (t *Task) ptraceRegset(o *Task, set bool, kind uint64, iovAddr usermem.Addr) error {
	var iov [2]uint64
	if err := usermem.CopyObjectIn(t.mm, iovAddr, &iov); err != nil {
		return err
	}
	if iov[1]%8 != 0 {
		return unix.EINVAL
	}
	base := usermem.Addr(iov[0])
	var b []byte
	switch kind {
	case unix.NT_PRSTATUS:
		r := o.Regs
		b = append(b, usermem.AsBytes(&r)...)
	case unix.NT_PRFPREG, ntX86XState:
		fp, err := o.fpState()
		if err != nil {
			return err
		}
		clear(fp[fxSwReserved:512])
		if kind == unix.NT_PRFPREG {
			fp = fp[:512]
		} else {
			binary.LittleEndian.PutUint64(fp[fxSwReserved:], xfeatures)
		}
		b = fp
	default:
		return unix.EINVAL
	}
	n := min(iov[1], uint64(len(b)))
	if !set {
		if _, err := t.mm.CopyOut(base, b[:n]); err != nil {
			return err
		}
	} else {
		if kind == ntX86XState && n != uint64(len(b)) {
			return unix.EFAULT
		}
		if _, err := t.mm.CopyIn(base, b[:n]); err != nil {
			return err
		}
		var err error
		if kind == unix.NT_PRSTATUS {
			r := o.Regs
			copy(usermem.AsBytes(&r), b)
			err = o.setRegs(&r)
		} else {
			err = o.setFPState(b)
		}
		if err != nil {
			return err
		}
	}
	return usermem.CopyObjectOut(t.mm, iovAddr+8, &n)
}

// ptracePeekSigInfo is PTRACE_PEEKSIGINFO.
func (t *Task) ptracePeekSigInfo(o *Task, argAddr uint64, ptr usermem.Addr) (uintptr, error) {
	var arg struct {
		Off   uint64
		Flags uint32
		N     int32
	}
	if err := usermem.CopyObjectIn(t.mm, usermem.Addr(argAddr), &arg); err != nil {
		return 0, err
	}
	if arg.Flags&^ptracePeekShared != 0 || arg.N < 0 {
		return 0, unix.EINVAL
	}
	sh := o.proc.lockSig()
	q := &o.sig.pending
	if arg.Flags&ptracePeekShared != 0 {
		q = &o.proc.shared
	}
	infos := q.infos()
	sh.mu.Unlock()
	if arg.Off >= uint64(len(infos)) {
		return 0, nil
	}
	infos = infos[arg.Off:]
	if len(infos) > int(arg.N) {
		infos = infos[:arg.N]
	}
	if err := usermem.CopySliceOut(t.mm, ptr, infos); err != nil {
		return 0, err
	}
	return uintptr(len(infos)), nil
}

// ptraceSyscallInfo is PTRACE_GET_SYSCALL_INFO.
func (t *Task) ptraceSyscallInfo(o *Task, size uint64, ptr usermem.Addr) (uintptr, error) {
	const (
		opNone, opEntry, opExit, opSeccomp = 0, 1, 2, 3

		headSize, exitSize, entrySize, seccompSize = 24, 33, 80, 84
	)
	sh := o.proc.lockSig()
	code, message := int32(0), o.tracing.message
	if o.tracing.info != nil {
		code = o.tracing.info.Code
	}
	sh.mu.Unlock()
	le := binary.LittleEndian
	b := make([]byte, 88)
	le.PutUint32(b[4:], unix.AUDIT_ARCH_X86_64)
	le.PutUint64(b[8:], o.Regs.Rip)
	le.PutUint64(b[16:], o.Regs.Rsp)
	n := headSize
	entry := func() {
		le.PutUint64(b[24:], o.Regs.Orig_rax)
		for i, a := range o.Regs.Args() {
			le.PutUint64(b[32+8*i:], a)
		}
	}
	switch {
	case code == int32(unix.SIGTRAP)|0x80 && message == eventmsgSyscallEntry:
		b[0], n = opEntry, entrySize
		entry()
	case code == int32(unix.SIGTRAP)|0x80 && message == eventmsgSyscallExit:
		b[0], n = opExit, exitSize
		le.PutUint64(b[24:], o.Regs.Rax)
		if int64(o.Regs.Rax) < 0 && int64(o.Regs.Rax) >= -4095 {
			b[32] = 1
		}
	case code == int32(unix.SIGTRAP)|unix.PTRACE_EVENT_SECCOMP<<8:
		b[0], n = opSeccomp, seccompSize
		entry()
		le.PutUint32(b[80:], uint32(message))
	}
	if _, err := t.mm.CopyOut(ptr, b[:min(uint64(n), size)]); err != nil {
		return 0, err
	}
	return uintptr(n), nil
}
