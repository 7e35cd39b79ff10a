// A static position-independent program relocates itself.
// build: -static-pie -fPIE
#include "check.h"
static int x = 7;
static int *px = &x;
int main(void) {
	printf("relocated pointer: %d\n", *px == 7 && px == &x);
	printf("constructor ran and stdio works\n");
	return 0;
}
