/* Preloaded into a command: a disk that does not sync, that takes only a part, or that is cut in the middle of a write.
 *
 *   SHIM=nosync     fsync and fdatasync do nothing: the control of the power cut proof
 *   SHIM=short:N    the N-th write to a file takes half of its bytes
 *   SHIM=torn:N     the N-th write to a file takes half of its bytes, and the process is gone
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is(const char *word) {
    const char *how = getenv("SHIM");
    return how && strncmp(how, word, strlen(word)) == 0;
}

static int wanted(void) {
    const char *colon = strchr(getenv("SHIM"), ':');
    return colon ? atoi(colon + 1) : 0;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return is("nosync") ? 0 : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    return is("nosync") ? 0 : real(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    static int count;
    struct stat found;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if ((is("short") || is("torn")) && size > 1 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && ++count == wanted()) {
        ssize_t taken = real(fd, data, size / 2);
        if (is("torn")) kill(getpid(), SIGKILL);
        return taken;
    }
    return real(fd, data, size);
}
