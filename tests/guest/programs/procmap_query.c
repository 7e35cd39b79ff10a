// PROCMAP_QUERY: one region of /proc/PID/maps by its address.
#include "check.h"
struct query {
	uint64_t size, flags, addr, start, end, vma_flags, page_size, offset, inode;
	uint32_t major, minor, name_size, build_id_size;
	uint64_t name_addr, build_id_addr;
	uint64_t more;
};
#define KNOWN offsetof(struct query, more)
#define PROCMAP_QUERY 0xc0686611
static char *area;
static int maps;
static void ask(const char *what, uint64_t flags, char *addr, size_t size) {
	char name[64] = "";
	struct query q = {.size = size, .flags = flags, .addr = (uintptr_t)addr};
	if (size >= KNOWN) {
		q.name_size = sizeof name;
		q.name_addr = (uintptr_t)name;
	}
	if (ioctl(maps, PROCMAP_QUERY, &q)) {
		printf("%s: %s\n", what, ename(errno));
		return;
	}
	if (size < KNOWN) {
		printf("%s: ok\n", what);
		return;
	}
	char *base = strrchr(name, '/');
	printf("%s: pages %ld to %ld flags %x page %d offset %lx inode %d name \"%s\" (%d)\n", what, (long)((char *)q.start - area) / 4096,
	       (long)((char *)q.end - area) / 4096, (int)q.vma_flags, (int)q.page_size, (long)q.offset, q.inode != 0, base ? base + 1 : name,
	       q.name_size != 0);
}
int main(void) {
	int fd = file_with("f", "x");
	area = MUST((char *)mmap(NULL, 32 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST((char *)mmap(area + 4 * PAGE, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	MUST((char *)mmap(area + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 2 * PAGE));
	MUST(munmap(area + 12 * PAGE, 4 * PAGE));
	MUST((char *)mmap(area + 16 * PAGE, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0));
	maps = MUST(open("/proc/self/maps", O_RDONLY));
	ask("anonymous", 0, area + 5 * PAGE + 17, KNOWN);
	ask("file", 0, area + 8 * PAGE, KNOWN);
	ask("hole", 0, area + 13 * PAGE, KNOWN);
	ask("hole or next", 0x10, area + 13 * PAGE, KNOWN);
	ask("a writable one", 2, area + 5 * PAGE, KNOWN);
	ask("a writable one or next", 0x12, area + 5 * PAGE, KNOWN);
	ask("an executable one or next", 0x14, area, KNOWN);
	ask("a shared one or next", 0x18, area, KNOWN);
	ask("a file or next", 0x30, area, KNOWN);
	ask("a file", 0x20, area + 5 * PAGE, KNOWN);
	ask("unknown flag", 0x40, area, KNOWN);
	ask("small", 0, area + 5 * PAGE, 23);
	ask("smallest", 0, area + 5 * PAGE, 24);
	ask("larger", 0, area + 5 * PAGE, sizeof(struct query));
	ask("too large", 0, area + 5 * PAGE, 5000);
	ask("beyond", 0x10, (char *)-1UL, KNOWN);
	struct query q = {.size = sizeof q, .addr = (uintptr_t)area, .more = 1};
	RET(ioctl(maps, PROCMAP_QUERY, &q));
	q = (struct query){.size = KNOWN, .addr = (uintptr_t)area, .name_size = 3};
	RET(ioctl(maps, PROCMAP_QUERY, &q));
	char name[2];
	q = (struct query){.size = KNOWN, .addr = (uintptr_t)(area + 8 * PAGE), .name_size = 2, .name_addr = (uintptr_t)name};
	RET(ioctl(maps, PROCMAP_QUERY, &q));
	RET(ioctl(maps, PROCMAP_QUERY, BAD));
	RET(ioctl(maps, 0xc0686612, &q));
	RET(ioctl(MUST(open("/proc/self/smaps", O_RDONLY)), PROCMAP_QUERY, &q));
	return 0;
}
