package mm

import (
	"math/bits"
	"slices"
)

// bitmap is a set of small integers that finds its least element quickly: level
// 0 has a bit an element, each level above a bit for each nonzero word below.
type bitmap struct {
	level [][]uint64
	n     int
}

// newBitmaps makes bitmaps of some sizes, in one array, which is freed by unmapArray. Their small levels are next to each other, so that
// few pages are touched.
func newBitmaps(sizes []int) ([]bitmap, []uint64, error) {
	type level struct{ of, n, words int }
	var levels []level
	total := 0
	bitmaps := make([]bitmap, len(sizes))
	for i, n := range sizes {
		b := &bitmaps[i]
		b.n = n
		for words := 0; words != 1; n = words {
			words = max((n+63)/64, 1)
			levels = append(levels, level{i, len(b.level), words})
			b.level = append(b.level, nil)
			total += words
		}
	}
	array, err := mapArray[uint64](total)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(levels, func(a, b level) int { return a.words - b.words })
	rest := array
	for _, l := range levels {
		bitmaps[l.of].level[l.n], rest = rest[:l.words:l.words], rest[l.words:]
	}
	return bitmaps, array, nil
}

func (b *bitmap) has(i int) bool {
	return i < b.n && b.level[0][i>>6]>>(i&63)&1 != 0
}

func (b *bitmap) set(i int) {
	for _, w := range b.level {
		old := w[i>>6]
		w[i>>6] = old | 1<<(i&63)
		if old != 0 {
			return
		}
		i >>= 6
	}
}

func (b *bitmap) clear(i int) {
	for _, w := range b.level {
		w[i>>6] &^= 1 << (i & 63)
		if w[i>>6] != 0 {
			return
		}
		i >>= 6
	}
}

// next is the least element that is at least i, or -1.
func (b *bitmap) next(i int) int {
	for k := 0; k < len(b.level); k++ {
		if i>>6 >= len(b.level[k]) {
			return -1
		}
		if w := b.level[k][i>>6] >> (i & 63); w != 0 {
			i += bits.TrailingZeros64(w)
			for k > 0 {
				k--
				i = i<<6 + bits.TrailingZeros64(b.level[k][i])
			}
			return i
		}
		i = i>>6 + 1
	}
	return -1
}
