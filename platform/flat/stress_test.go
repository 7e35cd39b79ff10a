package flat

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

var long = flag.Bool("long", os.Getenv("GOSV_LONG") != "", "run the long form of the stress tests")

// forAWhile is how long a stress test goes on.
func forAWhile() time.Duration {
	if *long {
		return time.Minute
	}
	return time.Second
}

// collect makes the collector run all the time, on stacks that grow and shrink, until the function that it returns is called.
func collect() (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	})
	var deep func(n int) byte
	deep = func(n int) byte {
		var b [512]byte
		b[n%512] = byte(n)
		if n == 0 {
			return b[0]
		}
		return deep(n-1) + b[n%512]
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				deep(200)
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// A guest that counts: in RBX how often it called, in R12 how often a call came back with what it must, and in YMM7 what was there before.
//
//	1: mov $110,%eax; inc %rbx; syscall; cmp %rbx,%rax; jne 2f; inc %r12; jmp 1b; 2: ud2
var countLoop = []byte{
	0xb8, 110, 0, 0, 0, // mov $110,%eax
	0x48, 0xff, 0xc3, // inc %rbx
	0x0f, 0x05, // syscall
	0x48, 0x39, 0xd8, // cmp %rbx,%rax
	0x75, 0x05, // jne 2f
	0x49, 0xff, 0xc4, // inc %r12
	0xeb, 0xec, // jmp 1b
	0x0f, 0x0b, // 2: ud2
}

// The same with a call that is rewritten over what precedes, mov $110,%eax; syscall, and a wait between the calls.
//
//	1: mov $110,%eax; syscall; inc %rbx; cmp %rbx,%rax; jne 2f; inc %r12; mov $200,%ecx; 3: dec %ecx; jnz 3b; jmp 1b; 2: ud2
var countLoopMov = []byte{
	0xb8, 110, 0, 0, 0,
	0x0f, 0x05,
	0x48, 0xff, 0xc3,
	0x48, 0x39, 0xd8,
	0x75, 0x0e,
	0x49, 0xff, 0xc4,
	0xb9, 200, 0, 0, 0,
	0xff, 0xc9,
	0x75, 0xfc,
	0xeb, 0xe3,
	0x0f, 0x0b,
}

// TestStressCollector runs guests while the collector works and everybody is interrupted, and goroutines leave their threads.
func TestStressCollector(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	defer collect()()
	var stop atomic.Bool
	var wg sync.WaitGroup
	var contexts []platform.Context
	type guest struct{ calls, interrupted int }
	guests := make([]guest, 8)
	for i := range guests {
		code := countLoop
		if i%2 == 0 {
			code = countLoopMov
		}
		// Each has a page of its own in the flat memory.
		page := make([]byte, 4096)
		copy(page, code)
		_, err := mem.WriteAt(page, int64(1+i)<<20)
		require.NoError(t, err)
		as, err := p.NewAddressSpace()
		require.NoError(t, err)
		t.Cleanup(as.Release)
		lo, _, _, _ := as.(platform.Placer).Place(0)
		require.NoError(t, as.Map(lo, 4096, uint64(1+i)<<20, platform.Read|platform.Exec|platform.Private))
		c := p.NewContext()
		contexts = append(contexts, c)
		wg.Go(func() {
			defer c.Release()
			st := &arch.State{}
			st.Reset(lo, lo+0x11000)
			want := uint64(0)
			var seed [8]byte
			for !stop.Load() {
				if want%64 == 0 && want > 0 {
					// Known contents of the registers that only an image shows.
					image, err := c.FP()
					if err == nil && want > 64 && binary.LittleEndian.Uint64(image[160+16*7:]) != binary.LittleEndian.Uint64(seed[:]) {
						t.Errorf("guest %d: XMM7 is %x", i, image[160+16*7:][:8])
						return
					}
					binary.LittleEndian.PutUint64(seed[:], rand.Uint64())
					image[512] |= 2
					copy(image[160+16*7:], seed[:])
					if err := c.SetFP(image); err != nil {
						t.Errorf("guest %d: %v", i, err)
						return
					}
				}
				ev, err := c.Switch(as, st, false)
				switch {
				case err != nil:
					t.Errorf("guest %d: %v", i, err)
					return
				case ev.Kind == platform.Interrupted:
					guests[i].interrupted++
				case ev.Kind == platform.Syscall && st.Orig_rax == 110 && st.Rbx == want+uint64(i%2) && st.R12 == want:
					want++
					st.Rax = want
					guests[i].calls++
				default:
					t.Errorf("guest %d: %+v nr %d, %d calls, %d right of %d, rip %#x+%#x", i, ev, int64(st.Orig_rax), st.Rbx, st.R12, want, lo, st.Rip-lo)
					return
				}
				if want%1000 == 999 {
					time.Sleep(10 * time.Microsecond) // another thread, perhaps
				}
			}
		})
	}
	end := time.Now().Add(forAWhile())
	for n := 0; time.Now().Before(end); n++ {
		contexts[n%len(contexts)].Interrupt()
		if n%3 == 0 {
			runtime.Gosched()
		}
	}
	stop.Store(true)
	for _, c := range contexts {
		c.Interrupt()
	}
	wg.Wait()
	for i, g := range guests {
		require.NotZero(t, g.calls, "guest %d", i)
		require.NotZero(t, g.interrupted, "guest %d", i)
	}
	require.NotZero(t, p.Rewritten())
	t.Log(guests)
}

// trapOnce: mov %rdi,%rax; syscall; ud2: what the host would answer itself on a thread that is not prepared.
var trapOnce = []byte{0x48, 0x89, 0xf8, 0x0f, 0x05, 0x0f, 0x0b}

// TestStressThreadsEnd has host threads end, and new ones made by those that have run guests, at addresses where others were: each is to be
// prepared anew. There are more in all than there can be at once.
func TestStressThreadsEnd(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	as, first := guestAt(t, p, mem, trapOnce)
	run := func() {
		c := p.NewContext()
		defer c.Release()
		st := *first
		st.Rdi = 39
		for range 2 {
			ev, err := c.Switch(as, &st, false)
			if err != nil || ev.Kind != platform.Syscall || st.Orig_rax != 39 {
				t.Errorf("%+v %v, nr %d, RAX %d, RIP %#x", ev, err, int64(st.Orig_rax), st.Rax, st.Rip-first.Rip)
			}
			st.Rip = first.Rip
		}
	}
	ended := 0
	for end := time.Now().Add(forAWhile()); (time.Now().Before(end) || goTLSInGS && ended <= maxBlocks) && !t.Failed(); {
		var wg sync.WaitGroup
		for range 8 {
			ended++
			wg.Go(func() {
				runtime.LockOSThread() // and never unlocked: the thread ends
				run()
			})
			wg.Go(run)
		}
		wg.Wait()
		runtime.GC()
	}
}

// TestStressRemap maps the text of one process anew, as it is, while two threads execute it, and has another process rewrite sites of its
// own meanwhile: the pages that rewriting took are not to be another's while they are shown.
func TestStressRemap(t *testing.T) {
	mem := memory(t)
	p := newPlatform(t, mem)
	as, first := guestAt(t, p, mem, callLoop)
	lo := first.Rip
	other, err := p.NewAddressSpace()
	require.NoError(t, err)
	t.Cleanup(other.Release)
	otherLo, _, _, _ := other.(platform.Placer).Place(0)
	// Many sites, each after a number of its own.
	page := make([]byte, 4096)
	for i := range 50 {
		copy(page[i*8:], []byte{0xb8, byte(i), byte(i >> 8), 0, 0, 0x0f, 0x05, 0x90})
	}
	_, err = mem.WriteAt(page, 32<<20)
	require.NoError(t, err)

	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c := p.NewContext()
			defer c.Release()
			st := *first
			for !stop.Load() {
				ev, err := c.Switch(as, &st, false)
				if err != nil || ev.Kind != platform.Syscall || st.Orig_rax != 110 || st.Rip != lo+7 {
					t.Errorf("%+v %v, nr %d, RIP %#x+%#x", ev, err, int64(st.Orig_rax), lo, st.Rip-lo)
					return
				}
			}
		})
	}
	wg.Go(func() {
		c := p.NewContext()
		defer c.Release()
		for !stop.Load() {
			if err := other.Map(otherLo, 4096, 32<<20, platform.Read|platform.Exec|platform.Private); err != nil {
				t.Error(err)
				return
			}
			st := &arch.State{}
			st.Reset(otherLo, otherLo+0x11000)
			for n := range 50 * 10 { // often enough that they are rewritten
				i := n % 50
				st.Rip = otherLo + uint64(i)*8
				ev, err := c.Switch(other, st, false)
				if err != nil || ev.Kind != platform.Syscall || st.Orig_rax != uint64(i) || st.Rip != otherLo+uint64(i)*8+7 {
					t.Errorf("other: %+v %v, nr %d of %d, RIP %#x+%#x", ev, err, int64(st.Orig_rax), i, otherLo, st.Rip-otherLo)
					return
				}
			}
		}
	})
	for end := time.Now().Add(forAWhile()); time.Now().Before(end) && !t.Failed(); {
		require.NoError(t, as.Map(lo, 4096, 4096, platform.Read|platform.Exec|platform.Private))
		require.NoError(t, as.Protect(lo, 4096, platform.Read|platform.Exec))
	}
	stop.Store(true)
	wg.Wait()
	require.NotZero(t, p.Rewritten())
}
