// Package hostcall has the words in which the parts of the sentry say which host calls they make, and with which arguments, after the
// process has confined itself. The seccomp filter is made of them, and the list in docs/security.md.
package hostcall

import (
	"fmt"

	"golang.org/x/sys/unix"
)

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

// Text is where the sentry's own instructions are: [Lo, Hi). Empty, it is not known and does not matter.
type Text struct{ Lo, Hi uint64 }

// TrapElsewhere is the beginning of a filter: host calls from outside of the text raise SIGSYS, whatever they are, and the others are
// left to what follows.
func (t Text) TrapElsewhere() ([]unix.SockFilter, error) {
	if t == (Text{}) {
		return nil, nil
	}
	if t.Lo >= t.Hi || t.Lo>>32 != t.Hi>>32 {
		return nil, fmt.Errorf("the sentry's text, %#x to %#x, is not one that a filter can tell", t.Lo, t.Hi)
	}
	// Offsets in struct seccomp_data: the address is that of the instruction after the call.
	const ipLow, ipHigh = 8, 12
	const (
		ld  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		ret = unix.BPF_RET | unix.BPF_K
		jeq = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jgt = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	)
	return []unix.SockFilter{
		{Code: ld, K: ipHigh},
		{Code: jeq, K: uint32(t.Lo >> 32), Jf: 3},
		{Code: ld, K: ipLow},
		{Code: jgt, K: uint32(t.Lo), Jf: 1},
		{Code: jgt, K: uint32(t.Hi), Jf: 1},
		{Code: ret, K: unix.SECCOMP_RET_TRAP},
	}, nil
}
