package sentry

import (
	"golang.org/x/sys/unix"

	"gosv.dev/vfs/cred"
)

// SetCred publishes new credentials of the task; only its own goroutine calls it. What
// depends on them follows: the process count of the user, dumpability, the parent-death
// signal.
func (t *Task) SetCred(n *cred.Cred) {
	old := t.Cred()
	if n == old {
		return
	}
	if n.UserNS != old.UserNS {
		if n.UserNS.ID == 0 {
			n.UserNS.ID = t.k.newInum(unix.CLONE_NEWUSER)
		}
		t.k.getUserNS(n.UserNS)
	}
	if n.EUID != old.EUID || n.EGID != old.EGID || n.FSUID != old.FSUID || n.FSGID != old.FSGID ||
		!old.CapIsSubset(n) {
		t.setDumpable(dumpNot)
		atomicStore(&t.pdeath, 0)
	}
	t.cred.Store(n)
	t.noAnswers()
	if n.UID != old.UID || n.UserNS != old.UserNS {
		t.k.chargeProc(nprocKey{n.UserNS, n.UID}, 1)
		t.k.chargeProc(nprocKey{old.UserNS, old.UID}, -1)
		// execve fails if the new user has too many processes by then.
		t.nprocExceeded = t.overNProc()
	}
	if n.UserNS != old.UserNS {
		t.k.putUserNS(old.UserNS)
	}
}
