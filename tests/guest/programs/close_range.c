// close_range: closing, CLOEXEC, unsharing, and errors.
#include "check.h"
#include <linux/close_range.h>
static void *body(void *a) {
	RET(close_range(50, 60, CLOSE_RANGE_UNSHARE));
	RET(fcntl(50, F_GETFD));
	return NULL;
}
int main(void) {
	for (int i = 40; i < 60; i++)
		dup2(0, i);
	RET(close_range(40, 44, 0));
	RET(fcntl(44, F_GETFD));
	RET(fcntl(45, F_GETFD));
	RET(close_range(45, 47, CLOSE_RANGE_CLOEXEC));
	RET(fcntl(45, F_GETFD));
	RET(fcntl(48, F_GETFD));
	RET(close_range(49, 48, 0));
	RET(close_range(48, 49, 8));
	pthread_t t;
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	RET(fcntl(50, F_GETFD));
	RET(close_range(3, ~0U, 0));
	RET(fcntl(59, F_GETFD));
	RET(fcntl(1, F_GETFD));
	return 0;
}
