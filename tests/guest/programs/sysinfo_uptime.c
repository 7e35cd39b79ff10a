// sysinfo rounds the time since boot up, also where a time namespace shifts it.
#include "check.h"
#include <sys/sysinfo.h>
static double uptime(void) {
	double up = 0;
	FILE *f = fopen("/proc/uptime", "r");
	CHECK(f && fscanf(f, "%lf", &up) == 1);
	fclose(f);
	return up;
}
static void look(void) {
	struct sysinfo si;
	double before = uptime();
	MUST(sysinfo(&si));
	double after = uptime();
	IS(si.uptime >= before);
	IS(si.uptime < after + 1.01);
}
int main(void) {
	look();
	if (geteuid() != 0)
		return 0;
	for (int off = -10; off <= 3600; off += 3610) {
		MUST(unshare(CLONE_NEWTIME));
		char s[32];
		snprintf(s, sizeof s, "boottime %d 0", off);
		RET(put("/proc/self/timens_offsets", s));
		reap("child", CHILD(look()));
	}
	return 0;
}
