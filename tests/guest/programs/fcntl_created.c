// F_CREATED_QUERY: whether this open made the file.
#include "check.h"
#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY (1024 + 4)
#endif
int main(void) {
	int made = MUST(open("f", O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
	RET(fcntl(made, F_CREATED_QUERY, 0));
	int again = MUST(open("f", O_CREAT | O_RDONLY, 0600));
	RET(fcntl(again, F_CREATED_QUERY, 0));
	int plain = MUST(open("f", O_RDONLY));
	RET(fcntl(plain, F_CREATED_QUERY, 0));
	int excl = MUST(open("g", O_CREAT | O_EXCL | O_RDWR, 0600));
	RET(fcntl(excl, F_CREATED_QUERY, 0));
	RET(fcntl(MUST(dup(excl)), F_CREATED_QUERY, 0));
	int path = MUST(open("f", O_PATH));
	RET(fcntl(path, F_CREATED_QUERY, 0));
	int dev = MUST(open("/dev/null", O_RDONLY));
	RET(fcntl(dev, F_CREATED_QUERY, 0));
	RET(fcntl(999, F_CREATED_QUERY, 0));
	return 0;
}
