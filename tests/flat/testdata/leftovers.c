// A program that is run again and again, each time a little different: it maps other things where the one before had libraries and text, or the
// same file with other contents. Each sees its own memory and nothing of the one before.
// build: -ldl
#include "stress.h"
#include <dlfcn.h>
#include <spawn.h>
#include <sys/wait.h>

#define PAGES 16
#define SIZE (PAGES * PAGE)

// text is a function per page that returns a number and the mark of its page.
static void fill(unsigned char *to, int mark) {
	for (int i = 0; i < PAGES; i++) {
		unsigned char *at = to + i * PAGE;
		memset(at, 0xf4, PAGE);
		memcpy(at, "\xb8\x6e\x00\x00\x00\x0f\x05\xb8....\xc3", 13); // getppid; mov $mark+i,%eax; ret
		memcpy(at + 8, &(int){mark + i}, 4);
	}
}

static void call(char *text, int mark) {
	for (int n = 0; n < 3; n++)
		for (int i = 0; i < PAGES; i++) {
			int got = ((int (*)(void))(text + i * PAGE))();
			if (got != mark + i)
				WRONG("page %d of the text %d returns %d", i, mark, got);
		}
}

static void zeros(const char *what, const char *at, size_t n) {
	for (size_t i = 0; i < n; i += 64)
		if (*(const uint64_t *)(at + i)) {
			WRONG("%s at %p is not zero", what, at + i);
			break;
		}
}

// zerosWhere is zeros where the one before had a library, before anything else is touched, and then for all.
static void zerosWhere(const char *what, const char *at, size_t n, const char *lib) {
	if (at <= lib && lib + PAGE <= at + n)
		zeros(what, (const char *)((long)lib & -PAGE), PAGE);
	zeros(what, at, n);
}

static void generation(int g, int fd, int mark, char *before) {
	unsigned char page[SIZE];
	char *lib = NULL;
	pread(fd, &lib, sizeof lib, SIZE + 16);
	if (g % 3 == 1) {
		void *m = dlopen("libm.so.6", RTLD_NOW);
		if (!m)
			WRONG("dlopen: %s", dlerror());
		else if (((double (*)(double))(lib = dlsym(m, "floor")))(2.5) != 2)
			WRONG("floor");
	}
	// What is new is zero, wherever it is.
	size_t n = 8 << 20;
	char *fresh = MUST((char *)mmap(NULL, n, g % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (g % 6 == 4)
		MUST(munmap(fresh, n));
	else
		zerosWhere("fresh memory", fresh, n, lib);
	if (g % 2 == 0 && g % 6 != 4)
		memset(fresh, 1, 1 << 20);
	char *none = MUST((char *)mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(mprotect(none, n, PROT_READ));
	zerosWhere("memory that could not be read before", none, n, lib);
	char *heap = sbrk(1 << 20);
	zeros("the heap", heap + PAGE, (1 << 20) - PAGE);
	// Text of the file, whole or piece by piece as a library's.
	char *text;
	if (g % 4 < 2) {
		text = MUST((char *)mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
	} else {
		text = MUST((char *)mmap(NULL, SIZE + PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
		MUST(mmap(text, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0));
		MUST(mmap(text + SIZE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0));
		zeros("data", text + SIZE, PAGE);
	}
	call(text, mark);
	if (g % 5 == 4) {
		fill(page, mark + 1000);
		MUST(mprotect(text, SIZE, PROT_READ | PROT_WRITE));
		memcpy(text, page, SIZE);
		MUST(mprotect(text, SIZE, PROT_READ | PROT_EXEC));
		call(text, mark + 1000);
	}
	// Where the one before had its text, if there is nothing now.
	char *there = before ? mmap(before, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) : MAP_FAILED;
	if (there != MAP_FAILED) {
		zeros("where text was", there, SIZE);
		MUST(mmap(there, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0));
		call(there, mark);
		MUST(munmap(there, SIZE));
	}
	// For the next one to know.
	CHECK(pwrite(fd, &text, sizeof text, SIZE) == sizeof text);
	CHECK(pwrite(fd, &lib, sizeof lib, SIZE + 16) == sizeof lib);
	CHECK(pwrite(fd, &(long){wrong}, sizeof(long), SIZE + 8) == sizeof(long));
}

int main(int argc, char **argv) {
	arguments(argc, argv);
	if (argc > 2) {
		generation(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), (char *)strtoul(argv[5], NULL, 16));
		return 0;
	}
	static unsigned char page[SIZE];
	int fd = MUST(memfd_create("text", 0)), mark = 0;
	for (int g = 0; g < 24 + millis / 20; g++) {
		if (g % 6 == 0)
			fill(page, mark += 100);
		char *before = NULL;
		if (g % 7 == 6) {
			// Another file, at the old one's number.
			int other = MUST(memfd_create("other", 0));
			MUST(dup2(other, fd));
			close(other);
		} else {
			pread(fd, &before, sizeof before, SIZE);
		}
		if (g % 11 == 10)
			MUST(ftruncate(fd, 0));
		CHECK(pwrite(fd, page, SIZE, 0) == SIZE);
		char a[16], b[16], c[16], d[32];
		sprintf(a, "%d", g), sprintf(b, "%d", fd), sprintf(c, "%d", mark), sprintf(d, "%lx", (long)before);
		pid_t pid[2];
		int n = g % 8 == 7 ? 2 : 1, status;
		for (int i = 0; i < n; i++)
			CHECK(posix_spawn(&pid[i], "/proc/self/exe", NULL, NULL, (char *[]){argv[0], argv[1], a, b, c, d, NULL}, NULL) == 0);
		for (int i = 0; i < n; i++)
			if (waitpid(pid[i], &status, 0) != pid[i] || status)
				WRONG("generation %d ends with %x", g, status);
		long w = 0;
		pread(fd, &w, sizeof w, SIZE + 8);
		wrong += w;
	}
	VERDICT("leftovers");
	return 0;
}
