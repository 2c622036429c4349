/* core/base/file.c - see file.h. */
#include "core/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static lmb_status io_error(lmb_error *err, const char *what, const char *path)
{
    int e = errno;
    if (e == ENOENT)
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no such file or folder (%s failed)", path, what);
    return LMB_FAIL(err, LMB_E_IO, "%s: %s failed: %s", path, what, strerror(e));
}

static lmb_status open_regular(const char *path, int *fd, uint64_t *size, lmb_error *err)
{
    struct stat st;
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe must not wait for its writer */

    if (f < 0)
        return io_error(err, "open", path);
    if (fstat(f, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(f);
        return LMB_FAIL(err, LMB_E_IO, "%s: not a regular file", path);
    }
    *fd = f;
    *size = (uint64_t)st.st_size;
    return LMB_OK;
}

static lmb_status too_large(lmb_error *err, const char *path, size_t limit)
{
    return LMB_FAIL(err, LMB_E_FORMAT, "%s: more than the %zu bytes that are read", path, limit);
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
            st = io_error(err, "read", path);
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
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s: the compressed file is damaged or ends in the middle; fetch it again",
                          path);
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

static lmb_status write_all(int fd, const char *path, const void *data, size_t n, lmb_error *err)
{
    const char *p = data;
    size_t left = n;

    while (left) {
        ssize_t k = write(fd, p, left > (1u << 30) ? 1u << 30 : left);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == ENOSPC)
            return LMB_FAIL(err, LMB_E_IO, "%s: no space left on the disk for %zu bytes; free some and start again",
                            path, n);
        if (k < 0)
            return io_error(err, "write", path);
        p += k;
        left -= (size_t)k;
    }
    return LMB_OK;
}

/* A rename is only durable once the folder is. */
static lmb_status sync_folder_of(const char *path, lmb_error *err)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error(err, "open of its folder", path);
    int bad = fsync(fd);
    close(fd);
    return bad && errno != EINVAL ? io_error(err, "sync of its folder", path) : LMB_OK;
}

/* A rename takes the place of whatever bears the name, be it /dev/null: only files are meant. */
lmb_status lmb_file_replaceable(const char *path, lmb_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return LMB_FAIL(err, LMB_E_IO, "%s: is no file, and is not replaced by one; give another name", path);
    return LMB_OK;
}

/* Its content, not its name. */
static lmb_status sync_content(const char *path, lmb_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_error(err, "open", path);
    int bad = fsync(fd);
    close(fd);
    return bad ? io_error(err, "sync", path) : LMB_OK;
}

lmb_status lmb_file_sync(const char *path, lmb_error *err)
{
    LMB_TRY(sync_content(path, err));
    return sync_folder_of(path, err);
}

lmb_status lmb_file_publish(const char *tmp, const char *path, lmb_error *err)
{
    lmb_status st = sync_content(tmp, err);
    if (st == LMB_OK)
        st = lmb_file_replaceable(path, err);
    if (st == LMB_OK && rename(tmp, path) != 0)
        st = io_error(err, "rename", path);
    if (st != LMB_OK) {
        unlink(tmp);
        return st;
    }
    return sync_folder_of(path, err);
}

lmb_status lmb_file_write(const char *path, const void *data, size_t n, lmb_error *err)
{
    char tmp[PATH_MAX];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return LMB_FAIL(err, LMB_E_ARG, "%.200s...: the path is too long", path);
    LMB_TRY(lmb_file_replaceable(path, err));
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return io_error(err, "create", tmp);
    lmb_status st = write_all(fd, path, data, n, err);
    if (st == LMB_OK && fsync(fd) != 0)
        st = io_error(err, "sync", path);
    if (close(fd) != 0 && st == LMB_OK)
        st = io_error(err, "close", path);
    if (st == LMB_OK && rename(tmp, path) != 0)
        st = io_error(err, "rename", path);
    if (st != LMB_OK) {
        unlink(tmp);
        return st;
    }
    return sync_folder_of(path, err);
}

lmb_status lmb_file_append(const char *path, const void *data, size_t n, lmb_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return io_error(err, "open", path);
    lmb_status st = write_all(fd, path, data, n, err);
    if (close(fd) != 0 && st == LMB_OK)
        st = io_error(err, "close", path);
    return st;
}

bool lmb_file_exists(const char *path) { return access(path, F_OK) == 0; }

lmb_status lmb_file_size(const char *path, uint64_t *size, lmb_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return io_error(err, "open", path);
    *size = (uint64_t)st.st_size;
    return LMB_OK;
}

static lmb_status make_dirs(const char *path, mode_t last, lmb_error *err)
{
    char part[PATH_MAX];
    struct stat st;

    if (!*path)
        return LMB_FAIL(err, LMB_E_ARG, "the path of a folder is empty; name one");
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return LMB_FAIL(err, LMB_E_ARG, "%.200s...: the path is too long", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char c = *p;
        *p = 0;
        bool end = !c || !p[1 + strspn(p + 1, "/")];
        if (mkdir(part, end ? last : 0777) != 0 && errno != EEXIST)
            return io_error(err, "create folder", part);
        *p = c;
        if (!c)
            break;
    }
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return LMB_FAIL(err, LMB_E_IO, "%s: exists and is no folder", path);
    return LMB_OK;
}

lmb_status lmb_file_make_dirs(const char *path, lmb_error *err) { return make_dirs(path, 0777, err); }

lmb_status lmb_file_make_private_dir(const char *path, lmb_error *err) { return make_dirs(path, 0700, err); }

lmb_status lmb_path_join(char *out, size_t cap, const char *dir, const char *name, lmb_error *err)
{
    int n = snprintf(out, cap, "%s%s%s", dir, *dir && dir[strlen(dir) - 1] != '/' ? "/" : "", name);
    if (n < 0 || (size_t)n >= cap)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.100s/%.100s is longer than %zu bytes", dir, name, cap);
    return LMB_OK;
}
