#include "textflag.h"

// func rawVfork(flags uintptr) (pid, errno uintptr)
// clone, with a return that needs nothing of the stack: child and parent share it, and the child goes first.
TEXT ·rawVfork(SB), NOSPLIT|NOFRAME, $0-24
	MOVQ flags+0(FP), DI
	MOVQ $0, SI
	MOVQ $0, DX
	MOVQ $0, R10
	MOVQ $0, R8
	MOVQ $56, AX // clone
	POPQ R12
	SYSCALL
	PUSHQ R12
	CMPQ AX, $0xfffffffffffff001
	JLS ok
	MOVQ $-1, pid+8(FP)
	NEGQ AX
	MOVQ AX, errno+16(FP)
	RET
ok:
	MOVQ AX, pid+8(FP)
	MOVQ $0, errno+16(FP)
	RET
