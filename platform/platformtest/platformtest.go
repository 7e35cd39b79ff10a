// Package platformtest is what every platform must pass: the promises of package platform, tried with
// small pieces of machine code.
package platformtest

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

const page = arch.PageSize

// Where the tests put things.
const (
	codeAddr = 0x100000
	dataAddr = 0x200000
	farAddr  = 0x7f0000000000
	codeOff  = 1 * page
	dataOff  = 16 * page
)

// machine is one address space with a page of code and four pages of data.
type machine struct {
	t   *testing.T
	p   platform.Platform
	mem *os.File
	as  platform.AddressSpace
	c   platform.Context
	st  arch.State
}

// Run tests the platform that make returns, which shows the flat memory mem.
func Run(t *testing.T, make func(t *testing.T, mem *os.File) platform.Platform) {
	fd, err := unix.MemfdCreate("platformtest", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	mem := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { mem.Close() })
	require.NoError(t, mem.Truncate(64<<20))
	p := make(t, mem)
	for _, test := range []struct {
		name string
		f    func(*machine)
	}{
		{"SyscallRegisters", syscallRegisters},
		{"RegistersSurvive", registersSurvive},
		{"FloatingPoint", floatingPoint},
		{"SetFP", setFP},
		{"Faults", faults},
		{"FaultThenMap", faultThenMap},
		{"ProtectAndReplace", protectAndReplace},
		{"After", after},
		{"SyncWithRunningContext", syncWithRunningContext},
		{"Exceptions", exceptions},
		{"SingleStep", singleStep},
		{"BadRegisters", badRegisters},
		{"Interrupt", interrupt},
		{"InterruptStorm", interruptStorm},
		{"Watch", watch},
		{"SegmentBases", segmentBases},
		{"ManyContexts", manyContexts},
		{"ManyAddressSpaces", manyAddressSpaces},
		{"SharedFrame", sharedFrame},
		{"ReuseForgets", reuseForgets},
		{"MoveBetweenAddressSpaces", moveBetween},
		{"ManyMappings", manyMappings},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, p, mem)
			test.f(m)
		})
	}
}

func newMachine(t *testing.T, p platform.Platform, mem *os.File) *machine {
	as, err := p.NewAddressSpace()
	require.NoError(t, err)
	m := &machine{t: t, p: p, mem: mem, as: as, c: p.NewContext()}
	t.Cleanup(func() {
		m.c.Release()
		m.as.Release()
	})
	m.write(codeOff, bytes.Repeat([]byte{0xcc}, page))
	m.write(dataOff, bytes.Repeat([]byte{0}, 4*page))
	m.mapCode(as)
	require.NoError(t, as.Map(dataAddr, 4*page, dataOff, platform.Read|platform.Write))
	m.st.Reset(codeAddr, dataAddr+4*page)
	return m
}

func (m *machine) mapCode(as platform.AddressSpace) {
	require.NoError(m.t, as.Map(codeAddr, page, codeOff, platform.Read|platform.Exec))
}

func (m *machine) write(off int64, b []byte) {
	_, err := m.mem.WriteAt(b, off)
	require.NoError(m.t, err)
}

func (m *machine) read(off int64, n int) []byte {
	b := make([]byte, n)
	_, err := m.mem.ReadAt(b, off)
	require.NoError(m.t, err)
	return b
}

// code places machine code and sets the instruction pointer to it.
func (m *machine) code(b ...byte) {
	m.write(codeOff, b)
	m.st.Rip = codeAddr
}

func (m *machine) run() platform.Event { return m.switchTo(false) }

func (m *machine) switchTo(step bool) platform.Event {
	m.t.Helper()
	ev, err := m.c.Switch(m.as, &m.st, step)
	require.NoError(m.t, err)
	return ev
}

// Instructions.
var (
	syscallInsn = []byte{0x0f, 0x05}
	loopInsn    = []byte{0xeb, 0xfe} // jmp .
	// mov %rax, (%rdi) and mov (%rdi), %rax
	storeInsn = []byte{0x48, 0x89, 0x07}
	loadInsn  = []byte{0x48, 0x8b, 0x07}
)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// args are the registers of a system call, and the others.
func setAll(st *arch.State, base uint64) {
	for i, r := range allRegs(st) {
		*r = base + uint64(i)*0x0101
	}
}

func allRegs(st *arch.State) []*uint64 {
	return []*uint64{&st.Rax, &st.Rbx, &st.Rdx, &st.Rsi, &st.Rdi, &st.Rbp, &st.R8, &st.R9, &st.R10, &st.R12, &st.R13, &st.R14, &st.R15}
}

func syscallRegisters(m *machine) {
	m.code(cat(syscallInsn, syscallInsn)...)
	setAll(&m.st, 0x11223344)
	m.st.Rax = 39
	want := m.st
	ev := m.run()
	require.Equal(m.t, platform.Syscall, ev.Kind)
	require.Equal(m.t, uint64(39), m.st.SyscallNo())
	require.Equal(m.t, uint64(codeAddr+2), m.st.Rip)
	require.Equal(m.t, int64(-38), int64(m.st.Rax))
	require.Equal(m.t, want.Args(), m.st.Args())
	for i, r := range allRegs(&m.st)[1:] {
		require.Equal(m.t, *allRegs(&want)[i+1], *r)
	}
	// What is returned is what the guest sees.
	m.st.SetReturn(0x1234567890)
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	require.Equal(m.t, uint64(0x1234567890), m.st.SyscallNo())
}

func registersSurvive(m *machine) {
	m.code(0xcc)
	setAll(&m.st, 0x8899aabbccdd0000)
	m.st.Rcx, m.st.R11 = 0x1111, 0x2222
	m.st.Eflags |= 0xcd5 // all that a program may set
	want := m.st
	ev := m.run()
	require.Equal(m.t, platform.Exception, ev.Kind)
	for i, r := range allRegs(&m.st) {
		require.Equal(m.t, *allRegs(&want)[i], *r)
	}
	require.Equal(m.t, uint64(0x1111), m.st.Rcx)
	require.Equal(m.t, uint64(0x2222), m.st.R11)
	require.Equal(m.t, want.Eflags&0xcd5, m.st.Eflags&0xcd5)
	require.Equal(m.t, uint64(arch.NoSyscall), m.st.Orig_rax)
	require.Equal(m.t, uint64(dataAddr+4*page), m.st.Rsp)
}

func floatingPoint(m *machine) {
	// movq %rax, %xmm3; syscall; movq %xmm3, %rbx; int3
	m.code(0x66, 0x48, 0x0f, 0x6e, 0xd8, 0x0f, 0x05, 0x66, 0x48, 0x0f, 0x7e, 0xdb, 0xcc)
	m.st.Rax = 0xfeedface
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	img, err := m.c.FP()
	require.NoError(m.t, err)
	require.Equal(m.t, uint64(0xfeedface), binary.LittleEndian.Uint64(img[160+3*16:]))
	// Another thread in between must not matter.
	other := m.p.NewContext()
	st := m.st
	st.Rip, st.Rax = codeAddr, 7
	done := make(chan error)
	go func() {
		defer other.Release()
		_, err := other.Switch(m.as, &st, false)
		done <- err
	}()
	require.NoError(m.t, <-done)
	require.Equal(m.t, platform.Exception, m.run().Kind)
	require.Equal(m.t, uint64(0xfeedface), m.st.Rbx)
}

func setFP(m *machine) {
	// movq %xmm3, %rbx; int3
	m.code(0x66, 0x48, 0x0f, 0x7e, 0xdb, 0xcc)
	img, err := m.c.FP()
	require.NoError(m.t, err)
	img = append([]byte(nil), img...)
	fx := append([]byte(nil), img[:512]...)
	binary.LittleEndian.PutUint64(fx[160+3*16:], 0xabcdef)
	require.NoError(m.t, m.c.SetFP(fx)) // before the first Switch
	m.run()
	require.Equal(m.t, uint64(0xabcdef), m.st.Rbx)
	binary.LittleEndian.PutUint64(fx[160+3*16:], 0x5555)
	require.NoError(m.t, m.c.SetFP(fx)) // and after it
	m.st.Rip = codeAddr
	m.run()
	require.Equal(m.t, uint64(0x5555), m.st.Rbx)
	require.ErrorIs(m.t, m.c.SetFP(fx[:100]), unix.EINVAL)
	binary.LittleEndian.PutUint32(fx[24:], 0xffffffff)
	require.ErrorIs(m.t, m.c.SetFP(fx), unix.EINVAL)
	m.c.ResetFP()
	m.st.Rip = codeAddr
	m.run()
	require.Zero(m.t, m.st.Rbx)
}

func faults(m *machine) {
	require.NoError(m.t, m.as.Map(farAddr, page, dataOff, platform.Read))
	for _, test := range []struct {
		name   string
		code   []byte
		rdi    uint64
		rip    uint64
		access platform.Access
	}{
		{"read of nothing", loadInsn, farAddr + page, 0, platform.AccessRead},
		{"write to read-only", storeInsn, farAddr, 0, platform.AccessWrite},
		{"fetch of data", nil, 0, dataAddr, platform.AccessExec},
		{"fetch of nothing", nil, 0, farAddr + 5*page, platform.AccessExec},
	} {
		if test.code != nil {
			m.code(test.code...)
		} else {
			m.st.Rip = test.rip
		}
		m.st.Rdi = test.rdi
		ev := m.run()
		require.Equal(m.t, platform.Fault, ev.Kind, test.name)
		want := test.rdi
		if test.rip != 0 {
			want = test.rip
		}
		require.Equal(m.t, want, ev.Addr, test.name)
		require.Equal(m.t, test.access, ev.Access, test.name)
	}
	// A write where nothing is mapped may be taken for a read once, but not when a page is there.
	m.code(storeInsn...)
	m.st.Rdi = farAddr + 8*page
	ev := m.run()
	require.Equal(m.t, platform.Fault, ev.Kind)
	require.NotEqual(m.t, platform.AccessExec, ev.Access)
	require.NoError(m.t, m.as.Map(farAddr+8*page, page, dataOff, platform.Read))
	require.Equal(m.t, platform.AccessWrite, m.run().Access)
}

func faultThenMap(m *machine) {
	m.code(cat(storeInsn, syscallInsn)...)
	m.st.Rdi, m.st.Rax = farAddr+8, 0x42
	require.Equal(m.t, platform.Fault, m.run().Kind)
	require.NoError(m.t, m.as.Map(farAddr, page, dataOff, platform.Read|platform.Write))
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	require.Equal(m.t, uint64(0x42), binary.LittleEndian.Uint64(m.read(dataOff+8, 8)))
}

func protectAndReplace(m *machine) {
	m.code(cat(loadInsn, syscallInsn)...)
	load := func() (uint64, platform.Event) {
		m.st.Rip, m.st.Rdi = codeAddr, dataAddr
		ev := m.run()
		return m.st.Orig_rax, ev
	}
	m.write(dataOff, []byte{1})
	m.write(dataOff+page, []byte{2})
	v, ev := load()
	require.Equal(m.t, platform.Syscall, ev.Kind)
	require.Equal(m.t, uint64(1), v)
	require.NoError(m.t, m.as.Map(dataAddr, page, dataOff+page, platform.Read|platform.Write))
	v, _ = load()
	require.Equal(m.t, uint64(2), v)
	require.NoError(m.t, m.as.Protect(dataAddr, page, platform.Read))
	m.code(storeInsn...)
	m.st.Rdi = dataAddr
	ev = m.run()
	require.Equal(m.t, platform.Fault, ev.Kind)
	require.Equal(m.t, platform.AccessWrite, ev.Access)
	// Several changes of one place, in order.
	require.NoError(m.t, m.as.Unmap(dataAddr, 4*page))
	require.NoError(m.t, m.as.Map(dataAddr, page, dataOff, platform.Read))
	require.NoError(m.t, m.as.Unmap(dataAddr, page))
	m.code(loadInsn...)
	m.st.Rdi = dataAddr
	require.Equal(m.t, platform.Fault, m.run().Kind)
	require.Error(m.t, m.as.Map(1, page, 0, platform.Read))
	_, hi := m.p.Range()
	require.Error(m.t, m.as.Map(hi, page, 0, platform.Read))
}

func after(m *machine) {
	m.code(syscallInsn...)
	m.run()
	ran := 0
	m.as.After(func() { ran++ })
	require.Equal(m.t, 1, ran) // nothing was pending
	require.NoError(m.t, m.as.Unmap(dataAddr, page))
	m.as.After(func() { ran++ })
	m.st.Rip = codeAddr
	m.run()
	require.Equal(m.t, 2, ran)
}

// spin runs a loop in another context that increments the word at dataAddr+8 until it is stopped. The code must be
// in place.
func (m *machine) spin() (stop func()) {
	c := m.p.NewContext()
	st := m.st
	st.Rip = codeAddr
	st.Rdi = dataAddr + 8
	var quit atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer c.Release()
		for !quit.Load() {
			if ev, err := c.Switch(m.as, &st, false); err != nil {
				done <- err
				return
			} else if ev.Kind == platform.Fault {
				time.Sleep(time.Millisecond)
			}
		}
		done <- nil
	}()
	return func() {
		quit.Store(true)
		c.Interrupt()
		require.NoError(m.t, <-done)
	}
}

// countInsn: 1: lock incq (%rdi); jmp 1b
var countInsn = []byte{0xf0, 0x48, 0xff, 0x07, 0xeb, 0xfa}

func (m *machine) counter() uint64 { return binary.LittleEndian.Uint64(m.read(dataOff+8, 8)) }

func syncWithRunningContext(m *machine) {
	m.code(countInsn...)
	stop := m.spin()
	require.Eventually(m.t, func() bool { return m.counter() > 0 }, 5*time.Second, time.Millisecond)
	require.NoError(m.t, m.as.Protect(dataAddr, page, platform.Read))
	require.NoError(m.t, m.as.Sync())
	n := m.counter()
	time.Sleep(5 * time.Millisecond)
	require.Equal(m.t, n, m.counter(), "the other context still writes")
	require.NoError(m.t, m.as.Unmap(dataAddr, page))
	require.NoError(m.t, m.as.Sync())
	require.NoError(m.t, m.as.Map(dataAddr, page, dataOff, platform.Read|platform.Write))
	require.NoError(m.t, m.as.Sync())
	require.Eventually(m.t, func() bool { return m.counter() > n }, 5*time.Second, time.Millisecond)
	stop()
}

func exceptions(m *machine) {
	for _, test := range []struct {
		name string
		code []byte
		sig  unix.Signal
		rip  uint64 // offset after
		or   uint64 // or this
	}{
		{"int3", []byte{0xcc}, unix.SIGTRAP, 1, 1},
		{"ud2", []byte{0x0f, 0x0b}, unix.SIGILL, 0, 0},
		{"div by zero", []byte{0x31, 0xc9, 0xf7, 0xf1}, unix.SIGFPE, 2, 2},
		{"hlt", []byte{0xf4}, unix.SIGSEGV, 0, 0},
		{"int 0x80", []byte{0xcd, 0x80}, unix.SIGSEGV, 2, 0}, // where the host has no 32-bit calls, the instruction faults
		{"non-canonical", []byte{0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x48, 0x8b, 0x00}, unix.SIGSEGV, 10, 10},
	} {
		m.code(test.code...)
		ev := m.run()
		require.Equal(m.t, platform.Exception, ev.Kind, test.name)
		require.Equal(m.t, int(test.sig), ev.Signal, test.name)
		require.Contains(m.t, []uint64{codeAddr + test.rip, codeAddr + test.or}, m.st.Rip, test.name)
		require.Positive(m.t, ev.Code, test.name)
	}
}

func singleStep(m *machine) {
	m.code(0x90, 0x90, 0x0f, 0x05, 0x90, 0x90)
	ev := m.switchTo(true)
	require.Equal(m.t, platform.Exception, ev.Kind)
	require.Equal(m.t, int(unix.SIGTRAP), ev.Signal)
	require.Equal(m.t, uint64(codeAddr+1), m.st.Rip)
	m.switchTo(true)
	require.Equal(m.t, uint64(codeAddr+2), m.st.Rip)
	require.Equal(m.t, platform.Syscall, m.switchTo(true).Kind)
	require.Equal(m.t, uint64(codeAddr+4), m.st.Rip)
	ev = m.switchTo(true)
	require.Equal(m.t, int(unix.SIGTRAP), ev.Signal)
	require.Equal(m.t, uint64(codeAddr+5), m.st.Rip)
	require.Zero(m.t, m.st.Eflags&arch.FlagTF)
}

func badRegisters(m *machine) {
	m.code(syscallInsn...)
	for name, change := range map[string]func(*arch.State){
		"rip":     func(s *arch.State) { s.Rip = 1 << 63 },
		"fs base": func(s *arch.State) { s.Fs_base = 1 << 63 },
		"gs base": func(s *arch.State) { s.Gs_base = ^uint64(0) },
	} {
		st := m.st
		change(&st)
		ev, err := m.c.Switch(m.as, &st, false)
		require.NoError(m.t, err, name)
		require.Equal(m.t, platform.Exception, ev.Kind, name)
		require.Equal(m.t, int(unix.SIGSEGV), ev.Signal, name)
	}
	// Selectors and flags that a program may not have are not taken.
	m.st.Cs, m.st.Ss, m.st.Eflags = 0x10, 0x18, ^uint64(0)&^uint64(arch.FlagTF)
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	require.Equal(m.t, uint64(arch.UserCS), m.st.Cs)
}

func interrupt(m *machine) {
	m.code(loopInsn...)
	m.c.Interrupt() // before
	require.Equal(m.t, platform.Interrupted, m.run().Kind)
	for range 20 {
		time.AfterFunc(2*time.Millisecond, m.c.Interrupt)
		require.Equal(m.t, platform.Interrupted, m.run().Kind)
		require.Equal(m.t, uint64(codeAddr), m.st.Rip)
	}
	// Several count as one.
	m.c.Interrupt()
	m.c.Interrupt()
	require.Equal(m.t, platform.Interrupted, m.run().Kind)
	m.code(syscallInsn...)
	require.Equal(m.t, platform.Syscall, m.run().Kind)
}

// watch: a bit of the watched word keeps guest code from running, also if nobody interrupts.
func watch(m *machine) {
	w, ok := m.c.(platform.Watcher)
	if !ok {
		return
	}
	const bit, other = 4, 2
	var word atomic.Uint32
	w.Watch(&word, bit)
	m.code(loopInsn...)
	word.Store(bit | other)
	for range 3 {
		require.Equal(m.t, platform.Interrupted, m.run().Kind)
	}
	// It may be set at any moment, if Interrupt follows.
	for range 20 {
		word.Store(other)
		time.AfterFunc(time.Millisecond, func() { word.Or(bit); m.c.Interrupt() })
		require.Equal(m.t, platform.Interrupted, m.run().Kind)
		for word.Load()&bit == 0 {
			require.Equal(m.t, platform.Interrupted, m.run().Kind) // the Interrupt of the time before
		}
	}
}

func interruptStorm(m *machine) {
	// 1: inc %rbx; mov %ebx, %eax; syscall; jmp 1b
	m.code(0x48, 0xff, 0xc3, 0x89, 0xd8, 0x0f, 0x05, 0xeb, 0xf7)
	m.st.Rbx = 0
	var quit atomic.Bool
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for !quit.Load() {
			m.c.Interrupt()
			time.Sleep(50 * time.Microsecond)
		}
	}()
	calls, interrupts := uint64(0), 0
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		switch ev := m.run(); ev.Kind {
		case platform.Syscall:
			calls++
			require.Equal(m.t, calls, m.st.SyscallNo(), "a call was lost or made twice")
			require.Equal(m.t, calls, m.st.Rbx)
		case platform.Interrupted:
			interrupts++
		default:
			require.Fail(m.t, "unexpected event", "%+v", ev)
		}
	}
	quit.Store(true)
	wg.Wait()
	require.Positive(m.t, calls)
	require.Positive(m.t, interrupts)
}

func segmentBases(m *machine) {
	m.write(dataOff+0x10, []byte{0x77})
	// mov %fs:0x10, %rax; syscall
	m.code(0x64, 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0, 0x0f, 0x05)
	m.st.Fs_base = dataAddr
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	require.Equal(m.t, uint64(0x77), m.st.SyscallNo())
	require.Equal(m.t, uint64(dataAddr), m.st.Fs_base)
}

func manyContexts(m *machine) {
	// mov $1000, %ecx... the counter: lock incq (%rdi); dec %rbx; jnz; syscall
	m.code(0xf0, 0x48, 0xff, 0x07, 0x48, 0xff, 0xcb, 0x75, 0xf7, 0x0f, 0x05)
	const n, rounds = 50, 1000
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := m.p.NewContext()
			defer c.Release()
			for range 5 {
				st := m.st
				st.Rbx, st.Rdi = rounds, dataAddr+8
				if _, err := c.Switch(m.as, &st, false); err != nil {
					errs <- err
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(m.t, err)
	}
	require.Equal(m.t, uint64(n*rounds*5), m.counter())
}

func manyAddressSpaces(m *machine) {
	m.code(cat(storeInsn, syscallInsn)...)
	const n = 40
	var wg sync.WaitGroup
	errs := make(chan error, 3*n)
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			as, err := m.p.NewAddressSpace()
			if err != nil {
				errs <- err
				return
			}
			defer as.Release()
			c := m.p.NewContext()
			defer c.Release()
			off := uint64(dataOff + (8+i)*page)
			as.Map(codeAddr, page, codeOff, platform.Read|platform.Exec)
			as.Map(dataAddr, page, off, platform.Read|platform.Write)
			st := m.st
			st.Rdi, st.Rax = dataAddr, uint64(i)+1000
			_, err = c.Switch(as, &st, false)
			errs <- err
		}()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(m.t, err)
	}
	for i := range n {
		require.Equal(m.t, uint64(i)+1000, binary.LittleEndian.Uint64(m.read(int64(dataOff+(8+i)*page), 8)))
	}
}

func sharedFrame(m *machine) {
	as2, err := m.p.NewAddressSpace()
	require.NoError(m.t, err)
	defer as2.Release()
	m.mapCode(as2)
	require.NoError(m.t, as2.Map(farAddr, page, dataOff, platform.Read))
	m.code(cat(storeInsn, syscallInsn, loadInsn, syscallInsn)...)
	m.st.Rdi, m.st.Rax = dataAddr, 0x99
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	c := m.p.NewContext()
	st := m.st
	st.Rip, st.Rdi = codeAddr+5, farAddr
	got := make(chan uint64)
	go func() {
		defer c.Release()
		c.Switch(as2, &st, false)
		got <- st.Orig_rax
	}()
	require.Equal(m.t, uint64(0x99), <-got)
}

func reuseForgets(m *machine) {
	m.code(cat(storeInsn, syscallInsn)...)
	m.st.Rdi = dataAddr
	m.run()
	m.c.Release()
	m.as.Release()
	for range 5 {
		as, err := m.p.NewAddressSpace()
		require.NoError(m.t, err)
		m.as, m.c = as, m.p.NewContext()
		m.mapCode(as)
		m.st.Rip = codeAddr
		ev := m.run()
		require.Equal(m.t, platform.Fault, ev.Kind, "memory of an earlier address space is still there")
		m.c.Release()
		m.as.Release()
	}
	var err error
	m.as, err = m.p.NewAddressSpace()
	require.NoError(m.t, err)
	m.c = m.p.NewContext()
}

func moveBetween(m *machine) {
	as2, err := m.p.NewAddressSpace()
	require.NoError(m.t, err)
	defer as2.Release()
	require.NoError(m.t, as2.Map(codeAddr, page, codeOff, platform.Read|platform.Exec))
	m.code(syscallInsn...)
	for i := range 10 {
		as := m.as
		if i%2 == 1 {
			as = as2
		}
		m.st.Rip = codeAddr
		ev, err := m.c.Switch(as, &m.st, false)
		require.NoError(m.t, err)
		require.Equal(m.t, platform.Syscall, ev.Kind)
	}
	m.st.Rip = codeAddr
	m.run() // so that as2 can be released
}

func manyMappings(m *machine) {
	// Alternate frames, so that nothing merges.
	const n = 5000
	for i := range uint64(n) {
		require.NoError(m.t, m.as.Map(farAddr+i*page, page, dataOff+i%2*2*page, platform.Read))
	}
	m.code(cat(loadInsn, syscallInsn)...)
	m.write(dataOff, []byte{5})
	m.st.Rdi = farAddr + (n-2)*page
	require.Equal(m.t, platform.Syscall, m.run().Kind)
	require.Equal(m.t, uint64(5), m.st.SyscallNo())
	require.GreaterOrEqual(m.t, m.as.Mappings(), n)
	require.NoError(m.t, m.as.Unmap(farAddr, n*page))
	// And neighbours do merge.
	for i := range uint64(1000) {
		require.NoError(m.t, m.as.Map(farAddr+i*page, page, dataOff+i*page, platform.Read))
	}
	require.Less(m.t, m.as.Mappings(), 10)
	m.st.Rip, m.st.Rdi = codeAddr, farAddr
	require.Equal(m.t, platform.Syscall, m.run().Kind)
}
