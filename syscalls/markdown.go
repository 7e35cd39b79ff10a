package syscalls

import (
	"fmt"
	"strings"
)

// String is the level as the compatibility page has it.
func (s Support) String() string {
	switch s {
	case Full:
		return "full"
	case Partial:
		return "partial"
	case Gone:
		return "gone"
	}
	return "missing"
}

// kindTypes are the C types of argument kinds, for the page.
var kindTypes = map[string]string{
	"fd": "int", "dirfd": "int", "int": "int", "signal": "int", "whence": "int", "pid": "pid_t", "futexop": "int",
	"sockopt": "int", "uint": "unsigned int", "long": "long", "size": "size_t", "hex": "unsigned long",
	"flags": "int", "mode": "mode_t", "openmode": "mode_t", "mknodmode": "mode_t", "dev": "dev_t",
	"path": "const char *", "cstrout": "char *", "buf": "const void *", "bufout": "void *", "ptr": "void *",
	"strv": "char *const *", "iovec": "const struct iovec *", "iovecout": "const struct iovec *",
	"timespec": "const struct timespec *", "timespecout": "struct timespec *",
	"timeval": "struct timeval *", "timevalout": "struct timeval *",
	"itimerspec": "const struct itimerspec *", "itimerspecout": "struct itimerspec *",
	"itimerval": "const struct itimerval *", "itimervalout": "struct itimerval *",
	"stat": "struct stat *", "sigset": "const sigset_t *", "sigsetout": "sigset_t *",
	"sigaction": "const struct sigaction *", "sigactionout": "struct sigaction *", "siginfo": "siginfo_t *",
	"sockaddr": "const struct sockaddr *", "sockaddrout": "struct sockaddr *", "msghdr": "const struct msghdr *",
	"msghdrout": "struct msghdr *", "optval": "const void *", "optvalout": "void *",
	"rlimit": "const struct rlimit *", "rlimitout": "struct rlimit *", "rusageout": "struct rusage *",
	"statusout": "int *", "pollfds": "struct pollfd *", "fdset": "fd_set *", "epollevent": "struct epoll_event *",
	"epollevents": "struct epoll_event *", "fcntlarg": "unsigned long", "prctlarg": "unsigned long", "futextimeout": "const struct timespec *", "clone3": "struct clone_args *",
}

// structTypes are those of struct/NAME, where it is not struct NAME *.
var structTypes = map[string]string{
	"fdpair": "int[2]", "int": "int *", "uint": "unsigned int *", "off": "off_t *", "tid": "pid_t *",
	"timespec2": "const struct timespec[2]", "timeval2": "const struct timeval[2]", "openhow": "const struct open_how *",
	"utimbuf": "const struct utimbuf *", "psigmask": "void *", "cloneargs": "struct clone_args *", "stack": "stack_t *",
	"sigaltstack": "stack_t *", "sigaltstackout": "stack_t *",
}

// Signature is the C prototype of an entry, made from its argument kinds.
func (e *Entry) Signature() string {
	var l []string
	for _, a := range parseArgs(e.Args) {
		typ, ok := kindTypes[a.kind]
		if a.kind == "struct" {
			if typ, ok = structTypes[a.sub]; !ok {
				typ, ok = "struct "+strings.TrimSuffix(a.sub, "out")+" *", true
			}
		}
		if !ok {
			typ = "long"
		}
		if base, dim, isArray := strings.Cut(typ, "["); isArray {
			l = append(l, base+" "+a.name+"["+dim)
			continue
		}
		if !strings.HasSuffix(typ, "*") {
			typ += " "
		}
		l = append(l, typ+a.name)
	}
	if len(l) == 0 {
		return e.Name + "(void)"
	}
	return e.Name + "(" + strings.Join(l, ", ") + ")"
}

// Markdown is the compatibility page.
func Markdown() string {
	count := map[Support]int{}
	total := 0
	Entries(func(_ int, e *Entry) {
		count[e.Support]++
		total++
	})
	var b strings.Builder
	fmt.Fprintf(&b, `# System calls

<!-- Written by "go run ./syscalls/gen" from syscalls/table.go. Do not edit. -->

Linux 6.12 has %d system calls with a number on x86-64. Of these gosv has

| support | calls | |
| --- | --- | --- |
| full | %d | everything the manual page says, for every kind of object there is |
| partial | %d | what is missing gives an error, and stands in the notes |
| missing | %d | ENOSYS, and a line in the log that names the call and the program |
| gone | %d | Linux itself answers ENOSYS |

| nr | call | support | notes |
| --- | --- | --- | --- |
`, total, count[Full], count[Partial], count[Missing], count[Gone])
	Entries(func(nr int, e *Entry) {
		sig := e.Signature()
		if e.Args == "" && (e.Support == Gone || e.Support == Missing) {
			sig = e.Name
		}
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", nr, sig, e.Support, strings.ReplaceAll(e.Note, "|", `\|`))
	})
	return b.String()
}
