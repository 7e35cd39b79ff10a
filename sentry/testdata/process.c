// Processes: fork, exit statuses, wait in its forms, orphans, exec, vfork, threads.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int status;
#define CHECK(c) do { if (!(c)) { printf("line %d: %s (errno %d, status %#x)\n", __LINE__, #c, errno, status); exit(1); } } while (0)

static void *thread(void *arg) { *(int *)arg = gettid(); return arg; }

static void *exec_thread(void *arg) {
	char *argv[] = {"/prog", "execd", arg, NULL};
	execv("/prog", argv);
	return NULL;
}

static void *sleeper(void *arg) { pause(); return NULL; }

static void leave(int s) { _exit(9); }

int main(int argc, char **argv) {
	if (argc > 1 && !strcmp(argv[1], "execd")) {
		CHECK(getpid() == gettid());
		CHECK(getpid() == atoi(argv[2]));
		_exit(42);
	}
	if (argc > 1 && !strcmp(argv[1], "seven"))
		_exit(7);

	CHECK(argc == 3 && !strcmp(argv[2], "arg2") && !strcmp(getenv("A"), "1"));
	CHECK(getpid() == 1 && getppid() == 0);

	// exit status
	pid_t p = fork();
	if (p == 0) _exit(3);
	CHECK(p > 1 && waitpid(p, &status, 0) == p && WIFEXITED(status) && WEXITSTATUS(status) == 3);
	CHECK(wait(&status) == -1 && errno == ECHILD);

	// killed
	p = fork();
	if (p == 0) { pause(); _exit(1); }
	CHECK(waitpid(p, &status, WNOHANG) == 0);
	CHECK(kill(p, SIGTERM) == 0 && waitpid(p, &status, 0) == p && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK(kill(p, 0) == -1 && errno == ESRCH);

	// stopped and continued
	p = fork();
	if (p == 0) {
		signal(SIGUSR1, leave); // it is not to be gone before it is seen to have been continued
		raise(SIGSTOP);
		for (;;) pause();
	}
	CHECK(waitpid(p, &status, WUNTRACED) == p && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	kill(p, SIGCONT);
	CHECK(waitpid(p, &status, WCONTINUED) == p && WIFCONTINUED(status));
	CHECK(kill(p, SIGUSR1) == 0 && waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 9);

	// waitid with WNOWAIT
	p = fork();
	if (p == 0) _exit(5);
	siginfo_t si;
	CHECK(waitid(P_PID, p, &si, WEXITED | WNOWAIT) == 0 && si.si_pid == p && si.si_status == 5 && si.si_code == CLD_EXITED);
	CHECK(waitid(P_PID, p, &si, WEXITED) == 0 && si.si_pid == p);
	CHECK(waitid(P_PID, p, &si, WEXITED) == -1 && errno == ECHILD);

	// exec
	p = fork();
	if (p == 0) { execl("/prog", "/prog", "seven", NULL); _exit(1); }
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 7);
	p = vfork();
	if (p == 0) { execl("/prog", "/prog", "seven", NULL); _exit(1); }
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 7);
	CHECK(execl("/none", "none", NULL) == -1 && errno == ENOENT);

	// threads
	pthread_t th[20];
	int tids[20] = {0};
	for (int i = 0; i < 20; i++) CHECK(pthread_create(&th[i], NULL, thread, &tids[i]) == 0);
	for (int i = 0; i < 20; i++) { CHECK(pthread_join(th[i], NULL) == 0); CHECK(tids[i] > 1); }

	// exec by a thread that is not the leader, with others around
	p = fork();
	if (p == 0) {
		char id[20];
		sprintf(id, "%d", getpid());
		pthread_create(&th[0], NULL, sleeper, NULL);
		pthread_create(&th[1], NULL, sleeper, NULL);
		pthread_create(&th[2], NULL, exec_thread, id);
		pause();
	}
	CHECK(waitpid(p, &status, 0) == p && WIFEXITED(status) && WEXITSTATUS(status) == 42);

	// exit_group with threads around
	p = fork();
	if (p == 0) {
		for (int i = 0; i < 5; i++) pthread_create(&th[i], NULL, sleeper, NULL);
		exit(11);
	}
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 11);

	// orphans become ours; with a subreaper the subreaper's
	p = fork();
	if (p == 0) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
		pid_t me = getpid();
		if (fork() == 0) {
			if (fork() == 0) { while (getppid() != me) usleep(1000); _exit(0); }
			_exit(0);
		}
		int n = 0;
		while (wait(NULL) > 0) n++;
		_exit(n);
	}
	CHECK(waitpid(p, &status, 0) == p && WEXITSTATUS(status) == 2);
	p = fork();
	if (p == 0) {
		if (fork() == 0) { while (getppid() != 1) usleep(1000); _exit(33); }
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p);
	CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 33);

	// SIGCHLD ignored: children vanish
	signal(SIGCHLD, SIG_IGN);
	p = fork();
	if (p == 0) _exit(0);
	CHECK(wait(&status) == -1 && errno == ECHILD);
	signal(SIGCHLD, SIG_DFL);

	// process groups and sessions
	p = fork();
	if (p == 0) {
		CHECK(setsid() == getpid() && getpgrp() == getpid() && getsid(0) == getpid());
		CHECK(setsid() == -1 && errno == EPERM);
		CHECK(setpgid(0, 0) == -1 && errno == EPERM);
		pid_t q = fork();
		if (q == 0) pause();
		CHECK(setpgid(q, q) == 0 && getpgid(q) == q);
		CHECK(kill(-q, SIGKILL) == 0 && waitpid(-q, &status, 0) == q);
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p && WIFEXITED(status) && WEXITSTATUS(status) == 0);

	// parent death signal
	int fd[2];
	CHECK(pipe(fd) == 0);
	p = fork();
	if (p == 0) {
		pid_t q = fork();
		if (q == 0) { prctl(PR_SET_PDEATHSIG, SIGUSR1); write(fd[1], "r", 1); pause(); _exit(0); }
		char c;
		read(fd[0], &c, 1);
		_exit(0);
	}
	CHECK(waitpid(p, &status, 0) == p);
	CHECK(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);

	// usage of children
	struct rusage ru;
	CHECK(getrusage(RUSAGE_CHILDREN, &ru) == 0 && ru.ru_maxrss > 0);

	// many children at once
	for (int i = 0; i < 50; i++) if (fork() == 0) _exit(i);
	int sum = 0;
	for (int i = 0; i < 50; i++) { CHECK(wait(&status) > 0); sum += WEXITSTATUS(status); }
	CHECK(sum == 49 * 25);
	printf("ok\n");
	return 0;
}
