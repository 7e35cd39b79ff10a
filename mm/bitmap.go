package mm

import "math/bits"

// bitmap is a set of small integers that finds its least element quickly: level
// 0 has a bit an element, each level above a bit for each nonzero word below.
type bitmap struct {
	level [][]uint64
	n     int
}

func newBitmap(n int) (bitmap, error) {
	b := bitmap{n: n}
	for {
		words := (n + 63) / 64
		w, err := mapArray[uint64](words)
		if err != nil {
			b.release()
			return bitmap{}, err
		}
		b.level = append(b.level, w)
		if words <= 1 {
			return b, nil
		}
		n = words
	}
}

func (b *bitmap) release() {
	for _, w := range b.level {
		unmapArray(w)
	}
	b.level = nil
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
