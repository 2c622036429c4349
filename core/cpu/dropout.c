/* core/cpu/dropout.c - Dropout and its gradient over f32: the words that decide are drawn for 64 elements at a time, so
 * that the generator's multiplications become vector instructions. The same bits as core/ops/dropout.c.
 */
#include "core/ops/dropout.h"

#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/kernels.h"

enum { BLOCKS = 16, AT_ONCE = 4 * BLOCKS, ROUNDS = 10 };
#define KEPT _Pragma("GCC unroll 1") /* as a loop */

/* Philox4x32-10 (core/base/random.h) of `BLOCKS` counters that follow each other, in the order of elements.
 * Unrolled, the loops would be no vectors to the compiler. */
LMB_HOT static void draw(const lmb_rand *s, uint32_t word[AT_ONCE])
{
    uint32_t k0 = s->key[0], k1 = s->key[1], c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];

    KEPT
    for (int i = 0; i < BLOCKS; i++) {
        c0[i] = s->counter[0] + (uint32_t)i;
        c1[i] = s->counter[1];
        c2[i] = s->counter[2];
        c3[i] = s->counter[3];
    }
    for (int r = 0; r < ROUNDS; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        KEPT
        for (int i = 0; i < BLOCKS; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)p1;
            c3[i] = (uint32_t)p0;
        }
    KEPT
    for (int i = 0; i < BLOCKS; i++) {
        word[4 * i] = c0[i];
        word[4 * i + 1] = c1[i];
        word[4 * i + 2] = c2[i];
        word[4 * i + 3] = c3[i];
    }
}

/* By bits: a branch that half of the elements take would be guessed wrong as often. */
LMB_HOT static void keep_some(const uint32_t *LMB_RESTRICT word, uint32_t threshold, float keep,
                              const float *LMB_RESTRICT x, float *LMB_RESTRICT y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] * keep;
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        bits &= -(uint32_t)(word[i] >= threshold);
        memcpy(&y[i], &bits, sizeof bits);
    }
}

static void drop(const lmb_run *r, const lmbi_dropout *d)
{
    uint32_t word[AT_ONCE];

    for (int64_t n = 0; n < d->rows; n++) {
        lmb_rand s = lmbi_dropout_row(r, d->seed, n);
        for (int64_t i = 0; i < d->width; i += AT_ONCE) {
            int64_t at = n * d->width + i, some = d->width - i < AT_ONCE ? d->width - i : AT_ONCE;
            s.counter[0] = (uint32_t)(i / 4);
            draw(&s, word);
            keep_some(word, d->threshold, d->keep, d->x + at, d->y + at, some);
            for (int64_t k = 0; k < some && d->mask; k++)
                d->mask[at + k] = word[k] >= d->threshold;
        }
    }
}

static bool accepts(const lmb_call *c, const char **why)
{
    *why = "only f32";
    return c->in[0].dtype == LMB_F32;
}

static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_dropout d;

    (void)state;
    if (!lmbi_dropout_of(r, &d))
        return lmb_op_dropout.run(r, err);
    drop(r, &d);
    return LMB_OK;
}

static lmb_status grad_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_dropout d;

    (void)state, (void)err;
    lmbi_dropout_grad_of(r, &d);
    drop(r, &d);
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_dropout = {
    .name = "cpu:dropout", .op = "Dropout", .domain = "", .accepts = accepts, .run = run,
};
const lmb_kernel lmbi_cpu_dropout_grad = {
    .name = "cpu:dropout_grad", .op = "DropoutGrad", .domain = "limbeck", .accepts = accepts, .run = grad_run,
};
