package sites

import (
	"encoding/binary"
	"math"
)

// jumpTo is `jmp to`, at from.
func jumpTo(from, to uint64) ([]byte, bool) {
	rel, ok := rel32(from+5, to)
	return append([]byte{0xe9}, rel...), ok
}

// rel32 is the displacement of to from an instruction's end, when it fits.
func rel32(end, to uint64) ([]byte, bool) {
	d := int64(to - end)
	return binary.LittleEndian.AppendUint32(nil, uint32(d)), d >= math.MinInt32 && d <= math.MaxInt32
}

// assembler makes a trampoline.
type assembler struct {
	at     uint64
	b      []byte
	moves  []Move
	resume uint64
	far    bool // something is out of reach
	refers bool // an instruction that was moved refers to the text
}

// pos notes that the next instruction of the trampoline does what text does.
func (a *assembler) pos(text uint64) {
	a.moves = append(a.moves, Move{Text: text, Tramp: a.at + uint64(len(a.b))})
}

// relative appends an instruction that ends in a displacement to the target.
func (a *assembler) relative(target uint64, op ...byte) {
	rel, ok := rel32(a.at+uint64(len(a.b)+len(op)+4), target)
	a.far = a.far || !ok
	a.b = append(append(a.b, op...), rel...)
}

// copyOf appends an instruction of the text so that it does what it did.
func (a *assembler) copyOf(p *planner, i placed) {
	text := p.addr + uint64(i.off)
	a.pos(text)
	next := text + uint64(i.len)
	b := p.code[i.off : i.off+i.len]
	switch i.class {
	case classJcc:
		a.refers = true
		a.relative(next+uint64(i.rel), 0x0f, 0x80|i.cond)
	case classJmp:
		a.refers = true
		a.relative(next+uint64(i.rel), 0xe9)
	case classRIP:
		a.refers = true
		target := next + uint64(int64(int32(binary.LittleEndian.Uint32(b[i.relOff:]))))
		rel, ok := rel32(a.at+uint64(len(a.b)+i.len), target)
		a.far = a.far || !ok
		a.b = append(a.b, b[:i.relOff]...)
		a.b = append(a.b, rel...)
		a.b = append(a.b, b[i.relOff+4:]...)
	default:
		a.b = append(a.b, b...)
	}
}

// assemble makes the trampoline.
func (p *planner) assemble(before, after int) *assembler {
	a := &assembler{at: p.trampAt}
	site := p.addr + uint64(p.site)
	for n := before - 1; n >= 0; n-- {
		a.copyOf(p, p.before[n])
	}
	a.pos(site)
	a.resume = site + 2
	if after > 0 {
		const leaAndJump = 7 + 8
		a.resume = a.at + uint64(len(a.b)) + leaAndJump
	}
	a.relative(a.resume, 0x48, 0x8d, 0x0d)
	a.pos(site)
	a.b = append(a.b, 0x65, 0xff, 0x24, 0x25)
	a.b = binary.LittleEndian.AppendUint32(a.b, LeaveSlot)
	if after > 0 {
		// Where a call is answered in the guest nobody else does that.
		a.pos(site + 2)
		a.relative(site+2, 0x48, 0x8d, 0x0d)
	}
	for _, i := range p.after[:after] {
		a.copyOf(p, i)
	}
	if after > 0 && !p.after[after-1].terminal() {
		back := p.addr + uint64(p.after[after-1].off+p.after[after-1].len)
		a.pos(back)
		a.relative(back, 0xe9)
	}
	return a
}

// finish says whether the trampoline can be.
func (p *planner) finish(a *assembler) bool {
	if len(a.b) > TrampSize {
		p.failed = TooLong
	} else if a.far {
		p.failed = OutOfReach
	}
	return len(a.b) <= TrampSize && !a.far
}

func (a *assembler) patch(p *planner, pattern Pattern, edits ...Edit) Patch {
	return Patch{
		Pattern: pattern, Site: p.addr + uint64(p.site), Edits: edits,
		TrampAt: a.at, Tramp: a.b, Resume: a.resume, Moves: a.moves,
	}
}
