package sites

import (
	"bytes"
	"encoding/binary"
)

const (
	// LeaveSlot is the displacement from GS of the address that trampolines jump to.
	LeaveSlot = 0x08
	// TrampSize is the most that a trampoline takes.
	TrampSize = 64
	// UnknownNr as Plan's nr: nobody has seen the call's number.
	UnknownNr = ^uint64(0)
)

// Pattern is how a site is rewritten.
type Pattern uint8

const (
	Mov     Pattern = iota // the jump lies over the mov of the call's number, before the site
	Before                 // it lies over other instructions before the site
	Padding                // a short jump over SYSCALL leads to a long one in padding
	Cmp                    // the jump lies over SYSCALL and the comparison of its result
	After                  // over SYSCALL and what follows
	Around                 // over SYSCALL and what precedes and perhaps follows

	NumPatterns
)

func (p Pattern) String() string {
	return [...]string{"mov", "before", "padding", "cmp", "after", "around"}[p]
}

// Reason is why a site cannot be rewritten.
type Reason string

func (r Reason) Error() string { return string(r) }

const (
	NoSyscall  = Reason("no SYSCALL instruction there")
	Doubtful   = Reason("perhaps the middle of another instruction")
	Targeted   = Reason("something jumps to what would be overwritten")
	JumpTable  = Reason("an indirect jump may go to what would be overwritten")
	PageEdge   = Reason("at the edge of a page")
	NotMovable = Reason("neighbours that cannot be moved")
	TooLong    = Reason("neighbours that are too long for a trampoline")
	OutOfReach = Reason("trampoline out of reach")
	SigReturn  = Reason("rt_sigreturn, which unwinders know by its bytes")
)

// Edit is bytes to be changed.
type Edit struct {
	At       uint64
	Old, New []byte // of one length
}

// Move is an address of the text and one in a trampoline at which a thread would do the same.
type Move struct {
	Text, Tramp uint64
}

// Patch is how a site becomes a jump.
type Patch struct {
	Pattern Pattern
	Site    uint64 // the address of the SYSCALL
	Edits   []Edit // all in one page
	TrampAt uint64
	Tramp   []byte // what belongs there, at most TrampSize bytes
	// Inner says that the edits overwrite more than one instruction with one: a thread that stands between them, without a
	// signal or a call to say so, would go on in the middle of the jump. It must be known, when the page is changed, that no other
	// thread runs this text.
	Inner bool
	// Resume is the address in RCX at LeaveSlot's jump, where the guest goes on after the call: in the trampoline, or
	// Site+2. The guest must see Site+2 in RCX then.
	Resume uint64
	// Moves has every boundary of the trampoline's instructions, ascending, and with it every boundary of the text that is
	// overwritten; last, of Padding, the long jump.
	Moves []Move

	portable bool // see Moved
}

// Moved is the patch for the same code at another address, with a trampoline elsewhere: what Plan would make of it there. False if
// that cannot be said without the code: only a jump over instructions before the site, one of them and none that refers to the text,
// is as good anywhere.
func (p *Patch) Moved(site, trampAt uint64) (Patch, bool) {
	const lea, jump = 7, 8 // the end of the trampoline
	if !p.portable {
		return Patch{}, false
	}
	by, e := site-p.Site, p.Edits[0]
	b, ok := jumpTo(e.At+by, trampAt)
	at := len(p.Tramp) - jump
	rel, near := rel32(trampAt+uint64(at), p.Resume+by)
	if !ok || !near {
		return Patch{}, false
	}
	m := Patch{Pattern: p.Pattern, Site: site, TrampAt: trampAt, Resume: p.Resume + by, portable: true}
	m.Edits = []Edit{{At: e.At + by, Old: e.Old, New: append(b, e.New[len(b):]...)}}
	m.Tramp = bytes.Clone(p.Tramp)
	copy(m.Tramp[at-lea+3:], rel)
	m.Moves = make([]Move, len(p.Moves))
	for i, x := range p.Moves {
		m.Moves[i] = Move{x.Text + by, x.Tramp - p.TrampAt + trampAt}
	}
	return m, true
}

// Page is the address of the page that the patch changes.
func (p *Patch) Page() uint64 { return p.Edits[0].At &^ (pageSize - 1) }

// Apply writes the edits to code, which is at addr, and says whether it did: not when the code is not what the patch was made
// for.
func (p *Patch) Apply(code []byte, addr uint64) bool {
	for _, e := range p.Edits {
		off := e.At - addr
		if e.At < addr || off > uint64(len(code)) || uint64(len(code))-off < uint64(len(e.Old)) || !bytes.Equal(code[off:off+uint64(len(e.Old))], e.Old) {
			return false
		}
	}
	for _, e := range p.Edits {
		copy(code[e.At-addr:], e.New)
	}
	return true
}

// Buries tells whether the edits overwrite where a call of another patch goes on, with the middle of an instruction: of the same site, for who
// came by another way.
func (p *Patch) Buries(other *Patch) bool {
	for _, e := range p.Edits {
		if e.At < other.Resume && other.Resume < e.At+uint64(len(e.New)) {
			return true
		}
	}
	return false
}

// Original is the address in the unpatched text for an address in the trampoline, or any other address unchanged.
func (p *Patch) Original(addr uint64) uint64 {
	for _, m := range p.Moves {
		if m.Tramp == addr {
			return m.Text
		}
	}
	return addr
}

// Continue is where a thread that is to run at addr must be put: in the trampoline when the text there was
// overwritten or copied, or else addr.
func (p *Patch) Continue(addr uint64) uint64 {
	for _, m := range p.Moves {
		if m.Text == addr {
			return m.Tramp
		}
	}
	return addr
}

// placed is an instruction with its offset.
type placed struct {
	inst
	off int
}

// sigReturn is `mov $15, %rax; syscall`. A return address that points to exactly these bytes is how unwinders and debuggers
// recognise the frame of a signal where there is no table entry for it.
var sigReturn = []byte{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}

// planner is the state of one Plan.
type planner struct {
	*Text
	site    int
	trampAt uint64

	look   chains
	before []placed // movable instructions before the site, the nearest first, each running into the next
	after  []placed // and behind it

	failed Reason // the last obstacle
}

// A site's neighbourhood: more does not fit in a trampoline.
const maxNeighbours = TrampSize - 15

// Plan works out how to rewrite the SYSCALL at site. nr is what RAX held when it trapped, or UnknownNr. The
// trampoline will be at trampAt, which must be within 2 GiB of the text. The error is a Reason.
func (t *Text) Plan(site, nr, trampAt uint64) (Patch, error) {
	off := site - t.addr
	if site < t.addr || off >= uint64(len(t.code)) || !bytes.HasPrefix(t.code[off:], syscallInst) {
		return Patch{}, NoSyscall
	}
	if bytes.HasSuffix(t.code[:off+2], sigReturn) {
		return Patch{}, SigReturn
	}
	p := planner{Text: t, site: int(off), trampAt: trampAt, failed: NotMovable}
	p.look.look(t.code, p.site, maxLookBack)
	// What trapped is an instruction, but perhaps one with a prefix before it.
	if !p.look.likely() && (nr == UnknownNr || p.site == 0 || isPrefix(t.code[p.site-1])) {
		return Patch{}, Doubtful
	}
	p.neighbours()
	known, matches := p.number(nr)
	// Who jumps to SYSCALL itself traps each time when the jump lies before it.
	jumpedTo := known && !matches || p.shortJump(p.site)
	if jumpedTo {
		if patch, ok := p.atSite(); ok {
			return patch, nil
		}
	}
	if !known || matches {
		if patch, ok := p.keepingSite(1); ok {
			return patch, nil
		}
	}
	if !jumpedTo {
		if patch, ok := p.atSite(); ok {
			return patch, nil
		}
	}
	if !known || matches {
		if patch, ok := p.keepingSite(2); ok {
			return patch, nil
		}
		if patch, ok := p.around(); ok {
			return patch, nil
		}
	}
	return Patch{}, p.failed
}

// isPrefix says whether b can precede an opcode.
func isPrefix(b byte) bool {
	switch b {
	case 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3:
		return true
	}
	return b&0xf0 == 0x40 // REX
}

// neighbours fills before and after.
func (p *planner) neighbours() {
	end := p.site
	for back := p.site - 1; back >= p.look.lo && p.site-back <= maxNeighbours; back-- {
		i := p.look.insts[back-p.look.lo]
		if !p.look.certain(back) {
			continue
		}
		if back+i.len != end || !i.movable() || !p.branchLeads(i, back) {
			break
		}
		p.before = append(p.before, placed{i, back})
		end = back
	}
	for next := p.site + 2; next < len(p.code) && next-p.site < 5; {
		i := decode(p.code[next:])
		if !i.movable() && i.class != classJmp && i.class != classRet || !p.branchLeads(i, next) {
			break
		}
		p.after = append(p.after, placed{i, next})
		next += i.len
		if i.terminal() {
			break
		}
	}
}

// branchLeads says whether a branch may be moved as far as its target goes.
func (p *planner) branchLeads(i inst, off int) bool {
	if i.class != classJcc && i.class != classJmp {
		return true
	}
	return p.leads(int64(off+i.len) + i.rel)
}

// number looks at the instruction before the site: whether it loads the call's number, and then whether with nr.
func (p *planner) number(nr uint64) (known, matches bool) {
	if len(p.before) == 0 {
		return false, false
	}
	imm, ok := movNr(p.code[p.before[0].off:p.site])
	if !ok {
		return false, false
	}
	return true, nr == UnknownNr || nr == imm
}

// movNr is the constant that `mov $imm32, %eax` or `mov $imm32, %rax` loads.
func movNr(b []byte) (uint64, bool) {
	switch {
	case len(b) == 5 && b[0] == 0xb8:
		return uint64(binary.LittleEndian.Uint32(b[1:])), true
	case len(b) == 7 && b[0] == 0x48 && b[1] == 0xc7 && b[2] == 0xc0:
		return uint64(int64(int32(binary.LittleEndian.Uint32(b[3:])))), true
	}
	return 0, false
}

// keepingSite tries jumps over instructions before the site, the nearest first, SYSCALL staying in its place: over one
// instruction each (most 1), or over several.
func (p *planner) keepingSite(most int) (Patch, bool) {
	for first := range p.before {
		at := p.before[first].off
		last := first // the last instruction that the jump touches
		for last > 0 && p.before[last].off+p.before[last].len < at+5 {
			last--
		}
		end := p.before[last].off + p.before[last].len
		if end < at+5 || (first == last) != (most == 1) {
			continue
		}
		pattern := Before
		if _, ok := movNr(p.code[at:p.site]); ok {
			pattern = Mov
		}
		if patch, ok := p.try(pattern, first+1, 0, end); ok {
			return patch, true
		}
	}
	return Patch{}, false
}

// atSite tries what puts a jump in SYSCALL's place.
func (p *planner) atSite() (Patch, bool) {
	if patch, ok := p.padding(); ok {
		return patch, true
	}
	n := len(p.after)
	if n == 0 {
		return Patch{}, false
	}
	end := p.after[n-1].off + p.after[n-1].len
	if end < p.site+5 {
		return Patch{}, false
	}
	pattern := After
	if bytes.HasPrefix(p.code[p.site+2:], []byte{0x48, 0x3d}) {
		pattern = Cmp
	}
	return p.try(pattern, 0, n, end)
}

// around tries jumps that begin before the site and cover it, with as few other instructions as give five bytes.
func (p *planner) around() (Patch, bool) {
	for total := 1; total <= 4; total++ {
		for after := 0; after < total; after++ {
			before := total - after
			if before > len(p.before) || after > len(p.after) {
				continue
			}
			end := p.site + 2
			if after > 0 {
				end = p.after[after-1].off + p.after[after-1].len
			}
			if end < p.before[before-1].off+5 {
				continue
			}
			if patch, ok := p.try(Around, before, after, end); ok {
				return patch, true
			}
		}
	}
	return Patch{}, false
}

// fail notes an obstacle.
func (p *planner) fail(r Reason) (Patch, bool) {
	p.failed = r
	return Patch{}, false
}

// try makes the patch whose trampoline copies so many instructions before the site and behind it, and whose jump
// overwrites the text from the first of them to end.
func (p *planner) try(pattern Pattern, before, after, end int) (Patch, bool) {
	at := p.site
	if before > 0 {
		at = p.before[before-1].off
	}
	if !p.samePage(at, end) {
		return p.fail(PageEdge)
	}
	inners, tables := false, false
	inner := func(off int) bool {
		if off <= at || off >= end {
			return true
		}
		inners = true
		if p.targeted(off) {
			p.failed = Targeted
			return false
		}
		tables = tables || off != p.site+2
		return true
	}
	for _, i := range p.before[:before] {
		if !inner(i.off) {
			return Patch{}, false
		}
	}
	for _, i := range p.after[:after] {
		if !inner(i.off) {
			return Patch{}, false
		}
	}
	if !inner(p.site) {
		return Patch{}, false
	}
	if tables && p.indirect(p.site) {
		return p.fail(JumpTable)
	}
	a := p.assemble(before, after)
	if !p.finish(a) {
		return Patch{}, false
	}
	jump, ok := jumpTo(p.addr+uint64(at), p.trampAt)
	if !ok {
		return p.fail(OutOfReach)
	}
	patch := a.patch(p, pattern, p.edit(at, end, jump))
	patch.Inner = inners
	patch.portable = !inners && before > 0 && after == 0 && !a.refers
	return patch, true
}

// padding tries a short jump to a long one in filler that nothing runs through.
func (p *planner) padding() (Patch, bool) {
	if !p.samePage(p.site, p.site+2) {
		return p.fail(PageEdge)
	}
	var a *assembler
	for off := max(p.site+2-128, 1); off <= p.site+2+127 && off < len(p.code); off++ {
		end, ok := p.fillerRun(off)
		if !ok || !p.samePage(min(off, p.site), max(end, p.site+2)) || p.targeted(off) {
			continue
		}
		if a == nil {
			a = p.assemble(0, 0)
			if !p.finish(a) {
				return Patch{}, false
			}
		}
		jump, ok := jumpTo(p.addr+uint64(off), p.trampAt)
		if !ok {
			return p.fail(OutOfReach)
		}
		short := []byte{0xeb, byte(off - (p.site + 2))}
		patch := a.patch(p, Padding, p.edit(p.site, p.site+2, short), p.edit(off, end, jump))
		patch.Moves = append(patch.Moves, Move{Text: patch.Site, Tramp: p.addr + uint64(off)})
		return patch, true
	}
	return Patch{}, false
}

// fillerRun says whether at off there is filler for a long jump, behind an instruction that does not go on to it, and where
// the last instruction ends that the jump would touch.
func (p *planner) fillerRun(off int) (end int, ok bool) {
	n := filler(p.code[off:])
	if n == 0 {
		return 0, false
	}
	end = off
	run := off // its end
	ints := true
	for n > 0 {
		if end < off+5 {
			end += n
		}
		ints = ints && p.code[run] == 0xcc
		run += n
		n = filler(p.code[run:])
	}
	// No-ops align what follows; others may mean something.
	if end < off+5 || !ints && (p.addr+uint64(run))%8 != 0 {
		return 0, false
	}
	var c chains
	c.look(p.code, off, 64)
	if !c.likely() {
		return 0, false
	}
	for last := off - 1; last >= c.lo; last-- {
		if c.certain(last) {
			i := c.insts[last-c.lo]
			return end, i.terminal() && last+i.len == off
		}
	}
	return 0, false
}

func (p *planner) samePage(from, to int) bool {
	return (p.addr+uint64(from))/pageSize == (p.addr+uint64(to)-1)/pageSize
}

// edit overwrites the text from at to end with b, and what is left of the last instruction with int3.
func (p *planner) edit(at, end int, b []byte) Edit {
	e := Edit{At: p.addr + uint64(at), Old: bytes.Clone(p.code[at:end]), New: make([]byte, end-at)}
	for i := copy(e.New, b); i < len(e.New); i++ {
		e.New[i] = 0xcc
	}
	return e
}
