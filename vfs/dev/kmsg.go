package dev

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm/usermem"
	"gosv.dev/vfs"
	"gosv.dev/vfs/waitq"
)

const (
	kmsgRecords = 1024
	kmsgLineMax = 976 // longest message, as in Linux (LOG_LINE_MAX)
)

// Kmsg is the kernel's log: what the sentry tells the guests, and what these
// write to /dev/kmsg. It keeps the last records.
type Kmsg struct {
	queue waitq.Queue
	start time.Time

	mu    sync.Mutex
	recs  []kmsgRecord // those with numbers first to first+len-1
	first uint64
	clear uint64 // records before it are not shown by syslog(2) any more
}

type kmsgRecord struct {
	prio int // facility<<3 | level
	at   time.Duration
	text string
}

// NewKmsg returns an empty log whose times count from now.
func NewKmsg() *Kmsg { return &Kmsg{start: time.Now()} }

// Log adds a record of the kernel's.
func (k *Kmsg) Log(level int, text string) { k.add(level, text) }

func (k *Kmsg) add(prio int, text string) {
	if len(text) > kmsgLineMax {
		text = text[:kmsgLineMax]
	}
	k.mu.Lock()
	k.recs = append(k.recs, kmsgRecord{prio, time.Since(k.start), text})
	if len(k.recs) > kmsgRecords {
		n := len(k.recs) - kmsgRecords
		k.recs = append(k.recs[:0], k.recs[n:]...)
		k.first += uint64(n)
	}
	k.mu.Unlock()
	k.queue.Notify(waitq.Readable)
}

// Text is the log as dmesg shows it, for syslog(2): from the last clear on if sinceClear.
func (k *Kmsg) Text(sinceClear bool) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b bytes.Buffer
	for i, r := range k.recs {
		if sinceClear && k.first+uint64(i) < k.clear {
			continue
		}
		fmt.Fprintf(&b, "<%d>[%5d.%06d] %s\n", r.prio, r.at/time.Second, r.at%time.Second/time.Microsecond, r.text)
	}
	return b.Bytes()
}

// Clear hides what is there from syslog(2) (SYSLOG_ACTION_CLEAR).
func (k *Kmsg) Clear() {
	k.mu.Lock()
	k.clear = k.first + uint64(len(k.recs))
	k.mu.Unlock()
}

// kmsgFile is an open /dev/kmsg: one record a read.
type kmsgFile struct {
	vfs.DefaultFileOps
	k *Kmsg

	mu   sync.Mutex
	next uint64
}

func (f *kmsgFile) Readiness(mask waitq.Events) waitq.Events {
	f.mu.Lock()
	next := f.next
	f.mu.Unlock()
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	ev := waitq.Writable
	if next < f.k.first {
		ev |= waitq.Readable | waitq.Err | waitq.Pri
	} else if next < f.k.first+uint64(len(f.k.recs)) {
		ev |= waitq.Readable
	}
	return ev & (mask | waitq.Always)
}

func (f *kmsgFile) EventRegister(e *waitq.Entry, mask waitq.Events) { f.k.queue.EventRegister(e, mask) }
func (f *kmsgFile) EventUnregister(e *waitq.Entry)                  { f.k.queue.EventUnregister(e) }
func (f *kmsgFile) Stream() bool                                    { return false }

// Read gives one record; EPIPE tells that records were lost.
func (f *kmsgFile) Read(_ vfs.Context, _ *vfs.File, dst *usermem.IO, _ int64, _ vfs.IOFlags) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.k.mu.Lock()
	if f.next < f.k.first {
		f.next = f.k.first
		f.k.mu.Unlock()
		return 0, unix.EPIPE
	}
	i := f.next - f.k.first
	if i >= uint64(len(f.k.recs)) {
		f.k.mu.Unlock()
		return 0, unix.EAGAIN
	}
	r := f.k.recs[i]
	f.k.mu.Unlock()

	var b bytes.Buffer
	fmt.Fprintf(&b, "%d,%d,%d,-;", r.prio, f.next, r.at/time.Microsecond)
	for j := 0; j < len(r.text); j++ {
		if c := r.text[j]; c < ' ' || c >= 127 || c == '\\' {
			fmt.Fprintf(&b, "\\x%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\n')
	if uint64(b.Len()) > dst.Len() {
		return 0, unix.EINVAL
	}
	n, err := dst.Write(b.Bytes())
	if err != nil {
		return 0, unix.EFAULT
	}
	f.next++
	return int64(n), nil
}

// Write adds a record; "<N>" in front is its priority.
func (f *kmsgFile) Write(_ vfs.Context, _ *vfs.File, src *usermem.IO, off int64, _ vfs.IOFlags) (int64, int64, error) {
	n := src.Len()
	if n > kmsgLineMax {
		return 0, 0, unix.EINVAL
	}
	b := make([]byte, n)
	if _, err := src.Read(b); err != nil && n > 0 {
		return 0, 0, unix.EFAULT
	}
	prio := 1<<3 | 4 // a user's warning
	if len(b) > 2 && b[0] == '<' {
		p, i := 0, 1
		for ; i < len(b) && b[i] >= '0' && b[i] <= '9' && p < 1000; i++ {
			p = p*10 + int(b[i]-'0')
		}
		if i > 1 && i < len(b) && b[i] == '>' {
			if prio = p; p>>3 == 0 {
				prio |= 1 << 3 // nobody but the kernel logs as the kernel
			}
			b = b[i+1:]
		}
	}
	f.k.add(prio, string(bytes.TrimRight(b, "\n")))
	return int64(n), off, nil
}

// Seek moves to the first record, behind the last one, or behind the last clear (SEEK_DATA).
func (f *kmsgFile) Seek(_ vfs.Context, _ *vfs.File, _, off int64, whence int) (int64, error) {
	if off != 0 {
		return 0, unix.ESPIPE
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	switch whence {
	case unix.SEEK_SET:
		f.next = f.k.first
	case unix.SEEK_END:
		f.next = f.k.first + uint64(len(f.k.recs))
	case unix.SEEK_DATA:
		f.next = max(f.k.first, f.k.clear)
	default:
		return 0, unix.EINVAL
	}
	return 0, nil
}
