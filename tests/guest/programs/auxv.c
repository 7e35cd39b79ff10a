// The auxiliary vector: what is in it and that it agrees with the process.
#include "check.h"
#include <elf.h>
#include <sys/auxv.h>
int main(int argc, char **argv) {
	IS(getauxval(AT_PAGESZ) == 4096);
	IS(getauxval(AT_UID) == getuid());
	IS(getauxval(AT_EUID) == geteuid());
	IS(getauxval(AT_GID) == getgid());
	IS(getauxval(AT_EGID) == getegid());
	IS(getauxval(AT_SECURE) == 0);
	IS(getauxval(AT_CLKTCK) == sysconf(_SC_CLK_TCK));
	IS(getauxval(AT_PHENT) == sizeof(Elf64_Phdr));
	IS(getauxval(AT_PHNUM) > 2);
	IS(getauxval(AT_RANDOM) != 0);
	IS(getauxval(AT_SYSINFO_EHDR) != 0);
	IS(getauxval(AT_MINSIGSTKSZ) >= 1000);
	IS(strcmp((char *)getauxval(AT_PLATFORM), "x86_64") == 0);
	char *fn = (char *)getauxval(AT_EXECFN);
	IS(strcmp(fn, argv[0]) == 0);
	IS(getauxval(AT_FLAGS) == 0);
	IS(getauxval(AT_BASE) != 0);
	Elf64_Ehdr *vdso = (Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	IS(memcmp(vdso->e_ident, ELFMAG, SELFMAG) == 0);
	Elf64_Phdr *ph = (Elf64_Phdr *)getauxval(AT_PHDR);
	IS(ph->p_type == PT_PHDR);
	unsigned long aux[100];
	int fd = open("/proc/self/auxv", O_RDONLY);
	ssize_t n = read(fd, aux, sizeof aux);
	int same = 0;
	for (int i = 0; i < n / 8; i += 2)
		if (aux[i] == AT_ENTRY)
			same = aux[i + 1] == getauxval(AT_ENTRY);
	IS(same);
	IS(n % 16 == 0 && aux[n / 8 - 2] == AT_NULL);
	// What follows argv on the stack: the environment, then the vector.
	extern char **environ;
	char **e = environ;
	while (*e)
		e++;
	IS(((unsigned long *)(e + 1))[0] == aux[0]);
	IS(argv[argc] == NULL);
	IS((char **)argv + argc + 1 == environ);
	IS(((uintptr_t)argv - 8) % 16 == 0);
	return 0;
}
