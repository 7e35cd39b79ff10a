package sentry

import (
	"sync/atomic"

	"gosv.dev/platform"
	"gosv.dev/vfs/cred"
)

// Calls whose result does not change by itself (getpid and its kin) are answered by the platform, where it can do that, until
// something happens that changes one of the results or wants to see the calls; and some others by functions (leaf_unsafe.go).

// answers is what a task has of it.
type answers struct {
	by  platform.Answerer // nil: the platform cannot
	gen atomic.Uint64     // counts noAnswers
}

// AnswerGen is to be read before the result of a call is worked out that is then given to Answer.
func (t *Task) AnswerGen() uint64 { return t.answers.gen.Load() }

// Answer has the platform give v for system call nr from now on, unless noAnswers was called since gen was read.
func (t *Task) Answer(nr uint64, v uint32, gen uint64) {
	// In a user namespace ids change when its maps are written.
	if t.mayAnswer() && t.Cred().UserNS == cred.InitUserNS() {
		t.answers.by.Answer(nr, v)
		t.answered(gen)
	}
}

// mayAnswer tells whether the platform can answer calls, and nobody wants to see them.
func (t *Task) mayAnswer() bool {
	return t.answers.by != nil && t.work.Load()&(workTrace|workSeccomp) == 0
}

// answered takes an answer back that has been overtaken.
func (t *Task) answered(gen uint64) {
	if t.answers.gen.Load() != gen || t.work.Load()&(workTrace|workSeccomp) != 0 {
		t.answers.by.NoAnswers()
	}
}

// noAnswers takes all answers back: something has changed. Any goroutine may call it.
func (t *Task) noAnswers() {
	t.answers.gen.Add(1)
	if t.answers.by != nil {
		t.answers.by.NoAnswers()
	}
}

// noAnswers does it for all threads. Kernel.tasks is held.
func (p *Process) noAnswers() {
	for _, t := range p.threads {
		t.noAnswers()
	}
}
