package sites

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"sync"
)

const pageSize = 4096

// Text is a piece of executable code, at best all of a mapping: jumps from outside of it are not seen.
//
// The search for jump targets is made once, at the first Plan that needs it, and before any patch: instructions that a patch
// moved away are no longer found. Plans can be made concurrently, while nothing writes to the code.
type Text struct {
	code []byte
	addr uint64

	targetsOnce sync.Once
	targets     []int32 // offsets near sites that 32-bit displacements point to, sorted
}

// NewText is the code at addr. The code must stay readable and, while Text's methods run, unchanged; between them, the
// patches that are applied to the guest are to be applied to it too (Patch.Apply), so that no padding is given out twice.
func NewText(code []byte, addr uint64) *Text {
	// Offsets are 32 bits, and so are the displacements that could point from one end to the other.
	if len(code) > 1<<30 {
		code = code[:1<<30]
	}
	return &Text{code: code, addr: addr}
}

var syscallInst = []byte{0x0f, 0x05}

// Scan is the addresses of what looks like SYSCALL instructions, ascending.
func (t *Text) Scan() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for off := 0; ; off++ {
			i := bytes.Index(t.code[off:], syscallInst)
			if i < 0 {
				return
			}
			off += i
			if t.plausible(off) && !yield(t.addr+uint64(off)) {
				return
			}
		}
	}
}

// maxLookBack is how far before an address decoding starts to find the boundaries before it.
const maxLookBack = 96

// chains is what decoding from several starts says of the boundaries before an address.
type chains struct {
	lo     int // the first start
	insts  [maxLookBack]inst
	passes [maxLookBack + 1]int // passes[i]: how many of the starts that reach the end pass lo+i
	reach  int                  // how many starts reach the end
	beyond int                  // how many have an instruction across it; the others met what is no instruction
}

// look decodes from some starts that lie far before end, or as far as there is code; nearer when all of those meet what the
// decoder does not know.
func (c *chains) look(code []byte, end, far int) {
	for c.lookOnce(code, end, far); c.reach+c.beyond == 0 && far > 32; far -= 16 {
		c.lookOnce(code, end, far-16)
	}
}

func (c *chains) lookOnce(code []byte, end, far int) {
	const (
		starts = 16 // in a row, so that one is right but in code of very long instructions
		near   = 24 // what a chain needs to fall into step
	)
	c.lo = max(end-far, 0)
	n := end - c.lo
	first := min(max(n-near, 0)+1, starts) // the starts are those below
	var met, reaches, crosses [maxLookBack + 1]bool
	for i := range n {
		if met[i] = met[i] || i < first; !met[i] {
			continue
		}
		c.insts[i] = decode(code[c.lo+i:])
		met[min(i+c.insts[i].len, n)] = true
	}
	reaches[n] = true
	c.beyond = 0
	for i := n - 1; i >= 0; i-- {
		if !met[i] {
			continue
		}
		next := i + c.insts[i].len
		crosses[i] = next > n || next > i && crosses[next]
		reaches[i] = next > i && next <= n && reaches[next]
		if crosses[i] && i < first {
			c.beyond++
		}
	}
	c.passes = [maxLookBack + 1]int{}
	for i := range n + 1 {
		if !reaches[i] {
			continue
		}
		if i < first {
			c.passes[i]++
		}
		if i < n {
			c.passes[i+c.insts[i].len] += c.passes[i]
		}
	}
	c.reach = c.passes[n]
}

// likely says whether the end is the beginning of an instruction for at least half of the starts that can tell.
func (c *chains) likely() bool { return c.reach > 0 && c.reach >= c.beyond }

// certain says whether every start that reaches the end passes off.
func (c *chains) certain(off int) bool {
	return off >= c.lo && c.reach > 0 && c.passes[off-c.lo] == c.reach
}

// plausible says whether off may well be the beginning of an instruction.
func (t *Text) plausible(off int) bool {
	var c chains
	c.look(t.code, off, 48)
	return c.likely()
}

// siteMargin is how far from a site the addresses lie that are looked at as targets: a short jump's reach and some padding.
const siteMargin = 128 + 32

const granule = 64 // bytes of text to a mark

// findTargets fills targets. Every byte is taken for the beginning of a call, a jump or a LEA, so that
// none is missed; that a displacement points to a site by chance is rare.
func (t *Text) findTargets() {
	near := make([]bool, len(t.code)/granule+1)
	for off := 0; ; off++ {
		i := bytes.Index(t.code[off:], syscallInst)
		if i < 0 {
			break
		}
		off += i
		for g := max(off-siteMargin, 0) / granule; g <= min((off+siteMargin)/granule, len(near)-1); g++ {
			near[g] = true
		}
	}
	code := t.code
	for i := 0; i+5 <= len(code); i++ {
		var rel int // where the displacement is
		switch code[i] {
		case 0xe8, 0xe9:
			rel = i + 1
		case 0x0f:
			if code[i+1]&0xf0 != 0x80 {
				continue
			}
			rel = i + 2
		case 0x8d:
			if code[i+1]&0xc7 != 0x05 {
				continue
			}
			rel = i + 2
		default:
			continue
		}
		if rel+4 > len(code) {
			continue
		}
		target := rel + 4 + int(int32(binary.LittleEndian.Uint32(code[rel:])))
		if uint(target) < uint(len(code)) && near[target/granule] {
			t.targets = append(t.targets, int32(target))
		}
	}
	slices.Sort(t.targets)
	t.targets = slices.Compact(t.targets)
}

// targeted says whether a direct jump, a call or a LEA points to off.
func (t *Text) targeted(off int) bool {
	t.targetsOnce.Do(t.findTargets)
	if _, found := slices.BinarySearch(t.targets, int32(off)); found {
		return true
	}
	return t.shortJump(off)
}

// shortJump says whether a jump of two bytes, or LOOP or JRCXZ, points to off.
func (t *Text) shortJump(off int) bool {
	for i := max(off-2-127, 0); i <= off-2+128 && i+2 <= len(t.code); i++ {
		op := t.code[i]
		if op != 0xeb && op&0xf0 != 0x70 && op&0xfc != 0xe0 {
			continue
		}
		if i+2+int(int8(t.code[i+1])) == off && t.plausible(i) {
			return true
		}
	}
	return false
}

// indirectReach is how far from a site an indirect jump may be of the same function.
const indirectReach = 1024

// indirect says whether there is a jump near off that may go by a table.
func (t *Text) indirect(off int) bool {
	for i := max(off-indirectReach, 0); i < off+indirectReach && i+2 <= len(t.code); i++ {
		// FF /4, but not through a fixed place, as procedure linkage tables do it.
		if t.code[i] != 0xff || t.code[i+1]&0x38 != 0x20 || t.code[i+1] == 0x25 || bytes.HasPrefix(t.code[i+1:], []byte{0x24, 0x25}) {
			continue
		}
		if t.plausible(i) || i > 0 && t.plausible(i-1) && decode(t.code[i-1:]).class == classJmpInd {
			return true
		}
	}
	return false
}

// leads says whether a jump to off stays in the text, and not in the text for a jump only: what leads out of it is
// another patch, whose place is not for moving.
func (t *Text) leads(off int64) bool {
	if off < 0 || off >= int64(len(t.code)) {
		return false
	}
	i := decode(t.code[off:])
	if i.class != classJmp || i.len != 5 {
		return true
	}
	next := off + 5 + i.rel
	return next >= 0 && next < int64(len(t.code))
}
