// Reading, writing and signal masks where the sandbox does without a stop, under a 10 kHz timer: every kind of memory for a result to go to, numbers that
// somebody waits for, signals that come while they are blocked. No result is wrong and no register changes but RCX, R11 and RAX.
// long: 20
#include "stress.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>

CALL(checked_read, 0);
CALL(checked_write, 1);
CALL(checked_mask, 14);

static char *room; // a page that can be written, one that cannot, one that is not there
static int null, zero, counter, ones;

static void devices(uint64_t *seed) {
	unsigned n = next(seed) % 300, at = PAGE - 300 - next(seed) % 64;
	memset(room + at - 1, 0x55, n + 2);
	EXPECT(checked_read, n, zero, (long)room + at, n);
	for (unsigned i = 0; i < n; i++)
		if (room[at + i])
			WRONG("byte %d of %d is not zero", i, n);
	if (room[at - 1] != 0x55 || room[at + n] != 0x55)
		WRONG("a neighbour of %d bytes has changed", n);
	EXPECT(checked_read, 5, zero, (long)room + PAGE - 5, 5 + n % 200);
	EXPECT(checked_read, n ? -EFAULT : 0, zero, (long)room + PAGE + at, n);
	EXPECT(checked_read, n ? -EFAULT : 0, zero, (long)room + 2 * PAGE + at, n);
	EXPECT(checked_read, -EFAULT, zero, -4096L, 1);
	EXPECT(checked_read, -EBADF, 77, (long)room, 1);
	EXPECT(checked_read, 0, null, (long)room, n);
	EXPECT(checked_read, 0, null, (long)room + 2 * PAGE, n);
	EXPECT(checked_write, n, null, (long)room, n);
	EXPECT(checked_write, n, zero, (long)room + 2 * PAGE, n);
	EXPECT(checked_write, -EFAULT, null, -4096L, 1);
	EXPECT(checked_write, 0x7ffff000, null, (long)room, 0x7fffffff);
	char *fresh = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(checked_read, 64, zero, (long)fresh + PAGE - 32, 64);
	munmap(fresh, 2 * PAGE);
}

static void counters(uint64_t *seed) {
	uint64_t v = next(seed) % 1000 + 1, *to = (uint64_t *)(room + 8 * (v % 64));
	*to = 1;
	EXPECT(checked_read, -EAGAIN, counter, (long)to, 8);
	EXPECT(checked_write, 8, counter, (long)&v, 8);
	EXPECT(checked_read, -EINVAL, counter, (long)to, 7);
	EXPECT(checked_read, 8, counter, (long)to, 8 + v % 100);
	if (*to != v)
		WRONG("a counter was %lu and not %lu", *to, v);
	EXPECT(checked_write, 8, counter, (long)&v, 8);
	EXPECT(checked_read, -EFAULT, counter, (long)room + PAGE, 8);
	EXPECT(checked_read, -EAGAIN, counter, (long)to, 8); // it is lost
	v = 3;
	EXPECT(checked_write, 8, ones, (long)&v, 8);
	for (int i = 0; i < 3; i++) {
		*to = 0;
		EXPECT(checked_read, 8, ones, (long)to, 8);
		if (*to != 1)
			WRONG("a semaphore gave %lu", *to);
	}
	EXPECT(checked_read, -EAGAIN, ones, (long)to, 8);
}

static uint64_t mask;
static void masks(uint64_t *seed) {
	uint64_t set = next(seed) & ~(1UL << (SIGSEGV - 1)), old = 1;
	int how = next(seed) % 3;
	int ask = next(seed) % 4 == 0;
	EXPECT(checked_mask, 0, how, ask ? 0 : (long)&set, next(seed) % 2 ? (long)&old : 0, 8);
	if (old != 1 && old != mask)
		WRONG("the mask was %lx and not %lx", old, mask);
	if (!ask)
		mask = how == SIG_BLOCK ? mask | set : how == SIG_UNBLOCK ? mask & ~set : set;
	mask &= ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1));
	EXPECT(checked_mask, 0, SIG_BLOCK, 0, (long)&old, 8);
	if (old != mask)
		WRONG("the mask is %lx and not %lx", old, mask);
	EXPECT(checked_mask, -EINVAL, 7, (long)&set, 0, 8);
	EXPECT(checked_mask, -EINVAL, SIG_BLOCK, (long)&set, 0, 16);
	EXPECT(checked_mask, -EFAULT, SIG_BLOCK, (long)room + 2 * PAGE, 0, 8);
	EXPECT(checked_mask, -EFAULT, SIG_BLOCK, 0, (long)room + PAGE, 8);
	long was = alarms;
	if (mask & 1UL << (SIGALRM - 1)) {
		for (int i = 0; i < 100; i++)
			EXPECT(checked_mask, 0, SIG_UNBLOCK, 0, (long)&old, 8);
		if (alarms != was)
			WRONG("a signal came while it was blocked");
		if (next(seed) % 64 == 0) {
			raise(SIGALRM);
			set = 0;
			EXPECT(checked_mask, 0, SIG_SETMASK, (long)&set, 0, 8);
			mask = 0;
			if (alarms == was)
				WRONG("a signal did not come when it was unblocked");
		}
	}
}

// waiting has a child wait for room in a counter that is full, and makes the room.
static void waiting(void) {
	uint64_t most = 0xfffffffffffffffe, one = 1, v;
	int full = MUST(eventfd(0, EFD_SEMAPHORE)), ready[2];
	MUST(pipe(ready));
	CHECK(write(full, &most, 8) == 8);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < 300; i++) {
			write(ready[1], "", 1);
			if (write(full, &one, 8) != 8)
				_exit(1);
		}
		_exit(0);
	}
	char c;
	for (int i = 0; i < 300; i++) {
		read(ready[0], &c, 1);
		for (int k = i % 3 * 500; k > 0; k--)
			__asm__ volatile("pause");
		EXPECT(checked_read, 8, full, (long)&v, 8);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status)
		WRONG("the child's status is %x", status);
	close(full);
	close(ready[0]), close(ready[1]);
}

// copied has a child read into a page that it shares with its parent until then.
static void copied(void) {
	memset(room, 0x77, 64);
	EXPECT(checked_read, 8, zero, (long)room, 8);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		EXPECT(checked_read, 32, zero, (long)room + 16, 32);
		_exit(room[16] != 0 || room[48] != 0x77);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status || room[16] != 0x77)
		WRONG("a child's read: status %x, byte %x", status, room[16]);
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	alarm(0);
	room = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(mprotect(room + PAGE, PAGE, PROT_READ));
	MUST(munmap(room + 2 * PAGE, PAGE));
	null = MUST(open("/dev/null", O_RDWR)), zero = MUST(open("/dev/zero", O_RDWR));
	counter = MUST(eventfd(0, EFD_NONBLOCK)), ones = MUST(eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE));
	every(100000, SIGALRM);
	uint64_t seed = 88172645463325252UL;
	for (long end = now_ms() + millis; now_ms() < end;)
		devices(&seed);
	VERDICT("devices");
	for (long end = now_ms() + millis; now_ms() < end;)
		counters(&seed);
	VERDICT("counters");
	IS(alarms > 0);
	for (long end = now_ms() + millis; now_ms() < end;)
		masks(&seed);
	VERDICT("masks");
	sigset_t none;
	sigemptyset(&none);
	MUST(sigprocmask(SIG_SETMASK, &none, NULL));
	for (int i = 0; i < 3; i++)
		waiting();
	VERDICT("waiting for room");
	for (int i = 0; i < 10; i++)
		copied();
	VERDICT("copies");
	int in = MUST(inotify_init1(IN_NONBLOCK));
	MUST(inotify_add_watch(in, "/dev/zero", IN_ACCESS | IN_MODIFY));
	EXPECT(checked_read, 8, zero, (long)room, 8);
	EXPECT(checked_write, 8, zero, (long)room, 8);
	struct inotify_event events[2];
	IS(read(in, events, sizeof events) == sizeof events);
	IS(events[0].mask == IN_ACCESS && events[1].mask == IN_MODIFY);
	return 0;
}
