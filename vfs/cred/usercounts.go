package cred

import "sync"

// UserCount is a kind of thing that is counted for each user, whatever user namespace
// it is in (Linux: struct user_struct).
type UserCount int

const (
	UserEpollWatches UserCount = iota
	UserPipePages
	numUserCounts
)

// UserCounts counts things for users. The zero value is ready for use.
type UserCounts struct {
	mu sync.Mutex
	of map[KUID]*[numUserCounts]int64
}

// Add counts n more things of kind k for a user, fewer if n is negative, and returns
// how many they are then.
func (u *UserCounts) Add(uid KUID, k UserCount, n int64) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.of[uid]
	if c == nil {
		if u.of == nil {
			u.of = make(map[KUID]*[numUserCounts]int64)
		}
		c = new([numUserCounts]int64)
		u.of[uid] = c
	}
	c[k] += n
	total := c[k]
	if *c == [numUserCounts]int64{} {
		delete(u.of, uid)
	}
	return total
}
