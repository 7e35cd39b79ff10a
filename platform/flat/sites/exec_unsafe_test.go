package sites

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The tests here run code: a snippet as it is, and rewritten, with a leave routine that makes the system call and goes back
// to RCX. Registers, flags and the stack must be the same afterwards.

// A machine is a few pages: a block that GS points to, the runner, the guest's text, trampoline and stack.
type machine struct {
	mem  []byte
	base uint64
}

const (
	mBlock, mRunner, mText, mTramp, mStack, mSize = 0, 0x1000, 0x2000, 0x4000, 0x5000, 0x7000

	stackTop = mStack + 0x1000 // RSP at the start, with the red zone below it and the exit's address on it

	// In the block, beside LeaveSlot.
	slotRCX    = 0x10
	slotReturn = 0x18 // the address after the SYSCALL
	slotHost   = 0x20 // the host's RSP
	slotFlags  = 0x28
	slotEntry  = 0x30
	slotExit   = 0x38
	slotLeft   = 0x40 // whether the leave routine ran
	slotRegs   = 0x80 // 16, in the order of their numbers
)

// exitGuest is `jmp *%gs:slotExit`.
const exitGuest = "65 ff 24 25 38 00 00 00"

// gs is an instruction with the operand %gs:slot and the register.
func gs(op byte, reg int, slot uint32) []byte {
	b := []byte{0x65, 0x48 | byte(reg>>3)<<2, op, byte(reg&7)<<3 | 4, 0x25}
	return binary.LittleEndian.AppendUint32(b, slot)
}

const opLoad, opStore, regRSP, regRCX = 0x8b, 0x89, 4, 1

func newMachine(t *testing.T) *machine {
	mem, err := unix.Mmap(-1, 0, mSize, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Munmap(mem) })
	m := &machine{mem: mem, base: uint64(uintptr(unsafe.Pointer(&mem[0])))}

	// The runner is called as a Go function of no arguments.
	r := []byte{0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57} // push rbx, rbp, r12-r15
	r = append(r, gs(opStore, regRSP, slotHost)...)
	r = append(r, code(t, "0f 57 c0 (xorps %xmm0,%xmm0) 65 ff 34 25 28 00 00 00 (push %gs:slotFlags) 9d (popfq)")...)
	for reg := range 16 {
		if reg != regRSP {
			r = append(r, gs(opLoad, reg, slotRegs+8*uint32(reg))...)
		}
	}
	r = append(r, gs(opLoad, regRSP, slotRegs+8*regRSP)...)
	r = append(r, code(t, "65 ff 24 25 30 00 00 00 (jmp *%gs:slotEntry)")...)
	m.put(mBlock+slotExit, m.base+mRunner+uint64(len(r)))
	for reg := range 16 {
		r = append(r, gs(opStore, reg, slotRegs+8*uint32(reg))...)
	}
	r = append(r, gs(opLoad, regRSP, slotHost)...)
	r = append(r, code(t, "9c (pushfq) 65 8f 04 25 28 00 00 00 (pop %gs:slotFlags) fc (cld)")...)
	r = append(r, code(t, "41 5f 41 5e 41 5d 41 5c 5d 5b (pop) 45 0f 57 ff (xorps %xmm15,%xmm15) c3")...)

	m.put(mBlock+LeaveSlot, m.base+mRunner+uint64(len(r)))
	r = append(r, gs(opStore, regRCX, slotRCX)...)
	r = append(r, code(t, "65 c6 04 25 40 00 00 00 01 (movb $1,%gs:slotLeft) 0f 05")...)
	r = append(r, gs(opLoad, regRCX, slotReturn)...)
	r = append(r, code(t, "65 ff 24 25 10 00 00 00 (jmp *%gs:slotRCX)")...)
	copy(mem[mRunner:mText], r)
	return m
}

func (m *machine) put(at int, v uint64)   { binary.LittleEndian.PutUint64(m.mem[at:], v) }
func (m *machine) get(at int) uint64      { return binary.LittleEndian.Uint64(m.mem[at:]) }
func (m *machine) addr(off int) uint64    { return m.base + uint64(off) }
func (m *machine) load(at int, b []byte)  { copy(m.mem[at:], b) }
func (m *machine) stack() []byte          { return m.mem[mStack:mSize] }
func (m *machine) text(length int) []byte { return m.mem[mText : mText+length] }

// state is what a guest can see.
type state struct {
	regs  [16]uint64
	flags uint64
	stack []byte
}

// run enters the guest at entry with s, and is what there is when it exits, and whether it left for the call.
func (m *machine) run(t *testing.T, entry, site uint64, s state) (state, bool) {
	for i, v := range s.regs {
		m.put(mBlock+slotRegs+8*i, v)
	}
	m.put(mBlock+slotFlags, s.flags)
	m.put(mBlock+slotEntry, entry)
	m.put(mBlock+slotReturn, site+2)
	m.put(mBlock+slotLeft, 0)
	m.load(mStack, s.stack)

	const archSetGS = 0x1001
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archSetGS, uintptr(m.base), 0)
	require.Zero(t, errno)
	// A function value is a pointer to a pointer to code.
	pc := uintptr(m.base + mRunner)
	closure := unsafe.Pointer(&pc)
	(*(*func())(unsafe.Pointer(&closure)))()
	_, _, errno = unix.RawSyscall(unix.SYS_ARCH_PRCTL, archSetGS, 0, 0)
	require.Zero(t, errno)

	out := state{flags: m.get(mBlock + slotFlags), stack: bytes.Clone(m.stack())}
	for i := range out.regs {
		out.regs[i] = m.get(mBlock + slotRegs + 8*i)
	}
	return out, m.get(mBlock+slotLeft) != 0
}

// initial is a state with something in all registers, and nr in some.
func (m *machine) initial(nr uint64, seed byte) state {
	s := state{flags: 0x202, stack: bytes.Repeat([]byte{seed}, len(m.stack()))}
	if seed%2 == 1 {
		s.flags |= 0x8d5 // all arithmetic flags
	}
	for i := range s.regs {
		s.regs[i] = uint64(i+1) * 0x0101010101010101 * uint64(seed)
	}
	s.regs[0], s.regs[8], s.regs[7] = nr, nr, nr // RAX, R8, RDI
	s.regs[regRSP] = m.addr(stackTop)
	binary.LittleEndian.PutUint64(s.stack[stackTop-mStack:], m.get(mBlock+slotExit))
	return s
}

var programs = []struct {
	name, code string
	pattern    Pattern
}{
	{"mov", "b8 27 00 00 00 (mov $39,%eax) 0f 05 " + exitGuest, Mov},
	{"mov to rax", "48 c7 c0 27 00 00 00 (mov $39,%rax) 0f 05 " + exitGuest, Mov},
	{"mov further away", "b8 27 00 00 00 (mov $39,%eax) 49 89 ca (mov %rcx,%r10) 0f 05 " + exitGuest, Before},
	{"lea", "48 8d 35 10 00 00 00 (lea 16[%rip],%rsi) 4c 89 c0 (mov %r8,%rax) 0f 05 " + exitGuest, Before},
	{"comparison of memory by RIP and a constant", "83 3d 10 00 00 00 05 (cmpl $5,16[%rip]) 4c 89 c0 (mov %r8,%rax) 0f 05 " + exitGuest, Before},
	{"conditional jump taken", "48 81 fb 00 00 00 00 (cmp $0,%rbx) 75 05 (jne) 4c 89 c0 (mov) 0f 05 " + exitGuest, Before},
	{"conditional jump not taken", "48 81 fb 00 00 00 00 (cmp $0,%rbx) 74 05 (je) 4c 89 c0 (mov) 0f 05 " + exitGuest, Before},
	{"sse and the red zone", "66 0f ef c0 (pxor) 0f 29 44 24 f0 (movaps %xmm0,-16[%rsp]) 4c 89 c0 0f 05 " + exitGuest, Before},
	{"push and pop", "51 (push %rcx) 68 01 02 03 04 (push) 5a 59 (pop) 0f 05 " + exitGuest, Before},
	{"cmp", "0f 05 48 3d 01 f0 ff ff (cmp $-4095,%rax) " + exitGuest, Cmp},
	{"padding", "0f 05 65 ff 24 25 38 00 00 00 (exit) c3 cc cc cc cc cc cc cc cc", Padding},
	{"after", "0f 05 85 c0 (test) 48 89 c3 (mov) " + exitGuest, After},
	{"after, RCX and R11", "0f 05 4c 89 d8 (mov %r11,%rax) " + exitGuest, After},
	{"after, jump taken", "0f 05 85 c0 (test) 79 01 (jns) 9b " + exitGuest, After},
	{"after, jump not taken", "0f 05 85 c0 (test) 78 01 (js) 9b " + exitGuest, After},
	{"after, return", "0f 05 f7 d8 (neg) c3", After},
	{"after, jump", "0f 05 48 89 c3 (mov %rax,%rbx) eb 01 9b " + exitGuest, After},
	{"several before", "89 fe (mov) 89 c7 (mov) 4c 89 c0 (mov) 0f 05 " + exitGuest, Before},
	{"around", "4c 89 c0 (mov %r8,%rax) 0f 05 " + exitGuest, Around},
	{"around on both sides", "89 f8 (mov) 0f 05 89 c3 (mov) " + exitGuest, Around},
}

// TestRun: a rewritten program does what it did, from its beginning, from the SYSCALL, and from every address that the patch has a
// translation for.
func TestRun(t *testing.T) {
	runtime.LockOSThread() // and its GS ends with the test
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	m := newMachine(t)
	const nr = unix.SYS_GETPID
	for _, test := range programs {
		t.Run(test.name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			snippet, at := snippet(t, test.code, lead)
			site := m.addr(mText) + at - testAddr
			begin := m.addr(mText) + lead
			m.load(mText, snippet)
			whole := NewText(m.text(len(snippet)), m.addr(mText))
			patch, err := whole.Plan(site, nr, m.addr(mTramp))
			require.NoError(t, err)
			require.Equal(t, test.pattern, patch.Pattern)
			check(t, snippet, m.addr(mText), patch)
			m.load(mTramp, patch.Tramp)

			entries := map[uint64]uint64{begin: begin, site: patch.Continue(site)} // in the original, in the patched text
			if !overwritten(patch, site) {
				entries[site] = site
			}
			for _, mv := range patch.Moves {
				entries[mv.Text] = mv.Tramp
				if mv.Text == site {
					entries[site] = patch.Continue(site)
				}
			}
			for seed := byte(1); seed < 5; seed++ {
				for original, entry := range entries {
					what := fmt.Sprintf("from %#x as %#x", original-begin, entry-m.base)
					s := m.initial(nr, seed)
					m.load(mText, snippet)
					want, left := m.run(t, original, site, s)
					require.False(t, left, what)
					require.True(t, patch.Apply(m.mem[mText:mTramp], m.addr(mText)))
					got, left := m.run(t, entry, site, s)
					require.True(t, bytes.Equal(want.stack, got.stack), what)
					want.stack, got.stack = nil, nil
					require.Equal(t, want, got, what)
					if original == begin && want.regs[regRCX] == site+2 {
						require.True(t, left, "the call did not go by the trampoline")
					}
				}
			}
		})
	}
}

// overwritten says whether the address is in the middle of an edit.
func overwritten(p Patch, addr uint64) bool {
	for _, e := range p.Edits {
		if addr > e.At && addr < e.At+uint64(len(e.New)) {
			return true
		}
	}
	return false
}
