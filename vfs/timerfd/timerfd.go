// Package timerfd is timerfd_create(2): a timer that is waited for and read.
//
// Lock order: Timer.mu, then locks of package mm, then the queue's. The Go timer
// calls back without a lock.
package timerfd

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

// tfdIOCSetTicks is TFD_IOC_SET_TICKS.
const tfdIOCSetTicks = 0x40085400

// Timer is the object behind a timerfd.
type Timer struct {
	vfs.DefaultFileOps
	queue waitq.Queue
	clock int32 // host clock it runs on; immutable
	id    int32 // clock the guest asked for; immutable
	// offset is what the guest's time namespace adds to the host's clock; immutable.
	offset int64

	// mu protects what follows.
	mu       sync.Mutex
	timer    *time.Timer
	armed    bool
	next     int64 // time of the next expiration, in ns of the host's clock
	interval int64
	ticks    uint64 // expirations not yet read
	flags    int32  // TFD_TIMER_* of the last set
}

// New returns a disarmed timer. offset is added to the host's clock to get the
// guest's: 0 outside time namespaces. The caller has checked CAP_WAKE_ALARM for
// the _ALARM clocks.
func New(clock int32, offset int64) (*Timer, error) {
	t := &Timer{id: clock, offset: offset}
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME:
		t.clock = clock
	case unix.CLOCK_REALTIME_ALARM:
		t.clock = unix.CLOCK_REALTIME
	case unix.CLOCK_BOOTTIME_ALARM:
		t.clock = unix.CLOCK_BOOTTIME
	default:
		return nil, unix.EINVAL
	}
	return t, nil
}

// NewFile returns a file on a new timer, as timerfd_create(2) does.
func NewFile(ctx vfs.Context, clock int32, offset int64, flags uint32) (*vfs.File, error) {
	if flags&^(unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) != 0 {
		return nil, unix.EINVAL
	}
	t, err := New(clock, offset)
	if err != nil {
		return nil, err
	}
	return vfs.NewAnonFile("anon_inode:[timerfd]", t, unix.O_RDWR|flags&unix.TFD_NONBLOCK, ctx.Cred()), nil
}

// Clock is the clock id that the guest asked for.
func (t *Timer) Clock() int32 { return t.id }

func (t *Timer) now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(t.clock, &ts); err != nil {
		return time.Now().UnixNano()
	}
	return ts.Nano()
}

// advance counts the expirations up to now. t.mu is held.
func (t *Timer) advance(now int64) {
	if !t.armed || now < t.next {
		return
	}
	if t.interval == 0 {
		t.ticks++
		t.armed = false
		return
	}
	n := (now-t.next)/t.interval + 1
	t.ticks += uint64(n)
	t.next = addSat(t.next, n*t.interval)
}

// schedule sets the Go timer for the next expiration. While expirations are
// unread it stays off, since nobody needs a second wake-up. t.mu is held.
func (t *Timer) schedule(now int64) {
	if !t.armed || t.ticks > 0 {
		if t.timer != nil {
			t.timer.Stop()
		}
		return
	}
	d := time.Duration(t.next - now)
	if d < 0 {
		d = 0
	}
	if t.clock != unix.CLOCK_MONOTONIC && d > time.Second {
		// The host's clock may be set: look again from time to time.
		d = time.Second
	}
	waitq.Expect(d)
	if t.timer == nil {
		t.timer = time.AfterFunc(d, t.fire)
	} else {
		t.timer.Reset(d)
	}
}

func (t *Timer) fire() {
	t.mu.Lock()
	now := t.now()
	t.advance(now)
	t.schedule(now)
	ready := t.ticks > 0
	t.mu.Unlock()
	if ready {
		t.queue.Notify(waitq.Readable)
	}
}

func addSat(a, b int64) int64 {
	if s := a + b; b < 0 || s >= a {
		return s
	}
	return math.MaxInt64
}

// nanos turns a timespec into nanoseconds; very long ones are shortened.
func nanos(ts unix.Timespec) (int64, error) {
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return 0, unix.EINVAL
	}
	if ts.Sec >= math.MaxInt64/int64(1e9) {
		return math.MaxInt64, nil
	}
	return ts.Nano(), nil
}

// Set is timerfd_settime(2).
func (t *Timer) Set(flags int32, new unix.ItimerSpec) (old unix.ItimerSpec, err error) {
	if flags&^(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET) != 0 {
		return old, unix.EINVAL
	}
	value, err := nanos(new.Value)
	if err != nil {
		return old, err
	}
	interval, err := nanos(new.Interval)
	if err != nil {
		return old, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.advance(now)
	old = t.get(now)
	t.ticks, t.flags, t.interval = 0, flags, interval
	t.armed = value != 0
	switch {
	case !t.armed:
	case flags&unix.TFD_TIMER_ABSTIME != 0:
		t.next = value - t.offset
	default:
		t.next = addSat(now, value)
	}
	t.advance(now)
	t.schedule(now)
	if t.ticks > 0 {
		t.queue.Notify(waitq.Readable)
	}
	return old, nil
}

// Get is timerfd_gettime(2).
func (t *Timer) Get() unix.ItimerSpec {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.advance(now)
	return t.get(now)
}

func (t *Timer) get(now int64) unix.ItimerSpec {
	s := unix.ItimerSpec{Interval: unix.NsecToTimespec(t.interval)}
	if t.armed {
		d := t.next - now
		if d <= 0 {
			d = 1 // armed timers never show as disarmed
		}
		s.Value = unix.NsecToTimespec(d)
	}
	return s
}

// Info is what /proc/PID/fdinfo shows.
func (t *Timer) Info() (clock int32, ticks uint64, flags int32, spec unix.ItimerSpec) {
	spec = t.Get()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id, t.ticks, t.flags, spec
}

// Readiness implements vfs.FileOps.
func (t *Timer) Readiness(mask waitq.Events) waitq.Events {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed && t.ticks == 0 {
		now := t.now()
		t.advance(now)
	}
	if t.ticks > 0 {
		return waitq.Readable & mask
	}
	return 0
}

// EventRegister implements vfs.FileOps.
func (t *Timer) EventRegister(w *waitq.Entry, mask waitq.Events) { t.queue.EventRegister(w, mask) }

// EventUnregister implements vfs.FileOps.
func (t *Timer) EventUnregister(w *waitq.Entry) { t.queue.EventUnregister(w) }

// Read implements vfs.FileOps.
func (t *Timer) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	if dst.Len() < 8 {
		return 0, unix.EINVAL
	}
	t.mu.Lock()
	now := t.now()
	t.advance(now)
	n := t.ticks
	if n == 0 {
		t.mu.Unlock()
		return 0, unix.EAGAIN
	}
	t.ticks = 0
	t.schedule(now)
	t.mu.Unlock()
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	if _, err := dst.Write(b[:]); err != nil {
		return 0, unix.EFAULT
	}
	return 8, nil
}

// Ioctl implements vfs.FileOps.
func (t *Timer) Ioctl(ctx vfs.Context, _ *vfs.File, cmd uint32, arg uint64) (uint64, error) {
	if cmd != tfdIOCSetTicks {
		return 0, unix.ENOTTY
	}
	var n uint64
	if err := usermem.CopyObjectIn(ctx.Memory(), usermem.Addr(arg), &n); err != nil {
		return 0, unix.EFAULT
	}
	if n == 0 {
		return 0, unix.EINVAL
	}
	t.mu.Lock()
	t.ticks = n
	t.mu.Unlock()
	t.queue.Notify(waitq.Readable)
	return 0, nil
}

// Release implements vfs.FileOps.
func (t *Timer) Release(*vfs.File) {
	t.mu.Lock()
	t.armed = false
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
}

// Stream implements vfs.FileOps.
func (t *Timer) Stream() bool { return true }

// Seek implements vfs.FileOps: it does nothing, as in Linux.
func (*Timer) Seek(_ vfs.Context, _ *vfs.File, pos, _ int64, _ int) (int64, error) { return pos, nil }
