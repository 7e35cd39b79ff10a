// A program linked at a fixed low address, with data at absolute addresses.
// build: -no-pie -fno-pie
#include "check.h"
static int x = 7;
int main(void) {
	IS((uintptr_t)&x < 0x10000000);
	IS((uintptr_t)main >= 0x400000 && (uintptr_t)main < 0x500000);
	reap("child", CHILD({ x = 8; printf("%d\n", x); }));
	printf("%d\n", x);
	return 0;
}
