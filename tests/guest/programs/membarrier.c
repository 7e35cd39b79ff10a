// membarrier: query, registration, and the commands that need one.
#include "check.h"
#include <linux/membarrier.h>
static long mb(int c, int f) { return syscall(SYS_membarrier, c, f, 0); }
int main(void) {
	long q = mb(MEMBARRIER_CMD_QUERY, 0);
	IS(q & MEMBARRIER_CMD_GLOBAL);
	IS(q & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	IS(q & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	RET(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	RET(mb(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0));
	RET(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	RET(mb(MEMBARRIER_CMD_GLOBAL, 0));
	RET(mb(MEMBARRIER_CMD_QUERY, 1));
	RET(mb(1 << 25, 0));
	RET(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	RET(mb(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	RET(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	return 0;
}
