/* distill/logits.c - see logits.h: the key, the file, reading. */
#define _POSIX_C_SOURCE 200809L
#include "distill/logits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "distill/logits_file.h"
#include "train/trainer.h"

enum { VERSION = 1 };

struct lmb_logits {
    lmbi_logits_file f;
    const unsigned char *map;
};

/* ---- the key ---- */

static lmb_status make_key(const lmb_logits_key *k, bool augmented, lmb_hash *out, lmb_error *err)
{
    lmb_str teacher = LMB_STR_INIT, augment = LMB_STR_INIT;
    lmb_hasher h;
    lmb_status st = lmb_onnx_export(k->teacher, NULL, &teacher, err);
    lmb_augment changes = { 0 };

    if (st == LMB_OK && augmented) {
        changes = *k->augment;
        changes.seed = (int64_t)lmb_augment_seed(k->augment, k->seed); /* wherever it was said */
        changes.versions = 0;                                          /* fewer of them are the beginning of the file */
        st = lmb_fields_dump(lmb_augment_fields, &changes, 0, &augment);
    }
    if (st == LMB_OK) {
        lmb_hash_begin(&h);
        lmb_hash_add_text(&h, "limbeck logits 1");
        lmb_hash model = lmb_hash_of(teacher.text, teacher.n);
        lmb_hash_add(&h, &model, sizeof model);
        lmb_hash data = k->data->hash(k->data);
        lmb_hash_add(&h, &data, sizeof data);
        lmb_hash_add_text(&h,
                          strcmp(k->backend, "cuda") == 0 ? "cuda, on the GPU" : k->backend); /* once the processor's */
        lmb_hash_add(&h, &k->rows, sizeof k->rows);
        if (k->precision != LMB_TRAIN_F32) /* once there was no other */
            lmb_hash_add_text(&h, "bf16");
        if (augmented) /* else every epoch shows the same, whatever the seed */
            lmb_hash_add_text(&h, augment.text);
        *out = lmb_hash_end(&h);
    }
    lmb_str_free(&teacher);
    lmb_str_free(&augment);
    return st;
}

static lmb_status check_pair(const lmb_logits_key *k, lmb_error *err)
{
    lmb_vid in = lmb_graph_input(k->teacher, 0);
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];

    if (in == LMB_NONE || k->teacher->n_outputs < 1)
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher has no input or no output");
    const lmb_value *x = &k->teacher->value[in], *y = &k->teacher->value[k->teacher->output[0].value];
    if (x->shape.n < 1 || x->shape.d[0] < 1 ||
        lmb_shape_count(&x->shape) / x->shape.d[0] != lmb_shape_count(&k->data->shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher takes %s, the data has samples %s",
                        lmb_shape_text(&x->shape, a, sizeof a), lmb_shape_text(&k->data->shape, b, sizeof b));
    if (y->shape.n != 2 || y->shape.d[1] < 1 || y->shape.d[1] > 1 << 24)
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher answers %s; logits [N, classes] are needed",
                        lmb_shape_text(&y->shape, a, sizeof a));
    if (k->rows < 1 || k->rows > 1 << 20)
        return LMB_FAIL(err, LMB_E_ARG, "a teacher that answers %lld rows at once; it must be 1 to 1048576",
                        (long long)k->rows);
    return LMB_OK;
}

lmb_status lmbi_logits_describe(const char *folder, const lmb_logits_key *k, lmbi_logits_file *f, lmb_error *err)
{
    char hex[LMB_HASH_HEX];

    LMB_TRY(check_pair(k, err));
    memset(f, 0, sizeof *f);
    f->augmented = k->augment && lmb_augment_any(k->augment);
    LMB_TRY(make_key(k, f->augmented, &f->key, err));
    lmb_hash_hex(&f->key, hex);
    if (snprintf(f->path, sizeof f->path, "%s/logits-%.16s.bin", folder, hex) >= (int)sizeof f->path)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.80s... is too long", folder);
    f->classes = (int)k->teacher->value[k->teacher->output[0].value].shape.d[1];
    f->samples = k->data->n;
    f->versions = f->augmented ? k->augment->versions : 1;
    f->epochs = f->versions && f->versions < k->epochs ? f->versions : k->epochs;
    f->per_epoch = (f->samples + LMBI_LOGITS_ROWS - 1) / LMBI_LOGITS_ROWS;
    f->chunk_bytes = (size_t)LMBI_LOGITS_ROWS * (size_t)f->classes * sizeof(float) + LMB_HASH_BYTES;
    double bytes = (double)f->epochs * (double)f->per_epoch * (double)f->chunk_bytes;
    if (f->epochs < 1 || f->samples < 1 || bytes > 1e15)
        return LMB_FAIL(err, LMB_E_ARG,
                        "logits of %lld epochs of %lld samples, %g bytes, are not kept; use cache: false",
                        (long long)f->epochs, (long long)f->samples, bytes);
    f->chunks = f->epochs * f->per_epoch;
    f->bytes = lmbi_logits_offset(f, f->chunks);
    return LMB_OK;
}

/* ---- the file ---- */

uint64_t lmbi_logits_offset(const lmbi_logits_file *f, int64_t chunk)
{
    return LMBI_LOGITS_HEAD + (uint64_t)chunk * f->chunk_bytes;
}

void lmbi_logits_hash(const lmbi_logits_file *f, int64_t chunk, const void *rows, lmb_hash *out)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, &f->key, sizeof f->key);
    lmb_hash_add(&h, &chunk, sizeof chunk);
    lmb_hash_add(&h, rows, f->chunk_bytes - LMB_HASH_BYTES);
    *out = lmb_hash_end(&h);
}

static void make_head(const lmbi_logits_file *f, unsigned char head[LMBI_LOGITS_HEAD])
{
    uint32_t numbers[2] = { VERSION, (uint32_t)f->classes };
    int64_t shape[2] = { f->samples, LMBI_LOGITS_ROWS };

    memset(head, 0, LMBI_LOGITS_HEAD);
    memcpy(head, "LMBLOGIT", 8);
    memcpy(head + 8, numbers, sizeof numbers);
    memcpy(head + 16, shape, sizeof shape);
    memcpy(head + 32, &f->key, sizeof f->key);
    lmb_hash h = lmb_hash_of(head, 64);
    memcpy(head + 64, &h, sizeof h);
}

lmb_status lmbi_logits_create(const lmbi_logits_file *f, lmb_error *err)
{
    unsigned char head[LMBI_LOGITS_HEAD];
    make_head(f, head);
    return lmb_file_write(f->path, head, sizeof head, err);
}

static bool chunk_is_whole(const lmbi_logits_file *f, int64_t chunk, const unsigned char *bytes)
{
    lmb_hash h;
    lmbi_logits_hash(f, chunk, bytes, &h);
    return memcmp(&h, bytes + f->chunk_bytes - LMB_HASH_BYTES, sizeof h) == 0;
}

/* As many of n bytes as the file has there. */
static size_t read_at(int fd, unsigned char *to, size_t n, uint64_t at)
{
    size_t got = 0;
    while (got < n) {
        ssize_t k = pread(fd, to + got, n - got, (off_t)(at + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        got += (size_t)k;
    }
    return got;
}

lmb_status lmbi_logits_scan(const lmbi_logits_file *f, uint8_t *there, bool *sound, lmb_error *err)
{
    unsigned char head[LMBI_LOGITS_HEAD], want[LMBI_LOGITS_HEAD], *chunk;
    struct stat s;

    memset(there, 0, (size_t)f->chunks);
    *sound = false;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? LMB_OK : LMB_FAIL(err, LMB_E_IO, "%s: open failed: %s", f->path, strerror(errno));
    make_head(f, want);
    *sound = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && read_at(fd, head, sizeof head, 0) == sizeof head &&
             memcmp(head, want, sizeof head) == 0;
    chunk = *sound ? malloc(f->chunk_bytes) : NULL;
    for (int64_t c = 0; chunk && c < f->chunks && lmbi_logits_offset(f, c) < (uint64_t)s.st_size; c++)
        there[c] = read_at(fd, chunk, f->chunk_bytes, lmbi_logits_offset(f, c)) == f->chunk_bytes &&
                   chunk_is_whole(f, c, chunk);
    close(fd);
    if (*sound && !chunk)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of logits", f->chunk_bytes);
    free(chunk);
    return LMB_OK;
}

/* Free bytes of the folder's disk, and those that the file already has. */
static lmb_status room_for(const char *folder, const lmbi_logits_file *f, uint64_t *room, lmb_error *err)
{
    struct statvfs v;
    struct stat s;

    if (statvfs(folder, &v) != 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: asking for free space failed: %s", folder, strerror(errno));
    *room = (uint64_t)v.f_bavail * v.f_frsize;
    if (stat(f->path, &s) == 0)
        *room += (uint64_t)s.st_blocks * 512;
    return LMB_OK;
}

lmb_status lmb_logits_size(const char *folder, const lmb_logits_key *k, uint64_t *bytes, uint64_t *room, lmb_error *err)
{
    lmbi_logits_file f;
    LMB_TRY(lmbi_logits_describe(folder, k, &f, err));
    LMB_TRY(room_for(folder, &f, room, err));
    *bytes = f.bytes;
    return LMB_OK;
}

lmb_status lmb_logits_there(const char *folder, const lmb_logits_key *k, bool *there, lmb_error *err)
{
    lmbi_logits_file f;
    bool sound;

    LMB_TRY(lmbi_logits_describe(folder, k, &f, err));
    uint8_t *chunk = malloc((size_t)f.chunks);
    if (!chunk)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a list of %lld chunks", (long long)f.chunks);
    lmb_status st = lmbi_logits_scan(&f, chunk, &sound, err);
    *there = st == LMB_OK && !memchr(chunk, 0, (size_t)f.chunks);
    free(chunk);
    return st;
}

/* ---- opening ---- */

/* Rank 0: what is there, room for the rest, a file to write to. */
static lmb_status prepare(const char *folder, const lmbi_logits_file *f, uint8_t *there, lmb_error *err)
{
    uint64_t room = 0;
    bool sound;

    LMB_TRY(lmb_file_make_dirs(folder, err));
    LMB_TRY(lmbi_logits_scan(f, there, &sound, err));
    if (!memchr(there, 0, (size_t)f->chunks))
        return LMB_OK;
    LMB_TRY(room_for(folder, f, &room, err));
    if (f->bytes > room)
        return LMB_FAIL(
            err, LMB_E_IO,
            "the teacher's logits for %lld epochs of %lld samples need %llu bytes in %s, which has room for %llu; "
            "make room, name a `run` on a larger disk, or, for a student, use distill.cache=false or plain",
            (long long)f->epochs, (long long)f->samples, (unsigned long long)f->bytes, folder,
            (unsigned long long)room);
    return sound ? LMB_OK : lmbi_logits_create(f, err);
}

static lmb_status map_file(lmb_logits *l, lmb_error *err)
{
    const lmbi_logits_file *f = &l->f;
    struct stat s;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return LMB_FAIL(err, LMB_E_IO,
                        "%s: open failed: %s; every rank must see the run's folder, or use distill.cache=false",
                        f->path, strerror(errno));
    bool whole = fstat(fd, &s) == 0 && (uint64_t)s.st_size >= f->bytes;
    void *map = whole ? mmap(NULL, (size_t)f->bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED)
        return LMB_FAIL(err, LMB_E_IO, "%s: %s", f->path,
                        whole ? strerror(errno) : "shorter here than where it was written");
    l->map = map;
    for (int64_t c = 0; c < f->chunks; c++)
        if (!chunk_is_whole(f, c, l->map + lmbi_logits_offset(f, c)))
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: chunk %lld is not what was written; start again", f->path,
                            (long long)c);
    return LMB_OK;
}

static lmb_status open_on_all(lmb_logits *l, const char *folder, const lmb_logits_key *k, uint8_t *there, int threads,
                              lmb_comm *comm, const lmb_logits_watch *watch, lmb_error *err)
{
    LMB_TRY(lmb_comm_agree(comm, "teacher, data or augmentation", &l->f.key, sizeof l->f.key, err));
    if (comm->rank == 0)
        LMB_TRY(prepare(folder, &l->f, there, err));
    LMB_TRY(comm->broadcast(comm, there, (size_t)l->f.chunks, 0, err));
    if (memchr(there, 0, (size_t)l->f.chunks))
        LMB_TRY(lmbi_logits_fill(&l->f, k, there, threads, comm, watch, err));
    return map_file(l, err);
}

lmb_status lmb_logits_open(const char *folder, const lmb_logits_key *k, int threads, lmb_comm *comm,
                           const lmb_logits_watch *watch, lmb_logits **out, lmb_error *err)
{
    lmb_logits *l = calloc(1, sizeof *l);
    uint8_t *there = NULL;
    lmb_status st =
        l ? lmbi_logits_describe(folder, k, &l->f, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for logits");

    if (st == LMB_OK && !(there = calloc(1, (size_t)l->f.chunks)))
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a list of %lld chunks", (long long)l->f.chunks);
    if (st == LMB_OK)
        st = open_on_all(l, folder, k, there, threads, comm, watch, err);
    free(there);
    if (st != LMB_OK) {
        lmb_logits_close(l);
        return st;
    }
    *out = l;
    return LMB_OK;
}

void lmb_logits_close(lmb_logits *l)
{
    if (l && l->map)
        munmap((void *)l->map, (size_t)l->f.bytes);
    free(l);
}

void lmb_logits_extent(const lmb_logits *l, int64_t *epochs, int64_t *samples)
{
    *epochs = l->f.augmented ? l->f.epochs : 1;
    *samples = l->f.samples;
}

lmb_status lmb_logits_rows(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err)
{
    const lmb_logits *l = ctx;
    const lmbi_logits_file *f = &l->f;
    int64_t epoch = info ? info->epoch : 0;

    epoch = f->versions ? epoch % f->versions : epoch;

    for (int64_t i = 0; i < n; i++) {
        int64_t s = info && info->sample ? info->sample[i] : i;
        if (epoch >= f->epochs || s < 0 || s >= f->samples)
            return LMB_FAIL(err, LMB_E_ARG, "logits of sample %lld in epoch %lld; %s has %lld epochs of %lld samples",
                            (long long)s, (long long)epoch, f->path, (long long)f->epochs, (long long)f->samples);
        const unsigned char *chunk = l->map + lmbi_logits_offset(f, epoch * f->per_epoch + s / LMBI_LOGITS_ROWS);
        size_t row = (size_t)f->classes * sizeof *out;
        memcpy(out + i * f->classes, chunk + (size_t)(s % LMBI_LOGITS_ROWS) * row, row);
    }
    return LMB_OK;
}
