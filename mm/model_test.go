package mm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

// The model: an arena of pages, each with rights and a cell that holds its first
// word. Shared pages share the cell after fork.

const (
	arenaBase  = 0x10_0000_0000 - 40*PageSize // across a 2 MiB border
	arenaPages = 96
)

type modelPage struct {
	mapped bool
	prot   platform.Prot
	shared bool
	cell   *uint64
}

type model struct {
	as    *AddressSpace
	pages [arenaPages]modelPage
}

func (mo *model) fork() (*model, error) {
	as, err := mo.as.Fork()
	if err != nil {
		return nil, err
	}
	n := &model{as: as, pages: mo.pages}
	for i := range n.pages {
		if p := &n.pages[i]; p.mapped && !p.shared {
			v := *p.cell
			p.cell = &v
		}
	}
	return n, nil
}

func (mo *model) check(i int) error {
	p := &mo.pages[i]
	addr := uint64(arenaBase + i*PageSize)
	v, err := peek(mo.as, addr)
	if !p.mapped || p.prot == platform.None {
		fe, ok := err.(*FaultError)
		if !ok {
			return fmt.Errorf("page %d: read %d, %v; want a fault", i, v, err)
		}
		if want := map[bool]int32{true: SegvAccErr, false: SegvMapErr}[p.mapped]; fe.Code != want {
			return fmt.Errorf("page %d: code %d, want %d", i, fe.Code, want)
		}
		return nil
	}
	if err != nil || v != *p.cell {
		return fmt.Errorf("page %d: read %d, %v; want %d", i, v, err, *p.cell)
	}
	return nil
}

// step does one random operation on the model and on the real thing.
func (mo *model) step(op, a, b, c byte) error {
	i := int(a) % arenaPages
	n := 1 + int(b)%(arenaPages-i)
	addr := usermem.Addr(arenaBase + i*PageSize)
	length := uint64(n) * PageSize
	prots := []int{unix.PROT_READ | unix.PROT_WRITE, unix.PROT_READ | unix.PROT_WRITE, unix.PROT_READ, unix.PROT_NONE, unix.PROT_READ | unix.PROT_EXEC}
	prot := prots[int(c)%len(prots)]
	switch op % 10 {
	case 0: // mmap
		fl := unix.MAP_PRIVATE
		if c&0x80 != 0 {
			fl = unix.MAP_SHARED
		}
		if c&0x40 != 0 {
			fl |= unix.MAP_POPULATE
		}
		got, err := mo.as.MMap(MMapOpts{Addr: addr, Length: length, Prot: prot, Flags: fl | unix.MAP_ANONYMOUS | unix.MAP_FIXED})
		if err != nil || got != addr {
			return fmt.Errorf("mmap: %v %#x", err, got)
		}
		for k := i; k < i+n; k++ {
			mo.pages[k] = modelPage{true, platform.Prot(prot), c&0x80 != 0, new(uint64)}
		}
	case 1: // munmap
		if err := mo.as.MUnmap(addr, length); err != nil {
			return err
		}
		for k := i; k < i+n; k++ {
			mo.pages[k] = modelPage{}
		}
	case 2: // mprotect
		err := mo.as.MProtect(addr, length, prot)
		for k := i; k < i+n; k++ {
			if !mo.pages[k].mapped {
				if err != unix.ENOMEM {
					return fmt.Errorf("mprotect over a hole: %v", err)
				}
				return nil
			}
			mo.pages[k].prot = platform.Prot(prot)
		}
		return err
	case 3: // mremap to elsewhere in the arena
		j := int(c) % arenaPages
		oldN := 1 + int(b>>4)%8
		newN := 1 + int(b&15)
		if i+oldN > arenaPages || j+newN > arenaPages {
			return nil
		}
		fl := unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED
		got, err := mo.as.MRemap(addr, uint64(oldN)*PageSize, uint64(newN)*PageSize, fl, usermem.Addr(arenaBase+j*PageSize))
		if j < i+oldN && i < j+newN {
			if err != unix.EINVAL && (err != unix.EFAULT || mo.pages[i].mapped) {
				return fmt.Errorf("mremap onto itself: %v", err)
			}
			return nil
		}
		// The destination goes first, then the tail; only then is the source looked at.
		first := mo.pages[i]
		if !first.mapped {
			if err != unix.EFAULT {
				return fmt.Errorf("mremap of nothing: %v", err)
			}
			return nil
		}
		if newN < oldN {
			for k := i + newN; k < i+oldN; k++ {
				mo.pages[k] = modelPage{}
			}
		}
		if err != nil {
			if err != unix.EFAULT {
				return fmt.Errorf("mremap: %v", err)
			}
			return nil
		}
		if got != usermem.Addr(arenaBase+j*PageSize) {
			return fmt.Errorf("mremap went to %#x", got)
		}
		for k := 0; k < newN; k++ {
			if k < oldN {
				mo.pages[j+k] = mo.pages[i+k]
				mo.pages[i+k] = modelPage{}
			} else {
				mo.pages[j+k] = modelPage{true, first.prot, false, new(uint64)}
				if first.shared {
					// Beyond the end of the object: do not look.
					if err := mo.as.MUnmap(usermem.Addr(arenaBase+(j+k)*PageSize), PageSize); err != nil {
						return err
					}
					mo.pages[j+k] = modelPage{}
				}
			}
		}
	case 4: // madvise(DONTNEED)
		if err := mo.as.MAdvise(addr, length, unix.MADV_DONTNEED); err != nil && err != unix.ENOMEM {
			return err
		}
		for k := i; k < i+n; k++ {
			if p := &mo.pages[k]; p.mapped && !p.shared {
				p.cell = new(uint64)
			}
		}
	case 5, 6, 7: // a guest writes
		v := uint64(a)<<16 | uint64(b)<<8 | uint64(c) + 1
		p := &mo.pages[i]
		err := poke(mo.as, uint64(addr), v)
		if !p.mapped || p.prot&platform.Write == 0 {
			if _, ok := err.(*FaultError); !ok {
				return fmt.Errorf("write to page %d: %v", i, err)
			}
			return nil
		}
		*p.cell = v
		return err
	case 8: // the sentry writes
		v := uint64(a)<<16 | uint64(b)<<8 | uint64(c) + 3
		p := &mo.pages[i]
		err := usermem.CopyObjectOut(mo.as, addr, &v)
		if !p.mapped || p.prot&platform.Write == 0 {
			if err != unix.EFAULT {
				return fmt.Errorf("CopyOut to page %d: %v", i, err)
			}
			return nil
		}
		*p.cell = v
		return err
	case 9: // a debugger writes
		v := uint64(a)<<16 | uint64(b)<<8 | uint64(c) + 7
		p := &mo.pages[i]
		var buf [8]byte
		for k := range buf {
			buf[k] = byte(v >> (8 * k))
		}
		_, err := mo.as.CopyOutForce(addr, buf[:])
		if !p.mapped || p.shared && p.prot&platform.Write == 0 {
			if err != unix.EFAULT {
				return fmt.Errorf("CopyOutForce to page %d: %v", i, err)
			}
			return nil
		}
		*p.cell = v
		return err
	}
	return nil
}

// exchange has as show what other does, and share what is equal if share is set, where that is possible. It returns for how many pages.
func exchange(as, other *AddressSpace, lo, hi uint64, share bool) (pages int) {
	for _, x := range []*AddressSpace{as, other} {
		_ = x.pas.Sync() // neither runs
	}
	if !as.TryLock() || !other.TryLock() {
		panic("locked")
	}
	defer as.Unlock()
	defer other.Unlock()
	here, there := shown(as), shown(other)
	had := maps.Clone(there.pages)
	for lo < hi {
		next := lo
		end := as.Exchange(other, lo, hi, func(lo, hi, off uint64) {
			if lo != next {
				panic("not in order")
			}
			next = hi
			for a := lo; a < hi; a += PageSize {
				there.pages[a] = fakePage{off + a - lo, had[a].prot}
				here.pages[a] = had[a]
				pages++
			}
		})
		if next != end {
			panic("not all told")
		}
		if share {
			as.Share(other, lo, end, func(a uint64) bool {
				if a>>PageShift%7 == 0 {
					return false
				}
				p := here.pages[a]
				p.prot &^= platform.Write
				here.pages[a], there.pages[a] = p, p
				pages++
				return true
			})
		}
		lo = end + PageSize
	}
	return pages
}

// runModel returns how many pages two address spaces have given to each other.
func runModel(t testing.TB, ops []byte, limit int) (exchanged int) {
	m, p := newTest(t, 64<<20)
	p.limit = limit
	all := []*model{{as: newAS(t, m, p)}}
	for n := 0; len(ops) >= 4; n++ {
		op, a, b, c := ops[0], ops[1], ops[2], ops[3]
		ops = ops[4:]
		mo := all[int(op>>4)%len(all)]
		switch {
		case op == 0xff && len(all) < 4:
			ch, err := mo.fork()
			require.NoError(t, err)
			all = append(all, ch)
		case op == 0xfe && len(all) > 1:
			all[len(all)-1].as.DecUsers()
			all = all[:len(all)-1]
			mo = all[0]
		case op == 0xfd:
			require.NoError(t, mo.as.pas.Sync())
		case op&15 == 10 || op&15 == 11:
			if other := all[int(b)%len(all)]; other != mo {
				exchanged += exchange(mo.as, other.as, arenaBase+uint64(a)%arenaPages*PageSize, arenaBase+arenaPages*PageSize, op&15 == 11)
			}
		default:
			require.NoError(t, mo.step(op&15, a, b, c), "step %d: op %d", n, op&15)
		}
		require.NoError(t, mo.check(int(a)%arenaPages), "after step %d, op %#x", n, op)
		if n%16 == 0 {
			for _, mo := range all {
				for i := range mo.pages {
					require.NoError(t, mo.check(i), "after step %d, op %#x", n, op)
				}
				checkRegions(t, mo.as)
			}
		}
	}
	for _, mo := range all {
		mo.as.DecUsers()
	}
	clean(t, m)
	return exchanged
}

// checkRegions checks the sums that are kept.
func checkRegions(t testing.TB, as *AddressSpace) {
	as.mu.RLock()
	defer as.mu.RUnlock()
	var total, last uint64
	as.regions.Scan(func(k uint64, r *region) bool {
		require.Equal(t, k, r.start)
		require.Less(t, r.start, r.end)
		require.LessOrEqual(t, last, r.start)
		last = r.end
		total += r.end - r.start
		return true
	})
	require.Equal(t, total>>PageShift, uint64(as.totalVM))
	var rss int64
	as.regions.Scan(func(_ uint64, r *region) bool {
		for a := r.start; a < r.end; {
			tb, end := as.leaf(a)
			for end = min(end, r.end); tb != nil && a < end; a += PageSize {
				if tb[pageIdx(a)] != 0 {
					rss++
				}
			}
			a = end
		}
		return true
	})
	require.Equal(t, rss, as.rss[kindAnon].Load()+as.rss[kindFile].Load()+as.rss[kindShmem].Load())
}

func TestModel(t *testing.T) {
	exchanged := 0
	for seed := uint64(0); seed < 40; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			ops := make([]byte, 4*1500)
			for i := range ops {
				ops[i] = byte(r.Uint32())
			}
			limit := 0
			if seed%4 == 3 {
				limit = 8 // the platform's table overflows all the time
			}
			exchanged += runModel(t, ops, limit)
		})
	}
	require.Greater(t, exchanged, 100)
}

func FuzzModel(f *testing.F) {
	f.Add([]byte("0a0a5a0a3b0a9c0a\xff000"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 4096 {
			return
		}
		runModel(t, ops, 0)
	})
}
