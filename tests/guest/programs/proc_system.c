// System-wide /proc files that programs read: their form, and sysctls that behave.
#include "check.h"
static int has(const char *file, const char *key) {
	static char b[65536];
	int fd = open(file, O_RDONLY);
	size_t n = 0;
	ssize_t k;
	while (fd >= 0 && (k = read(fd, b + n, sizeof b - 1 - n)) > 0)
		n += k;
	b[n] = 0;
	close(fd);
	return fd >= 0 && strstr(b, key) != NULL;
}
int main(void) {
	IS(has("/proc/meminfo", "MemTotal:") && has("/proc/meminfo", "MemAvailable:") && has("/proc/meminfo", "SwapFree:") && has("/proc/meminfo", "Cached:"));
	IS(has("/proc/cpuinfo", "processor\t: 0") && has("/proc/cpuinfo", "model name") && has("/proc/cpuinfo", "flags"));
	IS(has("/proc/stat", "cpu ") && has("/proc/stat", "btime ") && has("/proc/stat", "processes ") && has("/proc/stat", "ctxt "));
	IS(has("/proc/filesystems", "nodev\tproc") && has("/proc/filesystems", "tmpfs"));
	IS(has("/proc/version", "Linux version "));
	IS(has("/proc/mounts", " /proc proc ") && has("/proc/self/mountinfo", " - "));
	IS(has("/proc/devices", "Character devices:"));
	IS(has("/proc/vmstat", "pgfault "));
	IS(has("/proc/self/io", "rchar:"));
	IS(has("/proc/self/cgroup", "::/"));
	IS(has("/proc/self/oom_score_adj", "0"));
	double up, idle, l1, l5, l15;
	FILE *f = fopen("/proc/uptime", "r");
	IS(fscanf(f, "%lf %lf", &up, &idle) == 2 && up > 0);
	f = fopen("/proc/loadavg", "r");
	int run, all, last;
	IS(fscanf(f, "%lf %lf %lf %d/%d %d", &l1, &l5, &l15, &run, &all, &last) == 6 && run >= 1 && all >= 1);
	show_file("/proc/sys/kernel/ostype");
	IS(has("/proc/sys/kernel/osrelease", "."));
	IS(has("/proc/sys/kernel/random/uuid", "-4"));
	IS(has("/proc/sys/kernel/random/boot_id", "-"));
	IS(has("/proc/sys/kernel/pid_max", "\n") && has("/proc/sys/kernel/hostname", "\n") && has("/proc/sys/kernel/cap_last_cap", "4"));
	IS(has("/proc/sys/vm/overcommit_memory", "\n") && has("/proc/sys/vm/max_map_count", "\n"));
	IS(has("/proc/sys/fs/file-max", "\n") && has("/proc/sys/fs/pipe-max-size", "1048576") && has("/proc/sys/fs/nr_open", "1048576"));
	IS(has("/sys/devices/system/cpu/online", "0"));
	IS(has("/sys/devices/system/cpu/possible", "0"));
	char b[64];
	memset(b, 0, sizeof b);
	int fd = open("/proc/sys/kernel/ostype", O_RDONLY);
	RET(read(fd, b, 3));
	RET(read(fd, b + 3, 60));
	printf("%s", b);
	RET(pread(fd, b, 10, 100));
	RET(put("/proc/self/oom_score_adj", "500"));
	show_file("/proc/self/oom_score_adj");
	RET(put("/proc/self/oom_score_adj", "2000"));
	RET(put("/proc/self/oom_score_adj", "junk"));
	struct stat st;
	stat("/proc/version", &st);
	printf("size %ld mode %o\n", (long)st.st_size, st.st_mode);
	stat("/proc", &st);
	printf("proc %o\n", st.st_mode);
	return 0;
}
