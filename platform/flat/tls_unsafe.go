package flat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Go program finds the goroutine that it runs in a word in front of FS base, wherever assembly calls Go, on every change of stacks and in
// signal handlers. A guest has FS for itself, so FS would have to be written at every way into the guest and out of it; where programs may not do that by
// an instruction, that is two host calls. So the word is moved to in front of GS base, which is each thread's block: the instructions of the
// sentry that name FS are made to name GS, a byte each, when the platform is made. After that FS base means nothing to the sentry, and is written
// when a thread runs another guest thread than before.
//
//	block:  56 bytes | goroutine | vcpu ...     ... stack of leaf calls
//	                              ^ GS base
//
// It is done while the runtime's threads run: each is first given a block, with both bases pointing there, so that it does not matter which of
// the two an instruction names. mstart, where new threads begin, is changed before that. The instructions that are left as they are
// run in a new thread before mstart.
//
// Some hosts' kernels know nothing of the instructions that write FS base and have them executed all the same (a virtual machine whose kernel
// runs like a program). They are used there too (fsgsUnknown), though that kernel, when it has run another thread, gives a thread the FS base that it
// knows of: that is made one around which nothing is mapped, so that a guest that uses it faults, and is given its own again.
//
// It cannot be done where C code has its own data at FS base, that is in a program with cgo or the race detector.

const (
	maxBlocks = 1 << 14
	blockSize = 8192 // most of it for the host's vDSO, which leaf calls use
	blockHead = 64

	// owned is the owner of a block until its thread ends, which the host notes.
	owned = 0x7fffffff
)

// What tls_amd64.s uses.
var (
	blocks      uintptr // maxBlocks blocks
	blocksTaken uint64  // while Go needs FS, atomic
	// owners are those of each block, atomic: 0 if it has none, owned.
	//lint:ignore U1000 takeBlock looks there
	owners [maxBlocks]uint32
	//lint:ignore U1000 threadStart goes there
	mstart0   uintptr
	fsgsbase  bool // programs may write FS and GS base by an instruction
	goTLSInGS bool // all that use the goroutine's word find it through GS
)

// fsgsWay is how FS and GS base are read and written, where it matters.
type fsgsWay uint64

const (
	fsgsCall    fsgsWay = iota // by host calls
	fsgsKnown                  // by instructions, the guests' too
	fsgsUnknown                // FS base by an instruction of which the host does not know
)

// nowhere is the FS base that the host knows of with fsgsUnknown, in the middle of nowhereSize bytes of nothing: what is addressed by it
// is not farther away.
var nowhere uintptr

const nowhereSize = 2 << 30

func tryFSBase() uint64

//go:linkname iscgo runtime.iscgo
var iscgo bool

var errCgo = errors.New("this gosv was built with cgo or the race detector")

var tls struct {
	sync.Mutex
	done bool
	err  error
}

// Prepare does what New needs of a process that sees /proc, once for its life. The error says why FS base is not free for guests. Where programs may
// write it by an instruction, guests can have it all the same.
func Prepare() error {
	tls.Lock()
	defer tls.Unlock()
	if tls.done {
		return tls.err
	}
	b, err := unix.Mmap(-1, 0, maxBlocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	tls.done = true
	if err != nil {
		tls.err = fmt.Errorf("memory for threads: %w", err)
		return tls.err
	}
	blocks, fsgsbase = address(b), hwcap2()&hwcap2FSGSBase != 0
	tls.err = leaveFS()
	return tls.err
}

const hwcap2FSGSBase = 2

// fsgs finds out how FS base can be written.
func fsgs() (fsgsWay, error) {
	switch {
	case blocks == 0:
		return 0, tls.err
	case fsgsbase:
		return fsgsKnown, nil
	case !goTLSInGS:
		return 0, fmt.Errorf("the host does not let programs write the FS and GS base (FSGSBASE, Linux 5.9), and the sentry cannot do without FS: %w", tls.err)
	}
	tls.Lock()
	defer tls.Unlock()
	if nowhere != 0 {
		return fsgsUnknown, nil
	}
	restore, err := handleFor(uintptr(unix.SIGILL), codeAddrs().skipIllegal)
	if err != nil {
		return 0, err
	}
	base := tryFSBase()
	restore()
	if base == 0 {
		return fsgsCall, nil
	}
	if b, err := unix.Mmap(-1, 0, nowhereSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err == nil {
		nowhere = address(b) + nowhereSize/2
		return fsgsUnknown, nil
	}
	return fsgsCall, nil
}

// handleFor makes a handler of tls_amd64.s a signal's, until restore is called.
func handleFor(sig, handler uintptr) (restore func(), err error) {
	var old sigaction
	now := handledBy(handler, saRestart, ^uintptr(0))
	if err := rtSigaction(sig, &now, &old); err != nil {
		return nil, err
	}
	return func() { _ = rtSigaction(sig, &old, nil) }, nil
}

// hwcap2 is AT_HWCAP2.
func hwcap2() uintptr {
	const atHwcap2 = 26
	v, err := unix.Auxv()
	if err != nil {
		return 0
	}
	for _, pair := range v {
		if pair[0] == atHwcap2 {
			return pair[1]
		}
	}
	return 0
}

// leaveFS makes the sentry do without FS. After an error it is as it was.
func leaveFS() error {
	if iscgo {
		return errCgo
	}
	lo, hi := sentryText()
	text := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&lo))), hi-lo)
	pageLo, pageHi := lo&^(pageSize-1), (hi+pageSize-1)&^(pageSize-1)
	_, _, _ = syscall.RawSyscall(unix.SYS_MADVISE, pageLo, pageHi-pageLo, unix.MADV_POPULATE_READ) // cheaper than faults
	found := tlsSites(text, lo)
	call, err := mstartCall()
	if err != nil {
		return err
	}
	// What the host has mapped here it would copy a page at a time, and interrupt the other processors for each. So it is to forget: nobody
	// has changed any of it yet.
	_, _, _ = syscall.RawSyscall(unix.SYS_MADVISE, pageLo, pageHi-pageLo, unix.MADV_DONTNEED)
	if e := hostProtect(uint64(pageLo), uint64(pageHi-pageLo), unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC); e != 0 {
		return fmt.Errorf("mprotect of the sentry's text: %w", e)
	}
	defer func() {
		if e := hostProtect(uint64(pageLo), uint64(pageHi-pageLo), unix.PROT_READ|unix.PROT_EXEC); e != 0 {
			panic(fmt.Sprintf("flat: mprotect of the sentry's text: %v", e))
		}
	}()
	populate(found, lo)
	call.patch()
	if err := adoptThreads(); err != nil {
		return err // which does no harm: each thread has its word where FS and perhaps GS say
	}
	for _, off := range found {
		text[off] = 0x65 // the prefix that means GS
	}
	// Whoever has instructions from before has done with them when it returns.
	if _, _, e := syscall.RawSyscall(unix.SYS_MEMBARRIER, membarrierRegisterSyncCore, 0, 0); e == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_MEMBARRIER, membarrierSyncCore, 0, 0)
	}
	goTLSInGS = true
	return nil
}

// populate has the host make the pages ready that will be written to, at offsets from base that ascend: that costs less than a fault for each.
func populate(offsets []int, base uintptr) {
	var lo, hi uintptr
	more := func() {
		if lo < hi {
			_, _, _ = syscall.RawSyscall(unix.SYS_MADVISE, lo, hi-lo, unix.MADV_POPULATE_WRITE)
		}
	}
	for _, off := range offsets {
		if page := (base + uintptr(off)) &^ (pageSize - 1); page != hi-pageSize {
			if page != hi {
				more()
				lo = page
			}
			hi = page + pageSize
		}
	}
	more()
}

const (
	membarrierSyncCore         = 1 << 5
	membarrierRegisterSyncCore = 1 << 6
)

// tlsSites are the offsets in text, which is at base, of the instructions that find the goroutine's word through FS: those with the
// prefix 64, REX.W, an opcode, and the absolute address -8. But for those that new threads run before mstart.
func tlsSites(text []byte, base uintptr) []int {
	tail := []byte{0x25, 0xf8, 0xff, 0xff, 0xff}
	var found []int
	for at := 0; ; at++ {
		i := bytes.IndexByte(text[at:], 0x64)
		if i < 0 || len(text)-(at+i) < 9 {
			return found
		}
		at += i
		b := text[at : at+9]
		if b[1]&^0x04 != 0x48 || b[3]&0xc7 != 0x04 || !bytes.Equal(b[4:], tail) {
			continue
		}
		if !beforeMstart(base + uintptr(at)) {
			found = append(found, at)
		}
	}
}

// beforeMstart tells whether new threads come to an address before mstart: it is in clone or stackcheck.
func beforeMstart(pc uintptr) bool {
	const long = 512 // neither function is; to ask the runtime about each address is not cheap
	a := codeAddrs()
	if pc-a.clone >= long && pc-a.stackcheck >= long {
		return false
	}
	f := runtime.FuncForPC(pc)
	return f != nil && (f.Entry() == a.clone || f.Entry() == a.stackcheck)
}

// nearCall is a CALL whose target is to be another one.
type nearCall struct {
	word *uint64 // aligned, with all of the target in it
	now  uint64
}

// mstartCall is mstart's call of mstart0, made one of threadStart.
func mstartCall() (nearCall, error) {
	a := codeAddrs()
	code := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&a.mstart))), 16)
	i := bytes.IndexByte(code, 0xe8)
	if i < 0 || i+5 > len(code) {
		return nearCall{}, errors.New("the runtime's threads begin in another way than the one that is known")
	}
	target := a.mstart + uintptr(i) + 1
	next := target + 4
	if target&7 > 4 {
		return nearCall{}, errors.New("the runtime's mstart cannot be changed in one step")
	}
	mstart0 = next + uintptr(int32(binary.LittleEndian.Uint32(code[i+1:])))
	aligned := target &^ 7
	word := (*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&aligned)))
	shift := target & 7 * 8
	now := *word&^(0xffffffff<<shift) | uint64(uint32(a.threadStart-next))<<shift
	return nearCall{word, now}, nil
}

func (c nearCall) patch() { atomic.StoreUint64(c.word, c.now) }

// adoptThreads gives a block to each thread of the process that has none yet.
func adoptThreads() error {
	restore, err := handleFor(interruptSignal, codeAddrs().adopt)
	if err != nil {
		return err
	}
	defer restore()
	begin, pid := time.Now(), unix.Getpid()
	asked, seen := map[int]*uint32{}, map[string]bool{}
	for {
		tids, err := threads(seen)
		if err != nil {
			return err
		}
		waiting := false
		for _, tid := range tids {
			waiting = true
			// The host writes what is queued with the signal, so the word must not move, and never goes.
			word := new(uint32)
			adopting = append(adopting, word)
			info := [16]uint64{uint64(interruptSignal), siQueue, uint64(pid), uint64(uintptr(unsafe.Pointer(word)))}
			_, _, errno := syscall.RawSyscall6(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(pid), uintptr(tid), interruptSignal, uintptr(unsafe.Pointer(&info)), 0, 0)
			if errno == unix.ESRCH {
				continue
			}
			if errno != 0 {
				return fmt.Errorf("a signal to a thread of the sentry: %w", errno)
			}
			asked[tid] = word
		}
		for tid, word := range asked {
			for n := 0; atomic.LoadUint32(word) == 0; n++ {
				if n%1000 == 999 && unix.Tgkill(pid, tid, 0) == unix.ESRCH {
					break
				}
				switch {
				case n < 100:
					runtime.Gosched()
				case time.Since(begin) < adoptTime:
					time.Sleep(10 * time.Microsecond)
				default:
					return fmt.Errorf("a thread of the sentry takes no signal %d", interruptSignal)
				}
			}
		}
		if !waiting {
			return nil
		}
	}
}

// adoptTime is how long threads may take to run a signal handler.
const adoptTime = 10 * time.Second

// threads are the process's threads that were not seen yet, by the ids that they have in its pid namespace; /proc may be another one's.
func threads(seen map[string]bool) ([]int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, fmt.Errorf("the sentry's threads: %w", err)
	}
	var tids []int
	for _, e := range entries {
		if seen[e.Name()] {
			continue
		}
		seen[e.Name()] = true
		status, err := os.ReadFile("/proc/self/task/" + e.Name() + "/status")
		if err != nil {
			continue // it has ended
		}
		_, ids, _ := bytes.Cut(status, []byte("\nNSpid:"))
		ids, _, _ = bytes.Cut(ids, []byte("\n"))
		all := bytes.Fields(ids)
		if len(all) == 0 {
			return nil, errors.New("the sentry's threads: /proc does not tell their ids (NSpid)")
		}
		tid, err := strconv.Atoi(string(all[len(all)-1]))
		if err != nil {
			return nil, fmt.Errorf("the sentry's threads: %w", err)
		}
		tids = append(tids, tid)
	}
	return tids, nil
}

// siQueue is si_code of a signal with a value, in the upper half of a word of siginfo whose lower half is si_errno.
const siQueue = 0xffffffff // SI_QUEUE is -1

// adopting keeps the words that handlers write.
var adopting []*uint32
