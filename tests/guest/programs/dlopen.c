// dlopen, dlsym, a C++-free shared library, constructors and destructors.
// build: -ldl -rdynamic
#include "check.h"
#include <dlfcn.h>
int main(void) {
	void *m = dlopen("libm.so.6", RTLD_NOW);
	IS(m != NULL);
	double (*f)(double) = (double (*)(double))dlsym(m, "cbrt");
	printf("%.3f\n", f(27.0));
	IS(dlsym(m, "no_such_symbol") == NULL);
	IS(dlopen("libnothing.so", RTLD_LAZY) == NULL);
	IS(dlsym(dlopen(NULL, RTLD_LAZY), "main") == main);
	RET(dlclose(m));
	return 0;
}
