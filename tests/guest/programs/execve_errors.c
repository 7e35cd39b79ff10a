// execve: what is refused, and how.
#include "check.h"
#include <elf.h>
static char *av[] = {"x", NULL}, *ev[] = {NULL};
static void elf(const char *name, int type, int machine, int phnum, size_t size) {
	Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = type, .e_machine = machine, .e_version = 1, .e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56, .e_phnum = phnum};
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	MUST(write(fd, &h, size));
	close(fd);
}
int main(void) {
	RET(execve("/nonexistent", av, ev));
	RET(execve("", av, ev));
	RET(execve("/tmp", av, ev));
	RET(execve("/dev/null", av, ev));
	RET(execve("/bin/sh/x", av, ev));
	RET(execve(BAD, av, ev));
	RET(execve("/bin/true", BAD, ev));
	char *badv[] = {"x", BAD, NULL};
	RET(execve("/bin/true", badv, ev));
	RET(execve("/bin/true", av, badv));
	close(file_with("noexec", "#!/bin/sh\n"));
	RET(execve("./noexec", av, ev));
	int fd = file_with("garbage", "garbage and more of it");
	fchmod(fd, 0755);
	close(fd);
	RET(execve("./garbage", av, ev));
	fd = file_with("busy", "#!/bin/sh\n");
	fchmod(fd, 0755);
	RET(execve("./busy", av, ev));
	close(fd);
	elf("short", ET_EXEC, EM_X86_64, 1, 20);
	RET(execve("./short", av, ev));
	elf("nophdr", ET_EXEC, EM_X86_64, 0, 64);
	RET(execve("./nophdr", av, ev));
	elf("arm", ET_EXEC, EM_AARCH64, 1, 64);
	RET(execve("./arm", av, ev));
	elf("rel", ET_REL, EM_X86_64, 1, 64);
	RET(execve("./rel", av, ev));
	elf("truncated", ET_EXEC, EM_X86_64, 4, 64);
	RET(execve("./truncated", av, ev));
	symlink("loop", "loop");
	RET(execve("./loop", av, ev));
	char name[5000];
	memset(name, 'a', sizeof name);
	name[4999] = 0;
	RET(execve(name, av, ev));
	name[300] = 0;
	RET(execve(name, av, ev));
	return 0;
}
