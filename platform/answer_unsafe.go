package platform

import "unsafe"

// An Answerer is a Context that can answer system calls itself, without a stop. NoAnswers may be called from any
// goroutine, Answer from the context's; an answer that is being taken back may still be given until NoAnswers has returned.
type Answerer interface {
	// Answer makes value the result of system call nr until NoAnswers. No two calls with answers have the same low byte.
	Answer(nr uint64, value uint32)
	// AnswerBy has f make it, or does nothing. arg must be there as long as the context.
	AnswerBy(nr uint64, f LeafFunc, arg unsafe.Pointer)
	// NoAnswer takes one answer back. Only the context's goroutine may call it.
	NoAnswer(nr uint64)
	NoAnswers()
}

// LeafResult is what a LeafFunc has done.
type LeafResult uint8

const (
	LeafNot     LeafResult = iota // nothing: this is a call for the sentry
	LeafDone                      // the call
	LeafPending                   // the call; and the guest is to be left as if it had been interrupted
)

// A LeafFunc makes a system call, of which it is told the first four arguments, and returns the result, and what it has done.
// It runs in the thread of the guest, out of the Go scheduler's sight, on a small stack: it and what it calls are nosplit, allocate nothing, take no locks, store no pointers, use no vector registers, and reach no object but by ways that only the
// thread itself changes. It is no closure. It may read and write guest memory at the guest's addresses, where nobody else but the guest can have anything
// (Placer): a fault undoes the call as LeafNot does, so whatever else it does comes after. Package vdso reads clocks for it.
type LeafFunc func(arg unsafe.Pointer, a0, a1, a2, a3 uint64) (result uint64, did LeafResult)
