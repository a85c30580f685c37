/* Preloaded into a command: a disk that does not sync, that takes only a part, or that is cut in the middle of a write;
 * or a wall clock that is set while everything runs.
 *
 *   SHIM=nosync      fsync and fdatasync do nothing: the control of the power cut proof
 *   SHIM=short:N     the N-th write to a file takes half of its bytes
 *   SHIM=torn:N      the N-th write to a file takes half of its bytes, and the process is gone
 *   SHIM=clock:PATH  the wall clock is off by so many seconds (an int64 in PATH), for all processes at the same moment
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
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

static int64_t offset(void) {
    static const volatile int64_t *shared;
    if (!is("clock")) return 0;
    if (!shared) {
        int fd = open(strchr(getenv("SHIM"), ':') + 1, O_RDONLY | O_CLOEXEC);
        void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shared, PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0) close(fd);
        if (mapped == MAP_FAILED) abort(); /* a clock that is true by mistake would prove nothing */
        shared = mapped;
    }
    return *shared;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += offset();
    return failed;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
