//go:build ignore

// A Go program that allocates much, collects under way, and returns memory to the kernel.
package main

import (
	"fmt"
	"runtime/debug"
	"sort"
	"sync"
)

type tree struct {
	l, r *tree
	v    int
}

func (t *tree) insert(v int) *tree {
	if t == nil {
		return &tree{v: v}
	}
	if v < t.v {
		t.l = t.l.insert(v)
	} else {
		t.r = t.r.insert(v)
	}
	return t
}

func (t *tree) walk(f func(int)) {
	if t != nil {
		t.l.walk(f)
		f(t.v)
		t.r.walk(f)
	}
}

func main() {
	var wg sync.WaitGroup
	sums := make([]int, 4)
	for g := range sums {
		wg.Go(func() {
			var t *tree
			x := uint32(g + 1)
			for range 20000 {
				x = x*1664525 + 1013904223
				t = t.insert(int(x >> 8))
			}
			last, sorted, n := -1, true, 0
			t.walk(func(v int) {
				sorted = sorted && v >= last
				last = v
				n++
			})
			if sorted {
				sums[g] = n
			}
		})
	}
	wg.Wait()
	fmt.Println(sums)
	m := map[string][]byte{}
	for i := range 2000 {
		m[fmt.Sprint(i)] = make([]byte, 10000)
		if i%3 == 0 {
			delete(m, fmt.Sprint(i/2))
		}
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println(len(keys), keys[0], keys[len(keys)-1])
	m = nil
	debug.FreeOSMemory()
	big := make([]byte, 64<<20)
	zero := true
	for i := 0; i < len(big); i += 4096 {
		zero = zero && big[i] == 0
		big[i] = 1
	}
	fmt.Println("fresh memory is zero:", zero)
	debug.FreeOSMemory()
	fmt.Println(len(big))
}
