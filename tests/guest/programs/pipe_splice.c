// splice, tee and vmsplice between pipes and files.
#include "check.h"
int main(void) {
	int p[2], q[2];
	char b[64] = "";
	pipe(p);
	pipe(q);
	int f = file_with("f", "file contents here");
	loff_t off = 5;
	RET(splice(f, &off, p[1], NULL, 8, 0));
	printf("off %ld\n", (long)off);
	RET(tee(p[0], q[1], 4, 0));
	RET(read(q[0], b, 64));
	printf("%s\n", b);
	RET(splice(p[0], NULL, q[1], NULL, 100, 0));
	memset(b, 0, sizeof b);
	RET(read(q[0], b, 64));
	printf("%s\n", b);
	struct iovec v[2] = {{"vm", 2}, {"splice", 6}};
	RET(vmsplice(p[1], v, 2, 0));
	int o = file_with("o", "");
	off = 3;
	RET(splice(p[0], NULL, o, &off, 100, 0));
	RET(pread(o, b, 20, 0));
	printf("%d %.8s\n", b[0], b + 3);
	RET(splice(p[0], NULL, o, NULL, 10, SPLICE_F_NONBLOCK));
	RET(tee(p[0], q[1], 10, SPLICE_F_NONBLOCK));
	RET(splice(f, NULL, o, NULL, 10, 0));
	RET(splice(p[0], &off, o, NULL, 10, 0));
	RET(tee(p[0], p[1], 10, 0));
	RET(splice(p[0], NULL, p[1], NULL, 10, 0));
	RET(splice(99, NULL, p[1], NULL, 10, 0));
	RET(splice(f, NULL, p[1], NULL, 10, 0x100));
	RET(splice(f, NULL, p[1], NULL, 0, 0));
	lseek(f, 0, SEEK_END);
	RET(splice(f, NULL, p[1], NULL, 10, 0));
	close(p[1]);
	RET(splice(p[0], NULL, o, NULL, 10, 0));
	RET(vmsplice(f, v, 1, 0));
	int z = open("/dev/zero", O_RDONLY);
	RET(splice(z, NULL, q[1], NULL, 4096, 0));
	RET(splice(q[0], NULL, open("/dev/null", O_WRONLY), NULL, 4096, 0));
	struct iovec r = {b, 3};
	write(q[1], "abc", 3);
	RET(vmsplice(q[0], &r, 1, 0));
	printf("%.3s\n", b);
	return 0;
}
