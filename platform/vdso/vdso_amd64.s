#include "textflag.h"

// What is below the saved registers: a struct timespec.
#define TIME 16
#define SAVED (TIME+256)

// read reads a clock. AX: its number. To AX: seconds, BX: nanoseconds, CX: whether it was read. It changes what functions of C may change, but
// no vector register: Linux's vDSO uses none for this, but that of a host that is not Linux may. Their upper halves stay as they are.
TEXT ·read(SB), NOSPLIT|NOFRAME, $0-0
	XORL CX, CX
	MOVQ runtime·vdsoClockgettimeSym(SB), DX
	TESTQ DX, DX
	JZ   none
	MOVQ SP, R12 // which C keeps
	SUBQ $SAVED, SP
	ANDQ $~15, SP
	MOVUPS X0, (TIME+0)(SP)
	MOVUPS X1, (TIME+16)(SP)
	MOVUPS X2, (TIME+32)(SP)
	MOVUPS X3, (TIME+48)(SP)
	MOVUPS X4, (TIME+64)(SP)
	MOVUPS X5, (TIME+80)(SP)
	MOVUPS X6, (TIME+96)(SP)
	MOVUPS X7, (TIME+112)(SP)
	MOVUPS X8, (TIME+128)(SP)
	MOVUPS X9, (TIME+144)(SP)
	MOVUPS X10, (TIME+160)(SP)
	MOVUPS X11, (TIME+176)(SP)
	MOVUPS X12, (TIME+192)(SP)
	MOVUPS X13, (TIME+208)(SP)
	MOVUPS X14, (TIME+224)(SP)
	MOVUPS X15, (TIME+240)(SP)
	MOVL AX, DI
	MOVQ SP, SI
	CALL DX
	MOVUPS (TIME+0)(SP), X0
	MOVUPS (TIME+16)(SP), X1
	MOVUPS (TIME+32)(SP), X2
	MOVUPS (TIME+48)(SP), X3
	MOVUPS (TIME+64)(SP), X4
	MOVUPS (TIME+80)(SP), X5
	MOVUPS (TIME+96)(SP), X6
	MOVUPS (TIME+112)(SP), X7
	MOVUPS (TIME+128)(SP), X8
	MOVUPS (TIME+144)(SP), X9
	MOVUPS (TIME+160)(SP), X10
	MOVUPS (TIME+176)(SP), X11
	MOVUPS (TIME+192)(SP), X12
	MOVUPS (TIME+208)(SP), X13
	MOVUPS (TIME+224)(SP), X14
	MOVUPS (TIME+240)(SP), X15
	XORL CX, CX
	TESTL AX, AX
	SETEQ CX
	MOVQ 0(SP), AX
	MOVQ 8(SP), BX
	MOVQ R12, SP
none:
	RET

// func readCode() uintptr
TEXT ·readCode(SB), NOSPLIT, $0-8
	LEAQ ·read(SB), AX
	MOVQ AX, ret+0(FP)
	RET
