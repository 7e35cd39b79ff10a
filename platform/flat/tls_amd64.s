#include "textflag.h"
#include "vcpu_amd64.h"

// How threads come to have the goroutine's word in their block, where GS base points (tls_unsafe.go).

// takeBlock makes a block that has no owner the calling thread's: R8 is the vcpu, in front of which the goroutine's word is. The host clears
// the owner when the thread ends. It changes AX, CX, DX, DI and R9 to R11.
TEXT ·takeBlock(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ ·owners(SB), R9
	XORL R10, R10
look:
	CMPL (R9)(R10*4), $0
	JNE  taken
	XORL AX, AX
	MOVL $OWNED, DX
	LEAQ (R9)(R10*4), DI
	LOCK
	CMPXCHGL DX, (DI)
	JEQ  mine
taken:
	INCL R10
	CMPL R10, $MAXBLOCKS
	JCS  look
	INT  $3
mine:
	MOVL $SYS_set_tid_address, AX
	SYSCALL
	SHLQ $BLOCKSHIFT, R10
	ADDQ ·blocks(SB), R10
	LEAQ BLOCKHEAD(R10), R8
	MOVQ R8, V_SELF(R8)
	MOVQ $0, V_TID(R8) // it has not run guest code
	RET

// BASE makes R8 the base that the code means. It changes AX, CX, DX, SI, DI and R11.
#define BASE(code) \
	MOVL  $code, DI; \
	MOVQ  R8, SI; \
	MOVL  $SYS_arch_prctl, AX; \
	SYSCALL; \
	TESTQ AX, AX; \
	JEQ   2(PC); \
	INT   $3

// threadStart is called by a new thread in place of mstart0, with the stack and the goroutine's register as they are to be. FS base is what the
// runtime gave it, GS base is its maker's.
TEXT ·threadStart(SB), NOSPLIT|NOFRAME, $0-0
	CALL ·takeBlock(SB)
	MOVQ R14, -8(R8)
	CMPB ·fsgsbase(SB), $0
	JEQ  byCall
	WRGSBASEQ R8
	WRFSBASEQ R8
	JMP  mstart
byCall:
	BASE(ARCH_SET_GS)
	CMPB ·goTLSInGS(SB), $0
	JNE  mstart
	BASE(ARCH_SET_FS) // not all of the runtime uses GS yet
mstart:
	MOVQ ·mstart0(SB), AX
	JMP  AX

// adopt is the handler of a signal that gives its thread a block, unless it has one. DI: the signal, SI: siginfo. It tells so in the word that
// came with the signal.
TEXT ·adopt(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 24(SI), R12
	SUBQ $24, SP
	MOVL $ARCH_GET_GS, DI
	LEAQ 0(SP), SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	MOVL $ARCH_GET_FS, DI
	LEAQ 8(SP), SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	MOVQ 8(SP), R13
	CMPQ R13, 0(SP)
	JEQ  adopted
	CALL ·takeBlock(SB)
	MOVQ -8(R13), AX
	MOVQ AX, -8(R8)
	BASE(ARCH_SET_GS)
	BASE(ARCH_SET_FS)
adopted:
	ADDQ $24, SP
	MOVL $1, (R12)
	RET

// func tryFSBase() uint64: FS base, or 0 if the instruction is none here and skipIllegal is the handler of SIGILL.
TEXT ·tryFSBase(SB), NOSPLIT, $0-8
	XORL AX, AX
	RDFSBASEQ AX
	MOVQ AX, ret+0(FP)
	RET

// skipIllegal is a handler that goes on behind an RDFSBASE. DX: ucontext.
TEXT ·skipIllegal(SB), NOSPLIT|NOFRAME, $0-0
	ADDQ $5, 168(DX) // RIP
	RET
