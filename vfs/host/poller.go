package host

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosv.dev/vfs/waitq"
)

// poller waits for inherited descriptors: one epoll instance and one goroutine for all,
// which sleeps in the host until something happens. Descriptors are watched edge-triggered,
// so what nobody reads costs nothing, and are given up when they become ready and nobody waits.
type poller struct {
	mu    sync.Mutex
	epfd  int
	files map[int32]*FDFile
}

// watcher is the process's, as its thread and descriptor are.
var watcher = poller{epfd: -1}

// watch makes sure that ff's queue is told.
func (p *poller) watch(ff *FDFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ff.armed {
		return
	}
	if p.epfd < 0 {
		epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return
		}
		p.epfd = epfd
		p.files = make(map[int32]*FDFile)
		go p.run(epfd)
	}
	ev := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(ff.fd),
	}
	// EPERM: always ready, as poll says too.
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, ff.fd, &ev); err == nil {
		p.files[int32(ff.fd)] = ff
		ff.armed = true
	}
}

// remove forgets ff, before its descriptor is closed.
func (p *poller) remove(ff *FDFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disarm(ff)
}

func (p *poller) disarm(ff *FDFile) {
	if ff.armed {
		_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, ff.fd, nil)
		delete(p.files, int32(ff.fd))
		ff.armed = false
	}
}

func (p *poller) run(epfd int) {
	var events [32]unix.EpollEvent
	for {
		n, err := unix.EpollWait(epfd, events[:], -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			p.mu.Lock()
			ff := p.files[ev.Fd]
			if ff != nil && ff.queue.Empty() {
				p.disarm(ff)
				ff = nil
			}
			p.mu.Unlock()
			if ff != nil {
				e := waitq.Events(ev.Events)
				if e&waitq.In != 0 {
					e |= waitq.Readable
				}
				if e&waitq.Out != 0 {
					e |= waitq.Writable
				}
				ff.queue.Notify(e)
			}
		}
	}
}
