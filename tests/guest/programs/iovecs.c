// readv, writev, preadv2, pwritev2: counts, limits, bad vectors, flags, and offset -1.
#include "check.h"
int main(void) {
	char a[4] = "", b[8] = "", c[8] = "";
	int fd = file_with("f", "");
	struct iovec w[3] = {{"one", 3}, {"", 0}, {"three", 5}}, r[3] = {{a, 2}, {b, 4}, {c, 8}};
	RET(writev(fd, w, 3));
	RET(lseek(fd, 0, SEEK_SET));
	RET(readv(fd, r, 3));
	printf("%s|%s|%s\n", a, b, c);
	RET(preadv(fd, r, 2, 1));
	RET(pwritev(fd, w, 1, 20));
	RET(readv(fd, r, 0));
	RET(readv(fd, r, -1));
	RET(readv(fd, r, 1025));
	RET(readv(fd, BAD, 1));
	struct iovec neg[2] = {{a, 2}, {b, -1}}, bad[2] = {{a, 2}, {BAD, 4}};
	RET(preadv(fd, neg, 2, 0));
	RET(preadv(fd, bad, 2, 0));
	struct iovec bad2[2] = {{BAD, 2}, {a, 2}};
	RET(preadv(fd, bad2, 2, 0));
	RET(pwritev(fd, bad2, 2, 0));
	RET(preadv2(fd, r, 1, -1, 0));
	RET(lseek(fd, 0, SEEK_CUR));
	RET(preadv2(fd, r, 1, 0, 0x1000000));
	RET(pwritev2(fd, w, 1, 0, RWF_APPEND));
	RET(pwritev2(fd, w, 1, 0, RWF_DSYNC));
	struct stat st;
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	struct iovec many[1024];
	for (int i = 0; i < 1024; i++)
		many[i] = (struct iovec){"z", 1};
	RET(pwritev(fd, many, 1024, 0));
	int p[2];
	pipe(p);
	RET(writev(p[1], w, 3));
	RET(readv(p[0], r, 3));
	printf("%s|%s\n", a, b);
	RET(preadv(p[0], r, 1, 0));
	return 0;
}
