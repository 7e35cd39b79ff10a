package mm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
	accounts "gosv.dev/platform/shown"
)

// shownSpace keeps account as a platform does, and calls nobody.
type shownSpace struct {
	nullSpace
	maps accounts.Map
}

func (s *shownSpace) Map(addr, n, off uint64, prot platform.Prot) error {
	s.maps.Map(addr, addr+n, off, prot)
	return nil
}

func (s *shownSpace) Unmap(addr, n uint64) error {
	s.maps.Unmap(addr, addr+n)
	return nil
}

type shownPlatform struct{ *fakePlatform }

func (shownPlatform) NewAddressSpace() (platform.AddressSpace, error) { return &shownSpace{}, nil }

// benchSpace has some mappings already, as a program with libraries does.
func benchSpace(b *testing.B) *AddressSpace {
	m, p := newTest(b, 1<<30)
	as, err := NewAddressSpace(m, shownPlatform{p})
	require.NoError(b, err)
	for i := range 24 {
		prot := unix.PROT_READ
		if i%2 != 0 {
			prot = rw
		}
		a := mmap(b, as, MMapOpts{Length: 16 << PageShift, Prot: prot, Flags: privAnon})
		require.NoError(b, as.populate(a, a+16<<PageShift, want{access: platform.AccessRead}))
	}
	return as
}

func benchMap(b *testing.B, n uint64) {
	as := benchSpace(b)
	defer as.DecUsers()
	b.ReportAllocs()
	for b.Loop() {
		a, err := as.MMap(MMapOpts{Length: n, Prot: rw, Flags: privAnon})
		if err != nil {
			b.Fatal(err)
		}
		for k := uint64(0); k < n; k += PageSize {
			if t, _ := as.leaf(uint64(a) + k); t == nil || t[pageIdx(uint64(a)+k)] == 0 {
				if err := as.HandleFault(a+usermem.Addr(k), platform.AccessWrite); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := as.MUnmap(a, n); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMap4K(b *testing.B) { benchMap(b, 4<<10) }
func BenchmarkMap1M(b *testing.B) { benchMap(b, 1<<20) }

func BenchmarkBrk(b *testing.B) {
	as := benchSpace(b)
	defer as.DecUsers()
	lo := as.lo + 1<<30
	as.SetBrk(usermem.Addr(lo))
	b.ReportAllocs()
	for b.Loop() {
		as.Brk(usermem.Addr(lo + 4<<PageShift))
		if err := as.HandleFault(usermem.Addr(lo), platform.AccessWrite); err != nil {
			b.Fatal(err)
		}
		as.Brk(usermem.Addr(lo))
	}
}
