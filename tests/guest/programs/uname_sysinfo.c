// uname, sysinfo, getrandom, getcpu, sethostname, sysfs of time: sane and with their errors.
#include "check.h"
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
int main(void) {
	struct utsname u;
	struct sysinfo s;
	RET(uname(&u));
	printf("%s %s release 5 or 6 and more: %d\n", u.sysname, u.machine, atoi(u.release) >= 5);
	RET(uname(BAD));
	RET(sysinfo(&s));
	IS(s.totalram > 0 && s.freeram <= s.totalram && s.procs > 0 && s.mem_unit > 0 && s.uptime > 0);
	RET(sysinfo(BAD));
	unsigned char a[64] = {0}, b[64] = {0};
	RET(getrandom(a, 64, 0));
	RET(getrandom(b, 64, GRND_NONBLOCK));
	IS(memcmp(a, b, 64) != 0);
	RET(getrandom(a, 10, GRND_RANDOM));
	RET(getrandom(a, 10, 0x100));
	RET(getrandom(BAD, 10, 0));
	RET(getrandom(a, 0, 0));
	unsigned cpu = -1, node = -1;
	RET(syscall(SYS_getcpu, &cpu, &node, NULL));
	IS(cpu < 4096 && node < 64);
	RET(syscall(SYS_getcpu, BAD, NULL, NULL));
	int fd = open("/dev/urandom", O_RDONLY);
	RET(read(fd, a, 64));
	fd = open("/dev/random", O_RDONLY);
	RET(read(fd, b, 8));
	IS(memcmp(a, b, 8) != 0);
	become_nobody();
	RET(sethostname("x", 1));
	RET(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
	RET(swapon("/none", 0) < 0);
	RET(syscall(SYS_init_module, NULL, 0, "") < 0);
	RET(syscall(SYS_acct, NULL));
	return 0;
}
