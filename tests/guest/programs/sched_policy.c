// Scheduling calls keep what they are told and check their arguments.
#include "check.h"
struct attr { // struct sched_attr, whose header quarrels with sched.h
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
int main(void) {
	struct sched_param p = {0}, q = {10}, z = {99};
	RET(sched_getscheduler(0));
	RET(sched_getparam(0, &p));
	printf("priority %d\n", p.sched_priority);
	RET(sched_setscheduler(0, SCHED_BATCH, &p));
	RET(sched_getscheduler(0));
	RET(sched_setscheduler(0, SCHED_OTHER, &q));
	RET(sched_setscheduler(0, 99, &p));
	RET(sched_setscheduler(0, SCHED_OTHER, BAD));
	RET(sched_setscheduler(999999, SCHED_OTHER, &p));
	RET(sched_getscheduler(-1));
	RET(sched_setscheduler(0, SCHED_FIFO, &p));
	z.sched_priority = 100;
	RET(sched_setscheduler(0, SCHED_FIFO, &z));
	RET(sched_setparam(0, &p));
	RET(sched_get_priority_max(SCHED_FIFO));
	RET(sched_get_priority_min(SCHED_RR));
	RET(sched_get_priority_max(SCHED_OTHER));
	RET(sched_get_priority_max(99));
	RET(sched_yield());
	reap("inherited", CHILD({ RET(sched_getscheduler(0)); }));
	RET(sched_setscheduler(0, SCHED_IDLE, &p));
	RET(sched_getscheduler(0));
	struct attr a = {0};
	RET(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
	printf("policy %d nice %d\n", a.policy, a.nice);
	RET(syscall(SYS_sched_getattr, 0, &a, 10, 0));
	RET(syscall(SYS_sched_getattr, 0, &a, sizeof a, 1));
	return 0;
}
