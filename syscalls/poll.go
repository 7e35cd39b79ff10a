package syscalls

import (
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/sentry"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// poll and select, and their siblings with a signal mask. Both are one thing: a list of
// files, each with the events that matter, is looked at; if nothing has happened the
// task registers with all of them, looks again, and sleeps.

const (
	pollNval = unix.POLLNVAL
	noLimit  = time.Duration(math.MaxInt64)

	stickyTimeouts = 0x4000000 // personality(2): timeouts are not written back
)

// poller is the waiting half. Pollers are reused, so that polling does not allocate.
type poller struct {
	bell   *waitq.Bell
	notify func(waitq.Events) bool
	items  []pollItem
}

type pollItem struct {
	file    *vfs.File // nil: not to be looked at
	events  waitq.Events
	revents waitq.Events
	entry   waitq.Entry
}

// maxKeptItems bounds the memory that a poller keeps for the next user.
const maxKeptItems = 4096

var pollerPool = sync.Pool{New: func() any {
	p := &poller{bell: waitq.NewBell()}
	p.notify = func(waitq.Events) bool {
		p.bell.Ring()
		return true
	}
	return p
}}

// newPoller returns a poller with n empty items.
func newPoller(n int) *poller {
	p := pollerPool.Get().(*poller)
	if cap(p.items) < n {
		p.items = make([]pollItem, n)
	}
	p.items = p.items[:n]
	p.bell.Ready()
	return p
}

// release drops the files and gives the poller back.
func (p *poller) release() {
	for i := range p.items {
		it := &p.items[i]
		if it.file != nil {
			it.file.DecRef()
		}
		it.file, it.events, it.revents, it.entry.Notify = nil, 0, 0, nil
	}
	if cap(p.items) > maxKeptItems {
		p.items = nil
	}
	pollerPool.Put(p)
}

// look asks all files and returns how many have something to tell.
func (p *poller) look() int {
	n := 0
	for i := range p.items {
		it := &p.items[i]
		if it.file != nil {
			mask := it.events | waitq.Always
			it.revents = it.file.Readiness(mask) & mask
		}
		if it.revents != 0 {
			n++
		}
	}
	return n
}

// wait waits until a file has something to tell, or the deadline (forever if it is zero). now says
// that it must not wait. Interrupted it returns ERESTARTNOHAND.
func (p *poller) wait(t *sentry.Task, deadline time.Time, now bool) (int, error) {
	if n := p.look(); n > 0 || now {
		return n, nil
	}
	for i := range p.items {
		if it := &p.items[i]; it.file != nil {
			it.entry.Notify = p.notify
			it.file.EventRegister(&it.entry, it.events|waitq.Always)
		}
	}
	defer func() {
		for i := range p.items {
			if it := &p.items[i]; it.file != nil {
				it.file.EventUnregister(&it.entry)
			}
		}
	}()
	for {
		if n := p.look(); n > 0 {
			return n, nil
		}
		err := t.BlockBell(p.bell, until(deadline))
		switch err {
		case nil:
		case unix.ETIMEDOUT:
			return p.look(), nil
		default:
			return 0, vfs.ErrRestartNoHand
		}
	}
}

// until is the time left before a deadline, -1 if there is none.
func until(deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return -1
	}
	return max(time.Until(deadline), 0)
}

// duration is a timespec as a duration, cut to the longest there is.
func duration(ts unix.Timespec) time.Duration {
	if ts.Sec > math.MaxInt64/int64(time.Second)-1 {
		return noLimit
	}
	return time.Duration(ts.Sec)*time.Second + time.Duration(ts.Nsec)
}

// validTimespec tells whether ts is not negative and in its normal form.
func validTimespec(ts unix.Timespec) bool { return ts.Sec >= 0 && uint64(ts.Nsec) < 1e9 }

// deadlineIn is the point in time after d; zero for forever.
func deadlineIn(d time.Duration) time.Time {
	if d == noLimit {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// pollFDs is poll(2) with a deadline.
func pollFDs(t *sentry.Task, addr usermem.Addr, n uint32, deadline time.Time, now bool) (uintptr, error) {
	if uint64(n) > t.Limit(unix.RLIMIT_NOFILE) {
		return 0, unix.EINVAL
	}
	var few [16]unix.PollFd
	fds := few[:]
	if n > uint32(len(few)) {
		fds = make([]unix.PollFd, n)
	}
	fds = fds[:n]
	if n > 0 {
		if err := copySliceInto(t, addr, fds); err != nil {
			return 0, err
		}
	}
	p := newPoller(int(n))
	defer p.release()
	for i, fd := range fds {
		it := &p.items[i]
		if fd.Fd < 0 {
			continue
		}
		f, err := openFile(t, fd.Fd)
		if err != nil {
			it.revents = pollNval
			continue
		}
		it.file, it.events = f, waitq.Events(uint16(fd.Events))
	}
	ready, err := p.wait(t, deadline, now)
	if err != nil {
		return 0, err
	}
	for i := range fds {
		fds[i].Revents = int16(p.items[i].revents)
	}
	if n > 0 {
		if err := usermem.CopySliceOut(t.MM(), addr, fds); err != nil {
			return 0, err
		}
	}
	return uintptr(ready), nil
}

// poll(2)
func poll(t *sentry.Task, fds usermem.Addr, n uint32, timeout int32) (uintptr, error) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(time.Duration(timeout) * time.Millisecond)
	}
	return pollRestart(t, fds, n, deadline, timeout == 0)
}

// pollRestart makes an interrupted poll one that restart_syscall continues with the same deadline.
func pollRestart(t *sentry.Task, fds usermem.Addr, n uint32, deadline time.Time, now bool) (uintptr, error) {
	r, err := pollFDs(t, fds, n, deadline, now)
	if err == vfs.ErrRestartNoHand {
		t.SetRestart(func(t *sentry.Task) (uintptr, error) { return pollRestart(t, fds, n, deadline, false) })
		err = vfs.ErrRestartBlock
	}
	return r, err
}

// timeoutArg is a timeout that is written back: what is left of it.
type timeoutArg struct {
	addr     usermem.Addr // 0: none
	timeval  bool         // struct timeval, not timespec
	deadline time.Time
	now      bool
}

func readTimeout(t *sentry.Task, addr usermem.Addr, timeval bool) (timeoutArg, error) {
	a := timeoutArg{addr: addr, timeval: timeval}
	if addr == 0 {
		return a, nil
	}
	var ts unix.Timespec
	if err := usermem.CopyObjectIn(t.MM(), addr, &ts); err != nil {
		return a, err
	}
	if timeval {
		usec := ts.Nsec
		ts.Sec += usec / 1e6
		ts.Nsec = usec % 1e6 * 1000
	}
	if !validTimespec(ts) {
		return a, unix.EINVAL
	}
	if ts == (unix.Timespec{}) {
		a.now = true
		return a, nil
	}
	a.deadline = deadlineIn(duration(ts))
	return a, nil
}

// finish writes back what is left of the time. A call that could not do so must not be restarted
// with the whole time: it ends with EINTR.
func (a *timeoutArg) finish(t *sentry.Task, err error) error {
	if a.addr == 0 {
		return err
	}
	if t.Personality()&stickyTimeouts != 0 {
		if err == vfs.ErrRestartNoHand {
			return unix.EINTR
		}
		return err
	}
	if a.now || a.deadline.IsZero() {
		return err
	}
	left := unix.NsecToTimespec(int64(until(a.deadline)))
	if a.timeval {
		left.Nsec /= 1000
	}
	if usermem.CopyObjectOut(t.MM(), a.addr, &left) != nil && err == vfs.ErrRestartNoHand {
		return unix.EINTR
	}
	return err
}

// temporaryMask installs the signal mask at addr, if there is one, until the call returns.
func temporaryMask(t *sentry.Task, addr usermem.Addr, size uint64) error {
	if addr == 0 {
		return nil
	}
	if size != 8 {
		return unix.EINVAL
	}
	var mask sentry.SigSet
	if err := usermem.CopyObjectIn(t.MM(), addr, &mask); err != nil {
		return err
	}
	t.SetTemporaryMask(mask)
	return nil
}

// ppoll(2)
func ppoll(t *sentry.Task, fds usermem.Addr, n uint32, timeout, mask usermem.Addr, size uint64) (uintptr, error) {
	a, err := readTimeout(t, timeout, false)
	if err != nil {
		return 0, err
	}
	if err := temporaryMask(t, mask, size); err != nil {
		return 0, err
	}
	r, err := pollFDs(t, fds, n, a.deadline, a.now)
	return r, a.finish(t, t.MaskUnlessInterrupted(err))
}

// Events that select's three sets stand for.
const (
	selectIn  waitq.Events = unix.EPOLLIN | unix.EPOLLRDNORM | unix.EPOLLRDBAND | unix.EPOLLHUP | unix.EPOLLERR
	selectOut waitq.Events = unix.EPOLLOUT | unix.EPOLLWRNORM | unix.EPOLLWRBAND | unix.EPOLLERR
	selectEx  waitq.Events = unix.POLLPRI
)

// selectFDs is select(2) with a timeout.
func selectFDs(t *sentry.Task, n int32, sets [3]usermem.Addr, a *timeoutArg) (uintptr, error) {
	if n < 0 {
		return 0, unix.EINVAL
	}
	// Descriptors beyond the table are not looked at; Linux's is at least this large in what a
	// shell has started.
	n = min(n, int32(max(t.Files().Size(), 256)))
	words := (int(n) + 63) / 64
	var few [3 * 16]uint64
	all := few[:]
	if 3*words > len(few) {
		all = make([]uint64, 3*words)
	}
	var bits [3][]uint64
	for i, addr := range sets {
		bits[i] = all[i*words : (i+1)*words]
		if addr != 0 && words > 0 {
			if err := copySliceInto(t, addr, bits[i]); err != nil {
				return 0, err
			}
		}
	}
	count := 0
	each := func(f func(fd int, in, out, ex bool) error) error {
		for fd := range int(n) {
			w, b := fd/64, uint64(1)<<(fd%64)
			in, out, ex := bits[0][w]&b != 0, bits[1][w]&b != 0, bits[2][w]&b != 0
			if in || out || ex {
				if err := f(fd, in, out, ex); err != nil {
					return err
				}
			}
		}
		return nil
	}
	_ = each(func(int, bool, bool, bool) error { count++; return nil })
	p := newPoller(count)
	defer p.release()
	count = 0
	err := each(func(fd int, in, out, ex bool) error {
		f, err := openFile(t, int32(fd))
		if err != nil {
			return unix.EBADF
		}
		it := &p.items[count]
		count++
		it.file = f
		if in {
			it.events |= selectIn
		}
		if out {
			it.events |= selectOut
		}
		if ex {
			it.events |= selectEx
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := p.selectWait(t, a); err != nil {
		return 0, err
	}
	// The results replace the sets.
	var res [3][]uint64
	var fewRes [3 * 16]uint64
	allRes := fewRes[:]
	if 3*words > len(fewRes) {
		allRes = make([]uint64, 3*words)
	}
	for i := range res {
		res[i] = allRes[i*words : (i+1)*words]
	}
	count, total := 0, 0
	_ = each(func(fd int, in, out, ex bool) error {
		rev := p.items[count].revents
		count++
		for i, on := range [3]bool{in && rev&selectIn != 0, out && rev&selectOut != 0, ex && rev&selectEx != 0} {
			if on {
				res[i][fd/64] |= 1 << (fd % 64)
				total++
			}
		}
		return nil
	})
	for i, addr := range sets {
		if addr != 0 && words > 0 {
			if err := usermem.CopySliceOut(t.MM(), addr, res[i]); err != nil {
				return 0, err
			}
		}
	}
	return uintptr(total), nil
}

// selectWait waits as select does: errors and hang-ups count only for the sets that they belong to, so a
// file that has only these, for a set that does not care, must not end the wait.
func (p *poller) selectWait(t *sentry.Task, a *timeoutArg) error {
	care := func() bool {
		for i := range p.items {
			if it := &p.items[i]; it.revents&it.events != 0 {
				return true
			}
		}
		return false
	}
	p.look()
	if care() || a.now {
		return nil
	}
	for i := range p.items {
		it := &p.items[i]
		it.entry.Notify = p.notify
		it.file.EventRegister(&it.entry, it.events|waitq.Always)
	}
	defer func() {
		for i := range p.items {
			it := &p.items[i]
			it.file.EventUnregister(&it.entry)
		}
	}()
	for {
		p.look()
		if care() {
			return nil
		}
		switch err := t.BlockBell(p.bell, until(a.deadline)); err {
		case nil:
		case unix.ETIMEDOUT:
			p.look()
			return nil
		default:
			return vfs.ErrRestartNoHand
		}
	}
}

// select(2)
func sysSelect(t *sentry.Task, n int32, in, out, ex, timeout usermem.Addr) (uintptr, error) {
	a, err := readTimeout(t, timeout, true)
	if err != nil {
		return 0, err
	}
	r, err := selectFDs(t, n, [3]usermem.Addr{in, out, ex}, &a)
	return r, a.finish(t, err)
}

// pselect6(2)
func pselect6(t *sentry.Task, n int32, in, out, ex, timeout, maskArg usermem.Addr) (uintptr, error) {
	var m struct {
		Addr usermem.Addr
		Size uint64
	}
	if maskArg != 0 {
		if err := usermem.CopyObjectIn(t.MM(), maskArg, &m); err != nil {
			return 0, err
		}
	}
	a, err := readTimeout(t, timeout, false)
	if err != nil {
		return 0, err
	}
	if err := temporaryMask(t, m.Addr, m.Size); err != nil {
		return 0, err
	}
	r, err := selectFDs(t, n, [3]usermem.Addr{in, out, ex}, &a)
	return r, a.finish(t, t.MaskUnlessInterrupted(err))
}
