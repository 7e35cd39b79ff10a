package flat

import (
	"sync/atomic"
	"unsafe"

	"gosv.dev/platform"
	"gosv.dev/platform/vdso"
)

// Calls that are answered in the guest (switch_amd64.s), by a value or by a function of the sentry's.

// answer is what switch_amd64.s gives for a call, which it finds by the low byte of the number.
type answer struct {
	negative uint64 // of the call's number, or noAnswer of it
	value    uint64
	fn       uintptr // code of a platform.LeafFunc instead of a value, or 0
	arg      unsafe.Pointer
}

// clockTraps is where switch_amd64.s notes which clock the vDSO has made a system call for.
//
//lint:ignore U1000 sigentry goes there
var clockTraps = &vdso.Traps

// leafCode is where the instructions of a function that is no closure begin.
func leafCode(f platform.LeafFunc) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

// noAnswer is such that its sum with what a guest has in RAX is not zero where the low bytes are equal to the number's: only
// then is it looked at.
func noAnswer(nr uint64) uint64 { return 1 - nr }

// none is the answers of a context that has none.
var none = func() (a [256]answer) {
	for i := range a {
		a[i].negative = noAnswer(uint64(i))
	}
	return a
}()

// Answer implements platform.Answerer.
func (c *context) Answer(nr uint64, value uint32) { c.answer(nr, answer{value: uint64(value)}) }

// AnswerBy implements platform.Answerer.
func (c *context) AnswerBy(nr uint64, f platform.LeafFunc, arg unsafe.Pointer) {
	if goTLSInGS { // otherwise FS is the guest's
		c.answer(nr, answer{fn: leafCode(f), arg: arg})
	}
}

func (c *context) answer(nr uint64, a answer) {
	all := c.answers.Load()
	if all == &none {
		all = new([256]answer)
		*all = none
		c.answers.Store(all)
	}
	e := &all[uint8(nr)]
	if a.negative = -nr; atomic.LoadUint64(&e.negative) == a.negative && e.value == a.value && e.fn == a.fn && e.arg == a.arg {
		return
	}
	// Nobody but this goroutine's guest looks at the rest.
	e.value, e.fn, e.arg = a.value, a.fn, a.arg
	atomic.StoreUint64(&e.negative, a.negative)
}

// NoAnswer implements platform.Answerer.
func (c *context) NoAnswer(nr uint64) {
	if all := c.answers.Load(); all != &none {
		atomic.StoreUint64(&all[uint8(nr)].negative, noAnswer(nr))
	}
}

// NoAnswers implements platform.Answerer.
func (c *context) NoAnswers() {
	all := c.answers.Load()
	if all == &none {
		return
	}
	for i := range all {
		none := noAnswer(uint64(i))
		if a := &all[i]; atomic.LoadUint64(&a.negative) != none {
			atomic.StoreUint64(&a.negative, none)
		}
	}
}
