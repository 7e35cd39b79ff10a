// Package bpf checks and runs classic BPF programs as seccomp(2) uses them: a
// filter reads a structure of 64 bytes that describes a system call and
// returns what to do with it. A Program that Compile accepts always ends: jumps
// only go forward, and nothing outside the structure can be read.
//
// The package has no state and no locks. A Program is immutable.
package bpf

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Instr is struct sock_filter.
type Instr struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// MaxInstrs is the longest program (BPF_MAXINSNS).
const MaxInstrs = 4096

// DataSize is the size of struct seccomp_data.
const DataSize = 64

const memWords = 16

// Data is struct seccomp_data in the byte order of the ABI.
type Data [DataSize]byte

// NewData describes a system call.
func NewData(nr int32, arch uint32, ip uint64, args *[6]uint64) (d Data) {
	le := binary.LittleEndian
	le.PutUint32(d[0:], uint32(nr))
	le.PutUint32(d[4:], arch)
	le.PutUint64(d[8:], ip)
	for i, a := range args {
		le.PutUint64(d[16+8*i:], a)
	}
	return d
}

// Parts of an instruction's code.
const (
	classLD, classLDX, classST, classSTX   = 0, 1, 2, 3
	classALU, classJMP, classRET, classMsc = 4, 5, 6, 7

	modeIMM, modeABS, modeMEM, modeLEN = 0x00, 0x20, 0x60, 0x80

	srcX = 0x08
	retA = 0x10

	aluAdd, aluSub, aluMul, aluDiv = 0x00, 0x10, 0x20, 0x30
	aluOr, aluAnd, aluLsh, aluRsh  = 0x40, 0x50, 0x60, 0x70
	aluNeg, aluXor                 = 0x80, 0xa0

	jmpA, jmpEQ, jmpGT, jmpGE, jmpSet = 0x00, 0x10, 0x20, 0x30, 0x40

	mscTAX, mscTXA = 0x00, 0x80
)

// Program is a program that has been checked.
type Program struct{ code []Instr }

// Len is the number of instructions.
func (p *Program) Len() int { return len(p.code) }

// Instrs is the program as it was given.
func (p *Program) Instrs() []Instr { return p.code }

// Compile checks a program; EINVAL says that it is not one a seccomp filter can be.
func Compile(code []Instr) (*Program, error) {
	if len(code) == 0 || len(code) > MaxInstrs {
		return nil, unix.EINVAL
	}
	// stored[i] is the memory words that have surely been written when i is reached.
	stored := make([]uint16, len(code))
	for i := range stored {
		stored[i] = ^uint16(0)
	}
	stored[0] = 0
	flow := func(from, to int, mem uint16) bool {
		if to >= len(code) {
			return false
		}
		stored[to] &= mem
		return true
	}
	for i, in := range code {
		mem, next := stored[i], true
		switch in.Code & 7 {
		case classLD, classLDX:
			ldx := in.Code&7 == classLDX
			switch in.Code &^ 7 {
			case modeIMM, modeLEN:
			case modeMEM:
				if in.K >= memWords || mem>>in.K&1 == 0 {
					return nil, unix.EINVAL
				}
			case modeABS:
				if ldx || in.K >= DataSize || in.K%4 != 0 {
					return nil, unix.EINVAL
				}
			default:
				return nil, unix.EINVAL
			}
		case classST, classSTX:
			if in.Code&^7 != 0 || in.K >= memWords {
				return nil, unix.EINVAL
			}
			mem |= 1 << in.K
		case classALU:
			op, x := in.Code&0xf0, in.Code&srcX != 0
			if in.Code&^0xff != 0 {
				return nil, unix.EINVAL
			}
			switch op {
			case aluAdd, aluSub, aluMul, aluAnd, aluOr, aluXor:
			case aluDiv:
				if !x && in.K == 0 {
					return nil, unix.EINVAL
				}
			case aluLsh, aluRsh:
				if !x && in.K >= 32 {
					return nil, unix.EINVAL
				}
			case aluNeg:
				if x {
					return nil, unix.EINVAL
				}
			default:
				return nil, unix.EINVAL
			}
		case classJMP:
			if in.Code&^0xff != 0 {
				return nil, unix.EINVAL
			}
			switch in.Code & 0xf0 {
			case jmpA:
				if in.Code&srcX != 0 || uint64(in.K)+uint64(i)+1 >= uint64(len(code)) ||
					!flow(i, i+1+int(in.K), mem) {
					return nil, unix.EINVAL
				}
				next = false
			case jmpEQ, jmpGT, jmpGE, jmpSet:
				if !flow(i, i+1+int(in.JT), mem) || !flow(i, i+1+int(in.JF), mem) {
					return nil, unix.EINVAL
				}
				next = false
			default:
				return nil, unix.EINVAL
			}
		case classRET:
			if in.Code != classRET && in.Code != classRET|retA {
				return nil, unix.EINVAL
			}
			next = false
		case classMsc:
			if in.Code&^7 != mscTAX && in.Code&^7 != mscTXA {
				return nil, unix.EINVAL
			}
		}
		if next && !flow(i, i+1, mem) {
			return nil, unix.EINVAL
		}
	}
	if last := code[len(code)-1].Code; last&7 != classRET {
		return nil, unix.EINVAL
	}
	return &Program{append([]Instr(nil), code...)}, nil
}

// Run runs the program on d.
func (p *Program) Run(d *Data) uint32 {
	var a, x uint32
	var mem [memWords]uint32
	code := p.code
	for pc := 0; ; pc++ {
		in := &code[pc]
		switch in.Code {
		case classRET:
			return in.K
		case classRET | retA:
			return a
		case classLD | modeABS:
			a = binary.LittleEndian.Uint32(d[in.K&(DataSize-4):])
		case classLD | modeIMM:
			a = in.K
		case classLDX | modeIMM:
			x = in.K
		case classLD | modeLEN:
			a = DataSize
		case classLDX | modeLEN:
			x = DataSize
		case classLD | modeMEM:
			a = mem[in.K&(memWords-1)]
		case classLDX | modeMEM:
			x = mem[in.K&(memWords-1)]
		case classST:
			mem[in.K&(memWords-1)] = a
		case classSTX:
			mem[in.K&(memWords-1)] = x
		case classMsc | mscTAX:
			x = a
		case classMsc | mscTXA:
			a = x
		default:
			v := in.K
			if in.Code&srcX != 0 {
				v = x
			}
			if in.Code&7 == classJMP {
				var yes bool
				switch in.Code & 0xf0 {
				case jmpA:
					pc += int(in.K)
					continue
				case jmpEQ:
					yes = a == v
				case jmpGT:
					yes = a > v
				case jmpGE:
					yes = a >= v
				case jmpSet:
					yes = a&v != 0
				}
				if yes {
					pc += int(in.JT)
				} else {
					pc += int(in.JF)
				}
				continue
			}
			switch in.Code & 0xf0 {
			case aluAdd:
				a += v
			case aluSub:
				a -= v
			case aluMul:
				a *= v
			case aluDiv:
				if v == 0 {
					return 0 // as Linux: the program ends with 0
				}
				a /= v
			case aluAnd:
				a &= v
			case aluOr:
				a |= v
			case aluXor:
				a ^= v
			case aluLsh:
				a <<= v & 31
			case aluRsh:
				a >>= v & 31
			case aluNeg:
				a = -a
			}
		}
	}
}
