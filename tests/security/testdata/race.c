// Works in a directory that somebody swaps with a symbolic link. Says so if it ever comes out of the volume.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char f[200], n[200], b[100];
    snprintf(f, sizeof f, "%s/f", argv[1]);
    snprintf(n, sizeof n, "%s/new", argv[1]);
    time_t end = time(NULL) + 4;
    long inside = 0, failed = 0;
    while (time(NULL) < end) {
        int fd = open(f, O_RDWR);
        if (fd < 0) {
            failed++;
            continue;
        }
        int k = read(fd, b, sizeof b);
        if (k == 7 && !memcmp(b, "outside", 7)) {
            puts("outside");
            return 1;
        }
        inside++;
        lseek(fd, 0, SEEK_SET);
        write(fd, "inside", 6);
        close(fd);
        // What is made and removed may be in the volume only.
        fd = open(n, O_CREAT | O_EXCL | O_WRONLY, 0666);
        if (fd >= 0) close(fd);
        rename(n, f[0] ? n : f);
        chmod(n, 0600);
        truncate(n, 3);
        unlink(n);
        mkdir(n, 0777);
        rmdir(n);
    }
    printf("never outside: %s\n", inside ? "it was inside at times" : "it never got in");
    return inside == 0;
}
