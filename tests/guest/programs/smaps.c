// /proc/self/smaps: sizes, Rss, dirty and anonymous figures and flags of one mapping.
#include "check.h"
static void show(char *p, const char *when) {
	FILE *f = fopen("/proc/self/smaps", "r");
	char l[512], want[32];
	int in = 0;
	snprintf(want, sizeof want, "%lx-", (unsigned long)p);
	while (fgets(l, sizeof l, f)) {
		if (strchr(l, '-') && strchr("0123456789abcdef", l[0]) && !strchr(strtok(strdup(l), " "), ':')) {
			in = strncmp(l, want, strlen(want)) == 0;
			continue;
		}
		char *keys[] = {"Size:", "Rss:", "Anonymous:", "Shared_Dirty:", "Private_Dirty:", "Locked:"};
		for (int i = 0; in && i < 6; i++)
			if (strncmp(l, keys[i], strlen(keys[i])) == 0)
				printf("%s %s %d\n", when, keys[i], atoi(l + strlen(keys[i])));
	}
	fclose(f);
}
int main(void) {
	char *p = mmap(NULL, 24 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p += 4 * PAGE;
	MUST(mprotect(p, 16 * PAGE, PROT_READ | PROT_WRITE));
	MUST(madvise(p, 16 * PAGE, MADV_NOHUGEPAGE));
	show(p, "fresh");
	MUST(madvise(p, 16 * PAGE, MADV_POPULATE_WRITE));
	memset(p, 1, 16 * PAGE);
	show(p, "written");
	MUST(madvise(p, 4 * PAGE, MADV_DONTNEED));
	show(p, "dropped 4");
	return 0;
}
