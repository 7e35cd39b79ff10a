// System V message queues: types, truncation, blocking, copying, removal and errors.
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
struct m { long type; char text[32]; };
static int q;
static void put_(long type, const char *s) {
	struct m m = {type};
	strcpy(m.text, s);
	MUST(msgsnd(q, &m, strlen(s) + 1, 0));
}
static void get(long type, int flags) {
	struct m m = {0};
	long n = msgrcv(q, &m, sizeof m.text, type, flags | IPC_NOWAIT);
	if (n < 0)
		printf("%ld: %s\n", type, ename(errno));
	else
		printf("%ld: type %ld len %ld %s\n", type, m.type, n, m.text);
}
int main(void) {
	q = MUST(msgget(IPC_PRIVATE, 0600));
	put_(3, "three");
	put_(1, "one");
	put_(2, "two");
	put_(3, "again three");
	get(2, 0);
	get(-2, 0);
	get(1, 0);
	get(3, MSG_EXCEPT);
	get(0, 0);
	struct m m;
	RET(msgrcv(q, &m, 4, 0, 0));
	RET(msgrcv(q, &m, 4, 0, MSG_NOERROR));
	get(0, 0);
	struct msqid_ds ds;
	RET(msgctl(q, IPC_STAT, &ds));
	printf("messages %ld bytes max %ld\n", (long)ds.msg_qnum, (long)ds.msg_qbytes);
	int sent = 0;
	m.type = 1;
	char big[8200] = "";
	*(long *)big = 1;
	while (msgsnd(q, big, 4000, IPC_NOWAIT) == 0)
		sent++;
	printf("sent %d then %s\n", sent, ename(errno));
	RET(msgsnd(q, big, 8193, IPC_NOWAIT));
	m.type = 0;
	RET(msgsnd(q, &m, 1, IPC_NOWAIT));
	RET(msgsnd(q, &m, -1, IPC_NOWAIT));
	RET(msgsnd(q, BAD, 1, IPC_NOWAIT));
	pid_t c = CHILD({ RET(msgsnd(q, big, 4000, 0)); });
	await_state(c, 'S');
	ms(20);
	CHECK(msgrcv(q, big, 8192, 0, 0) == 4000);
	reap("sender", c);
	while (msgrcv(q, big, 8192, 0, IPC_NOWAIT) >= 0)
		;
	c = CHILD({ RET(msgrcv(q, big, 100, 7, 0)); });
	await_state(c, 'S');
	ms(20);
	put_(5, "not for it");
	put_(7, "seven");
	reap("receiver", c);
	c = CHILD({ RET(msgrcv(q, big, 100, 8, 0)); });
	await_state(c, 'S');
	ms(20);
	MUST(msgctl(q, IPC_RMID, NULL));
	reap("removed", c);
	RET(msgctl(q, IPC_RMID, NULL));
	RET(msgget(0x7a110004, 0600));
	return 0;
}
