package mm

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/platform"
)

const (
	rw       = unix.PROT_READ | unix.PROT_WRITE
	privAnon = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
)

func mmap(t testing.TB, as *AddressSpace, o MMapOpts) uint64 {
	t.Helper()
	a, err := as.MMap(o)
	require.NoError(t, err)
	return uint64(a)
}

func anonMap(t testing.TB, as *AddressSpace, n uint64) uint64 {
	t.Helper()
	return mmap(t, as, MMapOpts{Length: n, Prot: rw, Flags: privAnon})
}

func TestBuddy(t *testing.T) {
	m, _ := newTest(t, 64<<20)
	type run struct {
		f Frame
		o int
	}
	var runs []run
	owner := map[Frame]bool{}
	for i := 0; i < 3000; i++ {
		if len(runs) > 0 && rand.IntN(2) == 0 {
			k := rand.IntN(len(runs))
			r := runs[k]
			runs[k] = runs[len(runs)-1]
			runs = runs[:len(runs)-1]
			for j := Frame(0); j < 1<<r.o; j++ {
				delete(owner, r.f+j)
				m.Bytes(r.f + j)[7] = 1
				m.DecRef(r.f + j)
			}
			continue
		}
		o := rand.IntN(7)
		f, err := m.AllocRun(o)
		if err != nil {
			require.Equal(t, unix.ENOMEM, err)
			continue
		}
		require.Zero(t, f&(1<<o-1))
		for j := Frame(0); j < 1<<o; j++ {
			require.False(t, owner[f+j])
			require.Zero(t, m.Bytes(f + j)[7], "not zeroed")
			owner[f+j] = true
		}
		runs = append(runs, run{f, o})
		if i%500 == 0 {
			for m.scrubPiece() {
			}
		}
	}
	for _, r := range runs {
		for j := Frame(0); j < 1<<r.o; j++ {
			m.DecRef(r.f + j)
		}
	}
	clean(t, m)
}

func TestHostMappings(t *testing.T) {
	for _, c := range []struct {
		name string
		o    MMapOpts
		most int
	}{
		{"private", MMapOpts{Length: 1 << 30, Prot: rw, Flags: privAnon}, 100},
		{"shared", MMapOpts{Length: 1 << 30, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS}, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, p := newTest(t, 2<<30)
			as := newAS(t, m, p)
			a := mmap(t, as, c.o)
			r := rand.New(rand.NewPCG(1, 1))
			for _, i := range r.Perm(1 << 18) {
				_, err := guest(as, a+uint64(i)<<PageShift, platform.AccessWrite)
				require.NoError(t, err)
			}
			t.Logf("%d host mappings, %d calls", as.pas.Mappings(), shown(as).calls)
			require.Less(t, as.pas.Mappings(), c.most)
			as.DecUsers()
			clean(t, m)
		})
	}
	t.Run("heap", func(t *testing.T) {
		m, p := newTest(t, 1<<30)
		as := newAS(t, m, p)
		as.SetBrk(0x10000000)
		for end := uint64(0x10000000); end < 0x10000000+200<<20; end += 132 << 10 {
			require.EqualValues(t, end, as.Brk(usermem.Addr(end)))
			if end > 0x10000000 {
				require.NoError(t, poke(as, end-8, 1))
				require.NoError(t, poke(as, end-100<<10, 1))
			}
		}
		t.Logf("%d host mappings", as.pas.Mappings())
		require.Less(t, as.pas.Mappings(), 100) // some 64 KiB blocks are never touched
		as.DecUsers()
		clean(t, m)
	})
}

func TestForkContents(t *testing.T) {
	m, p := newTest(t, 256<<20)
	as := newAS(t, m, p)
	a := anonMap(t, as, 4<<20)
	sh := mmap(t, as, MMapOpts{Length: 64 << 10, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS})
	for i := uint64(0); i < 1024; i++ {
		require.NoError(t, poke(as, a+i<<PageShift, i+1))
	}
	require.NoError(t, as.MAdvise(usermem.Addr(a), PageSize, unix.MADV_WIPEONFORK))
	require.NoError(t, as.MAdvise(usermem.Addr(a+PageSize), PageSize, unix.MADV_DONTFORK))
	before := m.Stats().Anon
	ch, err := as.Fork()
	require.NoError(t, err)
	require.Equal(t, before, m.Stats().Anon)
	require.Zero(t, mustPeek(t, ch, a))
	_, err = peek(ch, a+PageSize)
	require.Error(t, err)
	for i := uint64(2); i < 1024; i += 3 {
		require.NoError(t, poke(ch, a+i<<PageShift, 1e6+i))
		require.NoError(t, poke(as, a+(i+1)%1024<<PageShift, 2e6+i))
	}
	require.NoError(t, poke(ch, sh, 77))
	require.EqualValues(t, 77, mustPeek(t, as, sh))
	for i := uint64(2); i < 1024; i++ {
		w := i + 1
		if i%3 == 2 {
			w = 1e6 + i
		}
		require.Equal(t, w, mustPeek(t, ch, a+i<<PageShift))
		w = i + 1
		if i%3 == 0 && i > 2 {
			w = 2e6 + i - 1
		}
		require.Equal(t, w, mustPeek(t, as, a+i<<PageShift))
	}
	ch.DecUsers()
	// Pages that only the parent has are made writable without a copy.
	n := m.allocs.Load()
	for i := uint64(1); i < 1024; i++ {
		require.NoError(t, poke(as, a+i<<PageShift, i))
	}
	require.Equal(t, n, m.allocs.Load())
	as.DecUsers()
	clean(t, m)
}

// memBacking is a file on a slice.
type memBacking struct {
	mu     sync.Mutex
	b      []byte
	reads  int
	writes int
	err    error
}

func (f *memBacking) ReadPage(off int64, dst []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.err != nil {
		return 0, f.err
	}
	if off >= int64(len(f.b)) {
		return 0, nil
	}
	return copy(dst, f.b[off:]), nil
}

func (f *memBacking) WritePage(off int64, src []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.err != nil {
		return f.err
	}
	if need := int(off) + len(src); need > len(f.b) {
		f.b = append(f.b, make([]byte, need-len(f.b))...)
	}
	copy(f.b[off:], src)
	return nil
}

func (f *memBacking) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int64(len(f.b)) > size {
		f.b = f.b[:size]
	}
	return nil
}

func readFile(t testing.TB, c *PageCache, off, n int64) []byte {
	t.Helper()
	b := make([]byte, n)
	v := usermem.Bytes(b)
	got, err := c.ReadAt(&v, off)
	require.NoError(t, err)
	return b[:got]
}

func writeFile(t testing.TB, c *PageCache, off int64, b []byte) {
	t.Helper()
	v := usermem.Bytes(b)
	got, err := c.WriteAt(&v, off)
	require.NoError(t, err)
	require.EqualValues(t, len(b), got)
}

func mapFile(c *PageCache, released *int) *MapFile {
	return &MapFile{
		Cache: c, Name: func() string { return "/f" }, MaxProt: platform.Read | platform.Write | platform.Exec,
		Release: func() { *released++ },
	}
}

// TestPageCacheModel compares random file operations with a slice, with and
// without a backing.
func TestPageCacheModel(t *testing.T) {
	for _, backed := range []bool{false, true} {
		for seed := uint64(0); seed < 6; seed++ {
			m, p := newTest(t, 64<<20)
			as := newAS(t, m, p)
			r := rand.New(rand.NewPCG(seed, 2))
			var back *memBacking
			var c *PageCache
			var want []byte
			if backed {
				back = &memBacking{b: make([]byte, 300000)}
				for i := range back.b {
					back.b[i] = byte(i * 7)
				}
				want = bytes.Clone(back.b)
				c = m.NewPageCache(back, int64(len(back.b)))
			} else {
				c = m.NewPageCache(nil, 0)
			}
			released := 0
			const span = 1 << 20
			a := mmap(t, as, MMapOpts{Length: span, Prot: rw, Flags: unix.MAP_SHARED, File: mapFile(c, &released)})
			buf := anonMap(t, as, span)
			for step := 0; step < 400; step++ {
				off := r.Int64N(span / 2)
				n := 1 + r.Int64N(20000)
				switch r.IntN(9) {
				case 0, 1: // write(2) from the sentry or from the guest
					b := make([]byte, n)
					for i := range b {
						b[i] = byte(r.Uint32())
					}
					if r.IntN(2) == 0 {
						writeFile(t, c, off, b)
					} else {
						_, err := as.CopyOut(usermem.Addr(buf), b)
						require.NoError(t, err)
						v := usermem.Guest(as, usermem.Addr(buf), uint64(n))
						got, err := c.WriteAt(&v, off)
						require.NoError(t, err)
						require.Equal(t, n, got)
					}
					if int(off+n) > len(want) {
						want = append(want, make([]byte, int(off+n)-len(want))...)
					}
					copy(want[off:], b)
				case 2: // a store through the mapping, maybe after the end of the file
					pg, err := guest(as, a+uint64(off), platform.AccessWrite)
					if off>>PageShift >= pagesOf(int64(len(want))) {
						require.Equal(t, int(unix.SIGBUS), err.(*FaultError).Signal)
						continue
					}
					require.NoError(t, err)
					pg[0] = byte(step)
					if off < int64(len(want)) {
						want[off] = byte(step)
					}
				case 3:
					size := r.Int64N(span / 2)
					require.NoError(t, c.Truncate(size))
					if int(size) <= len(want) {
						want = want[:size]
					} else {
						want = append(want, make([]byte, int(size)-len(want))...)
					}
				case 4:
					err := c.PunchHole(off, n)
					if backed {
						require.Equal(t, unix.EOPNOTSUPP, err)
						continue
					}
					require.NoError(t, err)
					for i := off; i < min(off+n, int64(len(want))); i++ {
						want[i] = 0
					}
				case 5:
					if backed {
						require.NoError(t, c.Sync(0, 0))
						back.mu.Lock()
						require.True(t, bytes.HasPrefix(want, back.b))
						back.mu.Unlock()
					} else {
						require.NoError(t, c.Allocate(off, n, true))
					}
				case 6:
					m.Reclaim(1 << 30)
					if backed {
						c.Invalidate(0, 0)
					}
				case 7:
					require.NoError(t, as.MAdvise(usermem.Addr(a), span, unix.MADV_DONTNEED))
				case 8:
					_ = as.pas.Sync()
				}
				require.Equal(t, int64(len(want)), c.Size())
				require.True(t, bytes.Equal(want, readFile(t, c, 0, span)), "step %d", step)
				if off < int64(len(want)) {
					pg, err := guest(as, a+uint64(off), platform.AccessRead)
					require.NoError(t, err)
					require.Equal(t, want[off], pg[0])
				}
				if !backed {
					checkSeek(t, c)
				}
			}
			as.DecUsers()
			require.Equal(t, 1, released)
			if backed {
				require.NoError(t, c.Sync(0, 0))
				require.Zero(t, c.DirtyPages())
			}
			c.Release()
			clean(t, m)
		}
	}
}

// checkSeek walks data and holes and compares them with the pages that are there.
func checkSeek(t testing.TB, c *PageCache) {
	size := c.Size()
	for pos := int64(0); pos < size; {
		d, err := c.SeekData(pos)
		if err == unix.ENXIO {
			require.Equal(t, int(pagesOf(size)-pos>>PageShift), c.absent(pos>>PageShift, int(pagesOf(size)-pos>>PageShift)))
			return
		}
		require.NoError(t, err)
		h, err := c.SeekHole(d)
		require.NoError(t, err)
		require.Greater(t, h, d)
		for x := pos; x < h; x += PageSize {
			_, _, f := c.lookup(x >> PageShift)
			require.Equal(t, x >= d, f != NoFrame)
		}
		pos = h
	}
}

// A write from a mapping of the same page, and a read into it, must not deadlock.
func TestSelfCopy(t *testing.T) {
	for _, back := range []Backing{nil, &memBacking{b: bytes.Repeat([]byte{1}, 64<<10)}} {
		m, p := newTest(t, 64<<20)
		as := newAS(t, m, p)
		c := m.NewPageCache(back, 64<<10)
		n := 0
		a := mmap(t, as, MMapOpts{Length: 64 << 10, Prot: rw, Flags: unix.MAP_SHARED, File: mapFile(c, &n)})
		v := usermem.Guest(as, usermem.Addr(a), 32<<10)
		got, err := c.WriteAt(&v, 100)
		require.NoError(t, err)
		require.EqualValues(t, 32<<10, got)
		v = usermem.Guest(as, usermem.Addr(a), 32<<10)
		got, err = c.ReadAt(&v, 50)
		require.NoError(t, err)
		require.EqualValues(t, 32<<10, got)
		as.DecUsers()
		c.Release()
		clean(t, m)
	}
}

func TestTruncateIsSigbus(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	c := m.NewPageCache(nil, 8*PageSize)
	n := 0
	a := mmap(t, as, MMapOpts{Length: 8 * PageSize, Prot: rw, Flags: unix.MAP_SHARED, File: mapFile(c, &n)})
	b := mmap(t, as, MMapOpts{Length: 8 * PageSize, Prot: rw, Flags: unix.MAP_PRIVATE, File: mapFile(c, &n)})
	for i := uint64(0); i < 8; i++ {
		require.NoError(t, poke(as, a+i*PageSize, i+1))
		require.NoError(t, poke(as, b+i*PageSize, i+100))
	}
	require.NoError(t, c.Truncate(3*PageSize+5))
	for i := uint64(0); i < 8; i++ {
		for _, x := range []uint64{a, b} {
			_, err := peek(as, x+i*PageSize)
			if i <= 3 {
				require.NoError(t, err)
			} else {
				require.Equal(t, &FaultError{int(unix.SIGBUS), BusAdrErr, usermem.Addr(x + i*PageSize)}, err)
			}
		}
	}
	require.EqualValues(t, 4, c.Pages())
	_, err := as.CopyIn(usermem.Addr(a), make([]byte, 8*PageSize))
	require.Equal(t, unix.EFAULT, err)
	as.DecUsers()
	require.Equal(t, 2, n)
	c.Release()
	clean(t, m)
}

// A page of a private mapping follows the file until it is written to, whatever is written around it.
func TestPrivateFilePages(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	c := m.NewPageCache(nil, 8*PageSize)
	n := 0
	file := mmap(t, as, MMapOpts{Length: 8 * PageSize, Prot: rw, Flags: unix.MAP_SHARED, File: mapFile(c, &n)})
	f := mapFile(c, &n)
	priv := mmap(t, as, MMapOpts{Length: 8 * PageSize, Prot: rw, Flags: unix.MAP_PRIVATE, File: f})
	for i := uint64(0); i < 8; i++ {
		require.NoError(t, poke(as, file+i*PageSize, i))
		require.Equal(t, i, mustPeek(t, as, priv+i*PageSize))
	}
	require.NoError(t, poke(as, priv+PageSize, 100))
	child, err := as.Fork()
	require.NoError(t, err)
	require.Equal(t, 2, f.Regions())
	require.NoError(t, poke(child, priv+2*PageSize, 200))
	require.NoError(t, poke(as, priv+3*PageSize, 300))
	for i := uint64(0); i < 8; i++ {
		require.NoError(t, poke(as, file+i*PageSize, i+10))
	}
	want := []uint64{10, 100, 12, 300, 14, 15, 16, 17}
	inChild := []uint64{10, 100, 200, 13, 14, 15, 16, 17}
	for i := range want {
		require.Equal(t, want[i], mustPeek(t, as, priv+uint64(i)*PageSize), i)
		require.Equal(t, inChild[i], mustPeek(t, child, priv+uint64(i)*PageSize), i)
	}
	child.DecUsers()
	require.Equal(t, 1, f.Regions())
	as.DecUsers()
	c.Release()
	clean(t, m)
}

func TestSeals(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	c := m.NewPageCache(nil, PageSize)
	n := 0
	o := MMapOpts{Length: PageSize, Prot: rw, Flags: unix.MAP_SHARED, File: mapFile(c, &n)}
	a := mmap(t, as, o)
	require.Equal(t, 1, c.WritableMappings())
	require.Equal(t, unix.EBUSY, c.DenyWritable())
	ch, err := as.Fork()
	require.NoError(t, err)
	require.NoError(t, as.MUnmap(usermem.Addr(a), PageSize))
	require.NoError(t, as.pas.Sync())
	require.Equal(t, 1, c.WritableMappings())
	ch.DecUsers()
	require.NoError(t, c.DenyWritable())
	o.File = mapFile(c, &n)
	_, err = as.MMap(o)
	require.Equal(t, unix.EPERM, err)
	as.DecUsers()
}

func TestShrinkPageCache(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	back := &memBacking{b: make([]byte, 48<<20)}
	for i := range back.b {
		back.b[i] = byte(i >> 12)
	}
	c := m.NewPageCache(back, int64(len(back.b)))
	readFile(t, c, 0, 48<<20)
	require.Greater(t, c.Pages(), int64(1000))
	// Anonymous memory pushes clean pages out, and dirty ones too in the end.
	writeFile(t, c, 0, bytes.Repeat([]byte{9}, 8<<20))
	a := anonMap(t, as, 60<<20)
	for i := uint64(0); i < 60<<20; i += PageSize {
		require.NoError(t, poke(as, a+i, i))
	}
	require.Less(t, c.Pages(), int64(1100))
	require.NoError(t, as.MUnmap(usermem.Addr(a), 60<<20))
	require.NoError(t, as.pas.Sync())
	require.Equal(t, bytes.Repeat([]byte{9}, 8<<20), readFile(t, c, 0, 8<<20))
	as.DecUsers()
	c.Release()
	clean(t, m)
}

type testShrinker struct {
	prio  int
	order *[]int
}

func (s testShrinker) Name() string                    { return "test" }
func (s testShrinker) Priority() int                   { return s.prio }
func (s testShrinker) Shrink(n int64, hard bool) int64 { *s.order = append(*s.order, s.prio); return 0 }

func TestOOM(t *testing.T) {
	m, p := newTest(t, 32<<20)
	var order []int
	s1, s2 := &testShrinker{200, &order}, &testShrinker{50, &order}
	m.RegisterShrinker(s1)
	m.RegisterShrinker(s2)
	as, victim := newAS(t, m, p), newAS(t, m, p)
	va := anonMap(t, victim, 20<<20)
	for i := uint64(0); i < 20<<20; i += PageSize {
		require.NoError(t, poke(victim, va+i, 1))
	}
	killed := 0
	m.SetOOM(func() bool {
		if killed++; killed == 1 {
			victim.DecUsers()
		}
		return killed == 1
	})
	a := anonMap(t, as, 32<<20)
	var err error
	i := uint64(0)
	for ; i < 40<<20 && err == nil; i += PageSize {
		err = poke(as, a+i, 1)
	}
	require.Equal(t, ErrOOM, err)
	require.Greater(t, i, uint64(30<<20))
	require.Equal(t, 2, killed)
	require.Equal(t, []int{50, 200, 50, 200}, order[:4])
	// The sentry's own allocations get an error.
	c := m.NewPageCache(nil, 0)
	v := usermem.Bytes(make([]byte, PageSize))
	_, err = c.WriteAt(&v, 0)
	require.Equal(t, unix.ENOMEM, err)
	_, err = m.Alloc()
	require.Equal(t, unix.ENOMEM, err)
	_, err = as.MMap(MMapOpts{Length: 64 << 20, Prot: rw, Flags: privAnon})
	require.Equal(t, unix.ENOMEM, err)
	_, err = as.MMap(MMapOpts{Length: 64 << 20, Prot: rw, Flags: privAnon | unix.MAP_NORESERVE})
	require.NoError(t, err)
	c.Release()
	as.DecUsers()
	clean(t, m)
}

func TestMMapErrors(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	defer as.DecUsers()
	c := m.NewPageCache(nil, PageSize)
	ro := func() *MapFile { return &MapFile{Cache: c, MaxProt: platform.Read} }
	fixed := usermem.Addr(anonMap(t, as, PageSize))
	for _, x := range []struct {
		name string
		o    MMapOpts
		err  error
	}{
		{"no length", MMapOpts{Prot: rw, Flags: privAnon}, unix.EINVAL},
		{"no type", MMapOpts{Length: 1, Prot: rw, Flags: unix.MAP_ANONYMOUS}, unix.EINVAL},
		{"huge", MMapOpts{Length: 1 << 63, Prot: rw, Flags: privAnon}, unix.ENOMEM},
		{"wraps", MMapOpts{Length: ^uint64(0), Prot: rw, Flags: privAnon}, unix.ENOMEM},
		{"offset", MMapOpts{Length: 1, Offset: 5, Flags: unix.MAP_PRIVATE, File: ro()}, unix.EINVAL},
		{"overflow", MMapOpts{Length: 2 * PageSize, Offset: ^uint64(PageSize - 1), Flags: unix.MAP_PRIVATE, File: ro()}, unix.EOVERFLOW},
		{"low", MMapOpts{Addr: PageSize, Length: 1, Prot: rw, Flags: privAnon | unix.MAP_FIXED}, unix.EPERM},
		{"unaligned", MMapOpts{Addr: 0x7000001, Length: 1, Prot: rw, Flags: privAnon | unix.MAP_FIXED}, unix.EINVAL},
		{"high", MMapOpts{Addr: 1 << 47, Length: 1, Prot: rw, Flags: privAnon | unix.MAP_FIXED}, unix.ENOMEM},
		{"no replace", MMapOpts{Addr: fixed, Length: 1, Prot: rw, Flags: privAnon | unix.MAP_FIXED_NOREPLACE}, unix.EEXIST},
		{"shared write of read-only", MMapOpts{Length: 1, Prot: rw, Flags: unix.MAP_SHARED, File: ro()}, unix.EACCES},
		{"exec on noexec", MMapOpts{Length: 1, Prot: unix.PROT_EXEC, Flags: unix.MAP_SHARED, File: ro()}, unix.EPERM},
		{"validate", MMapOpts{Length: 1, Flags: unix.MAP_SHARED_VALIDATE | 1<<19, File: ro()}, unix.EOPNOTSUPP},
		{"private write of read-only", MMapOpts{Length: 1, Prot: rw, Flags: unix.MAP_PRIVATE, File: ro()}, nil},
		{"hint taken", MMapOpts{Addr: fixed, Length: 1, Prot: rw, Flags: privAnon}, nil},
		{"32bit", MMapOpts{Length: 1, Prot: rw, Flags: privAnon | unix.MAP_32BIT}, nil},
	} {
		a, err := as.MMap(x.o)
		require.Equal(t, x.err, err, x.name)
		if x.name == "32bit" {
			require.Less(t, uint64(a), uint64(1<<31))
		}
	}
	a, err := as.MMap(MMapOpts{Length: 1, Prot: unix.PROT_READ, Flags: unix.MAP_SHARED, File: ro()})
	require.NoError(t, err)
	require.Equal(t, unix.EACCES, as.MProtect(a, 1, rw))
	for _, x := range []struct {
		err  error
		want error
	}{
		{as.MAdvise(a+1, 1, unix.MADV_DONTNEED), unix.EINVAL},
		{as.MAdvise(a, 1, 999), unix.EINVAL},
		{as.MAdvise(0x5000000, 1, unix.MADV_DONTNEED), unix.ENOMEM},
		{as.MAdvise(a, 1, unix.MADV_REMOVE), unix.EACCES},
		{as.MAdvise(a, 1, unix.MADV_WIPEONFORK), unix.EINVAL},
		{as.MAdvise(a, 1, unix.MADV_POPULATE_WRITE), unix.EINVAL},
		{as.MAdvise(a, 1, unix.MADV_POPULATE_READ), nil},
		{as.MSync(a, 1, unix.MS_SYNC|unix.MS_ASYNC), unix.EINVAL},
		{as.MSync(0x5000000, 1, unix.MS_SYNC), unix.ENOMEM},
		{as.MUnmap(a+1, 1), unix.EINVAL},
		{as.MUnmap(a, 0), unix.EINVAL},
		{as.MProtect(a, PageSize, unix.PROT_READ|unix.PROT_GROWSDOWN), unix.EINVAL},
	} {
		require.Equal(t, x.want, x.err)
	}
}

func TestLimits(t *testing.T) {
	m, p := newTest(t, 256<<20)
	as := newAS(t, m, p)
	lim := map[int]uint64{}
	as.SetLimits(func(r int) uint64 {
		if v, ok := lim[r]; ok {
			return v
		}
		return ^uint64(0)
	})
	as.SetCapable(func() bool { return false })
	a := anonMap(t, as, 16*PageSize)
	lim[unix.RLIMIT_AS] = 20 * PageSize
	_, err := as.MMap(MMapOpts{Length: 5 * PageSize, Prot: rw, Flags: privAnon})
	require.Equal(t, unix.ENOMEM, err)
	_, err = as.MRemap(usermem.Addr(a), 16*PageSize, 32*PageSize, unix.MREMAP_MAYMOVE, 0)
	require.Equal(t, unix.ENOMEM, err)
	delete(lim, unix.RLIMIT_AS)
	lim[unix.RLIMIT_DATA] = 20 * PageSize
	_, err = as.MMap(MMapOpts{Length: 5 * PageSize, Prot: rw, Flags: privAnon})
	require.Equal(t, unix.ENOMEM, err)
	b := mmap(t, as, MMapOpts{Length: 5 * PageSize, Prot: unix.PROT_READ, Flags: privAnon})
	require.Equal(t, unix.ENOMEM, as.MProtect(usermem.Addr(b), 5*PageSize, rw))
	delete(lim, unix.RLIMIT_DATA)

	lim[rlimitMemlock] = 0
	require.Equal(t, unix.EPERM, as.MLock(usermem.Addr(a), PageSize, 0))
	lim[rlimitMemlock] = 4 * PageSize
	require.Equal(t, unix.ENOMEM, as.MLock(usermem.Addr(a), 5*PageSize, 0))
	require.NoError(t, as.MLock(usermem.Addr(a), 4*PageSize, 0))
	require.NoError(t, as.MLock(usermem.Addr(a), 4*PageSize, 0))
	require.EqualValues(t, 4*PageSize, as.Usage().VmLck)
	_, err = as.MMap(MMapOpts{Length: PageSize, Prot: rw, Flags: privAnon | unix.MAP_LOCKED})
	require.Equal(t, unix.EAGAIN, err)
	require.Equal(t, unix.EINVAL, as.MAdvise(usermem.Addr(a), PageSize, unix.MADV_DONTNEED))
	require.Equal(t, unix.EBUSY, as.MSync(usermem.Addr(a), PageSize, unix.MS_INVALIDATE))
	require.NoError(t, as.MUnlockAll())
	require.Zero(t, as.Usage().VmLck)
	as.DecUsers()
	clean(t, m)
}

func TestMaxMapCount(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	a := mmap(t, as, MMapOpts{Length: 70000 * 2 * PageSize, Prot: unix.PROT_NONE, Flags: privAnon | unix.MAP_NORESERVE})
	var err error
	n := 0
	for ; n < 70000 && err == nil; n++ {
		err = as.MProtect(usermem.Addr(a+uint64(n)*2*PageSize), PageSize, unix.PROT_READ)
	}
	require.Equal(t, unix.ENOMEM, err)
	require.InDelta(t, 32765, n, 3)
	as.DecUsers()
	clean(t, m)
}

func TestStackGrowth(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	as.SetLimits(func(r int) uint64 {
		if r == unix.RLIMIT_STACK {
			return 1 << 20
		}
		return ^uint64(0)
	})
	const top = 0x7ffffff00000
	mmap(t, as, MMapOpts{Addr: top - 0x20000, Length: 0x20000, Prot: rw, Flags: privAnon | unix.MAP_FIXED, Stack: true})
	for off := uint64(8); off < 1<<20; off += 5000 {
		require.NoError(t, poke(as, (top-off)&^7, off))
	}
	require.Error(t, poke(as, top-1<<20-8, 1))
	require.EqualValues(t, 1<<20, as.Usage().VmStk)
	i, ok := as.FindRegion(top - 8)
	require.True(t, ok)
	require.Equal(t, "[stack]", i.Name)
	require.Less(t, as.pas.Mappings(), 4)
	as.DecUsers()

	// The guard gap.
	as = newAS(t, m, p)
	mmap(t, as, MMapOpts{Addr: 0x20000000, Length: PageSize, Prot: rw, Flags: privAnon | unix.MAP_FIXED | unix.MAP_GROWSDOWN})
	mmap(t, as, MMapOpts{Addr: 0x20000000 - stackGapLen - 2*PageSize, Length: PageSize, Prot: rw, Flags: privAnon | unix.MAP_FIXED})
	require.NoError(t, poke(as, 0x20000000-PageSize, 1))
	require.Error(t, poke(as, 0x20000000-2*PageSize, 1))
	as.DecUsers()
	clean(t, m)
}

func TestBrk(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	as.SetBrk(0x10000123)
	require.EqualValues(t, 0x10000123, as.Brk(0))
	require.EqualValues(t, 0x10010000, as.Brk(0x10010000))
	require.NoError(t, poke(as, 0x1000fff0, 5))
	require.EqualValues(t, 0x10010000, as.Brk(0x10000000))
	mmap(t, as, MMapOpts{Addr: 0x10020000, Length: PageSize, Prot: rw, Flags: privAnon | unix.MAP_FIXED})
	require.EqualValues(t, 0x10010000, as.Brk(0x10030000))
	require.EqualValues(t, 0x10000200, as.Brk(0x10000200))
	require.EqualValues(t, 0x10010000, as.Brk(0x10010000))
	_, err := peek(as, 0x10000300)
	require.Error(t, err, "within the page that was mapped for nobody")
	require.Zero(t, mustPeek(t, as, 0x1000fff0))
	i, _ := as.FindRegion(0x10002000)
	require.Equal(t, "[heap]", i.Name)
	as.DecUsers()
	clean(t, m)
}

// TestLeafBrk moves the break both ways: what a leaf call does the other one sees, and what it cannot do it leaves alone.
func TestLeafBrk(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	leaf := func(addr, want uint64) {
		t.Helper()
		got, ok := as.LeafBrk(addr)
		require.True(t, ok)
		require.EqualValues(t, want, got)
		require.EqualValues(t, want, as.Brk(0))
		require.EqualValues(t, want, as.Layout().Brk)
	}
	not := func(addr uint64) {
		t.Helper()
		was := as.Brk(0)
		_, ok := as.LeafBrk(addr)
		require.False(t, ok)
		require.Equal(t, was, as.Brk(0))
	}
	not(0) // no heap yet
	as.SetLayout(func(l *Layout) {
		l.StartCode, l.EndCode, l.StartData, l.EndData = 0x8000000, 0x8001000, 0x8001000, 0x8002000
		l.StartStack, l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd = 0x20000000, 0x20000000, 0x20000000, 0x20000000, 0x20000000
	})
	as.SetBrk(0x10000000)
	leaf(0, 0x10000000)
	leaf(0x10000000, 0x10000000)
	leaf(0xfffffff, 0x10000000) // the same page's end, but below the heap
	not(0x10000001)
	require.EqualValues(t, 0x10001800, as.Brk(0x10001800))
	require.NoError(t, poke(as, 0x10001ff0, 5))
	leaf(0x10001001, 0x10001001)
	leaf(0x10002000, 0x10002000)
	for _, addr := range []uint64{0x10001000, 0x10002001, 1 << 46, 1<<63 | 0x10001800, ^uint64(0)} {
		not(addr)
	}
	require.EqualValues(t, 5, mustPeek(t, as, 0x10001ff0))

	n, err := as.Fork()
	require.NoError(t, err)
	leaf(0x10001900, 0x10001900)
	require.EqualValues(t, 0x10002000, n.Brk(0))
	n.DecUsers()

	// After PR_SET_MM it is all left to the whole call.
	require.NoError(t, as.PrctlSetMM(unix.PR_SET_MM_START_BRK, 0x10001200))
	not(0)
	not(0x10001a00)
	require.EqualValues(t, 0x10001a00, as.Brk(0x10001a00))
	require.EqualValues(t, 0x10001a00, as.Brk(0x10001100))
	not(0x10001a01)
	l := as.Layout()
	require.EqualValues(t, 0x10001200, l.StartBrk)
	l.Brk = 0x10001b00
	require.NoError(t, as.SetMMMap(l))
	require.EqualValues(t, 0x10001b00, as.Brk(0))
	as.DecUsers()
	clean(t, m)
}

func TestAtomicsAndFutexKeys(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	a := usermem.Addr(anonMap(t, as, PageSize))
	old, err := as.CompareAndSwapUint32(a, 0, 5)
	require.NoError(t, err)
	require.Zero(t, old)
	old, err = as.AtomicOpUint32(a, func(v uint32) uint32 { return v | 8 })
	require.NoError(t, err)
	require.EqualValues(t, 5, old)
	v, err := as.LoadUint32(a)
	require.NoError(t, err)
	require.EqualValues(t, 13, v)
	_, err = as.LoadUint32(a + 2)
	require.Equal(t, unix.EINVAL, err)
	_, err = as.LoadUint32(0x9999000)
	require.Equal(t, unix.EFAULT, err)

	ch, err := as.Fork()
	require.NoError(t, err)
	k1, _ := as.FutexKey(a, true)
	k2, _ := ch.FutexKey(a, true)
	require.NotEqual(t, k1, k2)
	sh := usermem.Addr(mmap(t, as, MMapOpts{Length: 2 * PageSize, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS}))
	ch2, err := as.Fork()
	require.NoError(t, err)
	moved, err := ch2.MRemap(sh+PageSize, PageSize, PageSize, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, 0x30000000)
	require.NoError(t, err)
	k1, _ = as.FutexKey(sh+PageSize+8, true)
	k2, _ = ch2.FutexKey(moved+8, true)
	require.Equal(t, k1, k2)
	for _, x := range []*AddressSpace{as, ch, ch2} {
		x.DecUsers()
	}
	clean(t, m)
}

func TestMRemapForms(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	a := usermem.Addr(anonMap(t, as, 4*PageSize))
	for i := uint64(0); i < 4; i++ {
		require.NoError(t, poke(as, uint64(a)+i*PageSize, i+1))
	}
	// DONTUNMAP leaves an empty mapping behind.
	b, err := as.MRemap(a, 4*PageSize, 4*PageSize, unix.MREMAP_MAYMOVE|unix.MREMAP_DONTUNMAP, 0)
	require.NoError(t, err)
	require.EqualValues(t, 3, mustPeek(t, as, uint64(b)+2*PageSize))
	require.Zero(t, mustPeek(t, as, uint64(a)+2*PageSize))
	// Old length 0 duplicates shared mappings only.
	_, err = as.MRemap(a, 0, PageSize, unix.MREMAP_MAYMOVE, 0)
	require.Equal(t, unix.EINVAL, err)
	sh := usermem.Addr(mmap(t, as, MMapOpts{Length: PageSize, Prot: rw, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS}))
	d, err := as.MRemap(sh, 0, PageSize, unix.MREMAP_MAYMOVE, 0)
	require.NoError(t, err)
	require.NoError(t, poke(as, uint64(d), 9))
	require.EqualValues(t, 9, mustPeek(t, as, uint64(sh)))
	// Growth in place, then only by a move.
	c := usermem.Addr(mmap(t, as, MMapOpts{Addr: 0x40000000, Length: PageSize, Prot: rw, Flags: privAnon | unix.MAP_FIXED}))
	mmap(t, as, MMapOpts{Addr: 0x40004000, Length: PageSize, Prot: rw, Flags: privAnon | unix.MAP_FIXED})
	require.NoError(t, poke(as, uint64(c), 4))
	got, err := as.MRemap(c, PageSize, 4*PageSize, 0, 0)
	require.NoError(t, err)
	require.Equal(t, c, got)
	_, err = as.MRemap(c, 5*PageSize, 6*PageSize, 0, 0)
	require.NoError(t, err) // merged with its neighbour
	mmap(t, as, MMapOpts{Addr: 0x40006000, Length: PageSize, Prot: unix.PROT_READ, Flags: privAnon | unix.MAP_FIXED})
	_, err = as.MRemap(c, 6*PageSize, 7*PageSize, 0, 0)
	require.Equal(t, unix.ENOMEM, err)
	_, err = as.MRemap(c, 7*PageSize, 8*PageSize, unix.MREMAP_MAYMOVE, 0)
	require.Equal(t, unix.EFAULT, err)
	got, err = as.MRemap(c, 6*PageSize, 600*PageSize, unix.MREMAP_MAYMOVE, 0)
	require.NoError(t, err)
	require.NotEqual(t, c, got)
	require.EqualValues(t, 4, mustPeek(t, as, uint64(got)))
	as.DecUsers()
	clean(t, m)
}

func TestMinCoreAndPagemap(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	a := usermem.Addr(anonMap(t, as, 64*PageSize))
	require.NoError(t, as.MAdvise(a, 64*PageSize, unix.MADV_RANDOM))
	require.NoError(t, poke(as, uint64(a)+5*PageSize, 1))
	vec := usermem.Addr(anonMap(t, as, PageSize))
	require.NoError(t, as.MinCore(a, 64*PageSize, vec))
	b := make([]byte, 64)
	_, err := as.CopyIn(vec, b)
	require.NoError(t, err)
	want := make([]byte, 64)
	want[5] = 1
	require.Equal(t, want, b)
	out := make([]uint64, 64)
	as.Pagemap(a, out)
	for i, v := range out {
		require.Equal(t, i == 5, v != 0)
	}
	require.Equal(t, unix.ENOMEM, as.MinCore(a, 1<<40, vec))
	require.NoError(t, as.SetName(a, 64*PageSize, "x y"))
	n := 0
	as.ForEachSmaps(func(i RegionInfo, s Smaps) bool {
		if i.Name == "[anon:x y]" {
			n++
			require.EqualValues(t, PageSize, s.Rss)
			require.EqualValues(t, PageSize, s.PrivateDirty)
		}
		return true
	})
	require.Equal(t, 1, n)
	as.DecUsers()
	clean(t, m)
}

// TestConcurrent lets threads of one address space, forks, a file's writers and
// the shrinker work at once.
func TestConcurrent(t *testing.T) {
	m, p := newTest(t, 96<<20)
	as := newAS(t, m, p)
	back := &memBacking{b: make([]byte, 4<<20)}
	c := m.NewPageCache(back, 4<<20)
	n := 0
	f := mmap(t, as, MMapOpts{Length: 4 << 20, Prot: rw, Flags: unix.MAP_SHARED, File: mapFile(c, &n)})
	a := anonMap(t, as, 8<<20)
	stop := time.Now().Add(1500 * time.Millisecond)
	var wg sync.WaitGroup
	var ops atomic.Int64
	worker := func(f func(r *rand.Rand)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(rand.Uint64(), 1))
			for time.Now().Before(stop) {
				f(r)
				ops.Add(1)
			}
		}()
	}
	for k := uint64(0); k < 3; k++ {
		mine := a + k<<21
		worker(func(r *rand.Rand) {
			addr := usermem.Addr(mine + r.Uint64N(500)<<PageShift)
			v, w := r.Uint64(), uint64(0)
			if usermem.CopyObjectOut(as, addr, &v) == nil {
				if usermem.CopyObjectIn(as, addr, &w) != nil || v != w {
					t.Errorf("wrote %d, read %d", v, w)
				}
			}
			if r.IntN(20) == 0 {
				_ = as.MAdvise(addr, 16*PageSize, unix.MADV_DONTNEED)
			}
		})
	}
	worker(func(r *rand.Rand) {
		ch, err := as.Fork()
		if err != nil {
			t.Error(err)
			return
		}
		for i := 0; i < 50; i++ {
			v := uint64(1)
			_ = usermem.CopyObjectOut(ch, usermem.Addr(a+r.Uint64N(2000)<<PageShift), &v)
		}
		ch.DecUsers()
	})
	worker(func(r *rand.Rand) {
		v := usermem.Guest(as, usermem.Addr(f+r.Uint64N(3<<20)), 100000)
		_, _ = c.WriteAt(&v, r.Int64N(4<<20))
	})
	worker(func(r *rand.Rand) {
		v := usermem.Guest(as, usermem.Addr(f+r.Uint64N(3<<20)), 100000)
		_, _ = c.ReadAt(&v, r.Int64N(4<<20))
	})
	worker(func(r *rand.Rand) {
		switch r.IntN(4) {
		case 0:
			_ = c.Truncate(r.Int64N(4 << 20))
		case 1:
			_ = c.Sync(0, 0)
		case 2:
			m.Reclaim(1 << 20)
		case 3:
			c.Invalidate(0, 0)
		}
		_ = as.pas.Sync()
	})
	worker(func(r *rand.Rand) {
		x := anonOrNil(as, 1<<20)
		_ = as.MProtect(x, 1<<19, unix.PROT_READ)
		_ = as.MUnmap(x, 1<<20)
		for m.scrubPiece() {
		}
		time.Sleep(time.Millisecond)
	})
	wg.Wait()
	t.Logf("%d operations", ops.Load())
	as.DecUsers()
	c.Release()
	clean(t, m)
}

func anonOrNil(as *AddressSpace, n uint64) usermem.Addr {
	a, _ := as.MMap(MMapOpts{Length: n, Prot: rw, Flags: privAnon | unix.MAP_POPULATE})
	return a
}

func TestCopyDoesNotAllocate(t *testing.T) {
	m, p := newTest(t, 64<<20)
	as := newAS(t, m, p)
	a := usermem.Addr(anonMap(t, as, 1<<20))
	b := make([]byte, 100000)
	_, _ = as.CopyOut(a, make([]byte, 1<<20))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = as.CopyOut(a+10, b)
		_, _ = as.CopyIn(a+77, b)
		_, _ = as.LoadUint32(a)
	}))
	c := m.NewPageCache(nil, 1<<20)
	writeFile(t, c, 0, make([]byte, 1<<20))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		v := usermem.Guest(as, a, 100000)
		_, _ = c.ReadAt(&v, 5)
		v = usermem.Guest(as, a, 100000)
		_, _ = c.WriteAt(&v, 5)
	}), 1.0) // the IO itself
	as.DecUsers()
}

func benchCopy(b *testing.B, n int, out bool) {
	m, p := newTest(b, 64<<20)
	as := newAS(b, m, p)
	a := usermem.Addr(anonMap(b, as, uint64(n)))
	buf := make([]byte, n)
	_, _ = as.CopyOut(a, buf)
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		if out {
			_, _ = as.CopyOut(a, buf)
		} else {
			_, _ = as.CopyIn(a, buf)
		}
	}
	as.DecUsers()
}

func BenchmarkCopyIn1M(b *testing.B)  { benchCopy(b, 1<<20, false) }
func BenchmarkCopyOut1M(b *testing.B) { benchCopy(b, 1<<20, true) }
func BenchmarkCopyIn64(b *testing.B)  { benchCopy(b, 64, false) }

// nullPlatform takes everything, to measure mm alone.
type nullSpace struct{}

func (nullSpace) Map(_, _, _ uint64, _ platform.Prot) error  { return nil }
func (nullSpace) Unmap(_, _ uint64) error                    { return nil }
func (nullSpace) Protect(_, _ uint64, _ platform.Prot) error { return nil }
func (nullSpace) After(f func())                             { f() }
func (nullSpace) Sync() error                                { return nil }
func (nullSpace) Mappings() int                              { return 0 }
func (nullSpace) Release()                                   {}

type nullPlatform struct{ *fakePlatform }

func (nullPlatform) NewAddressSpace() (platform.AddressSpace, error) { return nullSpace{}, nil }

// One fault is 64 KiB to 2 MiB; the figure is per page.
func BenchmarkFaultPage(b *testing.B) {
	m, p := newTest(b, 2<<30)
	as, err := NewAddressSpace(m, nullPlatform{p})
	require.NoError(b, err)
	var a, off uint64
	const n = 512 << 20
	for b.Loop() {
		if off == 0 {
			a = anonMap(b, as, n)
		}
		_ = as.populate(a+off, a+off+PageSize, want{access: platform.AccessWrite})
		if off += PageSize; off == n {
			_ = as.MUnmap(usermem.Addr(a), n)
			off = 0
		}
	}
	as.DecUsers()
}

func BenchmarkFork(b *testing.B) {
	m, p := newTest(b, 256<<20)
	as, err := NewAddressSpace(m, nullPlatform{p})
	require.NoError(b, err)
	a := anonMap(b, as, 16<<20)
	_ = as.populate(a, a+16<<20, want{access: platform.AccessWrite})
	for b.Loop() {
		ch, err := as.Fork()
		if err != nil {
			b.Fatal(err)
		}
		ch.DecUsers()
	}
	as.DecUsers()
}

func BenchmarkPageCacheRead4K(b *testing.B) {
	m, _ := newTest(b, 64<<20)
	c := m.NewPageCache(nil, 0)
	writeFile(b, c, 0, make([]byte, 1<<20))
	buf := make([]byte, 4096)
	b.SetBytes(4096)
	for b.Loop() {
		v := usermem.Bytes(buf)
		_, _ = c.ReadAt(&v, 8192)
	}
}
