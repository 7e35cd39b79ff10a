// copy_file_range and sendfile: offsets, ends, overlaps, kinds of file and errors.
#include "check.h"
#include <sys/sendfile.h>
int main(void) {
	int a = file_with("a", "0123456789"), b = file_with("b", "");
	off_t in = 2, out = 1;
	RET(copy_file_range(a, &in, b, &out, 5, 0));
	printf("in %ld out %ld pos %ld\n", (long)in, (long)out, (long)lseek(b, 0, SEEK_CUR));
	RET(copy_file_range(a, NULL, b, NULL, 100, 0));
	RET(copy_file_range(a, NULL, b, NULL, 100, 0));
	show_file("b");
	in = 0;
	out = 3;
	RET(copy_file_range(a, &in, a, &out, 5, 0));
	out = 20;
	in = 0;
	RET(copy_file_range(a, &in, a, &out, 5, 0));
	RET(copy_file_range(a, &in, b, &out, 5, 1));
	RET(copy_file_range(a, NULL, open("b", O_RDONLY), NULL, 5, 0));
	RET(copy_file_range(open("a", O_WRONLY), NULL, b, NULL, 5, 0));
	RET(copy_file_range(a, NULL, open("b", O_WRONLY | O_APPEND), NULL, 5, 0));
	RET(copy_file_range(open(".", O_RDONLY), NULL, b, NULL, 5, 0));
	int p[2];
	pipe(p);
	RET(copy_file_range(a, NULL, p[1], NULL, 5, 0));
	RET(copy_file_range(99, NULL, b, NULL, 5, 0));
	in = -1;
	RET(copy_file_range(a, &in, b, NULL, 5, 0));
	in = 0;
	RET(sendfile(p[1], a, &in, 4));
	printf("in %ld\n", (long)in);
	lseek(a, 8, SEEK_SET);
	RET(sendfile(p[1], a, NULL, 100) > 2);
	RET(lseek(a, 0, SEEK_CUR) > 10);
	int c = file_with("c", "");
	in = 0;
	RET(sendfile(c, a, &in, 10));
	show_file("c");
	RET(sendfile(c, p[0], NULL, 10));
	RET(sendfile(c, a, BAD, 10));
	RET(sendfile(open("c", O_RDONLY), a, NULL, 10));
	RET(sendfile(open("c", O_WRONLY | O_APPEND), a, NULL, 10));
	int sv[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
	in = 1;
	RET(sendfile(sv[0], a, &in, 3));
	return 0;
}
