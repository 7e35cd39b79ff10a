package sentry

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/sentry/elf"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
)

// execve. Everything that can fail is done first, on an address space of its own: the file is
// found and checked, scripts lead to their interpreters, the program is mapped, the
// stack is written, the new credentials are computed. Then comes the point of no
// return: the other threads of the process die, and what was prepared becomes the
// task's.

const (
	binprmBufSize = 256 // what is read of a file to find out what it is
	maxInterps    = 5   // a script's interpreter may be a script, this often
)

// ExecArgs are the arguments of execve and execveat.
type ExecArgs struct {
	Start vfs.Path        // where relative paths begin; zero: the working directory
	Path  string          // what to run
	Flags vfs.LookupFlags // LookupFollow mostly; LookupEmpty runs Start itself
	// Name is what the program is told that it was called by (AT_EXECFN); Path if empty. For
	// execveat it is /dev/fd/N or below.
	Name string
	// Inaccessible: the program's descriptor is closed by the exec, so no script can be read.
	Inaccessible bool
	Argv, Envv   []string
}

// program is what exec has prepared.
type program struct {
	file     *vfs.File // the ELF file; writing is denied
	as       *mm.AddressSpace
	img      *elf.Image
	stack    *elf.Stack
	cred     *cred.Cred
	secure   bool
	dumpable int32
	comm     string
}

func (pr *program) release() {
	if pr.as != nil {
		pr.as.DecUsers()
	}
	if pr.file != nil {
		pr.file.AllowWrite()
		pr.file.DecRef()
	}
}

// exeFile is the program file of one address space. Every task that uses the address space holds a
// reference.
type exeFile struct {
	refs atomic.Int64
	mu   sync.Mutex // protects f
	f    *vfs.File  // writing is denied; nil after the last task
}

// newExeFile takes over a reference on f, to which writing is denied.
func newExeFile(f *vfs.File) *exeFile {
	e := &exeFile{f: f}
	e.refs.Store(1)
	return e
}

// fork is for a copy of the address space.
func (e *exeFile) fork() *exeFile {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.f == nil {
		return newExeFile(nil)
	}
	if err := e.f.DenyWrite(); err != nil {
		return newExeFile(nil)
	}
	e.f.IncRef()
	return newExeFile(e.f)
}

// set replaces the file.
func (e *exeFile) set(f *vfs.File) {
	e.mu.Lock()
	old := e.f
	e.f = f
	e.mu.Unlock()
	if old != nil {
		old.AllowWrite()
		old.DecRef()
	}
}

func (e *exeFile) put() {
	if e.refs.Add(-1) == 0 {
		e.set(nil)
	}
}

func exeOf(as *mm.AddressSpace) *exeFile {
	e, _ := as.ExeFile().(*exeFile)
	return e
}

// shareMM makes a further task a user of as.
func shareMM(as *mm.AddressSpace) *mm.AddressSpace {
	as.IncUsers()
	if e := exeOf(as); e != nil {
		e.refs.Add(1)
	}
	return as
}

// forkMM copies as.
func forkMM(as *mm.AddressSpace) (*mm.AddressSpace, error) {
	n, err := as.Fork()
	if err != nil {
		return nil, err
	}
	if e := exeOf(as); e != nil {
		n.SetExeFile(e.fork())
	}
	return n, nil
}

// putMM is for a task that stops using as.
func putMM(as *mm.AddressSpace) {
	if e := exeOf(as); e != nil {
		e.put()
	}
	as.DecUsers()
}

// ExePath is the program that the task runs, with a reference for the caller (/proc/PID/exe).
func (t *Task) ExePath() (vfs.Path, bool) {
	as := t.GetMM()
	if as == nil {
		return vfs.Path{}, false
	}
	defer as.DecUsers()
	e := exeOf(as)
	if e == nil {
		return vfs.Path{}, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.f == nil {
		return vfs.Path{}, false
	}
	return e.f.Path, e.f.Path.TryIncRef()
}

// SetExeFile is PR_SET_MM_EXE_FILE: f becomes what /proc/PID/exe shows.
func (t *Task) SetExeFile(f *vfs.File) error {
	if i := f.Inode(); !i.IsRegular() || vfs.Permission(t, i, vfs.MayExec) != nil {
		return unix.EACCES
	}
	if err := f.DenyWrite(); err != nil {
		return err
	}
	f.IncRef()
	exeOf(t.mm).set(f)
	return nil
}

// Exec is execve(2). It returns ErrNoReturn when the new program is in place.
func (t *Task) Exec(a *ExecArgs) error {
	if t.nprocExceeded && t.overNProc() {
		return unix.EAGAIN
	}
	t.nprocExceeded = false
	if a.Name == "" {
		a.Name = a.Path
	}
	pr, err := t.prepareExec(a)
	if err != nil {
		return err
	}
	if err := t.deThread(); err != nil {
		pr.release()
		return err
	}
	t.commitExec(pr)
	return ErrNoReturn
}

// prepareExec does all of exec that can fail.
func (t *Task) prepareExec(a *ExecArgs) (_ *program, err error) {
	stackLimit := t.Limit(unix.RLIMIT_STACK)
	argv := a.Argv
	if len(argv) == 0 {
		argv = []string{""} // as Linux does since 5.18, for programs that trust argv[0]
	}
	if err := elf.CheckArgs(argv, a.Envv, stackLimit); err != nil {
		return nil, err
	}
	pr := &program{}
	defer func() {
		if err != nil {
			pr.release()
		}
	}()
	if pr.file, argv, err = t.openProgram(a, argv); err != nil {
		return nil, err
	}
	if err := elf.CheckArgs(argv, a.Envv, stackLimit); err != nil {
		return nil, err
	}
	if err := t.execCred(pr); err != nil {
		return nil, err
	}
	pr.comm = commName(a)

	if pr.as, err = mm.NewAddressSpace(t.k.Memory, t.k.Platform); err != nil {
		return nil, err
	}
	p := t.proc
	pr.as.SetLimits(func(r int) uint64 { return p.Limit(r).Cur })
	pr.as.SetCapable(t.mmCapable())
	pers := t.Personality()
	if pr.secure {
		pers &^= clearOnSetID
	}
	random := pers&addrNoRandomize == 0
	pr.as.PickLayout(stackLimit, random, pers&addrCompatLayout != 0 || stackLimit == unix.RLIM_INFINITY, number(pr.file))
	if err := t.k.loadProgram(t, pr, a.Name, argv, a.Envv, random); err != nil {
		return nil, err
	}
	return pr, nil
}

// number is the same for execs of the same file.
func number(f *vfs.File) uint64 {
	i := f.Inode()
	return (i.SB.Dev<<40 | i.SB.Dev>>24) ^ i.Ino
}

// loadProgram maps pr.file and its stack into pr.as.
func (k *Kernel) loadProgram(ctx vfs.Context, pr *program, name string, argv, envv []string, random bool) (err error) {
	pr.img, err = elf.Load(ctx, pr.as, pr.file, func(path string) (*vfs.File, error) {
		return vfs.OpenExec(ctx, vfs.Path{}, path, vfs.LookupFollow)
	})
	if err != nil {
		return execErrno(err)
	}
	aux := &elf.Aux{Hwcap: k.hwcap, Hwcap2: k.hwcap2, MinSigStack: k.minSigStack,
		Cred: pr.cred, Secure: pr.secure, ExecFn: name}
	if k.cfg.VDSO != nil {
		if aux.VDSO, err = k.cfg.VDSO.Map(pr.as); err != nil {
			return execErrno(err)
		}
	}
	// Room for the strings and vectors, and some for the program to begin with; the rest
	// grows.
	size := uint64(33 * arch.PageSize)
	for _, l := range [][]string{argv, envv} {
		for _, s := range l {
			size += uint64(len(s)) + 1 + 8
		}
	}
	size = (size + uint64(len(name)) + 4096 + arch.PageSize - 1) &^ (arch.PageSize - 1)
	_, top := pr.as.Area()
	top -= arch.PageSize
	if random {
		top -= randomBits(22) << arch.PageShift % pr.as.StackRandom()
	}
	prot := unix.PROT_READ | unix.PROT_WRITE
	if pr.img.ExecStack {
		prot |= unix.PROT_EXEC
	}
	_, err = pr.as.MMap(mm.MMapOpts{
		Addr: usermem.Addr(top - size), Length: size, Prot: prot,
		Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE | unix.MAP_GROWSDOWN,
		Stack: true,
	})
	if err != nil {
		return execErrno(err)
	}
	if pr.stack, err = elf.BuildStack(pr.as, top, pr.img, argv, envv, aux); err != nil {
		return execErrno(err)
	}
	brk := pr.img.BrkStart
	if random {
		brk = pr.as.HeapStart(brk) + randomBits(13)<<arch.PageShift
	}
	pr.as.SetBrk(usermem.Addr(brk))
	pr.as.SetLayout(func(l *mm.Layout) {
		l.StartCode, l.EndCode = pr.img.StartCode, pr.img.EndCode
		l.StartData, l.EndData = pr.img.StartData, pr.img.EndData
		l.StartStack = pr.stack.SP
		l.ArgStart, l.ArgEnd = pr.stack.ArgStart, pr.stack.ArgEnd
		l.EnvStart, l.EnvEnd = pr.stack.EnvStart, pr.stack.EnvEnd
	})
	pr.as.SetAuxv(pr.stack.Auxv)
	return nil
}

// execErrno makes an errno of errors of loading that are none.
func execErrno(err error) error {
	var e unix.Errno
	if errors.As(err, &e) || errors.Is(err, mm.ErrOOM) {
		return err
	}
	var fe *mm.FaultError
	if errors.As(err, &fe) {
		return unix.EFAULT
	}
	return fmt.Errorf("exec: %w", err)
}

func randomBits(n uint) uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) & (1<<n - 1)
}

// Bits of personality(2) that exec looks at.
const (
	addrNoRandomize  = 0x0040000
	addrCompatLayout = 0x0200000
	readImpliesExec  = 0x0400000
	mmapPageZero     = 0x0100000
	clearOnSetID     = readImpliesExec | addrNoRandomize | addrCompatLayout | mmapPageZero
)

// openProgram opens the file to run, going from scripts to their interpreters, and returns the
// ELF file (or what is none; the loader says so) and the arguments it gets. Writing is
// denied while the file is open.
func (t *Task) openProgram(a *ExecArgs, argv []string) (*vfs.File, []string, error) {
	return openProgram(t, a, argv)
}

func openProgram(ctx vfs.Context, a *ExecArgs, argv []string) (*vfs.File, []string, error) {
	f, err := vfs.OpenExec(ctx, a.Start, a.Path, a.Flags)
	if err != nil {
		return nil, nil, err
	}
	name := a.Name
	for depth := 0; ; depth++ {
		if depth > maxInterps {
			f.AllowWrite()
			f.DecRef()
			return nil, nil, unix.ELOOP
		}
		var buf [binprmBufSize]byte
		if _, err := f.ReadKernel(buf[:], 0); err != nil {
			f.AllowWrite()
			f.DecRef()
			return nil, nil, err
		}
		if buf[0] != '#' || buf[1] != '!' {
			return f, argv, nil
		}
		f.AllowWrite()
		f.DecRef()
		interp, arg, hasArg, err := parseScript(buf[:])
		if err != nil {
			return nil, nil, err
		}
		if a.Inaccessible {
			return nil, nil, unix.ENOENT
		}
		n := []string{interp}
		if hasArg {
			n = append(n, arg)
		}
		n = append(n, name)
		if len(argv) > 1 {
			n = append(n, argv[1:]...)
		}
		argv, name = n, interp
		if f, err = vfs.OpenExec(ctx, vfs.Path{}, interp, vfs.LookupFollow); err != nil {
			return nil, nil, err
		}
	}
}

// parseScript takes the first line of a script apart: the interpreter and at most one argument. The
// line must end, or at least the interpreter's name, within the buffer.
func parseScript(buf []byte) (interp, arg string, hasArg bool, err error) {
	isSpace := func(c byte) bool { return c == ' ' || c == '\t' }
	buf = buf[:len(buf)-1]
	line := buf[2:]
	if i := bytes.IndexByte(line, 0); i >= 0 {
		if nl := bytes.IndexByte(line[:i], '\n'); nl >= 0 {
			line = line[:nl]
		} else {
			line = line[:i]
		}
	} else if nl := bytes.IndexByte(line, '\n'); nl >= 0 {
		line = line[:nl]
	} else {
		// No end: the name itself must be whole.
		rest := bytes.TrimLeft(line, " \t")
		if len(rest) == 0 || !bytes.ContainsAny(rest, " \t") {
			return "", "", false, unix.ENOEXEC
		}
	}
	line = bytes.Trim(line, " \t")
	if len(line) == 0 {
		return "", "", false, unix.ENOEXEC
	}
	end := 0
	for end < len(line) && !isSpace(line[end]) {
		end++
	}
	interp = string(line[:end])
	if rest := bytes.TrimLeft(line[end:], " \t"); len(rest) > 0 {
		arg, hasArg = string(rest), true
	}
	return interp, arg, hasArg, nil
}

// commName is the name that the task gets.
func commName(a *ExecArgs) string {
	if a.Path == "" && a.Start.Valid() {
		return a.Start.Dentry.Name()
	}
	name := a.Path
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	return name
}

// execCred computes the credentials after exec.
func (t *Task) execCred(pr *program) error {
	c := t.Cred()
	inode := pr.file.Inode()
	st, err := pr.file.Path.Stat(t)
	if err != nil {
		return err
	}
	ef := &cred.ExecFile{Mode: st.Mode, UID: st.UID, GID: st.GID, NoNewPrivs: t.NoNewPrivs(),
		NoSuid: pr.file.Path.Mount != nil && pr.file.Path.Mount.Flags()&unix.MS_NOSUID != 0}
	if caps, err := pr.file.Path.GetXattr(vfs.KernelContext(), cred.XattrCaps); err == nil {
		ef.Caps = caps
	}
	if t.proc.live.Load() == 1 {
		ef.Unsafe = t.fs.Shared()
	}
	t.k.tasks.RLock()
	if tr := t.tracer(); tr != nil {
		ef.Traced = !tr.Cred().HasIn(c.UserNS, unix.CAP_SYS_PTRACE)
	}
	t.k.tasks.RUnlock()
	pr.cred, pr.secure, err = c.Exec(ef)
	if err != nil {
		return err
	}
	if pr.cred.Equal(c) {
		pr.cred = c
	}
	n := pr.cred
	pr.dumpable = dumpUser
	if n.EUID != n.UID || n.EGID != n.GID || vfs.Permission(t, inode, vfs.MayRead) != nil {
		pr.dumpable = dumpNot
	}
	return nil
}

// deThread kills the other threads of the process and waits until they are gone; the task
// becomes the leader. It fails only when the process is about to die.
func (t *Task) deThread() error {
	k, p := t.k, t.proc
	sh := p.lockSig()
	if p.groupExit || p.execTask != nil {
		sh.mu.Unlock()
		return vfs.ErrRestartNoIntr
	}
	alone := len(p.threads) == 1
	if alone {
		sh.mu.Unlock()
		return nil
	}
	p.execTask = t
	wake := make(chan struct{}, 1)
	p.execWake = wake
	for _, o := range p.threads {
		if o != t {
			o.sig.jobctl &^= jobctlPending
			o.setWork(workKill | workSignal)
		}
	}
	sh.mu.Unlock()

	for {
		k.tasks.Lock()
		ready := len(p.threads) == 1 || len(p.threads) == 2 && p.leader != t && p.leader.dead
		if ready {
			break
		}
		k.unlockTasks()
		if err := t.blockKillable(wake, -1); err != nil {
			sh := p.lockSig()
			p.execTask, p.execWake = nil, nil
			sh.mu.Unlock()
			return vfs.ErrRestartNoIntr
		}
	}
	if old := p.leader; old != nil && old != t {
		k.becomeLeader(t, old)
	}
	p.exitSignal = int32(unix.SIGCHLD)
	sh = p.lockSig()
	p.execTask, p.execWake = nil, nil
	sh.mu.Unlock()
	k.unlockTasks()
	return nil
}

// becomeLeader gives t the identity of the process's leader, which is dead, and releases
// that. Kernel.tasks is held.
func (k *Kernel) becomeLeader(t, old *Task) {
	p := t.proc
	mine := t.pid.Load()
	sh := p.lockSig()
	p.leader = t
	p.threads[0], p.threads[1] = t, old
	sh.mu.Unlock()
	t.pid.Store(p.tgid)
	old.pid.Store(mine)
	t.noAnswers()
	p.tgid.task, mine.task = t, old
	t.startTime = old.startTime
	for _, c := range p.children {
		if c.parentTask == old {
			c.parentTask = t
		}
	}
	k.releaseTask(old)
}

// commitExec puts the new program in the task's place.
func (t *Task) commitExec(pr *program) {
	p := t.proc
	oldTID := t.tracerTID()

	t.futexExit()
	p.noteRSS(t.mm)
	pr.as.SetExeFile(newExeFile(pr.file))
	t.mu.Lock()
	old := t.mm
	t.mm = pr.as
	t.mu.Unlock()
	pr.file, pr.as = nil, nil
	t.finishVfork()
	t.dropStaleMM()
	t.staleMM = old
	t.clearChildTID, t.robustList = 0, 0
	t.execRseq()

	// Time namespaces that unshare made are entered at exec.
	if t.ns.Time != t.ns.TimeFor {
		n := t.ns.clone()
		n.Time.DecRef()
		n.Time = n.TimeFor
		n.Time.IncRef()
		n.Time.freeze()
		t.switchNamespaces(n)
	}
	if t.files.Shared() {
		t.setFiles(t.files.Clone())
	}
	// A parent may wait for the end of a pipe that closes now, and rely on what is true then.
	t.k.tasks.Lock()
	p.didExec = true
	t.k.unlockTasks()
	t.files.CloseOnExec(t)
	t.execSignals()

	oldCred := t.Cred()
	if pr.secure {
		atomicStore(&t.pdeath, 0)
		t.personality.And(^uint32(clearOnSetID))
		p.limitMu.Lock()
		if l := &p.limits[unix.RLIMIT_STACK]; l.Cur > 8<<20 {
			l.Cur = 8 << 20
		}
		p.limitMu.Unlock()
	}
	t.SetCred(pr.cred)
	if c := pr.cred; c.EUID != oldCred.EUID || c.EGID != oldCred.EGID || c.FSUID != oldCred.FSUID ||
		c.FSGID != oldCred.FSGID || !oldCred.CapIsSubset(c) {
		pr.dumpable = dumpNot
		atomicStore(&t.pdeath, 0)
	}
	t.setDumpable(pr.dumpable)
	t.SetName(pr.comm)
	if t.mdwe&2 != 0 { // PR_MDWE_NO_INHERIT
		t.mdwe = 0
	}
	t.memMerge = false
	t.timerSlack.Store(t.defaultSlack)

	t.k.tasks.Lock()
	p.execID++
	t.k.unlockTasks()

	t.Regs.Reset(pr.img.Entry, pr.stack.SP)
	t.ctx.ResetFP()
	t.ptraceExecStop(oldTID)
}

// tracerTID is the task's id as its tracer sees it.
func (t *Task) tracerTID() int32 {
	t.k.tasks.RLock()
	defer t.k.tasks.RUnlock()
	if tr := t.tracer(); tr != nil {
		return t.PID().In(tr.PIDNS())
	}
	return 0
}
