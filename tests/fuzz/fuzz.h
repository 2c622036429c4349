/* tests/fuzz/fuzz.h - mutated inputs for parsers of outside bytes, the same ones at every run.
 *
 * Idea: a target takes bytes and must return whatever they are, with its own promises asserted; the sanitizers
 * watch the rest. Inputs are valid seeds with a few edits: flipped bits, extreme values, cuts, repeats, splices
 * of another seed. The edits are pure functions of the round, so a failure comes back at the next run. Each input
 * is a heap block of its exact size: reading one byte further is seen by AddressSanitizer.
 *
 * The same targets are libFuzzer's (entry.c). Its corpora begin with tests/fuzz/seeds/<suite>/<target>/, where an input
 * that found something is kept; what lies there is tried here as well. LMB_FUZZ_SEEDS=tests/fuzz/seeds writes the seeds
 * there.
 */
#ifndef LMB_TESTS_FUZZ_H
#define LMB_TESTS_FUZZ_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "tests/check_main.h"

enum { FUZZ_CAP = 1 << 17, FUZZ_EDITS = 4 };

typedef struct fuzz_seed {
    const uint8_t *data;
    size_t bytes;
} fuzz_seed;

typedef void (*fuzz_target)(const uint8_t *data, size_t bytes);

typedef struct fuzz_dice {
    lmb_rand stream;
    uint32_t thrown;
} fuzz_dice;

static inline uint32_t fuzz_below(fuzz_dice *d, size_t bound)
{
    return bound ? lmb_rand_below(&d->stream, d->thrown++, (uint32_t)bound) : 0;
}

/* Open or close a gap of `n` bytes at `at`; what does not fit FUZZ_CAP is cut off the end. */
static inline size_t fuzz_insert(uint8_t *buf, size_t bytes, size_t at, const uint8_t *from, size_t n)
{
    if (n > FUZZ_CAP - at)
        n = FUZZ_CAP - at;
    if (bytes > FUZZ_CAP - n)
        bytes = FUZZ_CAP - n;
    memmove(buf + at + n, buf + at, bytes - at);
    memcpy(buf + at, from, n);
    return bytes + n;
}

static inline size_t fuzz_edit(uint8_t *buf, size_t bytes, const fuzz_seed *other, fuzz_dice *d)
{
    static const uint8_t extreme[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, ':', '\n', '0' };
    uint8_t piece[64];
    size_t at = fuzz_below(d, bytes + 1), n = 1 + fuzz_below(d, sizeof piece);
    size_t left = bytes - at < n ? bytes - at : n;

    switch (fuzz_below(d, 7)) {
    case 0:
        if (left)
            buf[at] ^= (uint8_t)(1u << fuzz_below(d, 8));
        return bytes;
    case 1: /* numbers at the ends of their range; lengths sit in 2, 4 or 8 bytes */
        n = (size_t)1 << fuzz_below(d, 4);
        memset(buf + at, extreme[fuzz_below(d, sizeof extreme)], left < n ? left : n);
        return bytes;
    case 2:
        memmove(buf + at, buf + at + left, bytes - at - left);
        return bytes - left;
    case 3: return at;
    case 4: /* a part once more */
        memcpy(piece, buf + at, left);
        return fuzz_insert(buf, bytes, fuzz_below(d, bytes + 1), piece, left);
    case 5: /* noise */
        for (size_t i = 0; i < n; i++)
            piece[i] = (uint8_t)fuzz_below(d, 256);
        return fuzz_insert(buf, bytes, at, piece, n);
    default: /* the tail of another valid input */
        n = fuzz_below(d, other->bytes + 1);
        return fuzz_insert(buf, at, at, other->data + n, other->bytes - n);
    }
}

static inline void fuzz_write_seeds(const char *root, const char *name, const fuzz_seed *seeds, size_t n)
{
    char path[4096];
    snprintf(path, sizeof path, "mkdir -p '%s/%s'", root, name);
    ck_assert_int_eq(system(path), 0);
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s/%02zu", root, name, i);
        FILE *f = fopen(path, "wb");
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(fwrite(seeds[i].data, 1, seeds[i].bytes, f), seeds[i].bytes);
        fclose(f);
    }
}

/* All files of the target's folder, which need not exist. */
static inline void fuzz_kept(fuzz_target target, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/fuzz/seeds/%s", LMB_SOURCE_DIR, name);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        uint8_t *data = malloc(FUZZ_CAP);
        snprintf(path, sizeof path, "%s/tests/fuzz/seeds/%s/%s", LMB_SOURCE_DIR, name, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (f && data) {
            size_t n = fread(data, 1, FUZZ_CAP, f);
            uint8_t *exact = realloc(data, n ? n : 1);
            data = exact ? exact : data;
            target(data, n);
        }
        if (f)
            fclose(f);
        free(data);
    }
    if (d)
        closedir(d);
}

/* Every seed as it is, the files of the target's folder, then `rounds` mutated seeds. */
#define fuzz_run(target, ...) fuzz_run_named(FUZZ_SUITE "/" #target, target, __VA_ARGS__) /* seeds, how many, rounds */
static inline void fuzz_run_named(const char *name, fuzz_target target, const fuzz_seed *seeds, size_t n_seeds,
                                  uint32_t rounds)
{
    uint8_t *buf = malloc(FUZZ_CAP);
    if (getenv("LMB_FUZZ_SEEDS"))
        fuzz_write_seeds(getenv("LMB_FUZZ_SEEDS"), name, seeds, n_seeds);
    fuzz_kept(target, name);
    ck_assert_ptr_nonnull(buf);
    for (uint32_t round = 0; round < n_seeds + rounds; round++) {
        fuzz_dice d = { lmb_rand_at(2026, LMB_RAND_TEST, 0, round), 0 };
        bool keep = round < n_seeds;
        const fuzz_seed *seed = &seeds[keep ? round : fuzz_below(&d, n_seeds)];
        size_t bytes = seed->bytes;
        uint8_t *exact;

        memcpy(buf, seed->data, bytes);
        for (uint32_t i = keep ? 0 : 1 + fuzz_below(&d, FUZZ_EDITS); i > 0; i--)
            bytes = fuzz_edit(buf, bytes, &seeds[fuzz_below(&d, n_seeds)], &d);
        exact = malloc(bytes ? bytes : 1);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, buf, bytes);
        mark_point();
        target(exact, bytes);
        free(exact);
    }
    free(buf);
}

#endif
