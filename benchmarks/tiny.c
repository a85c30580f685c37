/* The program that every scheduler is asked to start: writes the instant of its start, and ends. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char text[64];
    int length = snprintf(text, sizeof text, "%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    int file = open(words[1], O_WRONLY | O_APPEND | O_CREAT, 0644);
    return count != 2 || write(file, text, length) != length;
}
