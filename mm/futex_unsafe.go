package mm

import (
	"unsafe"

	"gosv.dev/mm/usermem"
)

// Hash mixes the key with two odd numbers that guests do not know. The lower bits are the best.
//
//go:nosplit
func (k FutexKey) Hash(m1, m2 uint64) uint64 {
	// Objects are not moved.
	h := (uint64(uintptr(unsafe.Pointer(k.as)))^uint64(uintptr(unsafe.Pointer(k.cache))))*m1 ^ k.pos*m2
	h ^= h >> 29
	return h * m1 >> 40
}

// PrivateFutexHash is the Hash of FutexKey(addr, false), or false where that is an error. It may be used in a leaf call.
//
//go:nosplit
func (as *AddressSpace) PrivateFutexHash(addr usermem.Addr, m1, m2 uint64) (uint64, bool) {
	if addr&3 != 0 || uint64(addr) >= as.hi {
		return 0, false
	}
	return FutexKey{as: as, pos: uint64(addr)}.Hash(m1, m2), true
}
