// Futexes through pthreads and by hand, robust and priority inheriting locks, membarrier, rseq.
#define _GNU_SOURCE
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int turn, counter;
static pthread_mutex_t *lock;
static volatile unsigned spins;

static void *ping(void *a) {
  int me = (long)a;
  for (int i = 0; i < 300; i++) {
    pthread_mutex_lock(&m);
    while (turn != me) pthread_cond_wait(&c, &m);
    turn = !me;
    pthread_cond_broadcast(&c);
    pthread_mutex_unlock(&m);
  }
  return 0;
}
static void *count(void *a) {
  for (int i = 0; i < 300; i++) {
    pthread_mutex_lock(lock);
    int x = counter;
    if (i % 20 == 0) sched_yield();
    counter = x + 1;
    pthread_mutex_unlock(lock);
  }
  return 0;
}
static void *dies(void *a) {
  pthread_mutex_lock(a);
  return 0;
}
static void *spin(void *a) {
  for (;;) spins++;
}
static unsigned word[4];
static void *waits(void *a) {
  return (void *)syscall(SYS_futex, a, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
}
static void after(struct timespec *ts, int clock, int msec) {
  clock_gettime(clock, ts);
  ts->tv_nsec += msec * 1000000L;
  if (ts->tv_nsec >= 1000000000) ts->tv_sec++, ts->tv_nsec -= 1000000000;
}

int main(void) {
  pthread_t t[4];
  struct timespec ts;
  int r;
  pthread_create(&t[0], 0, ping, (void *)0);
  pthread_create(&t[1], 0, ping, (void *)1);
  pthread_join(t[0], 0), pthread_join(t[1], 0);

  pthread_mutexattr_t at;
  pthread_mutex_t pi, rob, robpi;
  pthread_mutexattr_init(&at);
  pthread_mutexattr_setprotocol(&at, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&pi, &at);
  pthread_mutexattr_setrobust(&at, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&robpi, &at);
  pthread_mutexattr_setprotocol(&at, PTHREAD_PRIO_NONE);
  pthread_mutex_init(&rob, &at);

  lock = &pi;
  for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, count, 0);
  for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
  CHECK(counter == 1200);
  pthread_mutex_lock(&pi);
  CHECK(pthread_mutex_trylock(&pi) == EBUSY);
  pthread_mutex_unlock(&pi);
  pthread_mutex_t *robust[] = {&rob, &robpi};
  for (int i = 0; i < 2; i++) {
    pthread_create(&t[0], 0, dies, robust[i]);
    pthread_join(t[0], 0);
    CHECK(pthread_mutex_lock(robust[i]) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(robust[i]) == 0);
    CHECK(pthread_mutex_unlock(robust[i]) == 0);
    CHECK(pthread_mutex_lock(robust[i]) == 0);
    pthread_mutex_unlock(robust[i]);
  }
  // The owner of a lock with waiters dies.
  pthread_mutex_t *sh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_setpshared(&at, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(sh, &at);
  int pid = fork();
  if (!pid) {
    pthread_mutex_lock(sh);
    usleep(50000);
    _exit(0);
  }
  usleep(20000);
  CHECK(pthread_mutex_lock(sh) == EOWNERDEAD);
  waitpid(pid, 0, 0);

  // By hand.
  CHECK(syscall(SYS_futex, word, FUTEX_WAIT, 1, 0, 0, 0) == -1 && errno == EAGAIN);
  CHECK(syscall(SYS_futex, (char *)word + 1, FUTEX_WAIT, 1, 0, 0, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_futex, 8, FUTEX_WAIT, 1, 0, 0, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_futex, word, FUTEX_WAIT_BITSET, 0, 0, 0, 0) == -1 && errno == EINVAL);
  ts.tv_sec = 0, ts.tv_nsec = 1000000;
  CHECK(syscall(SYS_futex, word, FUTEX_WAIT, 0, &ts, 0, 0) == -1 && errno == ETIMEDOUT);
  after(&ts, CLOCK_REALTIME, 5);
  CHECK(syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &ts, 0, ~0) == -1 && errno == ETIMEDOUT);
  for (int i = 0; i < 3; i++) pthread_create(&t[i], 0, waits, word);
  usleep(300000);
  // One is woken, two move, which are woken there.
  r = syscall(SYS_futex, word, FUTEX_CMP_REQUEUE_PRIVATE, 1, 10, word + 1, 0);
  CHECK(r == 3);
  CHECK(syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 0);
  CHECK(syscall(SYS_futex, word + 1, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0) == 2);
  for (int i = 0; i < 3; i++) pthread_join(t[i], 0);
  pthread_create(&t[0], 0, waits, word);
  usleep(20000);
  // *word2 = 5; its old value is 0.
  r = syscall(SYS_futex, word + 2, FUTEX_WAKE_OP_PRIVATE, 1, 1, word, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0));
  CHECK(r == 1 && word[0] == 5);
  pthread_join(t[0], 0);
  word[0] = 0;
  CHECK(syscall(SYS_futex, word, FUTEX_CMP_REQUEUE, 1, 1, word + 1, 7) == -1 && errno == EAGAIN);
  CHECK(syscall(SYS_futex, word, 99, 1, 1, word + 1, 7) == -1 && errno == ENOSYS);
  // Several at once.
  struct { unsigned long val, addr; unsigned flags, reserved; } wv[2] = {
      {0, (long)&word[0], 2 | 128, 0}, {0, (long)&word[1], 2 | 128, 0}};
  after(&ts, CLOCK_MONOTONIC, 5);
  CHECK(syscall(449, wv, 2, 0, &ts, CLOCK_MONOTONIC) == -1 && errno == ETIMEDOUT);
  pid = fork();
  if (!pid) _exit(0);
  waitpid(pid, 0, 0);

  pthread_create(&t[0], 0, spin, 0);
  while (!spins);
  CHECK(syscall(SYS_membarrier, 8, 0, 0) == -1 && errno == EPERM);
  CHECK(syscall(SYS_membarrier, 16, 0, 0) == 0);
  for (int i = 0; i < 20; i++) CHECK(syscall(SYS_membarrier, 8, 0, 0) == 0);
  puts("ok");
  return 0;
}
