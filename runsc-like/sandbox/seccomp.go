package sandbox

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"gosv.dev/platform/hostcall"
)

// What may be called is said in the words of package hostcall.
type (
	Rule = hostcall.Rule
	Cond = hostcall.Cond
	Text = hostcall.Text
)

// Conditions on arguments that the kernel takes as 32 bits.
const low = 0xffffffff

func is(arg int, v uint64) Cond                   { return Cond{Arg: arg, Mask: low, Value: v & low} }
func with(arg int, bits uint64) Cond              { return Cond{Arg: arg, Mask: bits, Value: bits} }
func exactly(arg int, v uint64) Cond              { return Cond{Arg: arg, Value: v} }
func rule(nr uintptr, why string, c ...Cond) Rule { return Rule{Nr: nr, Args: c, Why: why} }

// Offsets in struct seccomp_data.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

// InstallFilter confines all threads of the process to the calls that rules allow. Any other call
// ends the process at once; the host's audit log says which it was. With trace it is not made either, and the process
// ends with a traceback of the goroutine that tried: the runtime knows no other answer to SIGSYS.
// The rules are for calls from text, if that is not empty: calls from elsewhere raise SIGSYS, which is the platform's.
// no_new_privs must be set.
func InstallFilter(rules []Rule, text Text, trace bool) error {
	prog, err := assemble(rules, text, trace)
	if err != nil {
		return err
	}
	if err := installFilter(prog); err != nil {
		return fmt.Errorf("installing the seccomp filter: %w", err)
	}
	return nil
}

// assemble builds the program: where the call comes from, architecture, then a binary search for the number, then the rules of
// that number one after the other.
func assemble(rules []Rule, text Text, trace bool) ([]unix.SockFilter, error) {
	byNr := map[uint32][]Rule{}
	var nrs []uint32
	for _, r := range rules {
		n := uint32(r.Nr)
		for _, c := range r.Args {
			if c.Arg < 0 || c.Arg > 5 || c.Mask != 0 && c.Value&^c.Mask != 0 {
				return nil, fmt.Errorf("host call %d: a condition on argument %d that never holds", n, c.Arg)
			}
			if c.Not && (c.Mask == 0 || uint32(c.Mask) != 0 && c.Mask>>32 != 0) {
				return nil, fmt.Errorf("host call %d: a negated condition on both halves of argument %d", n, c.Arg)
			}
		}
		if _, ok := byNr[n]; !ok {
			nrs = append(nrs, n)
		}
		byNr[n] = append(byNr[n], r)
	}
	slices.Sort(nrs)
	deny := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if trace {
		deny = unix.SECCOMP_RET_TRAP
	}
	p, err := text.TrapElsewhere()
	if err != nil {
		return nil, err
	}
	stmt := func(code uint16, k uint32) { p = append(p, unix.SockFilter{Code: code, K: k}) }
	jump := func(code uint16, k uint32, jt, jf uint8) {
		p = append(p, unix.SockFilter{Code: code, K: k, Jt: jt, Jf: jf})
	}
	const (
		ld  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		ret = unix.BPF_RET | unix.BPF_K
		jeq = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ja  = unix.BPF_JMP | unix.BPF_JA
		and = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	)
	stmt(ld, dataArch)
	jump(jeq, unix.AUDIT_ARCH_X86_64, 1, 0)
	stmt(ret, unix.SECCOMP_RET_KILL_PROCESS)
	stmt(ld, dataNr)

	// emit writes the code for nrs[lo:hi]; all of its paths return.
	var emit func(lo, hi int)
	emit = func(lo, hi int) {
		if hi-lo > 1 {
			mid := (lo + hi) / 2
			jump(jge, nrs[mid], 0, 1)
			at := len(p)
			stmt(ja, 0) // to the upper half, which comes second
			emit(lo, mid)
			p[at].K = uint32(len(p) - at - 1)
			emit(mid, hi)
			return
		}
		n := nrs[lo]
		jump(jeq, n, 1, 0)
		stmt(ret, deny)
		for _, r := range byNr[n] {
			var fails, fits []int
			for _, c := range r.Args {
				mask := c.Mask
				if mask == 0 {
					mask = ^uint64(0)
				}
				for half := 0; half < 2; half++ {
					m, v := uint32(mask>>(32*half)), uint32(c.Value>>(32*half))
					if m == 0 {
						continue
					}
					stmt(ld, uint32(dataArgs+8*c.Arg+4*half))
					if m != ^uint32(0) {
						stmt(and, m)
					}
					if c.Not {
						fits = append(fits, len(p))
					} else {
						fails = append(fails, len(p))
					}
					jump(jeq, v, 0, 0)
				}
			}
			stmt(ret, unix.SECCOMP_RET_ALLOW)
			for _, at := range fails {
				p[at].Jf = uint8(len(p) - at - 1)
			}
			for _, at := range fits { // what must not be equal is
				p[at].Jt = uint8(len(p) - at - 1)
			}
		}
		stmt(ret, deny)
	}
	if len(nrs) == 0 {
		return nil, fmt.Errorf("a seccomp filter without rules")
	}
	emit(0, len(nrs))
	if len(p) > 4096 {
		return nil, fmt.Errorf("the seccomp filter has %d instructions, more than BPF allows", len(p))
	}
	return p, nil
}

// Allow is a Rule for calls without conditions.
func allow(why string, nrs ...uintptr) []Rule {
	rules := make([]Rule, len(nrs))
	for i, n := range nrs {
		rules[i] = Rule{Nr: n, Why: why}
	}
	return rules
}
