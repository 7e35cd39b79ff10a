package waitq

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The Go scheduler waits for its timers in whole milliseconds when it has nothing else to do. Alarms are timers of the host in its
// poller, which wake it at the very time.
var alarms struct {
	mu    sync.Mutex
	slots []alarm
	start time.Time
}

type alarm struct {
	file *os.File // keeps it in the poller
	fd   int
	at   time.Duration // when it rings or has rung, since start
}

const (
	// numAlarms is for how many timers at once: with more the scheduler is hardly ever idle.
	numAlarms = 16
	// farAhead is from when on a millisecond does not matter.
	farAhead = 20 * time.Millisecond
	// together is how far behind a timer the alarm may ring that serves it too.
	together = 20 * time.Microsecond
)

// StartAlarms makes the alarms, once, while the process may still do so (timerfd_create(2)).
func StartAlarms() error {
	slots := make([]alarm, numAlarms)
	for i := range slots {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("timerfd_create: %w", err)
		}
		slots[i] = alarm{file: os.NewFile(uintptr(fd), "alarm"), fd: fd}
	}
	alarms.mu.Lock()
	alarms.slots, alarms.start = slots, time.Now()
	alarms.mu.Unlock()
	return nil
}

// Expect has the scheduler look at its timers in d, for one that has just been set to then. It is not needed for correctness, and
// does nothing without StartAlarms. Any goroutine may call it.
func Expect(d time.Duration) {
	if d <= 0 || d > farAhead {
		return
	}
	alarms.mu.Lock()
	defer alarms.mu.Unlock()
	if alarms.slots == nil {
		return
	}
	now := time.Since(alarms.start)
	at := now + d
	free := -1
	for i := range alarms.slots {
		switch s := &alarms.slots[i]; {
		case s.at <= now:
			free = i
		case s.at >= at && s.at < at+together:
			return
		}
	}
	if free < 0 {
		return
	}
	s := &alarms.slots[free]
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if unix.TimerfdSettime(s.fd, 0, &spec, nil) == nil {
		s.at = at
	}
}
