/* A chain of processes that is hard to end: each ignores SIGTERM, begins a session of its own, takes another name, forks
 * the next and ends, so that whoever looks sees one that is gone already. `chain MICROSECONDS SECONDS [WIDTH]`: how long
 * each waits before it forks (0: not at all), when the chain ends by itself, and how many chains are begun. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 3) return 2;
    long wait = atol(words[1]), until = time(NULL) + atol(words[2]), width = count > 3 ? atol(words[3]) : 1;
    const char *names[] = {"kworker/0:1", "sshd", "(sd-pam)", "a) R 1 1 1"};
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    for (long begun = 0; begun < width; begun++)
        if (fork() == 0)
            for (long link = 0;; link++) {
                pid_t next = fork();
                if (next > 0) _exit(0);
                if (time(NULL) >= until) _exit(0);
                setsid();
                prctl(PR_SET_NAME, names[link % 4]);
                if (wait) usleep(wait);
            }
    usleep(50000);
    return 0;
}
