// Signals: handlers and what they see, frames, masks, restarts, job control, signalfd.
#define _GNU_SOURCE
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <poll.h>

static volatile int got, depth, max_depth;
static volatile siginfo_t gi;
static char *alt;

static void note(int s, siginfo_t *i, void *u) { got = s; *(siginfo_t *)&gi = *i; }
static void skip(int s, siginfo_t *i, void *u) {
  ucontext_t *uc = u;
  note(s, i, u);
  CHECK(uc->uc_mcontext.gregs[REG_TRAPNO] == 14);
  CHECK(uc->uc_mcontext.gregs[REG_ERR] == 6);
  uc->uc_mcontext.gregs[REG_RIP] += 2;
}
static void sums(int s, siginfo_t *i, void *u) {
  volatile double x = 1.5;
  for (int k = 0; k < 10; k++) x *= 1.1;
  got++;
}
static void on_alt(int s) {
  char here;
  CHECK(&here > alt && &here < alt + 65536);
  got = s;
}
static void nests(int s) {
  depth++;
  if (depth > max_depth) max_depth = depth;
  if (s == SIGUSR1) raise(SIGUSR2);
  depth--;
}
static void action(int sig, void *h, int flags) {
  struct sigaction sa = {.sa_sigaction = h, .sa_flags = flags};
  CHECK(sigaction(sig, &sa, 0) == 0);
}
static void arm(int usec, int every) {
  struct itimerval it = {{0, every}, {0, usec}};
  CHECK(setitimer(ITIMER_REAL, &it, 0) == 0);
}
static int ends(int pid) {
  int st;
  CHECK(waitpid(pid, &st, 0) == pid);
  return st;
}
static void *blocks(void *a) {
  sigset_t s;
  sigfillset(&s);
  pthread_sigmask(SIG_BLOCK, &s, 0);
  pause();
  return 0;
}

int main(void) {
  int st, r, pid;
  action(SIGUSR1, note, SA_SIGINFO);
  kill(getpid(), SIGUSR1);
  CHECK(got == SIGUSR1 && gi.si_code == SI_USER && gi.si_pid == getpid() && gi.si_uid == getuid());
  raise(SIGUSR1);
  CHECK(gi.si_code == SI_TKILL);
  action(SIGRTMIN, note, SA_SIGINFO);
  union sigval v = {.sival_int = 42};
  CHECK(sigqueue(getpid(), SIGRTMIN, v) == 0);
  CHECK(got == SIGRTMIN && gi.si_code == SI_QUEUE && gi.si_value.sival_int == 42);

  // Faults.
  action(SIGSEGV, skip, SA_SIGINFO);
  __asm__ volatile("movb %%al,(%0)" ::"r"((char *)0x10));
  CHECK(got == SIGSEGV && gi.si_addr == (void *)0x10 && gi.si_code == SEGV_MAPERR);
  if (!(pid = fork())) {
    signal(SIGSEGV, SIG_DFL);
    *(volatile int *)8 = 1;
  }
  CHECK(WTERMSIG(ends(pid)) == SIGSEGV);
  if (!(pid = fork())) {
    sigset_t s;
    sigfillset(&s);
    sigprocmask(SIG_BLOCK, &s, 0);
    *(volatile int *)8 = 1;
  }
  CHECK(WTERMSIG(ends(pid)) == SIGSEGV);
  if (!(pid = fork())) {
    signal(SIGFPE, SIG_IGN);
    volatile int z = 0, q = 100;
    z = q / z;
  }
  CHECK(WTERMSIG(ends(pid)) == SIGFPE);

  // Floating point survives handlers that use it.
  action(SIGALRM, sums, SA_SIGINFO | SA_RESTART);
  got = 0;
  arm(2000, 2000);
  volatile double d = 0;
  long n = 0;
  while (got < 20) d += 0.5, n++;
  CHECK(d == n * 0.5);
  arm(0, 0);

  // Real-time signals queue, in order, the lowest first; standard ones do not.
  sigset_t s, old;
  sigfillset(&s);
  CHECK(sigprocmask(SIG_BLOCK, &s, &old) == 0);
  for (int i = 0; i < 3; i++) {
    v.sival_int = i;
    sigqueue(getpid(), SIGRTMIN + 1, v);
    sigqueue(getpid(), SIGUSR1, v);
    sigqueue(getpid(), SIGRTMIN, v);
  }
  siginfo_t si;
  struct timespec ts = {0, 1000000};
  sigset_t want;
  sigemptyset(&want);
  sigaddset(&want, SIGRTMIN), sigaddset(&want, SIGRTMIN + 1), sigaddset(&want, SIGUSR1);
  CHECK(sigtimedwait(&want, &si, &ts) == SIGUSR1 && si.si_value.sival_int == 0);
  for (int i = 0; i < 6; i++)
    CHECK(sigtimedwait(&want, &si, &ts) == SIGRTMIN + i / 3 && si.si_value.sival_int == i % 3);
  CHECK(sigtimedwait(&want, &si, &ts) == -1 && errno == EAGAIN);
  int fd = signalfd(-1, &want, SFD_NONBLOCK);
  struct pollfd pf = {fd, POLLIN, 0};
  CHECK(poll(&pf, 1, 0) == 0);
  kill(getpid(), SIGUSR1);
  CHECK(poll(&pf, 1, 1000) == 1);
  struct signalfd_siginfo ssi;
  CHECK(read(fd, &ssi, sizeof ssi) == sizeof ssi && ssi.ssi_signo == SIGUSR1 && ssi.ssi_pid == (unsigned)getpid());
  CHECK(read(fd, &ssi, sizeof ssi) == -1 && errno == EAGAIN);
  sigprocmask(SIG_SETMASK, &old, 0);

  // Nesting: the handler of a signal raised in a handler runs on top of it.
  signal(SIGUSR1, nests), signal(SIGUSR2, nests);
  raise(SIGUSR1);
  CHECK(max_depth == 2 && depth == 0);

  // Interruption and restart.
  int p[2];
  CHECK(pipe(p) == 0);
  action(SIGALRM, note, SA_SIGINFO);
  arm(20000, 0);
  ts.tv_sec = 5, ts.tv_nsec = 0;
  struct timespec rem;
  CHECK(nanosleep(&ts, &rem) == -1 && errno == EINTR && rem.tv_sec == 4);
  arm(20000, 0);
  char b;
  CHECK(read(p[0], &b, 1) == -1 && errno == EINTR);
  if (!(pid = fork())) {
    usleep(60000);
    write(p[1], "x", 1);
    _exit(0);
  }
  action(SIGALRM, note, SA_SIGINFO | SA_RESTART);
  got = 0;
  arm(20000, 0);
  CHECK(read(p[0], &b, 1) == 1 && got == SIGALRM);
  ends(pid);
  sigset_t empty;
  sigemptyset(&empty);
  sigaddset(&s, SIGALRM);
  sigprocmask(SIG_BLOCK, &s, &old);
  got = 0;
  arm(10000, 0);
  CHECK(sigsuspend(&empty) == -1 && errno == EINTR && got == SIGALRM);
  sigprocmask(SIG_SETMASK, &old, &s);
  CHECK(sigismember(&s, SIGALRM));
  // A stop and a continue without a handler do not disturb a sleep.
  if (!(pid = fork())) {
    ts.tv_sec = 0, ts.tv_nsec = 100000000;
    _exit(nanosleep(&ts, 0) == 0 ? 3 : 4);
  }
  usleep(20000);
  kill(pid, SIGSTOP);
  CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
  kill(pid, SIGCONT);
  CHECK(waitpid(pid, &st, WCONTINUED) == pid && WIFCONTINUED(st));
  CHECK(WEXITSTATUS(ends(pid)) == 3);

  // The alternate stack.
  alt = malloc(65536);
  stack_t ss = {.ss_sp = alt, .ss_size = 65536};
  CHECK(sigaltstack(&ss, 0) == 0);
  action(SIGUSR1, on_alt, SA_ONSTACK);
  got = 0;
  raise(SIGUSR1);
  CHECK(got == SIGUSR1);
  ss.ss_size = 100;
  CHECK(sigaltstack(&ss, 0) == -1 && errno == ENOMEM);

  // SA_RESETHAND, SA_NODEFER.
  action(SIGUSR1, note, SA_SIGINFO | SA_RESETHAND);
  raise(SIGUSR1);
  struct sigaction sa;
  sigaction(SIGUSR1, 0, &sa);
  CHECK(sa.sa_handler == SIG_DFL);

  // A signal to the process goes to a thread that does not block it.
  pthread_t t;
  pthread_create(&t, 0, blocks, 0);
  usleep(20000);
  action(SIGUSR1, note, SA_SIGINFO);
  for (int i = 0; i < 10; i++) {
    got = 0;
    kill(getpid(), SIGUSR1);
    CHECK(got == SIGUSR1);
  }
  // Errors.
  CHECK(kill(getpid(), 65) == -1 && errno == EINVAL);
  CHECK(kill(999999, 0) == -1 && errno == ESRCH);
  CHECK(syscall(SYS_tgkill, getpid(), 999999, 0) == -1 && errno == ESRCH);
  CHECK(sigaction(SIGKILL, &sa, 0) == -1 && errno == EINVAL);
  r = syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, 0, 4);
  CHECK(r == -1 && errno == EINVAL);
  // A signal that ends the process ends all threads.
  if (!(pid = fork())) {
    pthread_create(&t, 0, blocks, 0);
    for (;;) pause();
  }
  usleep(20000);
  kill(pid, SIGTERM);
  CHECK(WTERMSIG(ends(pid)) == SIGTERM);
  puts("ok");
  return 0;
}
