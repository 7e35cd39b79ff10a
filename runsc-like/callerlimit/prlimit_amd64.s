#include "textflag.h"

// func prlimit(resource int, old *[2]uint64) (errno int)
// prlimit64(0, resource, NULL, old). The kernel writes two words at old, which is what it points to.
TEXT ·prlimit(SB), NOSPLIT, $0-24
	MOVQ $302, AX // prlimit64
	MOVQ $0, DI
	MOVQ resource+0(FP), SI
	MOVQ $0, DX
	MOVQ old+8(FP), R10
	SYSCALL
	NEGQ AX
	MOVQ AX, errno+16(FP)
	RET
