/* core/edge/time/limbeck_time.c - limbeck-time, the program on a device that a search measures on: `limbeck compress`
 * starts it by the command of `compress.device` and asks through its standard input (frames.h). It needs core/edge and
 * the C library alone: all C files of these two folders in one line of a cross compiler, which docs/compress.md has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/edge/time/serve.h"

static size_t read_all(void *ctx, void *to, size_t n)
{
    size_t at = 0;

    (void)ctx;
    while (at < n) {
        ssize_t k = read(STDIN_FILENO, (char *)to + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        at += (size_t)k;
    }
    return at;
}

static bool write_all(void *ctx, const void *from, size_t n)
{
    size_t at = 0;

    (void)ctx;
    while (at < n) {
        ssize_t k = write(STDOUT_FILENO, (const char *)from + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}

int main(int argc, char **argv)
{
    const lmb_edge_line line = { read_all, write_all, NULL };
    char why[200];

    (void)argv;
    if (argc > 1 || isatty(STDIN_FILENO)) {
        fprintf(stderr,
                "limbeck-time, version %d of its questions: measures models on this machine for `limbeck compress`, "
                "which starts it by compress.device, such as {name: pi, command: \"ssh pi ./limbeck-time\"}\n",
                LMB_FRAME_VERSION);
        return 2;
    }
    if (lmb_edge_serve(&line, why, sizeof why))
        return 0;
    fprintf(stderr, "limbeck-time: %s\n", why);
    return 1;
}
