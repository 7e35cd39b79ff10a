package mm

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Text in large pages. The processor remembers few addresses, and fewer if the host's pages of them are scattered; the text of a large program, which natively is
// in the host's page cache in larger pieces, runs some percent slower from single pages. So what is mapped as text for a while is put into large
// pages of the host (madvise(2) with MADV_COLLAPSE, Linux 6.1) if most of one is used. Nobody sees a difference: frames stay where they are.

const (
	// hugeUsed is how many pages of a large one (blockPages) must be used.
	hugeUsed = blockPages / 4 * 3
	// textRun is how much text must be mapped at once to be looked at, and collapseAfter when.
	textRun       = 64
	collapseAfter = 100 * time.Millisecond
	// mostTexts bounds what is remembered.
	mostTexts = 1024
)

// texts is what a Memory knows of the text in it.
type texts struct {
	mu    sync.Mutex
	noted map[Frame]bool // first frames of large pages that are done or to be done
	todo  []Frame
	off   bool // the host cannot, or the memory has gone

	working sync.Mutex // held while the host works; before mu
}

// noteText is told that n bytes of the memory from off on have been shown as text.
func (m *Memory) noteText(off, n uint64) {
	if n < textRun*PageSize {
		return
	}
	ts := &m.texts
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.off {
		return
	}
	for f := Frame(off>>PageShift) &^ (blockPages - 1); f < Frame((off+n)>>PageShift); f += blockPages {
		if ts.noted[f] {
			continue
		}
		if ts.noted == nil || len(ts.noted) >= mostTexts {
			ts.noted = map[Frame]bool{}
		}
		ts.noted[f] = true
		if ts.todo = append(ts.todo, f); len(ts.todo) == 1 {
			time.AfterFunc(collapseAfter, m.collapseTexts)
		}
	}
}

// collapseTexts does what is to be done.
func (m *Memory) collapseTexts() {
	ts := &m.texts
	ts.working.Lock()
	defer ts.working.Unlock()
	ts.mu.Lock()
	todo, off := ts.todo, ts.off
	ts.todo = nil
	ts.mu.Unlock()
	if off {
		return
	}
	for _, f := range todo {
		if m.usedOf(f) < hugeUsed {
			// Perhaps when it is mapped again.
			ts.mu.Lock()
			delete(ts.noted, f)
			ts.mu.Unlock()
			continue
		}
		// EINVAL: the host does not know how. It may also have no large page free now.
		if err := m.collapse(f); err == unix.EINVAL {
			m.stopTexts()
			return
		}
	}
}

// usedOf is how many frames of the large page that begins with f are used.
func (m *Memory) usedOf(f Frame) (n int) {
	for i := range Frame(blockPages) {
		if m.Refs(f+i) != 0 {
			n++
		}
	}
	return n
}

// collapse puts the large page that begins with f into one of the host's.
func (m *Memory) collapse(f Frame) error {
	return unix.Madvise(m.lin[uint64(f)<<PageShift:][:blockSize], unix.MADV_COLLAPSE)
}

// stopTexts ends it.
func (m *Memory) stopTexts() {
	m.texts.mu.Lock()
	m.texts.off = true
	m.texts.mu.Unlock()
}
