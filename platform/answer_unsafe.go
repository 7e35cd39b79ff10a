package platform

import "unsafe"

// An Answerer is a Context that can answer system calls itself, without a stop. NoAnswers may be called from any
// goroutine, Answer from the context's; an answer that is being taken back may still be given until NoAnswers has returned.
type Answerer interface {
	// Answer makes value the result of system call nr, below 256, until NoAnswers.
	Answer(nr uint64, value uint32)
	// AnswerBy has f make it, or does nothing. arg must be there as long as the context.
	AnswerBy(nr uint64, f LeafFunc, arg unsafe.Pointer)
	NoAnswers()
}

// A LeafFunc makes a system call, of which it is told the first three arguments, and returns the result, or false, and has done nothing then,
// if this is one for the sentry. It runs in the thread of the guest, out of the Go scheduler's sight, on a small stack: it and what
// it calls are nosplit, allocate nothing, take no locks, store no pointers, use no vector registers, and reach no object but by ways that only the
// thread itself changes. It is no closure.
type LeafFunc func(arg unsafe.Pointer, a0, a1, a2 uint64) (result uint64, done bool)
