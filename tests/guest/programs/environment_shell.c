// system and popen: the shell, its status, its environment, pipes and redirection.
#include "check.h"
int main(void) {
	setenv("GREETING", "hello world", 1);
	RET(system("echo \"$GREETING\" | tr a-z A-Z") >> 8);
	RET(system("exit 7") >> 8);
	RET(system("kill -9 $$"));
	RET(system(NULL));
	FILE *f = popen("cat > out; echo done >> out", "w");
	fprintf(f, "through a pipe\n");
	RET(pclose(f));
	show_file("out");
	RET(system("for i in 1 2 3; do echo $i; done | (read a; read b; echo $b$a)") >> 8);
	RET(system("test -d . && ! test -e nothing") >> 8);
	RET(system("no_such_command_at_all 2>/dev/null") >> 8);
	RET(system("sh -c 'trap \"echo trapped\" TERM; kill $$; echo after'") >> 8);
	return 0;
}
