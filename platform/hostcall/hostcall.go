// Package hostcall has the words in which the parts of the sentry say which host calls they make, and with which arguments, after the
// process has confined itself. The seccomp filter is made of them, and the list in docs/security.md.
package hostcall

// A Rule allows one host call. With Args it allows it only if each of the conditions holds.
// Several rules of one call are alternatives.
type Rule struct {
	Nr   uintptr
	Args []Cond
	Why  string // for docs/security.md
}

// Cond is a condition on one argument: (arg & Mask) == Value, 64 bits wide; with Not the opposite. Mask 0 means
// all bits. Not needs a mask within the lower or the upper half.
type Cond struct {
	Arg         int
	Mask, Value uint64
	Not         bool
}
