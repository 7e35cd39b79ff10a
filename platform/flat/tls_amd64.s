#include "textflag.h"
#include "vcpu_amd64.h"

// How threads come to have the goroutine's word in their block, where GS base points (tls_unsafe.go).

// BLOCK takes a block: R8 is the vcpu, in front of which the goroutine's word is. It changes AX.
#define BLOCK \
	MOVL  $1, AX; \
	LOCK; XADDQ AX, ·blocksTaken(SB); \
	CMPQ  AX, $MAXBLOCKS; \
	JCC   2(PC); \
	JMP   2(PC); \
	INT   $3; \
	SHLQ  $BLOCKSHIFT, AX; \
	ADDQ  ·blocks(SB), AX; \
	LEAQ  BLOCKHEAD(AX), R8; \
	MOVQ  R8, V_SELF(R8)

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
	BLOCK
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
	BLOCK
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
