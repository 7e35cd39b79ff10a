package flat

import (
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"

	"gosv.dev/platform"
)

// withoutFS prepares, and tells whether the sentry does without FS now.
func withoutFS(t *testing.T) {
	err := Prepare()
	if iscgo {
		require.ErrorIs(t, err, errCgo)
		t.Skip("a program with C code keeps FS; CGO_ENABLED=0 makes one without")
	}
	require.NoError(t, err)
	require.True(t, goTLSInGS)
}

// TestTLSSites disassembles the whole program: nothing names FS any more but what new threads run before they have a block.
func TestTLSSites(t *testing.T) {
	withoutFS(t)
	lo, hi := sentryText()
	text := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&lo))), hi-lo)
	gs := 0
	left := map[string]int{}
	for at := 0; at < len(text); {
		inst, err := x86asm.Decode(text[at:], 64)
		if err != nil {
			// What the package does not know: the next function is found again by its alignment.
			at = (at + 32) &^ 31
			continue
		}
		for _, arg := range inst.Args {
			m, ok := arg.(x86asm.Mem)
			switch {
			case !ok || m.Base != 0 || m.Index != 0 || int32(m.Disp) != -8:
			case m.Segment == x86asm.FS:
				left[runtime.FuncForPC(lo+uintptr(at)).Name()]++
			case m.Segment == x86asm.GS:
				gs++
			}
		}
		at += inst.Len
	}
	require.Equal(t, map[string]int{"runtime.clone": 1, "runtime.stackcheck": 1}, left)
	require.Greater(t, gs, 300)
}

// TestThreadsOfTheirOwn starts threads from threads that have run guests and others that have not, with guests that have FS bases of their own.
func TestThreadsOfTheirOwn(t *testing.T) {
	withoutFS(t)
	mem := memory(t)
	p := newPlatform(t, mem)
	// 1: mov %fs:0,%rax; mov $110,%eax... the word at FS base is in RBX at each call.
	as, first := guestAt(t, p, mem, []byte{
		0x64, 0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0, // mov %fs:0,%rbx
		0xb8, 110, 0, 0, 0, // mov $110,%eax
		0x0f, 0x05, // syscall
		0xeb, 0xee, // jmp to the beginning
	})
	data := first.Rip + 0x10000
	words := guestBytes(data, 4096)
	for i := range 64 {
		words[i*64] = byte(i + 1)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			runtime.LockOSThread()
			if i%2 == 0 {
				defer runtime.UnlockOSThread() // the others' threads end
			}
			c := p.NewContext()
			defer c.Release()
			st := *first
			st.Fs_base = data + uint64(i)*64
			for n := range 500 {
				ev, err := c.Switch(as, &st, false)
				if err != nil || ev.Kind != platform.Syscall || st.Rbx != uint64(i+1) || st.Fs_base != data+uint64(i)*64 {
					t.Errorf("%d, %d: %+v %v, RBX %d, FS %#x", i, n, ev, err, st.Rbx, st.Fs_base)
					return
				}
				if n%50 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
}
