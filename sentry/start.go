package sentry

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"gosv.dev/mm"
	"gosv.dev/mm/usermem"
	"gosv.dev/platform/arch"
	"gosv.dev/vfs"
	"gosv.dev/vfs/cred"
	"gosv.dev/vfs/tty"
)

// InitArgs say what the first process, or one that comes from outside later, is.
type InitArgs struct {
	// Path is the program, as execve takes it.
	Path       string
	Argv, Envv []string
	// Cwd is the working directory, "/" if empty; Umask is 022 if nil.
	Cwd   string
	Umask *uint32
	Cred  *cred.Cred // cred.Root() if nil
	// Files become descriptors 0, 1, 2 and so on; nil ones are left closed. References are taken over,
	// also on an error.
	Files []*vfs.File
	// TTY becomes the controlling terminal, or nil.
	TTY    *tty.TTY
	Limits *Limits // DefaultLimits if nil
	// NoNewPrivs is prctl(PR_SET_NO_NEW_PRIVS).
	NoNewPrivs  bool
	OOMScoreAdj int32
	// Protected: signals without a handler do not end the process, as for the init of a container.
	// A command that a person runs wants to be ended by Ctrl-C, and stopped by Ctrl-Z.
	Protected bool
	// Ignored are the signals that the program begins with ignored, as execve leaves them.
	Ignored SigSet
	// Orphaned: nobody outside would continue the process if it stopped, so that the terminal's
	// stop signals are ignored as in an orphaned process group.
	Orphaned bool
	// Nice is the priority that the process begins with, as nice(1) gives it.
	Nice int32
	// Root is the root directory, that of the mount namespace if not valid.
	Root vfs.Path
	// PrepareTask is called with the new task before it runs.
	PrepareTask func(t *Task) error
}

// NotFoundError is returned by Start for a program that cannot be run, with the errno that
// execve gives.
type NotFoundError struct {
	Path string
	Err  error
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("exec %s: %v", e.Path, e.Err) }
func (e *NotFoundError) Unwrap() error { return e.Err }

// Start makes a process. The first one is init of the sandbox's pid namespace: the sandbox ends
// with it.
func (k *Kernel) Start(a InitArgs) (_ *Process, err error) {
	var files *vfs.FDTable
	defer func() {
		if files == nil {
			for _, f := range a.Files {
				if f != nil {
					f.DecRef()
				}
			}
		}
	}()
	c := a.Cred
	if c == nil {
		c = cred.Root()
	}
	limits := DefaultLimits(k.cfg.MaxTasks)
	if a.Limits != nil {
		limits = *a.Limits
	}
	k.noteDataLimit(&limits)
	umask := uint32(022)
	if a.Umask != nil {
		umask = *a.Umask
	}
	if k.shutdown.Load() {
		return nil, errors.New("the sandbox is shutting down")
	}
	if k.count.Add(1) > k.maxTasks {
		k.count.Add(-1)
		return nil, unix.EAGAIN
	}
	t := &Task{k: k, wake: make(chan struct{}, 1), done: make(chan struct{})}
	p := &Process{k: k, startMono: time.Now(), exitSignal: int32(unix.SIGCHLD), limits: limits}
	t.proc = p
	p.leader = t
	p.threads = []*Task{t}
	p.live.Store(1)
	p.dumpable.Store(dumpUser)
	p.oomScoreAdj.Store(a.OOMScoreAdj)
	p.oomScoreMin.Store(min(a.OOMScoreAdj, 0))
	p.initKillable, p.commanded = !a.Protected, !a.Protected && !a.Orphaned
	sh := newSigHand()
	for sig := int32(1); sig <= NumSignals; sig++ {
		if a.Ignored.Has(sig) {
			sh.action(sig).Handler = SigIgn
		}
	}
	p.initSignals(sh)
	t.cred.Store(c)
	t.sig.altstack.Flags = SsDisable
	t.syscallNo.Store(arch.NoSyscall)
	t.setAffinity(k.AllCPUs())
	t.utilMax = 1024
	t.nice = max(-20, min(19, a.Nice))
	t.tsc = unix.PR_TSC_ENABLE
	t.defaultSlack = 50000
	t.timerSlack.Store(50000)
	t.noNewPrivs.Store(a.NoNewPrivs)
	t.startTime = k.mono()
	t.ns = k.rootNS
	t.ns.IncRef()

	root := a.Root
	if !root.Valid() {
		root = t.ns.Mount.Root()
	}
	fs := vfs.NewFSContext(root, root, umask)
	t.fs = fs
	var as *mm.AddressSpace
	fail := func(err error) (*Process, error) {
		if files != nil {
			files.DecRef(t)
		}
		fs.DecRef()
		t.ns.DecRef()
		if t.ctx != nil {
			t.ctx.Release()
		}
		k.count.Add(-1)
		return nil, err
	}
	// The identity comes now, since the task is a vfs.Context from here on.
	k.tasks.Lock()
	pid, err := k.allocPID(k.rootPIDNS, nil)
	k.tasks.Unlock()
	if err != nil {
		return fail(err)
	}
	freePID := func() {
		k.tasks.Lock()
		k.freeNumbers(pid)
		k.tasks.Unlock()
	}
	t.pid.Store(pid)
	p.tgid = pid
	ctx := &startContext{t}
	if a.Cwd != "" && a.Cwd != "/" {
		if err := fs.Chdir(ctx, vfs.Path{}, a.Cwd); err != nil {
			freePID()
			return fail(fmt.Errorf("working directory %s: %w", a.Cwd, err))
		}
	}
	ea := &ExecArgs{Path: a.Path, Name: a.Path, Flags: vfs.LookupFollow, Argv: a.Argv, Envv: a.Envv}
	pr := &program{cred: c, dumpable: dumpUser, comm: commName(ea)}
	argv := a.Argv
	if len(argv) == 0 {
		argv = []string{a.Path}
	}
	bad := func(err error) (*Process, error) {
		pr.release()
		freePID()
		return fail(&NotFoundError{a.Path, err})
	}
	stackLimit := limits[unix.RLIMIT_STACK].Cur
	if pr.file, argv, err = openProgram(ctx, ea, argv); err != nil {
		return bad(err)
	}
	if err = t.execCredStart(pr, ctx); err != nil {
		return bad(err)
	}
	if as, err = mm.NewAddressSpace(k.Memory, k.Platform); err != nil {
		return bad(err)
	}
	pr.as = as
	as.SetLimits(func(r int) uint64 { return p.Limit(r).Cur })
	as.SetCapable(t.mmCapable())
	as.PickLayout(stackLimit, true, stackLimit == unix.RLIM_INFINITY, number(pr.file))
	if err = k.loadProgram(ctx, pr, a.Path, argv, a.Envv, true); err != nil {
		return bad(err)
	}

	files = vfs.NewFDTable()
	for i, f := range a.Files {
		if f == nil {
			continue
		}
		if err := files.Install(ctx, int32(i), f, false, max(limits[unix.RLIMIT_NOFILE].Cur, uint64(len(a.Files)))); err != nil {
			for _, f := range a.Files[i:] {
				if f != nil {
					f.DecRef()
				}
			}
			pr.release()
			freePID()
			return fail(err)
		}
	}
	t.files = files
	as.SetExeFile(newExeFile(pr.file))
	t.mm = as
	t.cred.Store(pr.cred)
	p.dumpable.Store(pr.dumpable)
	t.SetName(pr.comm)
	t.Regs.Reset(pr.img.Entry, pr.stack.SP)
	t.setContext(k.Platform.NewContext())
	if a.PrepareTask != nil {
		if err := a.PrepareTask(t); err != nil {
			putMM(as)
			freePID()
			return fail(err)
		}
	}
	k.chargeProc(nprocKey{pr.cred.UserNS, pr.cred.UID}, 1)
	k.getUserNS(pr.cred.UserNS)

	k.tasks.Lock()
	if k.rootPIDNS.closed {
		k.tasks.Unlock()
		k.chargeProc(nprocKey{pr.cred.UserNS, pr.cred.UID}, -1)
		k.putUserNS(pr.cred.UserNS)
		putMM(as)
		freePID()
		return fail(errors.New("the sandbox is shutting down"))
	}
	pid.task, pid.proc = t, p
	if k.initProc == nil {
		k.initProc = p
		k.rootPIDNS.reaper = p
	} else {
		// From outside: no parent in the sandbox, and nobody waits for it there.
		p.didExec = true
	}
	p.didExec = true
	if a.Protected || a.TTY != nil {
		k.newSession(p)
	} else {
		// A command whose session is outside: the terminals that it opens do not become its own.
		k.setPgrp(p, p.tgid)
	}
	k.unlockTasks()
	if a.TTY != nil {
		a.TTY.OpenedBy(t, unix.O_RDWR)
	}
	k.forks.Add(1)
	t.start()
	return p, nil
}

// execCredStart computes the credentials of the first program: those given, with what the file adds.
func (t *Task) execCredStart(pr *program, ctx vfs.Context) error {
	st, err := pr.file.Path.Stat(ctx)
	if err != nil {
		return err
	}
	c := t.Cred()
	ef := &cred.ExecFile{Mode: st.Mode, UID: st.UID, GID: st.GID, NoNewPrivs: t.NoNewPrivs(),
		NoSuid: pr.file.Path.Mount != nil && pr.file.Path.Mount.Flags()&unix.MS_NOSUID != 0}
	n, secure, err := c.Exec(ef)
	if err != nil {
		return err
	}
	pr.cred, pr.secure = n, secure
	return nil
}

// startContext is the context of a task that does not run yet and has no memory.
type startContext struct{ *Task }

func (startContext) Memory() usermem.Memory { return vfs.KernelContext().Memory() }

func (startContext) Block(ch <-chan struct{}, d time.Duration) error {
	return vfs.KernelContext().Block(ch, d)
}

// ExitStatus is the status of a process that has ended.
func (p *Process) ExitStatus() WaitStatus {
	sh := p.lockSig()
	defer sh.mu.Unlock()
	return WaitStatus(p.groupExitCode)
}

// oomKill is called by memory management when nothing can be reclaimed: it kills the process that
// uses most, weighted by oom_score_adj. It tells whether memory will become free.
func (k *Kernel) oomKill() bool {
	k.oomMu.Lock()
	defer k.oomMu.Unlock()
	total := int64(k.Memory.Limit() / arch.PageSize)
	if total <= 0 {
		total = 1
	}
	k.tasks.RLock()
	var worst *Process
	var most int64
	dying := false
	for _, pid := range k.rootPIDNS.pids {
		p := pid.proc
		if p == nil || p.zombie {
			continue
		}
		points, isDying := p.oomPoints(total)
		if isDying {
			dying = true
			continue
		}
		if points > most || worst == nil && points > 0 {
			worst, most = p, points
		}
	}
	k.tasks.RUnlock()
	if dying {
		// The last victim has not given up its memory yet.
		time.Sleep(time.Millisecond)
		return true
	}
	if worst == nil {
		k.Log.Error("out of memory, and no process to kill")
		return false
	}
	name := ""
	if l := worst.Leader(); l != nil {
		name = l.Name()
	}
	k.Log.Warn("out of memory: killed a process", "pid", worst.tgid.Root(), "comm", name,
		"score", most*1000/total, "oom_score_adj", worst.OOMScoreAdj())
	k.oomKills.Add(1)
	worst.kill()
	return true
}

// OOMKills is how often the OOM killer has killed (oom_kill of /proc/vmstat).
func (k *Kernel) OOMKills() int64 { return k.oomKills.Load() }

// oomPoints is how bad p is, in pages; dying tells that it has been killed and still has
// memory. Kernel.tasks is held.
func (p *Process) oomPoints(total int64) (points int64, dying bool) {
	adj := int64(p.oomScoreAdj.Load())
	for _, t := range p.threads {
		t.mu.Lock()
		as := t.mm
		if as == nil {
			t.mu.Unlock()
			continue
		}
		u := as.Usage()
		t.mu.Unlock()
		sh := p.lockSig()
		dying = p.groupExit
		sh.mu.Unlock()
		if dying {
			return 0, true
		}
		if adj == -1000 {
			return 0, false
		}
		points = int64((u.VmRSS + u.VmPTE) / arch.PageSize)
		return max(points+adj*total/1000, 1), false
	}
	return 0, false
}

// OOMScore is /proc/PID/oom_score.
func (p *Process) OOMScore() int64 {
	total := max(int64(p.k.Memory.Limit()/arch.PageSize), 1)
	p.k.tasks.RLock()
	defer p.k.tasks.RUnlock()
	points, _ := p.oomPoints(total)
	if points == 0 {
		return 0
	}
	return max(0, (1000+points*1000/total)*2/3)
}
