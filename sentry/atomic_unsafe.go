package sentry

import (
	"sync/atomic"
	"unsafe"
)

// storeOwn and storeOwn64 store into a word that only the calling goroutine writes, for readers that need no more than that
// it follows the stores before it: x86-64 promises as much of an ordinary store, and the exchange that atomic stores are costs as
// much as a third of the way through the run loop. Where a later load must not overtake the store, they do not do.
//
//go:norace
func storeOwn(p *atomic.Uint32, v uint32) { *(*uint32)(unsafe.Pointer(p)) = v }

//go:norace
func storeOwn64(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }
