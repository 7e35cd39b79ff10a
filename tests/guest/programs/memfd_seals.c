// memfd seals: what each forbids, that they only add up, and F_SEAL_SEAL.
#include "check.h"
int main(void) {
	int fd = MUST(memfd_create("s", MFD_ALLOW_SEALING | MFD_CLOEXEC));
	RET(fcntl(fd, F_GETFD));
	RET(fcntl(fd, F_GET_SEALS));
	MUST(ftruncate(fd, PAGE));
	RET(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	RET(ftruncate(fd, 100));
	RET(ftruncate(fd, 2 * PAGE));
	RET(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	RET(ftruncate(fd, 3 * PAGE));
	RET(pwrite(fd, "x", 1, 2 * PAGE));
	RET(pwrite(fd, "x", 1, 0));
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	RET(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	MUST(munmap(p, PAGE));
	RET(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	RET(pwrite(fd, "x", 1, 0));
	OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	p[0] = 'p';
	RET(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	RET(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
	RET(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	RET(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	int no = memfd_create("n", 0);
	RET(fcntl(no, F_GET_SEALS));
	RET(fcntl(no, F_ADD_SEALS, F_SEAL_GROW));
	RET(fcntl(0, F_GET_SEALS));
	// A seal against future writers leaves existing mappings alone.
	int fu = memfd_create("f", MFD_ALLOW_SEALING);
	MUST(ftruncate(fu, PAGE));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fu, 0);
	RET(fcntl(fu, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	p[0] = 'w';
	RET(pwrite(fu, "x", 1, 0));
	OK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fu, 0));
	RET(fcntl(fu, F_ADD_SEALS, 0x1000));
	RET(memfd_create("flags", 0x800));
	char longname[300];
	memset(longname, 'n', 299);
	longname[299] = 0;
	RET(memfd_create(longname, 0));
	RET(memfd_create(BAD, 0));
	return 0;
}
