// What the assembly of this package knows of blocks, which a test compares with the types of Go, and of the host.

// struct vcpu
#define V_INGUEST 0
#define V_LEAVE   8
#define V_SELF    16
#define V_GOFS    24
#define V_GOSP    32
#define V_GOBP    40
#define V_ST      48
#define V_FP      56
#define V_IMAGE   64
#define V_FPIMAGE 72
#define V_FULL    80
#define V_RIP     88
#define V_EVENT   96
#define V_PENDING 104
#define V_TID     112
#define V_SIG     120
#define V_CODE    128
#define V_ADDR    136
#define V_ERR     144
#define V_TRAPNO  152
#define V_ARCH    160
#define V_AVX512  168
#define V_SLOW    176
#define V_CAP     184
#define V_XMASK   192
#define V_INIT    200
#define V_FS      208
#define V_FSGS    216
#define V_ANSWERS 224
#define V_RCX     232
#define V_GS      240
#define V_LEFT    248
#define V_INLEAF  256
#define V_LEAFSP  264

// Blocks: owned, maxBlocks, the logarithm of blockSize, maxBlocks * blockSize, blockSize - 1, blockHead.
#define OWNED      0x7fffffff
#define MAXBLOCKS  0x4000
#define BLOCKSHIFT 13
#define BLOCKSSIZE 0x8000000
#define BLOCKMASK  0x1fff
#define BLOCKHEAD  64

// The end of the block, where the stack of leaf calls begins.
#define BLOCKREST 8128

// Where processes have their memory: placesLo, and placesHi - placesLo.
#define PLACESLO   0x400000000000
#define PLACESSIZE 0x1f0000000000

#define SYS_arch_prctl 158
#define SYS_set_tid_address 218
#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
