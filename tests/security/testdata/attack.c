// Tries to reach the host in every way that a program has. Each attempt that succeeds is a line of output.
// Arguments: pids of the host, a TCP port of the host.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <arpa/inet.h>
#include <unistd.h>

#define SHOULD_FAIL(what, expr) do { if ((expr) >= 0) printf("%s\n", what); } while (0)

static int reads(const char *path, const char *want) {
    char b[64] = {0};
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    read(fd, b, sizeof b - 1);
    close(fd);
    return strstr(b, want) ? 0 : -1;
}

// onHost tells whether a directory shows more processes than the guest has.
static int onHost(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return -1;
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] >= '1' && e->d_name[0] <= '9';
    closedir(d);
    return n > 8 ? 0 : -1;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    pid_t host = atoi(argv[1]), victim = atoi(argv[2]);
    char path[256];

    // Up and out of the volumes and the root.
    SHOULD_FAIL("dot dot from a volume", reads("/rw/../outside/secret", "of outside"));
    SHOULD_FAIL("dot dot from the root", reads("/../../../../outside/secret", "of outside"));
    SHOULD_FAIL("a link out of the volume", reads("/rw/up", "of outside"));
    if (onHost("/rw/root/proc") == 0) puts("a link to the host's root");
    int dir = open("/rw", O_RDONLY | O_DIRECTORY);
    SHOULD_FAIL("dot dot below a descriptor", openat(dir, "../outside/secret", O_RDONLY));
    SHOULD_FAIL("dot dot in chroot", (fchdir(dir), openat(AT_FDCWD, "../outside/secret", O_RDONLY)));
    if (chroot("/rw") == 0) {
        for (int i = 0; i < 20; i++) chdir("..");
        SHOULD_FAIL("out of a chroot", reads("outside/secret", "of outside"));
        chroot(".");
        SHOULD_FAIL("out of a chroot to the host", onHost("/proc"));
    }
    chdir("/");

    // The host's kernel, through what might be left of it.
    if (onHost("/proc") == 0) puts("the host's /proc");
    for (int i = 0; i < 3; i++) umount2("/proc", MNT_DETACH);
    if (onHost("/proc") == 0) puts("the host's /proc, below the guest's");
    snprintf(path, sizeof path, "/proc/%d", host);
    mkdir("/m", 0755);
    if (mount("proc", "/m", "proc", 0, NULL) == 0 && onHost("/m") == 0) puts("a new /proc shows the host");
    umount2("/sys", MNT_DETACH);
    SHOULD_FAIL("the host's /sys", open("/sys/kernel/notes", O_RDONLY));
    umount2("/dev/pts", MNT_DETACH);
    umount2("/dev/shm", MNT_DETACH);
    umount2("/dev/mqueue", MNT_DETACH);
    umount2("/dev", MNT_DETACH);
    SHOULD_FAIL("the host's /dev", open("/dev/kmsg", O_RDONLY));
    SHOULD_FAIL("the host's memory", open("/dev/mem", O_RDONLY));
    mount("proc", "/proc", "proc", 0, NULL);

    // Devices.
    const char *dirs[] = {"/rw", "/tmp", "/m2"};
    mkdir("/m2", 0777);
    mount("t", "/m2", "tmpfs", 0, NULL);
    struct { mode_t type; int maj, min; } devs[] = {{S_IFCHR, 1, 1}, {S_IFCHR, 1, 2}, {S_IFCHR, 1, 4}, {S_IFBLK, 254, 0}, {S_IFBLK, 259, 0},
        {S_IFBLK, 8, 0}, {S_IFBLK, 253, 0}, {S_IFBLK, 7, 0}, {S_IFCHR, 10, 200}, {S_IFCHR, 10, 232}, {S_IFCHR, 10, 229}};
    for (int d = 0; d < 3; d++)
        for (unsigned i = 0; i < sizeof devs / sizeof *devs; i++) {
            snprintf(path, sizeof path, "%s/device", dirs[d]);
            unlink(path);
            char b;
            int fd;
            if (mknod(path, devs[i].type | 0666, makedev(devs[i].maj, devs[i].min)) == 0 && (fd = open(path, O_RDWR | O_NONBLOCK)) >= 0) {
                if (read(fd, &b, 1) == 1) printf("device %d:%d in %s\n", devs[i].maj, devs[i].min, dirs[d]);
                close(fd);
            }
            unlink(path);
        }
    SHOULD_FAIL("mount a disk", mount("/dev/vda", "/m", "ext4", MS_RDONLY, NULL));
    SHOULD_FAIL("mount debugfs", mount("d", "/m", "debugfs", 0, NULL));

    // Processes of the host.
    for (int i = 0; i < 2; i++) {
        pid_t p = i ? victim : host;
        SHOULD_FAIL("signal to the host", kill(p, 0));
        SHOULD_FAIL("kill on the host", i ? kill(p, SIGKILL) : -1);
        SHOULD_FAIL("ptrace on the host", ptrace(PTRACE_ATTACH, p, 0, 0));
        SHOULD_FAIL("seize on the host", ptrace(PTRACE_SEIZE, p, 0, 0));
        SHOULD_FAIL("pidfd of the host", syscall(434, p, 0));
        char c;
        struct iovec l = {&c, 1}, r = {(void *)0x400000, 1};
        SHOULD_FAIL("memory on the host", process_vm_readv(p, &l, 1, &r, 1, 0));
        snprintf(path, sizeof path, "/proc/%d/mem", p);
        SHOULD_FAIL("the memory of a process of the host", open(path, O_RDWR));
        snprintf(path, sizeof path, "/proc/%d/root/etc/hostname", p);
        SHOULD_FAIL("the root of a process of the host", open(path, O_RDONLY));
        SHOULD_FAIL("namespaces of the host", (snprintf(path, sizeof path, "/proc/%d/ns/mnt", p), open(path, O_RDONLY)));
    }
    // Pid 1 and the rest of ours: everything that is there may be traced without harm to the sentry.
    for (int p = 1; p < 40; p++) {
        if (p == getpid()) continue;
        if (kill(p, 0) == 0 && p != getppid()) printf("a process %d that is not ours\n", p);
    }

    // Sockets of the host.
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (s >= 0) {
        struct sockaddr_un a = {AF_UNIX};
        int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "gosv-security-%d", host);
        SHOULD_FAIL("an abstract socket of the host", connect(s, (void *)&a, sizeof(sa_family_t) + 1 + n));
        strcpy(a.sun_path, "/rw/sock");
        SHOULD_FAIL("a socket of the host in a volume", connect(s, (void *)&a, sizeof a));
        strcpy(a.sun_path, "/run/systemd/private");
        SHOULD_FAIL("a socket of the host", connect(s, (void *)&a, sizeof a));
        close(s);
    }
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (s >= 0) {
        struct sockaddr_in a = {AF_INET, htons(atoi(argv[3])), {htonl(0x7f000001)}};
        SHOULD_FAIL("a port of the host", connect(s, (void *)&a, sizeof a));
        close(s);
    }

    // A volume that may only be read.
    SHOULD_FAIL("write to a read-only volume", open("/ro/secret", O_WRONLY));
    SHOULD_FAIL("truncate in a read-only volume", truncate("/ro/secret", 0));
    SHOULD_FAIL("make in a read-only volume", open("/ro/new", O_CREAT | O_WRONLY, 0666));
    SHOULD_FAIL("chmod in a read-only volume", chmod("/ro/secret", 0));
    SHOULD_FAIL("chown in a read-only volume", chown("/ro/secret", getuid(), getgid()));
    SHOULD_FAIL("unlink in a read-only volume", unlink("/ro/secret"));
    SHOULD_FAIL("rename in a read-only volume", rename("/ro/secret", "/ro/public"));
    SHOULD_FAIL("mkdir in a read-only volume", mkdir("/ro/dir", 0777));
    SHOULD_FAIL("link in a read-only volume", link("/ro/secret", "/ro/public"));
    mount(NULL, "/ro", NULL, MS_REMOUNT | MS_BIND, NULL);
    mount(NULL, "/ro", NULL, MS_REMOUNT, NULL);
    SHOULD_FAIL("write to a volume that was remounted", open("/ro/secret", O_WRONLY));
    mkdir("/b", 0777);
    if (mount("/ro", "/b", NULL, MS_BIND, NULL) == 0) SHOULD_FAIL("write to a bind mount of a read-only volume", open("/b/secret", O_WRONLY));

    // Links between the volume and the rest.
    SHOULD_FAIL("hard link of a file of the host into the volume", link("/etc/passwd", "/rw/passwd"));
    SHOULD_FAIL("hard link between volumes", link("/ro/secret", "/rw/ro-secret"));
    SHOULD_FAIL("rename into the volume", rename("/etc/hostname", "/rw/hostname"));
    symlink("/etc/shadow", "/rw/shadow");
    symlink("../outside/secret", "/rw/out");
    SHOULD_FAIL("through a link of our own", open("/rw/out", O_WRONLY));
    unlink("/rw/shadow");
    unlink("/rw/out");

    // Other owners in a volume.
    int fd = open("/rw/mine", O_CREAT | O_WRONLY, 0777);
    if (fd >= 0) {
        fchown(fd, 4242, 4242); // refused, or only seen here
        close(fd);
    }
    unlink("/rw/mine");

    // Kernels that are asked nicely.
    SHOULD_FAIL("a module", syscall(SYS_init_module, "", 0, ""));
    SHOULD_FAIL("a new kernel", syscall(SYS_kexec_load, 0, 0, 0, 0));
    SHOULD_FAIL("ports", syscall(SYS_iopl, 3));
    SHOULD_FAIL("bpf", syscall(SYS_bpf, 0, 0, 0));
    SHOULD_FAIL("the log", syscall(SYS_syslog, 5 /* clear */, 0, 0) == 0 && open("/dev/kmsg", O_RDONLY) >= 0 ? 0 : -1);
    SHOULD_FAIL("restart", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x01234567 /* restart */, 0) == 0 ? -1 : -1);
    puts("done");
    return 0;
}
