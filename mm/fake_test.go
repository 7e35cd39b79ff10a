package mm

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	"gosv.dev/platform/arch"
)

// fakePlatform shows pages in a Go map. It checks the contract, keeps what a
// running context may still see until Sync, and runs After functions late.
type fakePlatform struct {
	m      *Memory
	lo, hi uint64
	limit  int // host mappings, 0 is no limit

	mu     sync.Mutex
	spaces map[*fakeSpace]bool
	bad    []string
}

func (p *fakePlatform) Name() string { return "fake" }
func (p *fakePlatform) NewAddressSpace() (platform.AddressSpace, error) {
	s := &fakeSpace{p: p, pages: map[uint64]fakePage{}, stale: map[fakePage]int{}}
	p.mu.Lock()
	p.spaces[s] = true
	p.mu.Unlock()
	return s, nil
}
func (p *fakePlatform) NewContext() platform.Context { panic("no contexts") }
func (p *fakePlatform) Range() (uint64, uint64)      { return p.lo, p.hi }
func (p *fakePlatform) Close() error                 { return nil }

func (p *fakePlatform) fail(format string, args ...any) {
	p.mu.Lock()
	p.bad = append(p.bad, fmt.Sprintf(format, args...))
	p.mu.Unlock()
}

type fakePage struct {
	off  uint64
	prot platform.Prot
}

type fakeSpace struct {
	p *fakePlatform

	mu       sync.Mutex
	pages    map[uint64]fakePage
	stale    map[fakePage]int // what a running context may still use
	after    []func()
	calls    int
	maps     int
	released bool
}

func (s *fakeSpace) Map(addr, length, off uint64, prot platform.Prot) error {
	if addr%PageSize|length%PageSize|off%PageSize != 0 || length == 0 || prot == platform.None || addr < s.p.lo || addr+length > s.p.hi {
		s.p.fail("Map(%#x, %#x, %#x, %d)", addr, length, off, prot)
	}
	if s.p.limit != 0 && s.Mappings() >= s.p.limit {
		return fmt.Errorf("too many host mappings")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.maps++
	for i := uint64(0); i < length; i += PageSize {
		if s.p.m.Refs(Frame((off+i)>>PageShift)) == 0 {
			s.p.fail("Map of free frame %#x at %#x", (off+i)>>PageShift, addr+i)
		}
		s.drop(addr + i)
		s.pages[addr+i] = fakePage{off + i, prot}
	}
	return nil
}

func (s *fakeSpace) drop(a uint64) {
	if p, ok := s.pages[a]; ok {
		s.stale[p]++
		delete(s.pages, a)
	}
}

func (s *fakeSpace) Unmap(addr, length uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if length>>PageShift > uint64(len(s.pages)) {
		for a := range s.pages {
			if a >= addr && a < addr+length {
				s.drop(a)
			}
		}
		return nil
	}
	for i := uint64(0); i < length; i += PageSize {
		s.drop(addr + i)
	}
	return nil
}

func (s *fakeSpace) Protect(addr, length uint64, prot platform.Prot) error {
	if prot == platform.None {
		s.p.fail("Protect with no rights")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for i := uint64(0); i < length; i += PageSize {
		p, ok := s.pages[addr+i]
		if !ok {
			s.p.fail("Protect of a page not mapped: %#x", addr+i)
			continue
		}
		s.drop(addr + i)
		p.prot = prot
		s.pages[addr+i] = p
	}
	return nil
}

func (s *fakeSpace) After(f func()) {
	s.mu.Lock()
	s.after = append(s.after, f)
	s.mu.Unlock()
}

func (s *fakeSpace) Sync() error {
	s.check()
	s.mu.Lock()
	fs := s.after
	s.after = nil
	clear(s.stale)
	s.mu.Unlock()
	for _, f := range fs {
		f()
	}
	s.check()
	return nil
}

// check looks for frames that are shown, or may be, and are free.
func (s *fakeSpace) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a, p := range s.pages {
		if s.p.m.Refs(Frame(p.off>>PageShift)) == 0 {
			s.p.fail("free frame %#x shown at %#x", p.off>>PageShift, a)
		}
	}
	for p := range s.stale {
		if s.p.m.Refs(Frame(p.off>>PageShift)) == 0 {
			s.p.fail("frame %#x freed before its unmapping was in force", p.off>>PageShift)
		}
	}
}

// Mappings counts as the host would: neighbours with consecutive offsets and equal
// rights are one.
func (s *fakeSpace) Mappings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for a, p := range s.pages {
		q, ok := s.pages[a-PageSize]
		if !ok || q.prot != p.prot || q.off+PageSize != p.off {
			n++
		}
	}
	return n
}

func (s *fakeSpace) Release() {
	_ = s.Sync()
	s.mu.Lock()
	s.released = true
	clear(s.pages)
	s.mu.Unlock()
	s.p.mu.Lock()
	delete(s.p.spaces, s)
	s.p.mu.Unlock()
}

func newTest(t testing.TB, limit int64) (*Memory, *fakePlatform) {
	m, err := NewMemory(limit)
	require.NoError(t, err)
	p := &fakePlatform{m: m, lo: arch.MinAddr, hi: arch.MaxAddr, spaces: map[*fakeSpace]bool{}}
	t.Cleanup(func() {
		for _, b := range p.bad {
			t.Error(b)
		}
		m.Close()
	})
	return m, p
}

func newAS(t testing.TB, m *Memory, p *fakePlatform) *AddressSpace {
	as, err := NewAddressSpace(m, p)
	require.NoError(t, err)
	return as
}

func shown(as *AddressSpace) *fakeSpace { return as.pas.(*fakeSpace) }

// guest finds the memory that a guest access reaches, with the faults it takes.
func guest(as *AddressSpace, addr uint64, access platform.Access) ([]byte, error) {
	s := shown(as)
	need := platform.Read
	if access == platform.AccessWrite {
		need = platform.Write
	} else if access == platform.AccessExec {
		need = platform.Exec
	}
	for try := 0; try < 100; try++ {
		s.mu.Lock()
		p, ok := s.pages[addr&^(PageSize-1)]
		s.mu.Unlock()
		if ok && p.prot&need != 0 {
			o := p.off + addr%PageSize
			return as.m.lin[o : p.off+PageSize], nil
		}
		if err := as.HandleFault(usermem.Addr(addr), access); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("fault at %#x does not end", addr)
}

func poke(as *AddressSpace, addr, v uint64) error {
	b, err := guest(as, addr, platform.AccessWrite)
	if err == nil {
		binary.LittleEndian.PutUint64(b, v)
	}
	return err
}

func peek(as *AddressSpace, addr uint64) (uint64, error) {
	b, err := guest(as, addr, platform.AccessRead)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func mustPeek(t testing.TB, as *AddressSpace, addr uint64) uint64 {
	v, err := peek(as, addr)
	require.NoError(t, err)
	return v
}

// clean checks that everything went back.
func clean(t testing.TB, m *Memory) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Zero(t, m.used.Load(), "frames in use")
	require.Zero(t, m.mapped.Load(), "mapped")
	require.Zero(t, m.committed.Load(), "committed")
	require.Zero(t, m.mlocked.Load(), "mlocked")
	require.Zero(t, m.resvPages, "reservations")
	free := 0
	for o := range m.free {
		for i := m.free[o].next(0); i >= 0; i = m.free[o].next(i + 1) {
			free += 1 << o
		}
	}
	require.Equal(t, m.frames-1, free, "free frames")
}
