package sites

import (
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
)

// class says what can be done with an instruction.
type class uint8

const (
	classBad    class = iota // no instruction
	classFixed               // does not do the same elsewhere, or not known to
	classPlain               // does the same anywhere
	classRIP                 // has a 32-bit displacement from RIP at relOff
	classJcc                 // a conditional direct jump, cond
	classJmp                 // a direct jump
	classRet                 // a return
	classJmpInd              // an indirect jump: fixed, and a sign of jump tables
	classTrap                // never goes on to the next: ud2, hlt
)

// maxLen is the longest that an instruction can be.
const maxLen = 15

// inst is an instruction.
type inst struct {
	len    int
	class  class
	cond   byte  // of classJcc, the low four bits of its opcode
	relOff int   // of classRIP
	rel    int64 // of classJcc and classJmp, from the instruction's end
}

// terminal instructions do not go on to the next.
func (i inst) terminal() bool {
	return i.class == classJmp || i.class == classRet || i.class == classJmpInd || i.class == classTrap
}

// movable instructions can be copied to a trampoline, and control goes on from the copy's end or to a known address.
func (i inst) movable() bool {
	return i.class == classPlain || i.class == classRIP || i.class == classJcc
}

// decode says what the first instruction of b is.
func decode(b []byte) inst {
	if len(b) > maxLen {
		b = b[:maxLen]
	}
	if len(b) == 0 {
		return inst{}
	}
	// Jumps by their bytes, so that one with a prefix is none that is known.
	switch op := b[0]; {
	case op == 0xc3:
		return inst{len: 1, class: classRet}
	case op == 0xf4:
		return inst{len: 1, class: classTrap}
	case op == 0xeb && len(b) >= 2:
		return inst{len: 2, class: classJmp, rel: int64(int8(b[1]))}
	case op == 0xe9 && len(b) >= 5:
		return inst{len: 5, class: classJmp, rel: int64(int32(binary.LittleEndian.Uint32(b[1:])))}
	case op&0xf0 == 0x70 && len(b) >= 2:
		return inst{len: 2, class: classJcc, cond: op & 0xf, rel: int64(int8(b[1]))}
	case op == 0x0f && len(b) >= 6 && b[1]&0xf0 == 0x80:
		return inst{len: 6, class: classJcc, cond: b[1] & 0xf, rel: int64(int32(binary.LittleEndian.Uint32(b[2:])))}
	case op == 0x0f && len(b) >= 2 && b[1] == 0x0b:
		return inst{len: 2, class: classTrap}
	case op == 0x0f && len(b) >= 3 && b[1] == 0x01 && b[2] >= 0xc0:
		return inst{len: 3, class: classFixed} // rdpkru and other system instructions without operands
	case op == 0xf3 && len(b) >= 4 && b[1] == 0x0f && b[2] == 0x1e && b[3] == 0xfa:
		return inst{len: 4, class: classFixed} // endbr64, which must stay where it is jumped to
	}
	x, err := x86asm.Decode(b, 64)
	if err != nil || x.Len <= 0 || x.Len > len(b) {
		return inst{}
	}
	i := inst{len: x.Len, class: classFixed}
	switch {
	case x.Op == x86asm.JMP:
		i.class = classJmpInd
	case !movableOps[x.Op] || specialRegister(x.Args):
	case x.PCRel == 0:
		i.class = classPlain
	case x.PCRel == 4 && x.AddrSize == 64 && x.PCRelOff > 0 && x.PCRelOff+4 <= x.Len && ripOperand(x.Args):
		i.class, i.relOff = classRIP, x.PCRelOff
	}
	return i
}

func ripOperand(args x86asm.Args) bool {
	for _, a := range args {
		if m, ok := a.(x86asm.Mem); ok && m.Base == x86asm.RIP {
			return true
		}
	}
	return false
}

// specialRegister says whether an operand is a register whose writing does more than change a value.
func specialRegister(args x86asm.Args) bool {
	for _, a := range args {
		if r, ok := a.(x86asm.Reg); ok && r >= x86asm.ES {
			return true
		}
	}
	return false
}

// movableOps are the instructions that compilers put beside a SYSCALL and that do the same anywhere.
var movableOps = map[x86asm.Op]bool{
	x86asm.MOV: true, x86asm.MOVSX: true, x86asm.MOVSXD: true, x86asm.MOVZX: true, x86asm.LEA: true, x86asm.XCHG: true,
	x86asm.PUSH: true, x86asm.POP: true, x86asm.LEAVE: true, x86asm.NOP: true, x86asm.BSWAP: true,
	x86asm.ADD: true, x86asm.ADC: true, x86asm.SUB: true, x86asm.SBB: true, x86asm.AND: true, x86asm.OR: true, x86asm.XOR: true,
	x86asm.CMP: true, x86asm.TEST: true, x86asm.NEG: true, x86asm.NOT: true, x86asm.INC: true, x86asm.DEC: true,
	x86asm.IMUL: true, x86asm.MUL: true, x86asm.SHL: true, x86asm.SHR: true, x86asm.SAR: true, x86asm.ROL: true, x86asm.ROR: true,
	x86asm.SHLD: true, x86asm.SHRD: true, x86asm.BT: true, x86asm.BTS: true, x86asm.BTR: true, x86asm.BTC: true,
	x86asm.CBW: true, x86asm.CWDE: true, x86asm.CDQE: true, x86asm.CWD: true, x86asm.CDQ: true, x86asm.CQO: true,
	x86asm.CMOVA: true, x86asm.CMOVAE: true, x86asm.CMOVB: true, x86asm.CMOVBE: true, x86asm.CMOVE: true, x86asm.CMOVNE: true,
	x86asm.CMOVG: true, x86asm.CMOVGE: true, x86asm.CMOVL: true, x86asm.CMOVLE: true, x86asm.CMOVS: true, x86asm.CMOVNS: true,
	x86asm.CMOVO: true, x86asm.CMOVNO: true, x86asm.CMOVP: true, x86asm.CMOVNP: true,
	x86asm.SETA: true, x86asm.SETAE: true, x86asm.SETB: true, x86asm.SETBE: true, x86asm.SETE: true, x86asm.SETNE: true,
	x86asm.SETG: true, x86asm.SETGE: true, x86asm.SETL: true, x86asm.SETLE: true, x86asm.SETS: true, x86asm.SETNS: true,
	x86asm.SETO: true, x86asm.SETNO: true, x86asm.SETP: true, x86asm.SETNP: true,
	x86asm.CMPXCHG: true, x86asm.XADD: true,
	x86asm.MOVAPS: true, x86asm.MOVUPS: true, x86asm.MOVAPD: true, x86asm.MOVUPD: true, x86asm.MOVDQA: true, x86asm.MOVDQU: true,
	x86asm.MOVD: true, x86asm.MOVQ: true, x86asm.MOVSS: true, x86asm.MOVSD_XMM: true, x86asm.MOVHPS: true, x86asm.MOVLPS: true,
	x86asm.MOVHLPS: true, x86asm.MOVLHPS: true, x86asm.XORPS: true, x86asm.PXOR: true, x86asm.PUNPCKLQDQ: true, x86asm.PUNPCKHQDQ: true,
	x86asm.MOVNTI: true, x86asm.SFENCE: true, x86asm.LFENCE: true, x86asm.MFENCE: true,
}

// filler is the length of the padding instruction at b's beginning, or 0: int3, or a no-op that assemblers align with.
func filler(b []byte) int {
	if len(b) > 0 && b[0] == 0xcc {
		return 1
	}
	i := 0
	for i < len(b) && i < 8 && (b[i] == 0x66 || b[i] == 0x2e) {
		i++
	}
	if i < len(b) && b[i] == 0x90 {
		return i + 1
	}
	if i+3 <= len(b) && b[i] == 0x0f && b[i+1] == 0x1f {
		if x, err := x86asm.Decode(b[:min(len(b), maxLen)], 64); err == nil && x.Op == x86asm.NOP && x.Len <= len(b) {
			return x.Len
		}
	}
	return 0
}
