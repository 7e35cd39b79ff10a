// Memory runs out: the process that uses most is killed, the others go on.
#include <sys/mman.h>
#include "check.h"

int main(void) {
	int status;
	for (int round = 0; round < 3; round++) {
		pid_t p = fork();
		if (p == 0) {
			size_t n = 400 << 20;
			char *m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			CHECK(m != MAP_FAILED);
			for (size_t i = 0; i < n; i += 4096) m[i] = 1;
			_exit(0);
		}
		CHECK(waitpid(p, &status, 0) == p);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	printf("ok\n");
	return 0;
}
