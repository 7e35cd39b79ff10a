package unix

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs"
)

// inflight counts the files that are in receive queues.
//
// A socket in flight keeps what is in its own queue alive. When such sockets hold each
// other and no descriptor leads to any of them, nobody can ever receive them: they are
// garbage, which reference counts do not find. collect does, as Linux does: a socket all
// of whose references are in flight is a candidate; candidates that a socket which is none
// can receive, directly or through other candidates, are alive; the rest is garbage.
type inflight struct {
	mu      sync.Mutex
	users   map[uint32]int // files in flight, by the user who sent them
	senders map[*vfs.File][]uint32
	sockets map[*Socket]*flying
}

type flying struct {
	file *vfs.File
	n    int64
}

// One table serves all sandboxes of the process: users of different sandboxes share
// the limit, nothing else.
var flight = inflight{
	users:   make(map[uint32]int),
	senders: make(map[*vfs.File][]uint32),
	sockets: make(map[*Socket]*flying),
}

// enter counts files as in flight; ETOOMANYREFS if the sender has too many.
func (t *inflight) enter(ctx vfs.Context, files []*vfs.File) error {
	uid := ctx.Cred().UID
	t.mu.Lock()
	defer t.mu.Unlock()
	if uint64(t.users[uid]) > ctx.Limit(unix.RLIMIT_NOFILE) &&
		!ctx.Cred().HasInitial(unix.CAP_SYS_RESOURCE) && !ctx.Cred().HasInitial(unix.CAP_SYS_ADMIN) {
		return unix.ETOOMANYREFS
	}
	t.users[uid] += len(files)
	for _, f := range files {
		t.senders[f] = append(t.senders[f], uid)
		if s, ok := f.Ops.(*Socket); ok {
			e := t.sockets[s]
			if e == nil {
				e = &flying{file: f}
				t.sockets[s] = e
			}
			e.n++
		}
	}
	return nil
}

// leave counts them out.
func (t *inflight) leave(files []*vfs.File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range files {
		if l := t.senders[f]; len(l) > 0 {
			uid := l[len(l)-1]
			if l = l[:len(l)-1]; len(l) == 0 {
				delete(t.senders, f)
			} else {
				t.senders[f] = l
			}
			if t.users[uid]--; t.users[uid] <= 0 {
				delete(t.users, uid)
			}
		}
		if s, ok := f.Ops.(*Socket); ok {
			if e := t.sockets[s]; e != nil {
				if e.n--; e.n == 0 {
					delete(t.sockets, s)
				}
			}
		}
	}
}

// carried calls f for every socket in the receive queues of s, and of the connections
// that wait to be accepted from it.
func (s *Socket) carried(f func(*Socket)) {
	s.mu.Lock()
	pending := append([]*Socket(nil), s.pending...)
	for m := s.recv.head; m != nil; m = m.next {
		for _, file := range m.rights {
			if c, ok := file.Ops.(*Socket); ok {
				f(c)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range pending {
		p.carried(f)
	}
}

// collector runs collect in the background, at most a tenth of the time: a guest that
// keeps many sockets in flight must not slow down every close.
type collector struct {
	mu        sync.Mutex
	scheduled bool
	pause     time.Duration
}

var gc collector

// schedule has garbage collected soon.
func (c *collector) schedule() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.scheduled {
		return
	}
	c.scheduled = true
	time.AfterFunc(c.pause, func() {
		c.mu.Lock()
		c.scheduled = false
		c.mu.Unlock()
		start := time.Now()
		collect()
		c.mu.Lock()
		c.pause = 10 * time.Since(start)
		c.mu.Unlock()
	})
}

// any tells whether sockets are in flight.
func (t *inflight) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sockets) > 0
}

// collect finds garbage and frees it.
func collect() {
	flight.mu.Lock()
	if len(flight.sockets) == 0 {
		flight.mu.Unlock()
		return
	}
	// outside counts, for each candidate, the references from queues of others than candidates.
	outside := make(map[*Socket]int64)
	for s, e := range flight.sockets {
		if e.file.Refs() == e.n {
			outside[s] = e.n
		}
	}
	for s := range outside {
		s.carried(func(c *Socket) {
			if _, ok := outside[c]; ok {
				outside[c]--
			}
		})
	}
	var alive []*Socket
	for s, n := range outside {
		if n > 0 {
			alive = append(alive, s)
		}
	}
	for _, s := range alive {
		delete(outside, s)
	}
	for len(alive) > 0 {
		s := alive[len(alive)-1]
		alive = alive[:len(alive)-1]
		s.carried(func(c *Socket) {
			if _, ok := outside[c]; ok {
				delete(outside, c)
				alive = append(alive, c)
			}
		})
	}
	var garbage []*vfs.File
	for s := range outside {
		garbage = append(garbage, s.takeAllRights()...)
	}
	flight.mu.Unlock()
	if len(garbage) > 0 {
		flight.leave(garbage)
		release(garbage)
	}
}

// takeAllRights takes all files out of the queue of a socket that nobody can reach.
func (s *Socket) takeAllRights() []*vfs.File {
	s.mu.Lock()
	pending := append([]*Socket(nil), s.pending...)
	var files []*vfs.File
	for m := s.recv.head; m != nil; m = m.next {
		files = append(files, m.rights...)
		m.rights = nil
	}
	s.mu.Unlock()
	for _, p := range pending {
		files = append(files, p.takeAllRights()...)
	}
	return files
}

// reaper drops references of files one after the other: closing a socket may drop files
// that hold further sockets, and so on, deeper than a stack should be.
type reaper struct {
	mu   sync.Mutex
	list []*vfs.File
	busy bool
}

var reap reaper

// release drops the references of files; if it is called while another call drops some, that
// call does it.
func release(files []*vfs.File) {
	if len(files) == 0 {
		return
	}
	reap.mu.Lock()
	reap.list = append(reap.list, files...)
	if reap.busy {
		reap.mu.Unlock()
		return
	}
	reap.busy = true
	for len(reap.list) > 0 {
		f := reap.list[len(reap.list)-1]
		reap.list = reap.list[:len(reap.list)-1]
		reap.mu.Unlock()
		f.DecRef()
		reap.mu.Lock()
	}
	reap.list, reap.busy = nil, false
	reap.mu.Unlock()
}
