#include "textflag.h"
#include "vcpu_amd64.h"

// Entering the guest and leaving it. The rules are in doc.go; the offsets are those of the types in vcpu_unsafe.go, which a test
// compares. R8 holds the vcpu wherever nothing else is said.

// struct arch.State
#define S_R15 0
#define S_R14 8
#define S_R13 16
#define S_R12 24
#define S_BP 32
#define S_BX 40
#define S_R11 48
#define S_R10 56
#define S_R9 64
#define S_R8 72
#define S_AX 80
#define S_CX 88
#define S_DX 96
#define S_SI 104
#define S_DI 112
#define S_IP 128
#define S_FLAGS 144
#define S_SP 152
#define S_FS 168

// struct ucontext
#define U_R8 40
#define U_R9 48
#define U_R10 56
#define U_R11 64
#define U_R12 72
#define U_R13 80
#define U_R14 88
#define U_R15 96
#define U_DI 104
#define U_SI 112
#define U_BP 120
#define U_BX 128
#define U_DX 136
#define U_AX 144
#define U_CX 152
#define U_SP 160
#define U_IP 168
#define U_FLAGS 176
#define U_CS 184
#define U_SS 190
#define U_ERR 192
#define U_TRAPNO 200
#define U_FPREGS 224

// The area of vector registers that are saved by hand.
#define F_K     2048
#define F_MXCSR 2112

// What FS base is while it is not a guest's, in V_FS: no address.
#define NOFS -1

// struct answer
#define A_NEGATIVE 0
#define A_VALUE    8
#define A_FN       16
#define A_ARG      24

// fsgsWay
#define FSGS_CALL    0
#define FSGS_KNOWN   1
#define FSGS_UNKNOWN 2

#define INTERRUPT 63 // interruptSignal
#define EVENT_SYSCALL 1
#define EVENT_SIGNAL  2
#define EVENT_LEFT    3
#define LEAF_PENDING  2 // platform.LeafPending

#define SYNCHRONOUS (1<<4 | 1<<5 | 1<<7 | 1<<8 | 1<<11 | 1<<31) // SIGILL SIGTRAP SIGBUS SIGFPE SIGSEGV SIGSYS

DATA mxcsr<>+0(SB)/4, $0x1f80
GLOBL mxcsr<>(SB), RODATA, $4

// func current() *vcpu: the calling host thread's, or nil.
TEXT ·current(SB), NOSPLIT, $0-8
	CMPB ·goTLSInGS(SB), $0
	JEQ  byBases
	MOVQ V_SELF(GS), AX
	CMPQ V_TID(AX), $0
	JEQ  none
	MOVQ AX, ret+0(FP)
	RET
byBases:
	RDGSBASEQ AX
	TESTQ AX, AX
	JZ    none
	RDFSBASEQ CX
	CMPQ  CX, V_GOFS(AX)
	JNE   none
	MOVQ  AX, ret+0(FP)
	RET
none:
	MOVQ  $0, ret+0(FP)
	RET

// func ownBlock() *vcpu: the block where GS points.
TEXT ·ownBlock(SB), NOSPLIT, $0-8
	MOVQ V_SELF(GS), AX
	MOVQ AX, ret+0(FP)
	RET

// func takePending(v *vcpu) uint64
TEXT ·takePending(SB), NOSPLIT, $0-16
	MOVQ v+0(FP), R8
	XORL AX, AX
	XCHGQ AX, V_PENDING(R8)
	MOVQ AX, ret+8(FP)
	RET

// func setGS(v uintptr)
TEXT ·setGS(SB), NOSPLIT, $0-8
	MOVQ v+0(FP), AX
	WRGSBASEQ AX
	RET

// func fsBase() uintptr
TEXT ·fsBase(SB), NOSPLIT, $0-8
	RDFSBASEQ AX
	MOVQ AX, ret+0(FP)
	RET

// func xgetbv(index uint32) uint64
TEXT ·xgetbv(SB), NOSPLIT, $0-16
	MOVL index+0(FP), CX
	XGETBV
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+8(FP)
	RET

// func cpuid(leaf, sub uint32) (a, b, c, d uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, a+8(FP)
	MOVL BX, b+12(FP)
	MOVL CX, c+16(FP)
	MOVL DX, d+20(FP)
	RET

#define LOADZ(R) \
	VMOVDQU64 0(R), Z0; VMOVDQU64 64(R), Z1; VMOVDQU64 128(R), Z2; VMOVDQU64 192(R), Z3; \
	VMOVDQU64 256(R), Z4; VMOVDQU64 320(R), Z5; VMOVDQU64 384(R), Z6; VMOVDQU64 448(R), Z7; \
	VMOVDQU64 512(R), Z8; VMOVDQU64 576(R), Z9; VMOVDQU64 640(R), Z10; VMOVDQU64 704(R), Z11; \
	VMOVDQU64 768(R), Z12; VMOVDQU64 832(R), Z13; VMOVDQU64 896(R), Z14; VMOVDQU64 960(R), Z15; \
	VMOVDQU64 1024(R), Z16; VMOVDQU64 1088(R), Z17; VMOVDQU64 1152(R), Z18; VMOVDQU64 1216(R), Z19; \
	VMOVDQU64 1280(R), Z20; VMOVDQU64 1344(R), Z21; VMOVDQU64 1408(R), Z22; VMOVDQU64 1472(R), Z23; \
	VMOVDQU64 1536(R), Z24; VMOVDQU64 1600(R), Z25; VMOVDQU64 1664(R), Z26; VMOVDQU64 1728(R), Z27; \
	VMOVDQU64 1792(R), Z28; VMOVDQU64 1856(R), Z29; VMOVDQU64 1920(R), Z30; VMOVDQU64 1984(R), Z31; \
	KMOVQ 2048(R), K0; KMOVQ 2056(R), K1; KMOVQ 2064(R), K2; KMOVQ 2072(R), K3; \
	KMOVQ 2080(R), K4; KMOVQ 2088(R), K5; KMOVQ 2096(R), K6; KMOVQ 2104(R), K7

#define SAVEZ(R) \
	VMOVDQU64 Z0, 0(R); VMOVDQU64 Z1, 64(R); VMOVDQU64 Z2, 128(R); VMOVDQU64 Z3, 192(R); \
	VMOVDQU64 Z4, 256(R); VMOVDQU64 Z5, 320(R); VMOVDQU64 Z6, 384(R); VMOVDQU64 Z7, 448(R); \
	VMOVDQU64 Z8, 512(R); VMOVDQU64 Z9, 576(R); VMOVDQU64 Z10, 640(R); VMOVDQU64 Z11, 704(R); \
	VMOVDQU64 Z12, 768(R); VMOVDQU64 Z13, 832(R); VMOVDQU64 Z14, 896(R); VMOVDQU64 Z15, 960(R); \
	VMOVDQU64 Z16, 1024(R); VMOVDQU64 Z17, 1088(R); VMOVDQU64 Z18, 1152(R); VMOVDQU64 Z19, 1216(R); \
	VMOVDQU64 Z20, 1280(R); VMOVDQU64 Z21, 1344(R); VMOVDQU64 Z22, 1408(R); VMOVDQU64 Z23, 1472(R); \
	VMOVDQU64 Z24, 1536(R); VMOVDQU64 Z25, 1600(R); VMOVDQU64 Z26, 1664(R); VMOVDQU64 Z27, 1728(R); \
	VMOVDQU64 Z28, 1792(R); VMOVDQU64 Z29, 1856(R); VMOVDQU64 Z30, 1920(R); VMOVDQU64 Z31, 1984(R); \
	KMOVQ K0, 2048(R); KMOVQ K1, 2056(R); KMOVQ K2, 2064(R); KMOVQ K3, 2072(R); \
	KMOVQ K4, 2080(R); KMOVQ K5, 2088(R); KMOVQ K6, 2096(R); KMOVQ K7, 2104(R)

#define LOADY(R) \
	VMOVDQU 0(R), Y0; VMOVDQU 64(R), Y1; VMOVDQU 128(R), Y2; VMOVDQU 192(R), Y3; \
	VMOVDQU 256(R), Y4; VMOVDQU 320(R), Y5; VMOVDQU 384(R), Y6; VMOVDQU 448(R), Y7; \
	VMOVDQU 512(R), Y8; VMOVDQU 576(R), Y9; VMOVDQU 640(R), Y10; VMOVDQU 704(R), Y11; \
	VMOVDQU 768(R), Y12; VMOVDQU 832(R), Y13; VMOVDQU 896(R), Y14; VMOVDQU 960(R), Y15

#define SAVEY(R) \
	VMOVDQU Y0, 0(R); VMOVDQU Y1, 64(R); VMOVDQU Y2, 128(R); VMOVDQU Y3, 192(R); \
	VMOVDQU Y4, 256(R); VMOVDQU Y5, 320(R); VMOVDQU Y6, 384(R); VMOVDQU Y7, 448(R); \
	VMOVDQU Y8, 512(R); VMOVDQU Y9, 576(R); VMOVDQU Y10, 640(R); VMOVDQU Y11, 704(R); \
	VMOVDQU Y12, 768(R); VMOVDQU Y13, 832(R); VMOVDQU Y14, 896(R); VMOVDQU Y15, 960(R)

// func packFP(fp, image uintptr, avx512, mask uint64): makes an XSAVE image of what was saved by hand.
TEXT ·packFP(SB), NOSPLIT, $8-32
	STMXCSR 0(SP)
	MOVQ fp+0(FP), R10
	MOVQ image+8(FP), R11
	CMPQ avx512+16(FP), $0
	JEQ  avx
	LOADZ(R10)
	JMP  loaded
avx:
	LOADY(R10)
loaded:
	LDMXCSR F_MXCSR(R10)
	MOVQ mask+24(FP), AX
	XORL DX, DX
	XSAVE64 (R11)
	LDMXCSR 0(SP)
	VZEROUPPER
	RET

// func saveInit(image uintptr, mask uint64): an XSAVE image of the initial state, made by the processor.
TEXT ·saveInit(SB), NOSPLIT, $0-16
	MOVQ image+0(FP), R11
	MOVQ mask+8(FP), AX
	XORL DX, DX
	XRSTOR64 (R11) // all components in their initial state, for the image's header says so
	XSAVE64 (R11)
	VZEROUPPER
	RET

// func exchange(p *uint32, v uint32): stores, behind a memory barrier.
TEXT ·exchange(SB), NOSPLIT, $0-12
	MOVQ p+0(FP), AX
	MOVL v+8(FP), CX
	XCHGL CX, (AX)
	RET

// func enter(v *vcpu): runs guest code until something stops it. It returns by what leave and fromSignal do.
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-8
	MOVQ v+0(FP), R8
	MOVQ SP, V_GOSP(R8)
	MOVQ BP, V_GOBP(R8)
	JMP  ·enterGuest(SB)

// Until the last instruction of enterGuest a signal abandons the entry: it goes on at ·abandoned with what enter saved.
TEXT ·enterGuest(SB), NOSPLIT|NOFRAME, $0-0
	MOVB $1, V_INGUEST(R8)
	CMPQ V_PENDING(R8), $0
	JNE  giveUp
	MOVQ V_ST(R8), R9
	CMPQ V_FPIMAGE(R8), $0
	JEQ  byHand
	MOVQ V_IMAGE(R8), R10
	MOVL V_XMASK(R8), AX
	XORL DX, DX
	XRSTOR64 (R10)
	JMP  fpDone
byHand:
	MOVQ V_FP(R8), R10
	CMPQ V_AVX512(R8), $0
	JEQ  avx
	LOADZ(R10)
	LDMXCSR F_MXCSR(R10)
	JMP  fpDone
avx:
	LOADY(R10)
	LDMXCSR F_MXCSR(R10)
fpDone:
	MOVQ S_FS(R9), AX
	CMPQ AX, V_FS(R8)
	JNE  fsWrite
	CMPQ V_FSGS(R8), $FSGS_UNKNOWN
	JNE  fsDone
fsWrite:
	MOVQ $NOFS, V_FS(R8)
	CMPQ V_FSGS(R8), $FSGS_CALL
	JEQ  fsByCall
	WRFSBASEQ AX
fsWritten:
	MOVQ AX, V_FS(R8)
fsDone:
	MOVQ S_R15(R9), R15
	MOVQ S_R14(R9), R14
	MOVQ S_R13(R9), R13
	MOVQ S_R12(R9), R12
	MOVQ S_BP(R9), BP
	MOVQ S_BX(R9), BX
	MOVQ S_R10(R9), R10
	MOVQ S_DX(R9), DX
	MOVQ S_SI(R9), SI
	MOVQ S_DI(R9), DI
	CMPQ V_FULL(R8), $0
	JNE  full
	// The arithmetic flags, without POPFQ: overflow by an addition that does or does not, the others from AH. The rest is as always.
	MOVQ S_FLAGS(R9), R11
	MOVQ R11, CX
	MOVQ R11, AX
	SHRQ $11, AX
	ANDL $1, AX
	ADDB $0x7f, AL
	BYTE $0x88; BYTE $0xcc // MOVB CL, AH
	SAHF
	MOVQ S_AX(R9), AX
	MOVQ S_CX(R9), CX
	MOVQ S_SP(R9), SP
	MOVQ S_R8(R9), R8
	MOVQ S_R9(R9), R9
	BYTE $0x65; BYTE $0xff; BYTE $0x24; BYTE $0x25; LONG $V_RIP // JMP *GS:V_RIP
full:
	// Flags last: everything after them changes none.
	MOVQ S_AX(R9), AX
	MOVQ S_CX(R9), CX
	MOVQ S_R11(R9), R11
	LEAQ S_FLAGS(R9), SP
	BYTE $0x9d // POPFQ
	MOVQ S_SP(R9), SP
	MOVQ S_R8(R9), R8
	MOVQ S_R9(R9), R9
	BYTE $0x65; BYTE $0xff; BYTE $0x24; BYTE $0x25; LONG $V_RIP // JMP *GS:V_RIP
fsByCall:
	MOVL $ARCH_SET_FS, DI
	MOVQ AX, SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	MOVQ SI, AX
	JMP  fsWritten
giveUp:
	MOVB $0, V_INGUEST(R8)
	RET

// abandoned is where an abandoned entry goes on, with SP, BP and FS already the sentry's: it returns from enter.
TEXT ·abandoned(SB), NOSPLIT|NOFRAME, $0-0
	RET

// What a leaf call may change and the guest must not see changed; RCX and R11 are kept otherwise.
#define PUSHED  112 // with the flags
#define SPILLED 40  // where a function of Go may keep its arguments
#define PUSHALL \
	PUSHQ AX; PUSHQ BX; PUSHQ DX; PUSHQ SI; PUSHQ DI; PUSHQ R8; PUSHQ R9; PUSHQ R10; PUSHQ R12; PUSHQ R13; PUSHQ R14; PUSHQ R15; PUSHQ BP
#define POPALL \
	POPQ BP; POPQ R15; POPQ R14; POPQ R13; POPQ R12; POPQ R10; POPQ R9; POPQ R8; POPQ DI; POPQ SI; POPQ DX; POPQ BX; POPQ AX

// answer is where rewritten system calls jump to, through GS:V_LEAVE. RCX is where the guest goes on; R11 is free, as SYSCALL
// has it. A call that has an answer gets it here, in the guest: no instruction changes a flag. A signal in here finds the guest
// before its call, or behind answered's first instruction after it.
TEXT ·answer(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ CX, V_RCX(GS)
	MOVBLZX AL, R11
	LEAQ (R11)(R11*1), R11
	LEAQ (R11)(R11*1), R11
	MOVQ V_ANSWERS(GS), CX
	LEAQ (CX)(R11*8), R11
	MOVQ A_NEGATIVE(R11), CX
	LEAQ (CX)(AX*1), CX
	JCXZQ hit
	MOVQ V_RCX(GS), CX
	JMP  ·leave(SB)
hit:
	MOVQ A_FN(R11), CX
	JCXZQ value
	JMP  leaf
value:
	JMP  ·answered(SB)
leaf:
	// A function of the sentry's makes the call, on a stack of the thread's, with the registers of Go's convention. A signal is put off until
	// leafReturn.
	MOVB $1, V_INLEAF(GS)
	MOVQ SP, V_LEAFSP(GS)
	MOVQ V_SELF(GS), SP
	LEAQ BLOCKREST(SP), SP
	BYTE $0x9c // PUSHFQ
	PUSHALL
	TESTL $0x44500, 104(SP) // alignment check, nested task, direction, single step
	JNZ  undone
	BYTE $0x65; BYTE $0x4c; BYTE $0x8b; BYTE $0x34; BYTE $0x25; LONG $-8 // MOVQ GS:-8, R14: the goroutine
	MOVQ CX, R12
	MOVQ DI, BX
	MOVQ SI, CX
	MOVQ DX, DI
	MOVQ R10, SI
	MOVQ A_ARG(R11), AX
	LEAQ -SPILLED(SP), SP
	CALL R12
	LEAQ SPILLED(SP), SP
	TESTB BX, BX
	JEQ  undone
	MOVQ AX, 96(SP)
	CMPB BX, $LEAF_PENDING
	JNE  done
	LOCK
	BTSQ $INTERRUPT, V_PENDING(GS)
done:
	// The arithmetic flags, as enterGuest has them.
	MOVQ 104(SP), CX
	MOVQ CX, AX
	SHRQ $11, AX
	ANDL $1, AX
	ADDB $0x7f, AL
	BYTE $0x88; BYTE $0xcc // MOVB CL, AH
	SAHF
	POPALL
	JMP  ·leafReturn(SB)
undone:
	JMP  ·leafUndo(SB)

// leafUndo makes the whole call instead of a leaf call that has done nothing. A fault of guest memory in one leads here too.
TEXT ·leafUndo(SB), NOSPLIT|NOFRAME, $0-0
	POPALL
	BYTE $0x9d // POPFQ
	MOVQ V_LEAFSP(GS), SP
	MOVB $0, V_INLEAF(GS)
	MOVQ V_RCX(GS), CX
	JMP  ·leave(SB)

TEXT ·answered(SB), NOSPLIT|NOFRAME, $0-0
	MOVL A_VALUE(R11), AX
	MOVQ V_RCX(GS), CX
	MOVL $0x246, R11
	JMP  CX

// leafReturn is the end of a leaf call: all registers are the guest's but SP, RCX and R11. What was put off is seen to before it goes on.
TEXT ·leafReturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ V_LEAFSP(GS), SP
	MOVB $0, V_INLEAF(GS)
	MOVQ V_PENDING(GS), CX
	JCXZQ back
	MOVQ V_RCX(GS), CX
	MOVQ $(EVENT_LEFT-EVENT_SYSCALL), V_LEFT(GS)
	JMP  ·leave(SB)
back:
	MOVQ V_RCX(GS), CX
	MOVL $0x246, R11
	JMP  CX

// leave is the way into the sentry. A signal in here is put off: its bit is set in pending.
TEXT ·leave(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ V_ST(GS), R11
	MOVQ R8, S_R8(R11)
	MOVQ SP, S_SP(R11)
	MOVQ V_SELF(GS), R8
	MOVQ V_GOSP(R8), SP
	MOVQ R9, S_R9(R11)
	MOVQ AX, S_AX(R11)
	BYTE $0x9c // PUSHFQ
	BYTE $0x41; BYTE $0x59 // POPQ R9
	MOVQ R15, S_R15(R11)
	MOVQ R14, S_R14(R11)
	MOVQ R13, S_R13(R11)
	MOVQ R12, S_R12(R11)
	MOVQ BP, S_BP(R11)
	MOVQ BX, S_BX(R11)
	MOVQ R9, S_R11(R11)
	MOVQ R10, S_R10(R11)
	MOVQ CX, S_CX(R11)
	MOVQ DX, S_DX(R11)
	MOVQ SI, S_SI(R11)
	MOVQ DI, S_DI(R11)
	MOVQ CX, S_IP(R11)
	MOVQ R9, S_FLAGS(R11)
	CMPQ V_FSGS(R8), $FSGS_KNOWN
	JNE  fsKnown
	RDFSBASEQ AX
	MOVQ AX, S_FS(R11)
	MOVQ AX, V_FS(R8)
fsKnown:
	TESTL $0x44100, R9 // alignment check, nested task, single step
	JZ   clean
	BYTE $0x68; LONG $0x202 // PUSHQ $0x202
	BYTE $0x9d // POPFQ
clean:
	CLD
	MOVL $1, CX
	XGETBV
	MOVQ V_FP(R8), R10
	TESTL AX, V_SLOW(R8)
	JNZ  whole
	STMXCSR F_MXCSR(R10)
	CMPQ V_AVX512(R8), $0
	JEQ  avx
	SAVEZ(R10)
	JMP  saved
avx:
	SAVEY(R10)
saved:
	MOVQ $0, V_FPIMAGE(R8)
	// What differs in nothing but the exceptions that have been is as good for the sentry.
	MOVL F_MXCSR(R10), AX
	ANDL $~0x3f, AX
	CMPL AX, mxcsr<>(SB)
	JEQ  mxcsrDone
	JMP  done
whole:
	// Something that is not saved by hand is in use, x87 mostly.
	MOVQ V_IMAGE(R8), R10
	MOVL V_XMASK(R8), AX
	XORL DX, DX
	XSAVE64 (R10)
	MOVQ V_INIT(R8), R10
	XRSTOR64 (R10)
	MOVQ $1, V_FPIMAGE(R8)
done:
	LDMXCSR mxcsr<>(SB)
mxcsrDone:
	VZEROUPPER
	MOVQ V_GOFS(R8), AX
	TESTQ AX, AX
	JEQ  ownFS
	WRFSBASEQ AX
	MOVQ $NOFS, V_FS(R8)
ownFS:
	MOVQ V_GOBP(R8), BP
	MOVQ V_LEFT(R8), AX
	ADDQ $EVENT_SYSCALL, AX
	MOVQ AX, V_EVENT(R8)
	MOVQ $0, V_LEFT(R8)
	MOVB $0, V_INGUEST(R8)
	RET

// sigentry stands before Go's handler of every signal. DI: the signal, SI: siginfo, DX: ucontext.
TEXT ·sigentry(SB), NOSPLIT|NOFRAME, $0-0
	// The thread's vcpu is where GS says, if that is a block: a guest can change GS. While Go needs FS, GS may be another thread's.
	CMPB ·goTLSInGS(SB), $0
	JEQ  byTid
	CMPB ·fsgsbase(SB), $0
	JEQ  bySelector
	RDGSBASEQ R8
	MOVQ R8, AX
	SUBQ ·blocks(SB), AX
	CMPQ AX, $BLOCKSSIZE
	JCC  byTid
	ANDL $BLOCKMASK, AX
	CMPL AX, $BLOCKHEAD
	JEQ  byGS
	JMP  byTid
bySelector:
	// Without the instructions only a selector changes it.
	BYTE $0x8c; BYTE $0xe8 // MOVL GS, AX
	TESTW AX, AX
	JNE  byTid
	MOVQ V_SELF(GS), R8
byGS:
	CMPQ V_TID(R8), $0
	JEQ  toGo // it has not run guest code
	JMP  found
byTid:
	MOVQ $186, AX // gettid
	SYSCALL
	LEAQ ·vcpus(SB), R9
	MOVL AX, CX
probe:
	ANDL $0xffff, CX
	MOVQ (R9)(CX*8), R8
	TESTQ R8, R8
	JZ   toGo
	CMPQ AX, V_TID(R8)
	JEQ  found
	INCL CX
	JMP  probe
found:
	MOVL DI, CX
	MOVL $1, R10
	SHLQ CX, R10
	CMPB V_INLEAF(R8), $0
	JNE  inLeaf
	MOVQ U_IP(DX), R9
	LEAQ ·leave(SB), AX
	CMPQ R9, AX
	JCS  notLeaving
	LEAQ ·sigentry(SB), AX
	CMPQ R9, AX
	JCS  leaving
notLeaving:
	LEAQ ·enterGuest(SB), AX
	CMPQ R9, AX
	JCS  notEntering
	LEAQ ·abandoned(SB), AX
	CMPQ R9, AX
	JCS  entering
notEntering:
	CMPB V_INGUEST(R8), $0
	JNE  inGuest
	// The sentry's own code. Only the interruption is not Go's: the next entry gives up.
	CMPL DI, $INTERRUPT
	JNE  toGo
	ORQ  R10, V_PENDING(R8)
	RET
toGo:
	CMPL DI, $31
	JEQ  sigsys
handler:
	LEAQ ·goHandlers(SB), R9
	MOVQ (R9)(DI*8), R9
	JMP  R9

sigsys:
	// Where the filter intercepts, a call of the vDSO's traps too if it cannot do without the host: it is made here instead. Whatever
	// else it is, Go's handler ends the process.
	CMPL 8(SI), $1 // SYS_SECCOMP
	JNE  handler
	MOVQ 16(SI), AX
	LEAQ runtime·text(SB), CX
	CMPQ AX, CX
	JLS  elsewhere
	LEAQ runtime·etext(SB), CX
	CMPQ AX, CX
	JLS  handler
elsewhere:
	MOVQ U_AX(DX), AX
	CMPQ AX, $228 // clock_gettime
	JEQ  make
	CMPQ AX, $318 // getrandom
	JNE  handler
make:
	MOVQ DX, R12
	MOVQ U_DI(R12), DI
	MOVQ U_SI(R12), SI
	MOVQ U_DX(R12), DX
	SYSCALL
	MOVQ AX, U_AX(R12)
	RET

inLeaf:
	CMPL DI, $31
	JEQ  vdsoCalls
	MOVL $(1<<7 | 1<<11), AX // SIGBUS SIGSEGV
	TESTQ R10, AX
	JEQ  leaving
	MOVQ 16(SI), AX // si_addr
	MOVQ $PLACESLO, R9
	SUBQ R9, AX
	MOVQ $PLACESSIZE, R9
	CMPQ AX, R9
	JCC  leaving
	// Guest memory is not there, or not for this.
	JMP  undo
vdsoCalls:
	// The vDSO cannot read a clock without the host's kernel (package vdso). The whole call can.
	CMPL 8(SI), $0
	JLE  leaving // it was sent
	MOVL U_DI(DX), CX
	ANDL $31, CX
	MOVQ ·clockTraps(SB), AX
	LOCK
	BTSL CX, (AX)
undo:
	LEAQ (BLOCKREST-PUSHED)(R8), AX
	MOVQ AX, U_SP(DX)
	LEAQ ·leafUndo(SB), AX
	MOVQ AX, U_IP(DX)
	RET

leaving:
	MOVL $SYNCHRONOUS, AX
	TESTQ R10, AX
	JNZ  broken
	ORQ  R10, V_PENDING(R8)
	RET

entering:
	MOVL $SYNCHRONOUS, AX
	TESTQ R10, AX
	JNZ  broken
	ORQ  R10, V_PENDING(R8)
	LEAQ ·abandoned(SB), AX
	MOVQ AX, U_IP(DX)
	JMP  toSentry

broken:
	// A fault in the sentry's own transition: Go's handler tells.
	MOVQ V_GOFS(R8), AX
	TESTQ AX, AX
	JEQ  brokenOwnFS
	WRFSBASEQ AX
brokenOwnFS:
	MOVB $0, V_INGUEST(R8)
	JMP  toGo

inGuest:
	CMPL DI, $11 // SIGSEGV
	JNE  ofGuest
	CMPQ V_FSGS(R8), $FSGS_UNKNOWN
	JNE  ofGuest
	RDFSBASEQ AX
	CMPQ AX, V_FS(R8)
	JEQ  ofGuest
	// The host's kernel has put another FS base there meanwhile. The guest tries again.
	MOVQ V_FS(R8), AX
	WRFSBASEQ AX
	RET
ofGuest:
	MOVL $SYNCHRONOUS, AX
	TESTQ R10, AX
	JNZ  state
	ORQ  R10, V_PENDING(R8)
state:
	MOVQ DI, V_SIG(R8)
	CMPQ V_FSGS(R8), $FSGS_KNOWN
	JNE  gsSelector
	RDGSBASEQ AX
	MOVQ AX, V_GS(R8)
	CMPQ AX, R8
	JEQ  ownGS
	WRGSBASEQ R8
	JMP  ownGS
gsSelector:
	MOVQ R8, V_GS(R8)
	BYTE $0x8c; BYTE $0xe8 // MOVL GS, AX
	TESTW AX, AX
	JEQ  ownGS
	MOVQ DI, R12
	MOVQ SI, R13
	MOVQ DX, R14
	MOVL $ARCH_GET_GS, DI
	LEAQ V_GS(R8), SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	MOVL $ARCH_SET_GS, DI
	MOVQ R8, SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	MOVQ R12, DI
	MOVQ R13, SI
	MOVQ R14, DX
ownGS:
	MOVLQSX 8(SI), AX
	MOVQ AX, V_CODE(R8)
	MOVQ 16(SI), AX
	MOVQ AX, V_ADDR(R8)
	MOVQ 24(SI), AX
	MOVQ AX, V_ARCH(R8)
	MOVQ U_ERR(DX), AX
	MOVQ AX, V_ERR(R8)
	MOVQ U_TRAPNO(DX), AX
	MOVQ AX, V_TRAPNO(R8)
	MOVQ V_ST(R8), R9
	MOVQ U_R8(DX), AX
	MOVQ AX, S_R8(R9)
	MOVQ U_R9(DX), AX
	MOVQ AX, S_R9(R9)
	MOVQ U_R10(DX), AX
	MOVQ AX, S_R10(R9)
	MOVQ U_R11(DX), AX
	MOVQ AX, S_R11(R9)
	MOVQ U_R12(DX), AX
	MOVQ AX, S_R12(R9)
	MOVQ U_R13(DX), AX
	MOVQ AX, S_R13(R9)
	MOVQ U_R14(DX), AX
	MOVQ AX, S_R14(R9)
	MOVQ U_R15(DX), AX
	MOVQ AX, S_R15(R9)
	MOVQ U_DI(DX), AX
	MOVQ AX, S_DI(R9)
	MOVQ U_SI(DX), AX
	MOVQ AX, S_SI(R9)
	MOVQ U_BP(DX), AX
	MOVQ AX, S_BP(R9)
	MOVQ U_BX(DX), AX
	MOVQ AX, S_BX(R9)
	MOVQ U_DX(DX), AX
	MOVQ AX, S_DX(R9)
	MOVQ U_AX(DX), AX
	MOVQ AX, S_AX(R9)
	MOVQ U_CX(DX), AX
	MOVQ AX, S_CX(R9)
	MOVQ U_SP(DX), AX
	MOVQ AX, S_SP(R9)
	MOVQ U_IP(DX), AX
	MOVQ AX, S_IP(R9)
	MOVQ U_FLAGS(DX), AX
	MOVQ AX, S_FLAGS(R9)
	CMPQ V_FSGS(R8), $FSGS_KNOWN
	JNE  fsAsIs
	RDFSBASEQ AX
	MOVQ AX, S_FS(R9)
	MOVQ AX, V_FS(R8)
fsAsIs:
	MOVQ U_FPREGS(DX), SI
	MOVQ V_IMAGE(R8), DI
	MOVL 480(SI), CX // sw_reserved.xstate_size
	MOVQ V_CAP(R8), AX
	CMPQ CX, AX
	CMOVQHI AX, CX
	CLD
	REP; MOVSB
	MOVQ $1, V_FPIMAGE(R8)
	MOVQ $EVENT_SIGNAL, V_EVENT(R8)
	LEAQ ·abandoned(SB), AX
	MOVQ AX, U_IP(DX)
toSentry:
	// It goes on with the initial floating point state.
	MOVQ U_FPREGS(DX), AX
	MOVQ $0, 512(AX)
	MOVL $0x1f80, 24(AX)
	MOVQ V_GOSP(R8), AX
	MOVQ AX, U_SP(DX)
	MOVQ V_GOBP(R8), AX
	MOVQ AX, U_BP(DX)
	MOVQ $0x202, U_FLAGS(DX)
	MOVW $0x33, U_CS(DX) // the guest may have been in 32-bit code
	MOVW $0x2b, U_SS(DX)
	MOVQ V_GOFS(R8), AX
	TESTQ AX, AX
	JEQ  out
	WRFSBASEQ AX
	MOVQ $NOFS, V_FS(R8)
out:
	MOVB $0, V_INGUEST(R8)
	RET

// restorer is where a handler returns to.
TEXT ·restorer(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $15, AX // rt_sigreturn
	SYSCALL
	INT  $3

// textEnd ends what may make host calls while guest code runs.
TEXT ·textEnd(SB), NOSPLIT|NOFRAME, $0-0
	RET

// func sentryText() (lo, hi uintptr): all of the sentry's instructions.
TEXT ·sentryText(SB), NOSPLIT, $0-16
	LEAQ runtime·text(SB), AX
	MOVQ AX, lo+0(FP)
	LEAQ runtime·etext(SB), AX
	MOVQ AX, hi+8(FP)
	RET

// func codeAddrs() (a addrs)
TEXT ·codeAddrs(SB), NOSPLIT, $0-104
	LEAQ ·enterGuest(SB), AX
	MOVQ AX, a_lo+0(FP)
	LEAQ ·textEnd(SB), AX
	MOVQ AX, a_hi+8(FP)
	LEAQ ·answer(SB), AX
	MOVQ AX, a_answer+16(FP)
	LEAQ ·answered(SB), AX
	MOVQ AX, a_answered+24(FP)
	LEAQ ·leave(SB), AX
	MOVQ AX, a_leave+32(FP)
	LEAQ ·sigentry(SB), AX
	MOVQ AX, a_sigentry+40(FP)
	LEAQ ·restorer(SB), AX
	MOVQ AX, a_restorer+48(FP)
	LEAQ ·threadStart(SB), AX
	MOVQ AX, a_threadStart+56(FP)
	LEAQ ·adopt(SB), AX
	MOVQ AX, a_adopt+64(FP)
	LEAQ ·skipIllegal(SB), AX
	MOVQ AX, a_skipIllegal+72(FP)
	LEAQ runtime·mstart(SB), AX
	MOVQ AX, a_mstart+80(FP)
	LEAQ runtime·clone(SB), AX
	MOVQ AX, a_clone+88(FP)
	LEAQ runtime·stackcheck(SB), AX
	MOVQ AX, a_stackcheck+96(FP)
	RET
