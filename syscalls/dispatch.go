package syscalls

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/sentry"
)

// Table runs system calls: it is the sentry.SyscallTable of a kernel. Make one for each
// kernel with NewTable.
type Table struct {
	// Strace prints every call if it is not nil. Set it before the kernel runs.
	Strace *Strace

	// loggedMu protects logged: which missing calls have been logged for which program.
	loggedMu sync.Mutex
	logged   map[missingKey]struct{}

	hints writeHints
	undo  undoLists
	aio   aioContexts
}

type missingKey struct {
	nr   uint64
	comm string
}

// maxLogged bounds the memory for what has been logged: guests choose their names.
const maxLogged = 4096

// NewTable returns a table that logs nothing but missing calls.
func NewTable() *Table { return &Table{logged: make(map[missingKey]struct{})} }

// Call implements sentry.SyscallTable.
func (tb *Table) Call(t *sentry.Task, nr uint64, args *[6]uint64) (uintptr, error) {
	nr = uint64(uint32(nr)) // what EAX holds
	if tb.Strace != nil {
		return tb.Strace.call(tb, t, nr, args)
	}
	return tb.call(t, nr, args)
}

func (tb *Table) call(t *sentry.Task, nr uint64, args *[6]uint64) (uintptr, error) {
	if nr < uint64(len(table)) {
		e := &table[nr]
		if e.Depth == Leaf && tb.Strace == nil {
			return e.leaf(t, nr, args)
		}
		if e.Fn != nil {
			return e.Fn(t, args)
		}
	}
	return 0, tb.missing(t, nr)
}

// leaf makes the call, and has the platform answer it from now on.
func (e *Entry) leaf(t *sentry.Task, nr uint64, args *[6]uint64) (uintptr, error) {
	gen := t.AnswerGen()
	v, err := e.Fn(t, args)
	if e.LeafFor != nil && !e.LeafFor(t, args) {
		t.NoAnswer(nr)
		return v, err
	}
	if e.Leaf != nil {
		t.AnswerBy(nr, e.Leaf, gen)
	} else if err == nil && v <= math.MaxInt32 {
		t.Answer(nr, uint32(v), gen)
	}
	return v, err
}

// missing logs a call that is not there, once for each program.
func (tb *Table) missing(t *sentry.Task, nr uint64) error {
	name := ""
	if nr < uint64(len(table)) {
		name = table[nr].Name
		if table[nr].Support == Gone {
			return unix.ENOSYS // as Linux; nobody needs to know
		}
	}
	k := missingKey{nr, t.Name()}
	tb.loggedMu.Lock()
	_, seen := tb.logged[k]
	if !seen && len(tb.logged) < maxLogged {
		tb.logged[k] = struct{}{}
	} else {
		seen = true
	}
	tb.loggedMu.Unlock()
	if !seen {
		t.Kernel().Log.Warn("system call is not implemented", "syscall", int32(nr), "name", name,
			"program", k.comm, "pid", t.TGID())
	}
	return unix.ENOSYS
}

// TaskExit is for Config.AtExit of the kernel: it ends what calls keep for a task or, with the
// last one, for its process.
func (tb *Table) TaskExit(t *sentry.Task, last bool) {
	if last {
		tb.undo.exit(t)
		if t.MM() != nil && t.MM().Users() <= 1 {
			tb.aio.exit(t.MM())
		}
	}
	if tb.Strace != nil {
		tb.Strace.Exit(t)
	}
}

// UnshareSem is for Config.AtUnshareSem: unshare(CLONE_SYSVSEM) does what has been put off now.
func (tb *Table) UnshareSem(t *sentry.Task) { tb.undo.exit(t) }

// Name is the name of call nr, or "" if there is no such call.
func Name(nr uint64) string {
	if nr < uint64(len(table)) {
		return table[nr].Name
	}
	return ""
}

// Number is the number of the call with a name, and whether there is one.
func Number(name string) (uint64, bool) {
	nr, ok := numbers()[name]
	return nr, ok
}

var numbers = sync.OnceValue(func() map[string]uint64 {
	m := make(map[string]uint64, len(table))
	for nr := range table {
		if table[nr].Name != "" {
			m[table[nr].Name] = uint64(nr)
		}
	}
	return m
})

// Entries calls f for each call that has a number, in order.
func Entries(f func(nr int, e *Entry)) {
	for nr := range table {
		if table[nr].Name != "" {
			f(nr, &table[nr])
		}
	}
}
