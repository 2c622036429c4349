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

/* A gzip stream of any length up to `limit` bytes, or a plain file: zlib passes plain bytes through. */
static lmb_status read_stream(const char *path, bool gz, size_t limit, void **data, size_t *n, lmb_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return io_error(err, "open", path);
    if (!S_ISREG(st.st_mode))
        return LMB_FAIL(err, LMB_E_IO, "%s: not a regular file", path);
    if (!gz && (uint64_t)st.st_size > limit)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %lld bytes; at most %zu are read", path, (long long)st.st_size, limit);
    gzFile f = gzopen(path, "rb");
    if (!f)
        return io_error(err, "open", path);
    gzbuffer(f, 1 << 17);
    if (!gz && !gzdirect(f)) {
        gzclose(f);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: compressed; unpack it with gunzip", path);
    }
    size_t cap = gz ? (size_t)1 << 20 : (size_t)st.st_size + 1, got = 0;
    char *p = malloc(cap + 1);
    lmb_status status = LMB_OK;
    while (p) {
        size_t room = cap - got;
        int k = gzread(f, p + got, room > (1u << 30) ? 1u << 30 : (unsigned)room);
        int code = Z_OK;
        if (k < 0) {
            status = LMB_FAIL(err, LMB_E_FORMAT, "%s: damaged: %s", path, gzerror(f, &code));
            break;
        }
        got += (size_t)k;
        if (k == 0) {
            gzerror(f, &code);
            if (code == Z_BUF_ERROR)
                status = LMB_FAIL(err, LMB_E_FORMAT, "%s: the compressed file ends in the middle; fetch it again", path);
            break;
        }
        if (got > limit) {
            status = LMB_FAIL(err, LMB_E_FORMAT, "%s: more than %zu bytes", path, limit);
            break;
        }
        if (got == cap) {
            char *bigger = realloc(p, cap * 2 + 1);
            if (!bigger) {
                free(p);
                p = NULL;
                break;
            }
            p = bigger;
            cap *= 2;
        }
    }
    gzclose(f);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for %zu bytes", path, cap);
    if (status != LMB_OK) {
        free(p);
        return status;
    }
    p[got] = 0;
    *data = p;
    *n = got;
    return LMB_OK;
}

lmb_status lmb_file_read(const char *path, size_t limit, void **data, size_t *n, lmb_error *err)
{
    return read_stream(path, false, limit, data, n, err);
}

lmb_status lmb_file_read_gz(const char *path, size_t limit, void **data, size_t *n, lmb_error *err)
{
    return read_stream(path, true, limit, data, n, err);
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

lmb_status lmb_file_publish(const char *tmp, const char *path, lmb_error *err)
{
    int fd = open(tmp, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_error(err, "open", tmp);
    int bad = fsync(fd);
    close(fd);
    if (bad)
        return io_error(err, "sync", tmp);
    if (rename(tmp, path) != 0)
        return io_error(err, "rename", path);
    return sync_folder_of(path, err);
}

lmb_status lmb_file_write(const char *path, const void *data, size_t n, lmb_error *err)
{
    char tmp[PATH_MAX];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return LMB_FAIL(err, LMB_E_ARG, "%.200s...: the path is too long", path);
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

lmb_status lmb_file_make_dirs(const char *path, lmb_error *err)
{
    char part[PATH_MAX];
    struct stat st;

    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return LMB_FAIL(err, LMB_E_ARG, "%.200s...: the path is too long", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char c = *p;
        *p = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return io_error(err, "create folder", part);
        *p = c;
        if (!c)
            break;
    }
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return LMB_FAIL(err, LMB_E_IO, "%s: exists and is no folder", path);
    return LMB_OK;
}

lmb_status lmb_path_join(char *out, size_t cap, const char *dir, const char *name, lmb_error *err)
{
    int n = snprintf(out, cap, "%s%s%s", dir, *dir && dir[strlen(dir) - 1] != '/' ? "/" : "", name);
    if (n < 0 || (size_t)n >= cap)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.100s/%.100s is longer than %zu bytes", dir, name, cap);
    return LMB_OK;
}
