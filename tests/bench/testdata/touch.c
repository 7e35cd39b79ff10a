// Writes to each page of 1 GiB, in a random order, then says "done" and waits for the end of its input.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = (1 << 30) / PAGE };
static uint32_t order[PAGES];

int main(void) {
	char *p = mmap(0, 1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	uint64_t r = 1;
	for (uint32_t i = 0; i < PAGES; i++) {
		r = r * 6364136223846793005u + 1442695040888963407u;
		uint32_t k = (r >> 33) % (i + 1);
		order[i] = order[k];
		order[k] = i;
	}
	for (uint32_t i = 0; i < PAGES; i++) p[(size_t)order[i] * PAGE] = 1;
	puts("done");
	fflush(stdout);
	char c;
	return read(0, &c, 1);
}
