/* core/base/file.c - see file.h. */
#include "core/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static lmb_status io_fail(lmb_error *err, const char *verb, const char *path)
{
    return LMB_FAIL(err, LMB_E_IO, "cannot %s %s: %s", verb, path, strerror(errno));
}

static lmb_status open_regular(const char *path, int *fd, uint64_t *size, lmb_error *err)
{
    struct stat st;
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe must not wait for its writer */

    if (f < 0)
        return io_fail(err, "open", path);
    if (fstat(f, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(f);
        return LMB_FAIL(err, LMB_E_IO, "%s is not a regular file", path);
    }
    *fd = f;
    *size = (uint64_t)st.st_size;
    return LMB_OK;
}

static lmb_status too_large(lmb_error *err, const char *path, size_t limit)
{
    return LMB_FAIL(err, LMB_E_FORMAT, "%s is larger than the limit of %zu bytes", path, limit);
}

lmb_status lmb_file_read(const char *path, size_t limit, void **data, size_t *n, lmb_error *err)
{
    lmb_status st = LMB_OK;
    uint64_t size = 0;
    size_t got = 0;
    char *buf;
    int fd = -1;

    LMB_TRY(open_regular(path, &fd, &size, err));
    if (size > limit || size >= SIZE_MAX) {
        close(fd);
        return too_large(err, path, limit);
    }
    buf = malloc((size_t)size + 1);
    if (!buf) {
        close(fd);
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for %llu bytes", path, (unsigned long long)size);
    }
    while (got < size) {
        ssize_t r = read(fd, buf + got, (size_t)size - got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            st = io_fail(err, "read", path);
        if (r <= 0)
            break; /* a file that shrank meanwhile is read as far as it goes */
        got += (size_t)r;
    }
    close(fd);
    if (st != LMB_OK) {
        free(buf);
        return st;
    }
    buf[got] = '\0';
    *data = buf;
    *n = got;
    return LMB_OK;
}

/* Room for more output: twice as much, but never beyond one byte more than `limit`. */
static lmb_status grow(const char *path, char **out, size_t *cap, size_t limit, lmb_error *err)
{
    size_t next = *cap < 32768 ? 65536 : *cap > SIZE_MAX / 4 ? SIZE_MAX / 2 : *cap * 2;
    char *p;

    if (*cap > limit)
        return too_large(err, path, limit);
    if (next > limit)
        next = limit + 1;
    p = realloc(*out, next + 1);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for %zu bytes", path, next);
    *out = p;
    *cap = next;
    return LMB_OK;
}

/* All members of a gzip stream. */
static lmb_status gunzip(const char *path, void *in, uInt n_in, size_t limit, void **data, size_t *n, lmb_error *err)
{
    const size_t chunk = (size_t)1 << 30; /* zlib counts in 32 bits */
    lmb_status st = LMB_OK;
    size_t cap = 0, at = 0;
    char *out = NULL;
    z_stream z;
    int rc = Z_OK;

    memset(&z, 0, sizeof z);
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory to decompress", path);
    z.next_in = in;
    z.avail_in = n_in;
    while (st == LMB_OK && (z.avail_in > 0 || rc != Z_STREAM_END)) {
        size_t room;
        if (at == cap && (st = grow(path, &out, &cap, limit, err)) != LMB_OK)
            break;
        room = cap - at < chunk ? cap - at : chunk;
        z.next_out = (Bytef *)out + at;
        z.avail_out = (uInt)room;
        rc = inflate(&z, Z_NO_FLUSH);
        at += room - z.avail_out;
        if (rc == Z_STREAM_END && z.avail_in > 0)
            rc = inflateReset(&z);
        if (rc != Z_OK && rc != Z_STREAM_END)
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s: damaged or truncated gzip data after %zu bytes", path, at);
    }
    inflateEnd(&z);
    if (st == LMB_OK && at > limit)
        st = too_large(err, path, limit);
    if (st != LMB_OK) {
        free(out);
        return st;
    }
    out[at] = '\0';
    *data = out;
    *n = at;
    return LMB_OK;
}

lmb_status lmb_file_read_gz(const char *path, size_t limit, void **data, size_t *n, lmb_error *err)
{
    unsigned char *raw;
    void *mem;
    size_t raw_n;
    lmb_status st;

    /* Compressed data is at most a little larger than what it holds (stored blocks: 5 bytes in 16 KiB). */
    LMB_TRY(lmb_file_read(path, limit < SIZE_MAX / 2 ? limit + limit / 1024 + 1024 : limit, &mem, &raw_n, err));
    raw = mem;
    if (raw_n < 2 || raw[0] != 0x1f || raw[1] != 0x8b) {
        if (raw_n > limit) {
            free(raw);
            return too_large(err, path, limit);
        }
        *data = raw;
        *n = raw_n;
        return LMB_OK;
    }
    if (raw_n > UINT_MAX)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: a compressed file of 4 GiB or more; decompress it first", path);
    else
        st = gunzip(path, raw, (uInt)raw_n, limit, data, n, err);
    free(raw);
    return st;
}

/* Write everything; on failure names how much was wanted, because a full disk is the usual reason. */
static lmb_status write_all(int fd, const char *path, const void *data, size_t n, lmb_error *err)
{
    const char *p = data;
    size_t left = n;

    while (left > 0) {
        ssize_t w = write(fd, p, left);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return LMB_FAIL(err, LMB_E_IO, "cannot write %zu bytes to %s: %s", n, path, strerror(errno));
        p += w;
        left -= (size_t)w;
    }
    return LMB_OK;
}

static lmb_status sync_folder_of(const char *path, lmb_error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    lmb_status st = LMB_OK;
    int fd;

    if (n >= sizeof dir)
        return LMB_FAIL(err, LMB_E_ARG, "the path %s is too long", path);
    if (!slash)
        memcpy(dir, ".", 2);
    else if (n == 0)
        memcpy(dir, "/", 2);
    else {
        memcpy(dir, path, n);
        dir[n] = '\0';
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_fail(err, "open folder", dir);
    /* EINVAL: a file system that cannot sync folders, which is no failure of ours. */
    if (fsync(fd) != 0 && errno != EINVAL)
        st = io_fail(err, "sync folder", dir);
    close(fd);
    return st;
}

lmb_status lmb_file_publish(const char *tmp, const char *path, lmb_error *err)
{
    lmb_status st = LMB_OK;
    int fd = open(tmp, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return io_fail(err, "open", tmp);
    if (fsync(fd) != 0)
        st = io_fail(err, "sync", tmp);
    close(fd);
    if (st == LMB_OK && rename(tmp, path) != 0)
        st = LMB_FAIL(err, LMB_E_IO, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
    if (st != LMB_OK) {
        unlink(tmp);
        return st;
    }
    return sync_folder_of(path, err);
}

lmb_status lmb_file_write(const char *path, const void *data, size_t n, lmb_error *err)
{
    char tmp[PATH_MAX];
    int fd, w = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    lmb_status st;

    if (w < 0 || (size_t)w >= sizeof tmp)
        return LMB_FAIL(err, LMB_E_ARG, "the path %s is too long", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return io_fail(err, "create", tmp);
    st = write_all(fd, path, data, n, err);
    if (close(fd) != 0 && st == LMB_OK)
        st = io_fail(err, "close", tmp);
    if (st != LMB_OK) {
        unlink(tmp);
        return st;
    }
    return lmb_file_publish(tmp, path, err);
}

lmb_status lmb_file_append(const char *path, const void *data, size_t n, lmb_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    lmb_status st;

    if (fd < 0)
        return io_fail(err, "open for appending", path);
    st = write_all(fd, path, data, n, err);
    if (close(fd) != 0 && st == LMB_OK)
        st = io_fail(err, "close", path);
    return st;
}

bool lmb_file_exists(const char *path) { return access(path, F_OK) == 0; }

lmb_status lmb_file_size(const char *path, uint64_t *size, lmb_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return io_fail(err, "look at", path);
    *size = (uint64_t)st.st_size;
    return LMB_OK;
}

lmb_status lmb_file_make_dirs(const char *path, lmb_error *err)
{
    char dir[PATH_MAX];
    size_t n = strlen(path);
    struct stat st;

    if (n == 0 || n >= sizeof dir)
        return LMB_FAIL(err, LMB_E_ARG, "'%s' is no folder name of 1 to %d characters", path, PATH_MAX - 1);
    memcpy(dir, path, n + 1);
    for (char *p = dir + 1; p <= dir + n; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(dir, 0777) != 0 && errno != EEXIST)
            return io_fail(err, "make folder", dir);
        *p = c;
    }
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return LMB_FAIL(err, LMB_E_IO, "%s exists and is not a folder", path);
    return LMB_OK;
}

lmb_status lmb_path_join(char *out, size_t cap, const char *dir, const char *name, lmb_error *err)
{
    size_t n = strlen(dir);
    int w = snprintf(out, cap, "%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", name);

    if (w < 0 || (size_t)w >= cap)
        return LMB_FAIL(err, LMB_E_ARG, "the path %s/%s is longer than %zu characters", dir, name, cap ? cap - 1 : 0);
    return LMB_OK;
}
