/* train/sum_tree.c - see sum_tree.h. */
#include "train/sum_tree.h"

#include <math.h>

#include "core/base/compiler.h"

LMB_HOT static void add(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

LMB_HOT static void least(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] = from[i] < into[i] ? from[i] : into[i];
}

LMB_HOT static void greatest(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] = from[i] > into[i] ? from[i] : into[i];
}

LMB_HOT static void add_weighed(float *LMB_RESTRICT into, const float *LMB_RESTRICT from, float a, float b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] = into[i] * a + from[i] * b;
}

LMB_HOT static void weigh(float *into, float a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        into[i] *= a;
}

/* Where a stretch that is summed ends, and the segment behind it that is not: NULL at the end of the bucket. Positions
 * count from the bucket's front. */
static const lmb_segment *next_stretch(const lmbi_stretch *p, int *segment, size_t *end)
{
    while (*segment < p->b->last) {
        int at = (*segment)++;
        const lmb_segment *s = &p->layout->segment[at];
        *end = LMBI_SUMS + s->offset - p->b->lo;
        if (s->reduce != LMB_REDUCE_MEAN || (p->apart && p->apart[at].rows > 0))
            return s;
    }
    *end = p->b->n;
    return NULL;
}

/* What of [lo, hi) lies in [*from, *to). */
static bool overlap(size_t lo, size_t hi, size_t *from, size_t *to)
{
    *from = *from > lo ? *from : lo;
    *to = *to < hi ? *to : hi;
    return *from < *to;
}

void lmbi_tree_combine(void *stretch, float *into, const float *from, size_t lo, size_t n)
{
    const lmbi_stretch *p = stretch;
    const lmb_segment *s;
    size_t at = 0, end, hi = lo + n;
    int segment = p->b->first;

    do {
        s = next_stretch(p, &segment, &end);
        size_t next = end + (s ? s->count : 0), a = at, b = end, c = end, d = next;
        if (overlap(lo, hi, &a, &b))
            add(into + (a - lo), from + (a - lo), b - a);
        if (s && s->reduce != LMB_REDUCE_MEAN && overlap(lo, hi, &c, &d))
            (s->reduce == LMB_REDUCE_MIN ? least : greatest)(into + (c - lo), from + (c - lo), d - c);
        at = next;
    } while (s && at < hi);
}

void lmbi_tree_leaves(const lmbi_stretch *p, float *into, float a, const float *from, float c)
{
    const lmb_segment *s;
    size_t at = p->b->lo ? 0 : LMBI_SUMS, end;
    int segment = p->b->first;

    if (from)
        add(into, from, at);
    do {
        s = next_stretch(p, &segment, &end);
        if (from)
            add_weighed(into + at, from + at, a, c, end - at);
        else if (a != 1)
            weigh(into + at, a, end - at);
        if (s && s->reduce != LMB_REDUCE_MEAN && from)
            (s->reduce == LMB_REDUCE_MIN ? least : greatest)(into + end, from + end, s->count);
        at = end + (s ? s->count : 0);
    } while (s);
}

void lmbi_tree_neutral(const lmb_state_layout *l, float *v)
{
    for (size_t i = 0; i < LMBI_SUMS + l->count; i++)
        v[i] = -0.0f;
    for (int i = 0; i < l->n; i++) {
        const lmb_segment *s = &l->segment[i];
        for (size_t k = 0; s->reduce != LMB_REDUCE_MEAN && k < s->count; k++)
            v[LMBI_SUMS + s->offset + k] = s->reduce == LMB_REDUCE_MIN ? INFINITY : -INFINITY;
    }
}
