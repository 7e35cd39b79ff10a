package sentry

import "fmt"

// Dump prints the process tree, for tests that hang.
func (k *Kernel) Dump() string {
	k.tasks.RLock()
	defer k.tasks.RUnlock()
	s := ""
	for _, pid := range k.rootPIDNS.pids {
		p := pid.proc
		if p == nil {
			if pid.task != nil {
				s += fmt.Sprintf("  tid %d of %d\n", pid.Root(), pid.task.proc.tgid.Root())
			}
			continue
		}
		s += fmt.Sprintf("process %d live %d zombie %v groupExit %v code %#x exec %v stopped %v\n", pid.Root(), p.live.Load(), p.zombie, p.groupExit, p.groupExitCode, p.execTask != nil, p.stopped)
		for _, t := range p.threads {
			s += fmt.Sprintf("  thread %d work %#x dead %v exiting %v stopRun %v blocked %#x pending %#x jobctl %#x syscall %d guest %v\n", t.TID(), t.work.Load(), t.dead, t.exiting.Load(), t.stopRun, t.sig.blocked, t.sig.pending.set, t.sig.jobctl, int64(t.syscallNo.Load()), t.inGuest.Load())
		}
	}
	return s
}
