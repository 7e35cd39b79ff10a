package flat

import (
	"errors"
	"fmt"

	"gosv.dev/platform/hostcall"
)

// Interception is a way to catch the system calls that guest code makes by an instruction. Both raise SIGSYS.
type Interception int

const (
	// Auto is Dispatch where the host has it, or else Seccomp.
	Auto Interception = iota
	// Dispatch is Syscall User Dispatch (Linux 5.11): calls trap while the block says "in the guest", wherever they come from.
	Dispatch
	// Seccomp is the filter of the process: calls trap that come from outside of the sentry's text (see Text), whoever makes them. That
	// makes each host call of the sentry's a little slower.
	Seccomp
)

// String is the way's name.
func (i Interception) String() string {
	switch i {
	case Dispatch:
		return "Syscall User Dispatch"
	case Seccomp:
		return "seccomp"
	}
	return "auto"
}

// ParseInterception is the way that a flag names.
func ParseInterception(s string) (Interception, error) {
	switch s {
	case "auto":
		return Auto, nil
	case "dispatch":
		return Dispatch, nil
	case "seccomp":
		return Seccomp, nil
	}
	return 0, fmt.Errorf("there is no way of interception %q; choose auto, dispatch or seccomp", s)
}

// choose is the way to take, if dispatch is what the host said when it was asked for Syscall User Dispatch.
func choose(wanted Interception, dispatch error) (Interception, error) {
	switch {
	case wanted == Seccomp || wanted == Auto && dispatch != nil:
		return Seccomp, nil
	case dispatch != nil:
		return 0, fmt.Errorf("the host has no Syscall User Dispatch (Linux 5.11): %w", dispatch)
	}
	return Dispatch, nil
}

// Interception is how system calls are intercepted that are not rewritten: Dispatch or Seccomp.
func (p *Platform) Interception() Interception { return p.way }

// Text is where host calls must come from to be judged by the process's filter. All others must raise SIGSYS, which makes them the
// guest's. It is empty if the filter is to make no difference.
func (p *Platform) Text() hostcall.Text {
	if p.way != Seccomp {
		return hostcall.Text{}
	}
	lo, hi := sentryText()
	return hostcall.Text{Lo: uint64(lo), Hi: uint64(hi)}
}

// cpu is what the host's processors can do.
type cpu struct {
	xsave   bool   // there is XSAVE
	xgetbv1 bool   // XGETBV tells what is in use
	enabled uint64 // XCR0
	size    uint64 // of an XSAVE image
}

// Bits of XCR0.
const (
	xcrX87    = 1 << 0
	xcrSSE    = 1 << 1
	xcrAVX    = 1 << 2
	xcrAVX512 = 7 << 5
	xcrPKRU   = 1 << 9
	xcrAMX    = 3 << 17
)

// lacks says what guests could not run without, or nil.
func (c cpu) lacks() error {
	switch {
	case !c.xsave:
		return errors.New("the processor has no XSAVE")
	case c.enabled&xcrAVX == 0:
		return errors.New("the processor has no AVX")
	case !c.xgetbv1:
		return errors.New("the processor does not tell what is in use (XGETBV with ECX=1)")
	}
	return nil
}
