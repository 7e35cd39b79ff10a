// After fork, parent and child each see their own writes to private memory, and share shared memory.
#include "check.h"
static int data = 1;
int main(void) {
	int n = 64, ok = 1;
	char *priv = anon(n);
	char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < n; i++)
		priv[i * PAGE] = i;
	gate g = gate_new(), h = gate_new();
	pid_t c = CHILD({
		int good = 1;
		for (int i = 0; i < n; i += 2)
			priv[i * PAGE] = 100;
		data = 2;
		shared[0] = 42;
		gate_open(g);
		gate_wait(h);
		for (int i = 0; i < n; i++)
			good &= priv[i * PAGE] == (i % 2 ? i : 100);
		printf("child sees its own: %d, data %d, shared %d\n", good, data, shared[1]);
	});
	gate_wait(g);
	for (int i = 0; i < n; i++)
		ok &= priv[i * PAGE] == i;
	printf("parent unchanged: %d, data %d, shared %d\n", ok, data, shared[0]);
	for (int i = 1; i < n; i += 2)
		priv[i * PAGE] = 50;
	shared[1] = 43;
	gate_open(h);
	reap("child", c);
	// A grandchild's copy is a copy of the child's copy.
	c = CHILD({
		priv[0] = 60;
		pid_t d = CHILD({ printf("grandchild: %d\n", priv[0]); priv[0] = 61; });
		reap("grandchild", d);
		printf("child: %d\n", priv[0]);
	});
	reap("child", c);
	printf("parent: %d\n", priv[0]);
	return 0;
}
