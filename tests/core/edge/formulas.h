/* tests/core/edge/formulas.h - the ground of tests that hold ops against the formulas of lmb.h, written once more:
 * random operands, rounding, and a model that every kernel set must compute to the byte.
 *
 * The references work in CHW with the weights as ONNX has them, sums in 64 bits and share no code with the library, so
 * that they also check the writer's permutations, the layouts at both ends, and padding. */
#ifndef LMB_TESTS_CORE_EDGE_FORMULAS_H
#define LMB_TESTS_CORE_EDGE_FORMULAS_H

#include <math.h>
#include <string.h>

#include "core/base/random.h"
#include "core/edge/laid.h"
#include "tests/check_main.h"

static lmb_rand stream;
static uint32_t drawn;
static int repacked_only; /* these shapes are also tried laid out elsewhere */

static inline void setup(uint64_t row)
{
    stream = lmb_rand_at(41, LMB_RAND_TEST, 0, row);
    drawn = 0;
    repacked_only = 0;
}

static inline uint32_t below(uint32_t n) { return lmb_rand_below(&stream, drawn++, n); }

static inline void *zeros(size_t n)
{
    void *p = calloc(n ? n : 1, 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* Random, or as extreme as can be: the largest sums. */
static inline void fill(uint8_t *p, size_t n, int extreme)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(extreme ? (below(2) ? 255 : 0) : below(256));
}

static inline void fill_weights(int8_t *p, size_t n, int extreme)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)(extreme ? (extreme == 1 ? -128 : 127) : (int)below(256) - 128);
}

static inline uint8_t quantise(float v, const lmb_edge_quant *y)
{
    double q = nearbyint((double)v) + y->zero_point;
    return (uint8_t)(q < y->lo ? y->lo : q > y->hi ? y->hi : q);
}

static inline void check_run(lmb_edge_model *m, const uint8_t *input, const uint8_t *want, size_t bytes)
{
    void *memory = zeros(lmb_edge_prepare_bytes(m)), *arena = zeros(lmb_edge_arena_bytes(m));
    uint8_t *got = zeros(bytes);
    lmb_edge_prepare(m, memory);
    ck_assert_int_eq(lmb_edge_run(m, arena, input, got), LMB_EDGE_OK);
    for (size_t k = 0; k < bytes; k++)
        ck_assert_msg(got[k] == want[k], "%s%s, row %llu: byte %zu is %d, not %d", lmb_edge_kernels_of(m),
                      m->laid ? ", laid out" : "", (unsigned long long)stream.counter[2], k, got[k], want[k]);
    free(memory);
    free(arena);
    free(got);
}

/* Finish the model and demand `want` from each kernel set that this CPU can run: repacking, then from weights that are
 * laid out in the file. */
static inline void check_model(lmb_edge_writer *w, const uint8_t *input, const void *want, size_t bytes)
{
    char why[200] = "";
    lmb_edge_buffer file = { NULL, 0, 0 }, laid = { NULL, 0, 0 };
    lmb_edge_model m;
    ck_assert_msg(lmb_edge_write_finish(w, 0, &file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    lmb_edge_writer_destroy(w);
    int usable, n = 0;
    const char *name, *sets[LMB_EDGE_LAID_SETS];
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        if (!usable)
            continue;
        ck_assert_int_eq(lmb_edge_use(&m, name), LMB_EDGE_OK);
        check_run(&m, input, (const uint8_t *)want, bytes);
        if (strcmp(name, "scalar") != 0 && !repacked_only)
            sets[n++] = name;
    }
    if (!n) {
        free(file.data);
        return;
    }
    ck_assert_msg(lmb_edge_write_laid(file.data, file.size, sets, n, &laid, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    void *mapped = aligned_alloc(64, (laid.size + 63) / 64 * 64);
    ck_assert_ptr_nonnull(mapped);
    memcpy(mapped, laid.data, laid.size);
    ck_assert_int_eq(lmb_edge_open(mapped, laid.size, &m, why, sizeof why), LMB_EDGE_OK);
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(lmb_edge_use(&m, sets[i]), LMB_EDGE_OK);
        ck_assert_msg(lmb_edge_use_laid(&m, why, sizeof why) == LMB_EDGE_OK, "%s: %s", sets[i], why);
        check_run(&m, input, (const uint8_t *)want, bytes);
    }
    free(mapped);
    free(laid.data);
    free(file.data);
}

#endif
