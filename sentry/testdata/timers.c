// Clocks, sleeping and timers.
#define _GNU_SOURCE
#include "check.h"
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <time.h>

static volatile int got;
static volatile siginfo_t gi;
static void note(int s, siginfo_t *i, void *u) { got = s; *(siginfo_t *)&gi = *i; }
static long long now(int clock) {
  struct timespec ts;
  CHECK(clock_gettime(clock, &ts) == 0);
  return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}
static void spin(int ms) {
  long long end = now(CLOCK_THREAD_CPUTIME_ID) + ms * 1000000LL;
  while (now(CLOCK_THREAD_CPUTIME_ID) < end);
}

int main(void) {
  struct timespec ts;
  int st, pid;
  for (int c = 0; c <= 11; c++) {
    if (c >= 8 && c <= 10) continue; // the alarm clocks need a device
    long long a = now(c);
    long long b = now(c);
    CHECK(b >= a);
    CHECK(clock_getres(c, &ts) == 0 && ts.tv_sec == 0 && ts.tv_nsec > 0);
  }
  CHECK(clock_gettime(10, &ts) == -1 && errno == EINVAL);
  clockid_t cl;
  CHECK(clock_getcpuclockid(getpid(), &cl) == 0);
  now(cl);
  CHECK(clock_getcpuclockid(getppid() ?: 99999, &cl) != 0 || 1);

  long long a = now(CLOCK_MONOTONIC);
  ts.tv_sec = 0, ts.tv_nsec = 20000000;
  CHECK(nanosleep(&ts, 0) == 0);
  CHECK(now(CLOCK_MONOTONIC) - a >= 20000000);
  ts.tv_nsec = 1000000000;
  CHECK(nanosleep(&ts, 0) == -1 && errno == EINVAL);
  CHECK(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ts, 0) == EINVAL);
  ts.tv_nsec = 0;
  CHECK(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &ts, 0) == EOPNOTSUPP);
  CHECK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, 0) == 0);

  struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
  sigaction(SIGALRM, &sa, 0), sigaction(SIGUSR1, &sa, 0), sigaction(SIGPROF, &sa, 0), sigaction(SIGVTALRM, &sa, 0),
      sigaction(SIGXCPU, &sa, 0);
  CHECK(alarm(100) == 0);
  CHECK(alarm(0) == 100);
  struct itimerval it = {{0, 0}, {0, 10000}}, was;
  CHECK(setitimer(ITIMER_REAL, &it, 0) == 0);
  CHECK(getitimer(ITIMER_REAL, &was) == 0 && was.it_value.tv_usec > 0);
  while (got != SIGALRM) pause();
  CHECK(gi.si_code == SI_KERNEL);
  it.it_interval.tv_usec = 5000;
  for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
    int sig = which == ITIMER_PROF ? SIGPROF : SIGVTALRM;
    CHECK(setitimer(which, &it, 0) == 0);
    for (int i = 0; i < 3; i++)
      for (got = 0; got != sig;);
    // Asleep it costs nothing, and goes on afterwards.
    usleep(50000);
    for (got = 0; got != sig;);
    struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(which, &off, 0);
  }

  timer_t tm;
  struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  ev.sigev_value.sival_int = 7;
  CHECK(timer_create(CLOCK_MONOTONIC, &ev, &tm) == 0);
  struct itimerspec its = {{0, 1000000}, {0, 1000000}}, cur;
  sigset_t s;
  sigemptyset(&s), sigaddset(&s, SIGUSR1);
  sigprocmask(SIG_BLOCK, &s, 0);
  CHECK(timer_settime(tm, 0, &its, 0) == 0);
  usleep(30000);
  siginfo_t si;
  CHECK(sigwaitinfo(&s, &si) == SIGUSR1 && si.si_code == SI_TIMER && si.si_value.sival_int == 7 && si.si_overrun >= 10);
  CHECK(timer_getoverrun(tm) == si.si_overrun);
  CHECK(timer_gettime(tm, &cur) == 0 && cur.it_value.tv_nsec > 0 && cur.it_value.tv_nsec <= 1000000);
  CHECK(sigwaitinfo(&s, &si) == SIGUSR1);
  CHECK(timer_delete(tm) == 0);
  CHECK(timer_delete(tm) == -1 && errno == EINVAL);
  sigprocmask(SIG_UNBLOCK, &s, 0);
  ev.sigev_notify = SIGEV_THREAD_ID;
  ev._sigev_un._tid = gettid();
  CHECK(timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &tm) == 0);
  CHECK(timer_settime(tm, 0, &its, 0) == 0);
  for (int i = 0; i < 3; i++)
    for (got = 0; got != SIGUSR1;);
  timer_delete(tm);
  ev.sigev_signo = 99;
  CHECK(timer_create(CLOCK_REALTIME, &ev, &tm) == -1 && errno == EINVAL);
  CHECK(timer_create(77, 0, &tm) == -1 && errno == EINVAL);

  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  CHECK(fd >= 0 && timerfd_settime(fd, 0, &its, 0) == 0);
  unsigned long long n;
  CHECK(read(fd, &n, 8) == 8 && n >= 1);

  a = now(CLOCK_PROCESS_CPUTIME_ID);
  spin(20);
  CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - a >= 20000000);
  struct tms tb;
  CHECK(times(&tb) != -1);
  if (!(pid = fork())) {
    struct rlimit rl = {1, 2};
    setrlimit(RLIMIT_CPU, &rl);
    for (got = 0; got != SIGXCPU;);
    for (;;);
  }
  CHECK(waitpid(pid, &st, 0) == pid && WTERMSIG(st) == SIGKILL);
  CHECK(clock_settime(CLOCK_MONOTONIC, &ts) == -1 && errno == EINVAL);
  puts("ok");
  return 0;
}
