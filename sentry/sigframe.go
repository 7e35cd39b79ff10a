package sentry

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
)

// The frame that a handler runs on, from its stack pointer up:
//
//	+0    return address: the restorer, which calls rt_sigreturn
//	+8    struct ucontext: flags, link, stack_t, sigcontext, mask
//	+312  siginfo_t
//	+440  (up to 64-byte alignment)
//	      XSAVE image, with the words at 464 telling its size and features,
//	      and FP_XSTATE_MAGIC2 after it
//	      128 bytes of red zone, if on the interrupted code's stack
//
// At the handler's entry the stack pointer is 8 below a multiple of 16, as after a call.
const (
	frameUC      = 8
	frameInfo    = frameUC + ucSize
	frameSize    = frameInfo + SigInfoSize
	ucFlags      = 0
	ucStack      = 16
	ucSC         = 40
	ucMask       = ucSC + 256
	ucSize       = ucMask + 8
	scFlags      = 136
	scFPState    = 184
	redZone      = 128
	xsaveMinSize = 576

	ucFPXState        = 1
	ucSigcontextSS    = 2
	ucStrictRestoreSS = 4

	fxSwReserved = 464 // in the FXSAVE area
	xstateMagic1 = 0x46505853
	xstateMagic2 = 0x46505845
)

// onAltStack tells whether sp lies on the alternate stack.
func (t *Task) onAltStack(sp uint64) bool {
	a := &t.sig.altstack
	if a.Flags&SsAutoDisarm != 0 {
		return false
	}
	return sp > a.SP && sp-a.SP <= a.Size
}

// altStackFlags is what sigaltstack(2) says for a stack pointer.
func (t *Task) altStackFlags(sp uint64) int32 {
	if t.sig.altstack.Size == 0 {
		return SsDisable
	}
	if t.onAltStack(sp) {
		return SsOnStack
	}
	return 0
}

// xfeatures are the components of the XSAVE image that frames have: all that the processor has
// enabled, without those that a program must ask for (AMX tiles).
var xfeatures = xgetbv() &^ (1 << 18)

// pushSignalFrame writes a frame for w and points the registers at the handler.
func (t *Task) pushSignalFrame(w *signalWord) error {
	regs := &t.Regs
	if w.act.Flags&SaRestorer == 0 {
		return unix.EFAULT // there is no other way back on x86-64
	}
	fp, err := t.ctx.FP()
	if err != nil {
		return err
	}
	t.sig.fpSize = len(fp)
	sp := regs.Rsp
	onAlt := t.onAltStack(sp)
	sp -= redZone
	if w.act.Flags&SaOnStack != 0 && t.altStackFlags(sp) == 0 {
		sp = t.sig.altstack.SP + t.sig.altstack.Size
		onAlt = true
	}
	top := sp
	fpAddr := (sp - uint64(len(fp)) - 4) &^ 63
	sp = (fpAddr-frameSize)&^15 - 8
	if sp > top {
		return unix.EFAULT
	}
	if onAlt && !(sp > t.sig.altstack.SP && sp-t.sig.altstack.SP <= t.sig.altstack.Size) {
		return unix.EFAULT // it would overflow
	}

	n := int(fpAddr-sp) + len(fp) + 4
	if cap(t.sig.frame) < n {
		t.sig.frame = make([]byte, n)
	}
	b := t.sig.frame[:n]
	clear(b[:int(fpAddr-sp)])
	le := binary.LittleEndian
	le.PutUint64(b, w.act.Restorer)

	uc := b[frameUC:frameInfo]
	le.PutUint64(uc[ucFlags:], ucFPXState|ucSigcontextSS|ucStrictRestoreSS)
	le.PutUint64(uc[ucStack:], t.sig.altstack.SP)
	le.PutUint32(uc[ucStack+8:], uint32(t.sig.altstack.Flags))
	le.PutUint64(uc[ucStack+16:], t.sig.altstack.Size)
	mask := t.sig.blocked
	if t.sig.hasSaved {
		mask = t.sig.saved
	}
	sc := uc[ucSC:ucMask]
	for i, v := range [...]uint64{
		regs.R8, regs.R9, regs.R10, regs.R11, regs.R12, regs.R13, regs.R14, regs.R15,
		regs.Rdi, regs.Rsi, regs.Rbp, regs.Rbx, regs.Rdx, regs.Rax, regs.Rcx, regs.Rsp, regs.Rip, regs.Eflags,
		arch.UserCS | arch.UserSS<<48,
		t.sig.errorCode, t.sig.trapNo, uint64(mask), t.sig.faultAddr, fpAddr,
	} {
		le.PutUint64(sc[i*8:], v)
	}
	le.PutUint64(uc[ucMask:], uint64(mask))
	if w.act.Flags&SaSigInfo != 0 {
		copy(b[frameInfo:], usermem.AsBytes(&w.info))
	}

	f := b[fpAddr-sp:]
	copy(f, fp)
	if len(fp) >= xsaveMinSize {
		sw := f[fxSwReserved:512]
		clear(sw)
		le.PutUint32(sw, xstateMagic1)
		le.PutUint32(sw[4:], uint32(len(fp)+4))
		le.PutUint64(sw[8:], xfeatures)
		le.PutUint32(sw[16:], uint32(len(fp)))
		// Restoring must not take the legacy parts from anywhere else.
		le.PutUint64(f[512:], le.Uint64(f[512:])|3)
	}
	le.PutUint32(f[len(fp):], xstateMagic2)

	if _, err := t.mm.CopyOut(usermem.Addr(sp), b); err != nil {
		return err
	}
	t.ctx.ResetFP()
	regs.Rdi = uint64(w.sig)
	regs.Rax = 0
	regs.Rsi = sp + frameInfo
	regs.Rdx = sp + frameUC
	regs.Rip = w.act.Handler
	regs.Rsp = sp
	regs.Cs, regs.Ss = arch.UserCS, arch.UserSS
	regs.Eflags &^= arch.FlagDF | arch.FlagRF | arch.FlagTF
	return nil
}

// Sigreturn is rt_sigreturn(2): it goes back to what a handler interrupted. The frame is
// the guest's to change, so that nothing in it is believed. A bad one is a
// SIGSEGV. The registers are set when it returns.
func (t *Task) Sigreturn() {
	var b [frameSize]byte
	sp := t.Regs.Rsp - 8
	if _, err := t.mm.CopyIn(usermem.Addr(sp), b[:frameInfo]); err != nil {
		t.badFrame()
		return
	}
	le := binary.LittleEndian
	uc := b[frameUC:frameInfo]
	sc := uc[ucSC:ucMask]
	t.setBlocked(SigSet(le.Uint64(uc[ucMask:])))
	t.restart = nil

	regs := &t.Regs
	for i, p := range [...]*uint64{
		&regs.R8, &regs.R9, &regs.R10, &regs.R11, &regs.R12, &regs.R13, &regs.R14, &regs.R15,
		&regs.Rdi, &regs.Rsi, &regs.Rbp, &regs.Rbx, &regs.Rdx, &regs.Rax, &regs.Rcx, &regs.Rsp, &regs.Rip,
	} {
		*p = le.Uint64(sc[i*8:])
	}
	// Of the flags only those that a program may change itself; RF too.
	regs.Eflags = regs.Eflags&^arch.UserFlags | le.Uint64(sc[scFlags:])&arch.UserFlags | 0x202
	regs.Cs, regs.Ss = arch.UserCS, arch.UserSS
	regs.Orig_rax = arch.NoSyscall

	if err := t.restoreFP(le.Uint64(sc[scFPState:])); err != nil {
		t.badFrame()
		return
	}
	st := AltStack{
		SP:    le.Uint64(uc[ucStack:]),
		Flags: int32(le.Uint32(uc[ucStack+8:])),
		Size:  le.Uint64(uc[ucStack+16:]),
	}
	_ = t.setAltStack(&st, t.Regs.Rsp, 0) // Linux ignores a bad one too
}

func (t *Task) badFrame() {
	t.Regs.Orig_rax = arch.NoSyscall
	t.forceSignal(kernelInfo(unix.SIGSEGV))
}

// restoreFP loads the floating point state of a frame.
func (t *Task) restoreFP(addr uint64) error {
	if addr == 0 {
		t.ctx.ResetFP()
		return nil
	}
	var hdr [512]byte
	if _, err := t.mm.CopyIn(usermem.Addr(addr), hdr[:]); err != nil {
		return err
	}
	le := binary.LittleEndian
	sw := hdr[fxSwReserved:]
	ext, features, size := le.Uint32(sw[4:]), le.Uint64(sw[8:]), le.Uint32(sw[16:])
	if t.sig.fpSize == 0 {
		cur, err := t.ctx.FP()
		if err != nil {
			return err
		}
		t.sig.fpSize = len(cur)
	}
	var magic [4]byte
	if le.Uint32(sw) != xstateMagic1 || size < xsaveMinSize || int(size) > t.sig.fpSize || size > ext {
		return t.ctx.SetFP(hdr[:]) // an FXSAVE image
	}
	if _, err := t.mm.CopyIn(usermem.Addr(addr+uint64(size)), magic[:]); err != nil {
		return err
	}
	if le.Uint32(magic[:]) != xstateMagic2 {
		return t.ctx.SetFP(hdr[:])
	}
	if cap(t.sig.frame) < int(size) {
		t.sig.frame = make([]byte, size)
	}
	b := t.sig.frame[:size]
	if _, err := t.mm.CopyIn(usermem.Addr(addr), b); err != nil {
		return err
	}
	if bv := le.Uint64(b[512:]); bv&^features != 0 {
		le.PutUint64(b[512:], bv&features)
	}
	if xfeatures&^features != 0 {
		le.PutUint64(b[512:], le.Uint64(b[512:])&xfeatures)
	}
	return t.ctx.SetFP(b)
}

// MinSigStackSize is the least that sigaltstack(2) takes; AT_MINSIGSTKSZ tells what a frame needs.
const MinSigStackSize = 2048

// SigAltStack is sigaltstack(2). st may be nil.
func (t *Task) SigAltStack(st *AltStack) (old AltStack, err error) {
	sp := t.Regs.Rsp
	old = AltStack{SP: t.sig.altstack.SP, Size: t.sig.altstack.Size}
	old.Flags = t.altStackFlags(sp) | t.sig.altstack.Flags&SsAutoDisarm
	if st == nil {
		return old, nil
	}
	return old, t.setAltStack(st, sp, MinSigStackSize)
}

func (t *Task) setAltStack(st *AltStack, sp, min uint64) error {
	if t.onAltStack(sp) {
		return unix.EPERM
	}
	mode := st.Flags &^ SsAutoDisarm
	if mode != SsDisable && mode != SsOnStack && mode != 0 {
		return unix.EINVAL
	}
	n := *st
	if mode == SsDisable {
		n.SP, n.Size = 0, 0
	} else if n.Size < min {
		return unix.ENOMEM
	}
	t.sig.altstack = AltStack{SP: n.SP, Size: n.Size, Flags: n.Flags}
	return nil
}
