// Named pipes: who waits for whom at open, O_NONBLOCK, O_RDWR, and end of file.
#include "check.h"
int main(void) {
	char b[16] = "";
	RET(mkfifo("p", 0644));
	RET(mkfifo("p", 0644));
	RET(open("p", O_WRONLY | O_NONBLOCK));
	int r = open("p", O_RDONLY | O_NONBLOCK);
	OK(r);
	RET(read(r, b, 1));
	struct pollfd pf = {r, POLLIN};
	RET(poll(&pf, 1, 0));
	int w = open("p", O_WRONLY | O_NONBLOCK);
	OK(w);
	RET(read(r, b, 1));
	RET(write(w, "hello", 5));
	RET(read(r, b, 16));
	close(w);
	RET(poll(&pf, 1, 0));
	printf("revents %x\n", pf.revents);
	RET(read(r, b, 1));
	close(r);
	pid_t c = CHILD({ int k = open("p", O_WRONLY); write(k, "from child", 10); });
	int k = open("p", O_RDONLY);
	RET(read(k, b, 16));
	RET(read(k, b, 16));
	reap("writer", c);
	close(k);
	int rw = open("p", O_RDWR);
	RET(write(rw, "x", 1));
	RET(read(rw, b, 1));
	struct stat st;
	fstat(rw, &st);
	IS(S_ISFIFO(st.st_mode));
	RET(lseek(rw, 0, SEEK_SET));
	// Data is lost with the last descriptor.
	RET(write(rw, "lost", 4));
	close(rw);
	r = open("p", O_RDONLY | O_NONBLOCK);
	RET(read(r, b, 4));
	RET(mknod("q", S_IFIFO | 0600, 0));
	RET(mknod("dir", S_IFDIR | 0755, 0));
	RET(mknod("f", S_IFREG | 0600, 0));
	RET(mknod("f", S_IFREG | 0600, 0));
	return 0;
}
