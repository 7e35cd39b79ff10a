package main

import (
	"fmt"

	"gosv.dev/platform"
	"gosv.dev/platform/flat"
	"gosv.dev/platform/ptrace"
	"gosv.dev/runsc-like/sandbox"
)

// vdsoPlatform is a platform that shows the host's vDSO to guests.
type vdsoPlatform interface {
	platform.Platform
	VDSO() uint64 // its address, or 0; known when the platform is ready
}

// newPlatform makes the platform that was asked for, the rules for the host calls that it makes beyond those of ptrace, and where host
// calls must come from, if that matters. b.platformReady waits for the rest.
func (b *booter) newPlatform(vdso *ptrace.VDSO) (vdsoPlatform, []sandbox.Rule, sandbox.Text, error) {
	stubs, err := ptrace.Begin(ptrace.Options{Memory: b.mem.File(), Linear: b.mem.Linear(), VDSO: vdso, VDSOInPlace: b.config.Platform == "flat"})
	if err != nil {
		return nil, nil, sandbox.Text{}, err
	}
	b.platformReady = stubs.Ready
	if b.config.Platform != "flat" {
		return stubs, nil, sandbox.Text{}, stubs.Traced()
	}
	p, err := flat.New(flat.Options{Memory: b.mem.File(), Linear: b.mem.Linear(), OfFile: b.mem.OfFile, Stubs: stubs, VDSO: stubs.VDSO(), NoRewrite: b.config.NoRewrite,
		Interception: b.config.Interception, OnMove: func(why string) {
			b.log.Debug("a process moves to a stub", "why", why)
		}})
	if err := stubs.Traced(); err != nil {
		return nil, nil, sandbox.Text{}, err
	}
	if err != nil {
		return nil, nil, sandbox.Text{}, fmt.Errorf("%w; use --platform=ptrace, which does without", err)
	}
	b.log.Debug("platform flat", "interception", p.Interception(), "rewriting", !b.config.NoRewrite)
	b.ended = func() {
		b.log.Debug("platform flat", "moved", p.Moves(), "rewritten", p.Rewritten())
	}
	return p, p.HostSyscalls(), p.Text(), nil
}
