// prctl: dumpable, keepcaps, timerslack, no_new_privs, securebits and unknown options.
#include "check.h"
int main(void) {
	RET(prctl(PR_GET_DUMPABLE));
	RET(prctl(PR_SET_DUMPABLE, 0));
	RET(prctl(PR_GET_DUMPABLE));
	RET(prctl(PR_SET_DUMPABLE, 2));
	RET(prctl(PR_SET_DUMPABLE, 1));
	RET(prctl(PR_GET_KEEPCAPS));
	RET(prctl(PR_SET_KEEPCAPS, 1));
	RET(prctl(PR_GET_KEEPCAPS));
	RET(prctl(PR_SET_KEEPCAPS, 2));
	RET(prctl(PR_SET_KEEPCAPS, 0));
	RET(prctl(PR_SET_TIMERSLACK, 12345));
	RET(prctl(PR_GET_TIMERSLACK));
	RET(prctl(PR_SET_TIMERSLACK, 0));
	RET(prctl(PR_GET_TIMERSLACK));
	RET(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	RET(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
	RET(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
	RET(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
	RET(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	RET(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	reap("inherited", CHILD({ RET(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)); }));
	RET(prctl(PR_GET_SECCOMP));
	RET(prctl(PR_GET_TSC, BAD));
	RET(prctl(PR_CAPBSET_READ, 0));
	RET(prctl(PR_CAPBSET_READ, 63));
	RET(prctl(PR_SET_MM, 99, 0, 0, 0) < 0);
	RET(prctl(PR_GET_TIMING));
	RET(prctl(PR_SET_TIMING, 1));
	RET(prctl(123456));
	return 0;
}
