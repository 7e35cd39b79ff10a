// Tries to make a host call from the process that the platform runs guests in. Prints "host" if one was made.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Where the ptrace platform has its own code; see platform/ptrace/stubcode.go.
#define STUB 0x7fffffffb000ul

static void on(int sig) { _exit(40 + sig); }

// enter jumps to an address with registers as for getppid and the like, and a way back on the stack.
static long enter(uint64_t at, long nr, long a, long b, long c) {
    long r;
    register long r12 asm("r12") = (long)STUB + 0x1000;
    register long r13 asm("r13") = 1;
    asm volatile("lea 1f(%%rip), %%rcx; push %%rcx; jmp *%[at]; 1:"
                 : "=a"(r) : [at] "r"(at), "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r12), "r"(r13) : "rcx", "r11", "memory");
    return r;
}

int main(int argc, char **argv) {
    for (int s = 1; s < 32; s++) signal(s, on);
    alarm(3);
    const char *how = argv[1];
    long pid = getpid();
    if (!strcmp(how, "syscall")) {
        // A call that only the host would answer this way: our pid there is another one.
        if (syscall(SYS_getpid) != pid || syscall(SYS_gettid) != pid) puts("host");
    } else if (!strcmp(how, "int80")) {
        long r;
        asm volatile("int $0x80" : "=a"(r) : "a"(20) : "memory"); // getpid
        if (r > 0) puts("host");
    } else if (!strcmp(how, "sysenter")) {
        asm volatile("mov $20, %%eax; mov %%rsp, %%rbp; sysenter" ::: "rax", "memory");
        puts("host");
    } else if (!strcmp(how, "vsyscall")) {
        long (*vtime)(long *) = (long (*)(long *))0xffffffffff600400ul;
        long t = vtime(NULL); // harmless where the host emulates it: it tells the time
        if (t > 0) puts("the time");
    } else if (!strcmp(how, "stubone")) {
        enter(STUB + 0x00, SYS_getpid, 0, 0, 0);
    } else if (!strcmp(how, "stubbatch")) {
        enter(STUB + 0x10, SYS_getpid, 0, 0, 0);
    } else if (!strcmp(how, "stubclone")) {
        long r = enter(STUB + 0x50, SYS_clone, 0x8000 | 17, 0, 0);
        if (r > 0) puts("host");
    } else if (!strcmp(how, "stubpark")) {
        enter(STUB + 0x57, SYS_getpid, 0, 0, 0);
    } else if (!strcmp(how, "far")) {
        // Into 32-bit code, whose calls have other numbers.
        static struct { uint32_t off; uint16_t sel; } far = {0, 0x23};
        void *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (low == MAP_FAILED) return 1;
        memcpy(low, "\xb8\x14\x00\x00\x00\xcd\x80\xcc", 8); // mov $20, %eax; int $0x80; int3
        far.off = 0x10000000;
        asm volatile("ljmp *%0" ::"m"(far) : "rax", "memory");
    }
    return 0;
}
