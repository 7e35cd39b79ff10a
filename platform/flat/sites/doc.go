// Package sites works out how a SYSCALL instruction of a guest becomes a jump.
//
// Where guest and sentry share an address space, the first SYSCALL at an address traps, and the address (the site) is then
// rewritten: the guest's text gets a jump to a trampoline, a few instructions of the sentry's near the guest's text, which
// load RCX with the address to go on at and jump through GS to the sentry. The package is pure: bytes in, a Patch out.
// It touches no memory; who uses it copies the page, applies the patch to the copy, and maps the copy in the page's place
// in one step. So a page changes in one instant, and all of a patch lies in one page.
//
// A trampoline, with everything but the LEA and the JMP present only when the pattern needs it:
//
//	[instructions moved from before the site]
//	lea   resume(%rip), %rcx    SYSCALL leaves its return address in RCX too: free to use
//	jmp   *%gs:LeaveSlot
//	resume:                     or, when nothing from after the site was moved, the site's next instruction
//	lea   site+2(%rip), %rcx
//	[instructions moved from after the site]
//	jmp   back
//
// It uses no other register, no flag and no byte of the guest's stack.
//
// # What may be overwritten
//
// A jump takes five bytes, SYSCALL has two. Whatever more is overwritten must be whole instructions that do the same at
// another address, and nothing may come to an address inside of the overwritten bytes but by running through them. The
// patterns, in the order of how little they assume:
//
//   - Mov: `mov $nr, %eax; syscall`. The jump lies over the mov, and SYSCALL stays. Nothing can point inside.
//   - Before: the same with any single instruction of five bytes or more, when those between it and the site can be
//     copied. Who jumps between them finds them in place, and traps as before.
//   - Padding: SYSCALL becomes a two-byte jump to filler between functions, which holds the long jump.
//   - Cmp: `syscall; cmp $imm32, %rax`. The jump lies over both.
//   - After, Around: short instructions behind, or before, or on both sides of the site are overwritten with it, as few as give
//     five bytes.
//
// Where there is an inner boundary (Cmp, After, Around, several instructions Before; Patch.Inner), another thread must not stand there
// when the page changes. And for it, as for filler, all of the text is searched once for jumps, calls and LEA that point there; that search goes byte by byte for 32-bit displacements, and so misses none because of
// data between code. Jump tables are not text, so in reach of an indirect jump inner boundaries are not trusted, but for
// the one behind SYSCALL: a table's target there would need RAX as SYSCALL left it.
//
// The bytes of rt_sigreturn as libraries write it stay: unwinders look for them.
//
// Instructions are decoded forwards only. What precedes a site is known by decoding from many starts before it: x86 code
// falls into step within a few instructions, and a boundary counts when every start that reaches the site passes it.
//
// # Addresses
//
// A thread can be at an address that exists on one side only: a signal finds it in a trampoline, or its saved RIP lies
// where the text was overwritten. Patch.Original and Patch.Continue translate between the two. Who uses a patch passes every
// RIP shown to the guest (signal frames, ptrace, core dumps, faults) through Original, and every RIP it sends a thread to
// (sigreturn, restart of a call, the first return of a site that trapped, the child of a clone made there) through
// Continue.
package sites
