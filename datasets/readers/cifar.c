/* datasets/readers/cifar.c - the binary version of CIFAR-10: files of 10,000 records, each one label byte and
 * 3 x 32 x 32 pixels (red, green, blue planes, rows from the top).
 *
 * Idea: opening reads the files once, for the labels, and with that brings them into the system's cache; pixels are
 * read from there when they are asked for (half a microsecond a sample), not kept a second time.
 *
 *   source  Krizhevsky 2009, Learning multiple layers of features from tiny images; "CIFAR-10 binary version"
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "datasets/dataset.h"

typedef struct config { const char *path; } config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "data/cifar-10-batches-bin", "folder with data_batch_1.bin .. 5 and test_batch.bin"),
    LMB_FIELD_END
};

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS, PER_FILE = 10000, CLASSES = 10, FILES = 5, CHUNK = 100 };
static const char *const class_names[] = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
                                           "ship", "truck" };
static const char *const files[2][FILES + 1] = {
    { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", NULL },
    { "test_batch.bin", NULL }
};

typedef struct state {
    char dir[1024];
    lmb_part part;
    int fd[FILES], n_files;
    bool hashed;
    lmb_hash hash;
    uint8_t label[FILES * PER_FILE];
} state;

/* n bytes of a file at `at`. */
static lmb_status read_at(const state *s, int file, void *into, size_t n, size_t at, lmb_error *err)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(s->fd[file], (char *)into + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return LMB_FAIL(err, LMB_E_IO, "%s/%s: %s", s->dir, files[s->part][file],
                            r ? strerror(errno) : "it has become shorter");
        got += (size_t)r;
    }
    return LMB_OK;
}

static lmb_status read_sample(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const state *s = d->state;

    LMB_TRY(lmb_dataset_check_index(d, index, err));
    LMB_TRY(read_at(s, (int)(index / PER_FILE), sample, PIXELS, (size_t)(index % PER_FILE) * RECORD + 1, err));
    *label = s->label[index];
    return LMB_OK;
}

static int32_t label_of(const lmb_dataset *d, int64_t index) { return ((const state *)d->state)->label[index]; }

/* Pass over all records, chunk by chunk. */
static lmb_status each_chunk(state *s, void (*see)(state *s, void *ctx, int64_t first, const uint8_t *records),
                             void *ctx, lmb_error *err)
{
    uint8_t *chunk = malloc(CHUNK * RECORD);
    lmb_status st = chunk ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to read CIFAR-10");

    for (int f = 0; f < s->n_files && st == LMB_OK; f++)
        for (int i = 0; i < PER_FILE && st == LMB_OK; i += CHUNK) {
            st = read_at(s, f, chunk, CHUNK * RECORD, (size_t)i * RECORD, err);
            if (st == LMB_OK)
                see(s, ctx, (int64_t)f * PER_FILE + i, chunk);
        }
    free(chunk);
    return st;
}

static void see_labels(state *s, void *unused, int64_t first, const uint8_t *records)
{
    (void)unused;
    for (int i = 0; i < CHUNK; i++)
        s->label[first + i] = records[i * RECORD];
}

static void see_content(state *s, void *hasher, int64_t first, const uint8_t *records)
{
    (void)s, (void)first;
    lmb_hash_add(hasher, records, CHUNK * RECORD);
}

/* Of what could be read: ranks that can not read the same do not agree. */
static lmb_hash hash_of(const lmb_dataset *d)
{
    state *s = d->state;
    lmb_hasher h;

    if (s->hashed)
        return s->hash;
    lmb_hash_begin(&h);
    s->hashed = each_chunk(s, see_content, &h, NULL) == LMB_OK;
    s->hash = lmb_hash_end(&h);
    return s->hash;
}

static void state_free(state *s)
{
    for (int f = 0; s && f < s->n_files; f++)
        close(s->fd[f]);
    free(s);
}

static void destroy(lmb_dataset *d) { state_free(d->state); }

static lmb_status open_file(state *s, const char *name, lmb_error *err)
{
    struct stat st;
    char path[1200];

    LMB_TRY(lmb_path_join(path, sizeof path, s->dir, name, err));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe must not wait for its writer */
    if (fd < 0)
        return LMB_FAIL(err, LMB_E_IO,
                        "%s: %s %s here (%s); unpack the binary version of CIFAR-10 and set the data set's path to "
                        "its folder",
                        s->dir, errno == ENOENT ? "there is no" : "can not open", name, strerror(errno));
    s->fd[s->n_files++] = fd;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return LMB_FAIL(err, LMB_E_IO, "%s: not a regular file", path);
    if (st.st_size != (off_t)PER_FILE * RECORD)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %lld bytes; a batch of CIFAR-10 has %d: fetch the file again", path,
                        (long long)st.st_size, PER_FILE * RECORD);
    return LMB_OK;
}

static lmb_status open_files(state *s, lmb_error *err)
{
    for (int f = 0; files[s->part][f]; f++)
        LMB_TRY(open_file(s, files[s->part][f], err));
    LMB_TRY(each_chunk(s, see_labels, NULL, err));
    for (int64_t i = 0; i < (int64_t)s->n_files * PER_FILE; i++)
        if (s->label[i] >= CLASSES)
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "%s/%s: sample %lld has label %d, but there are %d classes (labels 0 to %d)", s->dir,
                            files[s->part][i / PER_FILE], (long long)(i % PER_FILE), s->label[i], CLASSES, CLASSES - 1);
    return LMB_OK;
}

static lmb_status open_cifar(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const char *dir = ((const config *)c)->path;
    lmb_dataset *d = malloc(sizeof *d);
    state *s = calloc(1, sizeof *s);
    lmb_status st = d && s ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for CIFAR-10");

    if (st == LMB_OK && strlen(dir) >= sizeof s->dir)
        st =
            LMB_FAIL(err, LMB_E_ARG, "%.60s...: a path of %zu bytes; at most %zu", dir, strlen(dir), sizeof s->dir - 1);
    if (st == LMB_OK) {
        strcpy(s->dir, dir);
        s->part = part;
        st = open_files(s, err);
    }
    if (st != LMB_OK) {
        free(d);
        state_free(s);
        return st;
    }
    *d = (lmb_dataset){ .n = (int64_t)s->n_files * PER_FILE,
                        .shape = LMB_SHAPE(3, 32, 32),
                        .dtype = LMB_U8,
                        .classes = CLASSES,
                        .class_names = class_names,
                        .hash = hash_of,
                        .read = read_sample,
                        .label = label_of,
                        .destroy = destroy,
                        .state = s };
    *out = d;
    return LMB_OK;
}

const lmb_dataset_format lmb_dataset_cifar = {
    .name = "cifar",
    .summary = "CIFAR-10, binary version",
    .source = "Krizhevsky 2009",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_cifar,
};
