//go:build !race

package syscalls

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"

	"gosv.dev/platform/vdso"
)

// TestLeaves looks at the instructions of leaf calls and of all that they call: no calls but of each other and of those that end the process with a
// message, and of the host's vDSO, no vector registers, no FS or GS, no more stack than there is for them.
func TestLeaves(t *testing.T) {
	const most = vdso.Stack + 512 // bytes of stack, of some 7800
	n := 0
	lowBytes := map[uint8]string{}
	for nr, e := range table {
		if e.Depth == Leaf {
			require.Empty(t, lowBytes[uint8(nr)], "%s: its answer would be where another call has it", e.Name)
			lowBytes[uint8(nr)] = e.Name
		}
		if e.Leaf == nil {
			continue
		}
		require.Equal(t, Leaf, e.Depth, e.Name)
		n++
		used := leafStack(t, reflect.ValueOf(e.Leaf).Pointer(), nil)
		t.Logf("%s: %d bytes", e.Name, used)
		if used > most {
			t.Errorf("%s: %d bytes of stack", e.Name, used)
		}
	}
	require.NotZero(t, n)
}

// leafStack checks one function, and returns how much stack it takes.
func leafStack(t *testing.T, entry uintptr, callers []string) int {
	f := runtime.FuncForPC(entry)
	name := f.Name()
	require.NotContains(t, callers, name, "recursion")
	callers = append(callers, name)
	frame, below, end := 0, 0, entry
	for pc := entry; runtime.FuncForPC(pc).Entry() == f.Entry(); {
		inst, err := x86asm.Decode(unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&pc))), 16), 64)
		require.NoError(t, err, "%s+%#x", name, pc-entry)
		where := func() string { return strings.Join(callers, " ") + ": " + x86asm.GoSyntax(inst, uint64(pc), nil) }
		next := pc + uintptr(inst.Len)
		switch inst.Op {
		case x86asm.INT:
			next = end // padding behind the function
		case x86asm.PUSH:
			frame += 8
		case x86asm.SUB:
			if inst.Args[0] == x86asm.RSP {
				frame += int(inst.Args[1].(x86asm.Imm))
			}
		case x86asm.CALL:
			if name == "gosv.dev/platform/vdso.Clock" {
				below = max(below, vdso.Stack)
				break // read, in vdso_amd64.s
			}
			to, ok := inst.Args[0].(x86asm.Rel)
			require.True(t, ok, "%s: a call of something that is not known", where())
			target := next + uintptr(to)
			callee := runtime.FuncForPC(target).Name()
			if strings.HasPrefix(callee, "runtime.panic") {
				break
			}
			require.False(t, strings.HasPrefix(callee, "runtime."), "%s: %s", where(), callee)
			below = max(below, 8+leafStack(t, target, callers))
		}
		for _, arg := range inst.Args {
			switch a := arg.(type) {
			case x86asm.Reg:
				require.False(t, a >= x86asm.X0 && a <= x86asm.X15, "%s: a vector register", where())
			case x86asm.Mem:
				require.NotContains(t, []x86asm.Reg{x86asm.FS, x86asm.GS}, a.Segment, where())
			}
		}
		if next == end {
			break
		}
		pc = next
	}
	return frame + below
}
