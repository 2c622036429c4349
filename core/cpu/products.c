/* core/cpu/products.c - the sum over shards of the gradients of one matrix, from what each of them is a product of.
 *
 * Idea: the gradient of a full layer's weights is dy' x, with one row for each sample of a shard: a few rows, whose
 * product is as large as the weights. Written for each shard and summed afterwards it is moved through memory several
 * times; multiplied when it is summed, it is written once. A block of the result stays in the nearest cache while the
 * shards' products are added to it along the tree over shards (train/reduce.h), each element in the same order whatever
 * the blocks are.
 */
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/conv.h"
#include "core/cpu/products.h"

enum { BLOCK_ROWS = 24, BLOCK_COLUMNS = 256 }; /* 24 KiB a block */

typedef struct sum {
    const lmb_factors *const *f;
    const float *weight;
    int count;
    const lmbi_conv_loops *l;
    int64_t m, n, lo, hi, block; /* rows [lo, hi) of the result; rows of a block           */
    int64_t ld, deep;            /* of the turned rows of a; most rows of a shard          */
    float *turned, *packed, *blocks; /* [count][hi - lo, padded][ld]; [count] of a block of columns; [levels] */
    int64_t at[BLOCK_ROWS * 2];  /* where the rows of a block begin                       */
} sum;

static int64_t rows_of(const sum *s) { return lmbi_up(s->hi - s->lo, s->l->tall) + s->l->tall; }
static int64_t block_floats(const sum *s) { return s->block * BLOCK_COLUMNS; }

static int levels(int count)
{
    int n = 2;
    for (int64_t k = 1; k < count; k *= 2)
        n++;
    return n;
}

static sum begin(const lmb_factors *const *f, const float *weight, int count, int64_t lo, int64_t hi)
{
    const lmbi_conv_loops *list[4];
    sum s = { .f = f,
              .weight = weight,
              .count = count,
              .l = lmbi_conv_choices(list)[0],
              .m = f[0]->m,
              .n = f[0]->n,
              .lo = lo,
              .hi = hi };

    for (int i = 0; i < count; i++)
        s.deep = f[i]->rows > s.deep ? f[i]->rows : s.deep;
    s.ld = lmbi_up(s.deep, 16) + 16; /* not a power of two: rows shall not meet in one set of the cache */
    s.block = lmbi_up(BLOCK_ROWS, s.l->tall);
    return s;
}

size_t lmb_products_scratch(const lmb_factors *const *f, int count, int64_t rows)
{
    sum s = begin(f, NULL, count, 0, rows);
    return sizeof(float) * (size_t)(count * rows_of(&s) * s.ld + count * lmbi_packed(s.l, s.deep, BLOCK_COLUMNS) +
                                    levels(count) * block_floats(&s) + 64);
}

/* Columns [lo, hi) of a become rows. */
static void turn(const sum *s, const lmb_factors *f, float *to)
{
    for (int64_t r = 0; r < f->rows; r++)
        for (int64_t i = s->lo; i < s->hi; i++)
            to[(i - s->lo) * s->ld + r] = f->a[r * s->m + i];
}

LMB_HOT static void add_weighed(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, float a, float b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        into[i] = into[i] * a + from[i] * b;
}

LMB_HOT static void add(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        into[i] += from[i];
}

LMB_HOT static void weigh(float *into, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        into[i] *= a;
}

/* Where in the result a block lies. */
typedef struct place { int64_t row, rows, columns; } place;

static void multiply(const sum *s, int shard, const place *p, float *to)
{
    s->l->multiply(s->turned + (shard * rows_of(s) + p->row - s->lo) * s->ld, s->ld, p->rows, s->f[shard]->rows,
                   s->packed + shard * lmbi_packed(s->l, s->deep, BLOCK_COLUMNS), p->columns, to, s->at, false);
}

/* The tree over shards [first, first + size), size a power of two, into block `level`; deeper blocks are free. */
static void add_up(const sum *s, int first, int size, const place *p, int level)
{
    float *into = s->blocks + level * block_floats(s), *other = into + block_floats(s);
    int64_t n = p->rows * p->columns;

    if (size <= 2) {
        multiply(s, first, p, into);
        if (size == 2 && first + 1 < s->count) {
            multiply(s, first + 1, p, other);
            add_weighed(into, other, s->weight[first], s->weight[first + 1], n);
        } else if (s->weight[first] != 1) {
            weigh(into, s->weight[first], n);
        }
        return;
    }
    add_up(s, first, size / 2, p, level);
    if (first + size / 2 < s->count) {
        add_up(s, first + size / 2, size / 2, p, level + 1);
        add(into, other, n);
    }
}

void lmb_products_sum(const lmb_factors *const *f, const float *weight, int count, int64_t lo, int64_t hi, float *out,
                      void *scratch)
{
    sum s = begin(f, weight, count, lo, hi);
    int size = 1;

    while (size < count)
        size *= 2;
    s.turned = scratch;
    s.packed = s.turned + count * rows_of(&s) * s.ld;
    s.blocks = s.packed + count * lmbi_packed(s.l, s.deep, BLOCK_COLUMNS);
    memset(s.turned, 0, sizeof(float) * (size_t)(count * rows_of(&s) * s.ld));
    for (int i = 0; i < count; i++)
        turn(&s, f[i], s.turned + i * rows_of(&s) * s.ld);
    for (int64_t j = 0; j < s.n; j += BLOCK_COLUMNS) {
        place p = { .columns = s.n - j < BLOCK_COLUMNS ? s.n - j : BLOCK_COLUMNS };
        for (int i = 0; i < count; i++)
            lmbi_pack(s.l, f[i]->b + j, NULL, 1, f[i]->rows, s.n, p.columns, 1, f[i]->scale,
                      s.packed + i * lmbi_packed(s.l, s.deep, BLOCK_COLUMNS));
        for (int64_t r = 0; r < s.block; r++)
            s.at[r] = r * p.columns;
        for (p.row = lo; p.row < hi; p.row += s.block) {
            p.rows = hi - p.row < s.block ? hi - p.row : s.block;
            add_up(&s, 0, size, &p, 0);
            for (int64_t r = 0; r < p.rows; r++)
                memcpy(out + (p.row + r) * s.n + j, s.blocks + r * p.columns, sizeof(float) * (size_t)p.columns);
        }
    }
}
