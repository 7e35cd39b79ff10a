// personality: read, set, inherited, and kept by execve.
#include "check.h"
#include <sys/personality.h>
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "again") == 0) {
		printf("after exec %x\n", personality(0xffffffff));
		return 0;
	}
	printf("%x\n", personality(0xffffffff));
	printf("%x\n", personality(ADDR_NO_RANDOMIZE));
	printf("%x\n", personality(0xffffffff));
	reap("child", CHILD({ printf("child %x\n", personality(0xffffffff)); }));
	execl("/proc/self/exe", "x", "again", NULL);
	return 1;
}
