package ptrace

import (
	"encoding/binary"
	"errors"

	"golang.org/x/arch/x86/x86asm"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

func isGone(err error) bool { return errors.Is(err, platform.ErrGone) }

// access finds what kind of access faulted at addr. ptrace does not tell the processor's error code. What is
// mapped there tells mostly: a fault on a page that can be read is a write, or a fetch if the instruction
// is there. But another thread may have mapped the page since, and may do so again and again: what is allowed by now is reported
// as allowed, and only the same fault once more as a write, unless the instruction certainly only reads. Where that does not tell, the
// instruction is decoded; a write that is taken for a read costs one more fault.
func (c *context) access(as *addressSpace, st *arch.State, addr uint64) platform.Access {
	again := c.faultRip == st.Rip && c.faultAddr == addr
	c.faultRip, c.faultAddr = st.Rip, addr
	m, mapped := as.lookup(addr)
	fetch := addr-st.Rip < 15 && (addr == st.Rip || addr%arch.PageSize == 0)
	if fetch && (!again || !mapped || m.Prot&platform.Exec == 0) {
		return platform.AccessExec
	}
	if mapped && m.Prot&platform.Write != 0 {
		return platform.AccessRead
	}
	var code [16]byte
	n := c.peek(st.Rip, code[:])
	switch u := useOf(code[:n], st, addr); {
	case u == writes, u == unknown && again && mapped && m.Prot&(platform.Read|platform.Exec) != 0:
		return platform.AccessWrite
	case fetch:
		return platform.AccessExec
	}
	return platform.AccessRead
}

// peek reads what the thread has at addr, up to the end of a page that is not there.
func (c *context) peek(addr uint64, b []byte) int {
	if n := c.as.peek(addr, b); n > 0 {
		return n
	}
	n := 0
	for ; n+8 <= len(b); n += 8 {
		v, e := peek(c.tid, addr+uint64(n))
		if e != 0 {
			break
		}
		binary.LittleEndian.PutUint64(b[n:], v)
	}
	return n
}

// peek reads from the flat memory what is shown at addr. What is shown is kept from being freed by the change that would take it away
// not being in force, and it cannot be asked for while mu is held.
func (as *addressSpace) peek(addr uint64, b []byte) int {
	n := 0
	as.mu.Lock()
	for n < len(b) {
		at := addr + uint64(n)
		m, ok := as.maps.At(at)
		if !ok || m.Off >= uint64(len(as.p.linear)) {
			break
		}
		n += copy(b[n:min(uint64(len(b)), uint64(n)+m.End-at)], as.p.linear[m.Off:])
	}
	as.mu.Unlock()
	return n
}

// use is what an instruction does with an address at which it faulted.
type use int

const (
	unknown use = iota
	reads       // certainly nothing else
	writes      // certainly, perhaps after it has read
)

// useOf decodes an instruction.
func useOf(code []byte, st *arch.State, addr uint64) use {
	if len(code) < 8 {
		return unknown
	}
	if u, ok := vexUse(code); ok {
		return u
	}
	inst, err := x86asm.Decode(code, 64)
	if err != nil {
		return unknown
	}
	when := func(isWrite bool) use {
		if isWrite {
			return writes
		}
		return reads
	}
	isMem := func(i int) bool {
		_, ok := inst.Args[i].(x86asm.Mem)
		return ok
	}
	// The stack, whatever the operands are.
	switch inst.Op {
	case x86asm.PUSH, x86asm.CALL, x86asm.PUSHF, x86asm.PUSHFQ, x86asm.ENTER:
		return when(addr < st.Rsp && addr >= st.Rsp-64)
	case x86asm.RET, x86asm.LEAVE, x86asm.POPF, x86asm.POPFQ:
		return reads
	case x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ,
		x86asm.MOVSB, x86asm.MOVSW, x86asm.MOVSQ, x86asm.INSB, x86asm.INSW, x86asm.INSD:
		// The destination is at RDI when the instruction stops.
		return when(addr-st.Rdi < 64)
	case x86asm.MOVSD, x86asm.MOVSD_XMM:
		if isMem(0) && isMem(1) {
			return when(addr-st.Rdi < 64)
		}
	case x86asm.CMP, x86asm.TEST, x86asm.BT, x86asm.JMP, x86asm.MUL, x86asm.IMUL, x86asm.DIV, x86asm.IDIV,
		x86asm.LODSB, x86asm.LODSW, x86asm.LODSD, x86asm.LODSQ, x86asm.SCASB, x86asm.SCASW, x86asm.SCASD, x86asm.SCASQ,
		x86asm.CMPSB, x86asm.CMPSW, x86asm.CMPSD, x86asm.CMPSQ, x86asm.FLD, x86asm.FILD, x86asm.FLDCW, x86asm.LDMXCSR,
		x86asm.FXRSTOR, x86asm.FXRSTOR64, x86asm.XRSTOR, x86asm.XRSTOR64:
		return reads
	case x86asm.XCHG:
		return when(isMem(0) || isMem(1))
	}
	if !isMem(0) {
		if isMem(1) || isMem(2) {
			return reads
		}
		if inst.Op == x86asm.POP {
			return reads
		}
		return unknown
	}
	switch inst.Op {
	case x86asm.MOV, x86asm.MOVNTI, x86asm.ADD, x86asm.SUB, x86asm.AND, x86asm.OR, x86asm.XOR, x86asm.ADC, x86asm.SBB,
		x86asm.INC, x86asm.DEC, x86asm.NEG, x86asm.NOT, x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.ROL, x86asm.ROR,
		x86asm.XADD, x86asm.CMPXCHG, x86asm.CMPXCHG8B, x86asm.CMPXCHG16B, x86asm.BTS, x86asm.BTR, x86asm.BTC,
		x86asm.MOVUPS, x86asm.MOVAPS, x86asm.MOVUPD, x86asm.MOVAPD, x86asm.MOVDQU, x86asm.MOVDQA, x86asm.MOVNTDQ,
		x86asm.MOVNTPS, x86asm.MOVNTPD, x86asm.MOVQ, x86asm.MOVD, x86asm.MOVSS, x86asm.MOVSD_XMM, x86asm.MOVHPS, x86asm.MOVLPS,
		x86asm.MOVHPD, x86asm.MOVLPD, x86asm.POP, x86asm.FSTP, x86asm.FST, x86asm.FIST, x86asm.FISTP, x86asm.FXSAVE, x86asm.FXSAVE64,
		x86asm.XSAVE, x86asm.XSAVE64, x86asm.STMXCSR, x86asm.FNSTCW, x86asm.SETA, x86asm.SETE, x86asm.SETNE, x86asm.SETB, x86asm.SETAE,
		x86asm.SETBE, x86asm.SETG, x86asm.SETGE, x86asm.SETL, x86asm.SETLE, x86asm.SETS, x86asm.SETNS:
		return writes
	}
	return unknown
}

// vexUse knows the loads and stores among VEX and EVEX encoded instructions, which memset and memcpy use and
// x86asm does not decode. ok is false for other encodings.
func vexUse(code []byte) (u use, ok bool) {
	var opMap, op byte
	switch {
	case code[0] == 0xc5:
		opMap, op = 1, code[2]
	case code[0] == 0xc4:
		opMap, op = code[1]&0x1f, code[3]
	case code[0] == 0x62:
		opMap, op = code[1]&7, code[4]
	default:
		return unknown, false
	}
	if opMap != 1 {
		return unknown, true
	}
	switch op {
	case 0x11, 0x13, 0x17, 0x29, 0x2b, 0x7f, 0xd6, 0xe7:
		return writes, true
	case 0x10, 0x12, 0x16, 0x28, 0x6e, 0x6f, 0x74, 0x75, 0x76, 0xf0:
		return reads, true // 74 to 76 compare, which memchr and its kin do
	}
	return unknown, true
}
