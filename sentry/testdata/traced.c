// ptrace and seccomp.
#define _GNU_SOURCE
#include "check.h"
#include <elf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

static char *self;
static volatile int got;
static volatile siginfo_t gi;
static long data = 0x1122334455667788;
static void note(int s, siginfo_t *i, void *u) { got = s; *(siginfo_t *)&gi = *i; }
static int wait1(int pid) {
  int st;
  CHECK(waitpid(pid, &st, __WALL) == pid);
  return st;
}
static long filter(struct sock_filter *f, int n, int flags) {
  struct sock_fprog p = {n, f};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
static void *sleeps(void *a) {
  for (;;) pause();
}
#define LDNR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define RET(x) BPF_STMT(BPF_RET | BPF_K, x)
#define ON(n, x) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, n, 0, 1), RET(x)

static void tracing(void) {
  int pid = fork(), st;
  if (!pid) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    syscall(SYS_getppid);
    raise(SIGUSR1);
    _exit(data == 5 ? 7 : 8);
  }
  CHECK(wait1(pid) == (SIGSTOP << 8 | 0x7f));
  CHECK(ptrace(PTRACE_PEEKDATA, pid, &data, 0) == data);
  CHECK(ptrace(PTRACE_POKEDATA, pid, &data, 5) == 0);
  CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXIT) == 0);
  int calls = 0, exits = 0, sigs = 0;
  for (;;) {
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    st = wait1(pid);
    if (!WIFSTOPPED(st)) break;
    if (WSTOPSIG(st) == (SIGTRAP | 0x80)) {
      struct user_regs_struct u;
      struct __ptrace_syscall_info inf;
      ptrace(PTRACE_GETREGS, pid, 0, &u);
      CHECK(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.orig_rax), 0) == (long)u.orig_rax);
      CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof inf, &inf) > 0);
      if (u.orig_rax == SYS_getppid) {
        calls++;
        if (calls == 1) {
          CHECK((long)u.rax == -ENOSYS && inf.op == PTRACE_SYSCALL_INFO_ENTRY && inf.entry.nr == SYS_getppid);
          u.orig_rax = -1, u.rax = 77;
          CHECK(ptrace(PTRACE_SETREGS, pid, 0, &u) == 0);
        }
      } else if (u.orig_rax == (unsigned long)-1) {
        CHECK(u.rax == 77 && inf.op == PTRACE_SYSCALL_INFO_EXIT);
      }
    } else if (st >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
      unsigned long msg;
      ptrace(PTRACE_GETEVENTMSG, pid, 0, &msg);
      CHECK(msg == 7 << 8);
      exits++;
    } else if (WSTOPSIG(st) == SIGUSR1) {
      siginfo_t si;
      CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &si) == 0 && si.si_code == SI_TKILL);
      sigs++; // and it is not passed on
    }
  }
  CHECK(st == 7 << 8 && calls == 1 && exits == 1 && sigs == 1);

  if (!(pid = fork()))
    for (;;) pause();
  usleep(20000);
  CHECK(ptrace(PTRACE_SEIZE, pid, 0, 0) == 0);
  CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
  CHECK(wait1(pid) == (PTRACE_EVENT_STOP << 16 | SIGTRAP << 8 | 0x7f));
  struct user_fpregs_struct fp;
  CHECK(ptrace(PTRACE_GETFPREGS, pid, 0, &fp) == 0 && fp.mxcsr == 0x1f80);
  fp.xmm_space[0] = 42;
  CHECK(ptrace(PTRACE_SETFPREGS, pid, 0, &fp) == 0);
  static char xs[8192];
  struct iovec iov = {xs, sizeof xs};
  CHECK(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov) == 0 && iov.iov_len >= 576);
  CHECK(((struct user_fpregs_struct *)xs)->xmm_space[0] == 42);
  struct user_regs_struct u;
  ptrace(PTRACE_GETREGS, pid, 0, &u);
  CHECK(u.orig_rax == SYS_pause && (long)u.rax == -514);
  kill(pid, SIGSTOP);
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(pid) == (SIGSTOP << 8 | 0x7f));
  ptrace(PTRACE_CONT, pid, 0, SIGSTOP);
  CHECK(wait1(pid) == (PTRACE_EVENT_STOP << 16 | SIGSTOP << 8 | 0x7f));
  CHECK(ptrace(PTRACE_LISTEN, pid, 0, 0) == 0);
  kill(pid, SIGCONT);
  CHECK(wait1(pid) == (PTRACE_EVENT_STOP << 16 | SIGTRAP << 8 | 0x7f));
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(pid) == (SIGCONT << 8 | 0x7f));
  CHECK(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
  kill(pid, SIGKILL);
  CHECK(wait1(pid) == SIGKILL);

  // Single steps, a breakpoint, and children.
  if (!(pid = fork())) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    __asm__ volatile("int3");
    int c = fork();
    if (!c) _exit(3);
    waitpid(c, 0, 0);
    execl(self, "x", "child", NULL);
    _exit(99);
  }
  wait1(pid);
  ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
  for (int i = 0; i < 3; i++) {
    struct user_regs_struct v;
    ptrace(PTRACE_GETREGS, pid, 0, &u);
    ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
    CHECK(wait1(pid) == (SIGTRAP << 8 | 0x7f));
    ptrace(PTRACE_GETREGS, pid, 0, &v);
    CHECK(u.rip != v.rip);
  }
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(pid) == (SIGTRAP << 8 | 0x7f)); // int3
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(pid) == (PTRACE_EVENT_FORK << 16 | SIGTRAP << 8 | 0x7f));
  unsigned long c;
  ptrace(PTRACE_GETEVENTMSG, pid, 0, &c);
  CHECK(wait1(c) == (SIGSTOP << 8 | 0x7f));
  ptrace(PTRACE_CONT, c, 0, 0);
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(c) == 3 << 8);
  CHECK(wait1(pid) == (SIGCHLD << 8 | 0x7f));
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(pid) == (PTRACE_EVENT_EXEC << 16 | SIGTRAP << 8 | 0x7f));
  ptrace(PTRACE_CONT, pid, 0, 0);
  CHECK(wait1(pid) == 9 << 8);
  CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == -1 && errno == ESRCH);
  CHECK(ptrace(PTRACE_ATTACH, getpid(), 0, 0) == -1 && errno == EPERM);
}

static void filters(void) {
  int pid, st;
  struct sock_filter f[] = {LDNR, ON(SYS_getppid, SECCOMP_RET_ERRNO | 33), ON(SYS_getuid, SECCOMP_RET_TRAP | 5),
                            ON(SYS_getgid, SECCOMP_RET_KILL_PROCESS), RET(SECCOMP_RET_ALLOW)};
  struct sock_filter bad[] = {LDNR};
  if (!(pid = fork())) {
    struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &sa, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    CHECK(filter(bad, 1, 0) == -1 && errno == EINVAL);
    pthread_t t;
    pthread_create(&t, 0, sleeps, 0);
    CHECK(filter(f, sizeof f / 8, SECCOMP_FILTER_FLAG_TSYNC) == 0);
    CHECK(syscall(SYS_getppid) == -1 && errno == 33);
    syscall(SYS_getuid);
    CHECK(got == SIGSYS && gi.si_code == 1 && gi.si_syscall == SYS_getuid && gi.si_errno == 5);
    CHECK(prctl(PR_GET_SECCOMP) == 2);
    syscall(SYS_getgid);
    _exit(1);
  }
  CHECK((wait1(pid) & 0x7f) == SIGSYS);
  if (!(pid = fork())) {
    prctl(PR_SET_SECCOMP, 1);
    syscall(SYS_getpid);
    syscall(SYS_exit, 0);
  }
  CHECK(wait1(pid) == SIGKILL);
  // A listener in the parent, through a shared descriptor table.
  int fd = -1;
  struct sock_filter n[] = {LDNR, ON(SYS_getppid, SECCOMP_RET_USER_NOTIF), ON(SYS_getpgrp, SECCOMP_RET_USER_NOTIF),
                            RET(SECCOMP_RET_ALLOW)};
  int p[2];
  pipe(p);
  pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (!pid) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    fd = filter(n, sizeof n / 8, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    write(p[1], &fd, sizeof fd);
    if (syscall(SYS_getppid) != 1234) _exit(1);
    if (syscall(SYS_getpgrp) <= 0) _exit(2);
    _exit(0);
  }
  CHECK(read(p[0], &fd, sizeof fd) == sizeof fd && fd >= 0);
  for (int i = 0; i < 2; i++) {
    struct seccomp_notif req = {0};
    struct seccomp_notif_resp resp = {0};
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req) == 0);
    CHECK(req.pid == (unsigned)pid && req.data.nr == (i ? SYS_getpgrp : SYS_getppid));
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &req.id) == 0);
    resp.id = req.id;
    if (i)
      resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else
      resp.val = 1234;
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) == 0);
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp) == -1);
  }
  CHECK(wait1(pid) == 0);
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "child")) return 9;
  self = argv[0];
  tracing();
  filters();
  puts("ok");
  return 0;
}
