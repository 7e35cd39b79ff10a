package mm

import (
	"cmp"
	"slices"
)

// RegisterShrinker adds a cache that is asked for memory when it is short.
func (m *Memory) RegisterShrinker(s Shrinker) {
	m.shrinkMu.Lock()
	defer m.shrinkMu.Unlock()
	// A new slice: a reclaim may be walking the old one.
	l := append(slices.Clone(m.shrinkers), s)
	slices.SortStableFunc(l, func(a, b Shrinker) int { return cmp.Compare(a.Priority(), b.Priority()) })
	m.shrinkers = l
}

// UnregisterShrinker removes a cache. A call of it may still be under way.
func (m *Memory) UnregisterShrinker(s Shrinker) {
	m.shrinkMu.Lock()
	defer m.shrinkMu.Unlock()
	m.shrinkers = slices.DeleteFunc(slices.Clone(m.shrinkers), func(x Shrinker) bool { return x == s })
}

// SetOOM sets the OOM killer. It is called when memory for a guest is short and
// nothing can be reclaimed, with no lock of mm held, and returns whether
// something was killed, or is dying already.
func (m *Memory) SetOOM(f func() bool) { m.oom.Store(&f) }

// Reclaim asks the shrinkers for target bytes and returns how many they freed.
func (m *Memory) Reclaim(target int64) int64 {
	m.reclaimMu.Lock()
	defer m.reclaimMu.Unlock()
	return m.shrink(target, false)
}

// shrink asks each shrinker in turn for what is still missing. reclaimMu is held.
func (m *Memory) shrink(target int64, hard bool) int64 {
	m.shrinkMu.Lock()
	l := m.shrinkers
	m.shrinkMu.Unlock()
	var freed int64
	for _, s := range l {
		if freed >= target {
			break
		}
		freed += s.Shrink(target-freed, hard)
	}
	return freed
}

// makeRoom tries to have n frames below the limit, and reports whether it could.
func (m *Memory) makeRoom(n int64) bool {
	if n > m.limit {
		return false
	}
	short := func() int64 { return m.inUse() + n - m.limit }
	if short() <= 0 {
		return true
	}
	m.reclaimMu.Lock()
	defer m.reclaimMu.Unlock()
	return m.shrinkFor(short)
}

// kill asks for the OOM killer.
func (m *Memory) kill() bool {
	f := m.oom.Load()
	return f != nil && *f != nil && (*f)()
}
