// A static program: start-up, thread-local storage, malloc, stdio and getaddrinfo-free libc.
// build: -static
#include "check.h"
static __thread int tls = 3;
int main(int argc, char **argv) {
	char *p = malloc(1 << 20);
	memset(p, 1, 1 << 20);
	printf("static %d %d %d\n", tls, p[1 << 19], argc);
	free(p);
	reap("child", CHILD({ tls = 4; printf("%d\n", tls); }));
	printf("%d\n", tls);
	return 0;
}
