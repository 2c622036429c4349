/* tests/e2e/kill_at.c - a library to preload: `kill -9` at the N-th call that changes a file.
 *
 * Idea: what a crash may leave is decided between two such calls, or in the middle of one. KILL_AT=N ends the process
 * in the N-th of them; a write has then done half of its work.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;

static int is_file(int fd)
{
    struct stat s;
    return fd > 2 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

/* Count a call; true: it is the last. */
static int last_call(void)
{
    const char *at = getenv("KILL_AT");
    return atomic_fetch_add(&calls, 1) + 1 == (at ? atol(at) : -1);
}

static void end(void) { kill(getpid(), SIGKILL); }

#define REAL(type, name, ...)                                                                   \
    static type (*real)(__VA_ARGS__);                                                           \
    if (!real)                                                                                  \
        *(void **)&real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *bytes, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (is_file(fd) && last_call()) {
        ssize_t half = real(fd, bytes, n / 2);
        (void)half;
        end();
    }
    return real(fd, bytes, n);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    if (is_file(fd) && last_call()) {
        ssize_t half = real(fd, bytes, n / 2, at);
        (void)half;
        end();
    }
    return real(fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) { return pwrite(fd, bytes, n, at); }

int fsync(int fd)
{
    REAL(int, "fsync", int);
    if (last_call())
        end();
    return real(fd);
}

int ftruncate(int fd, off_t n)
{
    REAL(int, "ftruncate", int, off_t);
    if (last_call())
        end();
    return real(fd, n);
}

int ftruncate64(int fd, off_t n) { return ftruncate(fd, n); }

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    if (last_call())
        end();
    return real(from, to);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    if (last_call())
        end();
    return real(path);
}
