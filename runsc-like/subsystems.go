package main

import (
	"golang.org/x/sys/unix"

	"gosv.dev/netstack"
	unixsock "gosv.dev/netstack/unix"
	"gosv.dev/sentry"
	"gosv.dev/sentry/ipc"
	"gosv.dev/syscalls"
	"gosv.dev/vfs"
)

// addSubsystems gives the kernel what its namespaces are filled with.
func (b *booter) addSubsystems(cfg *sentry.Config, table *syscalls.Table) {
	cfg.NewNetwork = func(*sentry.Kernel, *sentry.NetNamespace) (any, error) {
		r := &netstack.Registry{}
		f := unixsock.NewFamily()
		f.Memory = cfg.Memory
		r.Register(unix.AF_UNIX, f)
		return r, nil
	}
	cfg.NewIPC = func(_ *sentry.Kernel, ns *sentry.IPCNamespace) (any, error) {
		return ipc.New(ns.UserNS(), cfg.Memory, cfg.VFS), nil
	}
	cfg.AtExit = append(cfg.AtExit, table.TaskExit)
	cfg.AtUnshareSem = table.UnshareSem
	cfg.VFS.Register(ipc.MQueueType(func(ctx vfs.Context) (*ipc.Namespace, error) {
		ns := b.kernel.RootNamespaces()
		if t, ok := ctx.(*sentry.Task); ok {
			ns = t.Namespaces()
		}
		o, err := ns.IPC.Objects()
		if err != nil {
			return nil, err
		}
		return o.(*ipc.Namespace), nil
	}))
}
