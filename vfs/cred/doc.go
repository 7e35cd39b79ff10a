// Package cred is who a task is: credentials, capabilities and user namespaces.
//
// A Cred is immutable once it is published (set in a task or an open file), so that
// anyone may read it without a lock. All changes make a new one: the methods SetUID,
// SetGroups, CapSet, Exec and so on are pure functions from the old credentials to the
// new, or to the errno that Linux gives. Clone gives a copy to edit before it is published.
//
// Ids in a Cred, and everywhere in the sentry but at the edge of system calls, are kernel
// ids: those of the initial user namespace. A UserNamespace translates the ids that a guest
// passes (MapUIDToKernel) and sees (MapUIDFromKernel).
//
// LOCK ORDER
//
//	mapsMu (one for all namespaces: writes of uid_map, gid_map, setgroups)
//	  UserNamespace.countsMu
//
// Reading maps takes no lock: they are set once, atomically.
package cred
