package shown

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"gosv.dev/platform"
)

// TestModel compares a Map with an array of pages.
func TestModel(t *testing.T) {
	type page struct {
		off  uint64
		prot platform.Prot
		ok   bool
	}
	const n = 64
	var m Map
	var model [n]page
	rnd := rand.New(rand.NewSource(1))
	for range 20000 {
		lo := uint64(rnd.Intn(n))
		hi := lo + 1 + uint64(rnd.Intn(n-int(lo)))
		prot := platform.Prot(1 + rnd.Intn(3))
		switch rnd.Intn(3) {
		case 0:
			off := uint64(rnd.Intn(4)) * n
			prot |= platform.Private & platform.Prot(rnd.Intn(16))
			m.Map(lo, hi, off+lo, prot)
			for a := lo; a < hi; a++ {
				model[a] = page{off + a, prot, true}
			}
		case 1:
			m.Unmap(lo, hi)
			clear(model[lo:hi])
		case 2:
			m.Protect(lo, hi, prot)
			for a := lo; a < hi; a++ {
				if model[a].ok {
					model[a].prot = prot | model[a].prot&platform.Private
				}
			}
		}
		shown := 0
		for a := range uint64(n) {
			v, ok := m.At(a)
			require.Equal(t, model[a].ok, ok)
			if ok {
				shown++
				require.Equal(t, page{v.Off, v.Prot, true}, model[a])
			}
			require.Equal(t, ok, m.Overlaps(a, a+1))
		}
		m.Each(0, n, func(lo uint64, v Mapping) { shown -= int(v.End - lo) })
		require.Zero(t, shown)
	}
}

// TestDiffering compares two Maps with what At says of each page.
func TestDiffering(t *testing.T) {
	const n = 64
	rnd := rand.New(rand.NewSource(2))
	var m, o Map
	for range 20000 {
		for _, x := range []*Map{&m, &o} {
			lo := uint64(rnd.Intn(n))
			hi := lo + 1 + uint64(rnd.Intn(n-int(lo)))
			if rnd.Intn(3) == 0 {
				x.Unmap(lo, hi)
			} else {
				x.Map(lo, hi, uint64(rnd.Intn(2))*n+lo, platform.Prot(1+rnd.Intn(2)))
			}
		}
		var told [n]bool
		m.Differing(&o, func(lo, hi uint64, v Mapping) {
			require.Equal(t, hi, v.End)
			for a := lo; a < hi; a++ {
				have, _ := m.At(a)
				require.Equal(t, have.Off, v.Off+a-lo)
				require.Equal(t, have.Prot, v.Prot)
				require.False(t, told[a])
				told[a] = true
			}
		})
		gaps := 0
		o.Gaps(0, n, func(lo, hi uint64) {
			for a := lo; a < hi; a++ {
				require.False(t, o.Overlaps(a, a+1))
				gaps++
			}
		})
		for a := range uint64(n) {
			v, ok := m.At(a)
			ov, ook := o.At(a)
			require.Equal(t, ok && !(ook && ov.Off == v.Off && ov.Prot == v.Prot), told[a], a)
			if !ook {
				gaps--
			}
		}
		require.Zero(t, gaps)
	}
}
