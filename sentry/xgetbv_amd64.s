#include "textflag.h"

// func xgetbv() uint64
// The extended control register 0: CX selects it, DX:AX holds it.
TEXT ·xgetbv(SB), NOSPLIT, $0-8
	MOVL $0, CX
	XGETBV
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET
