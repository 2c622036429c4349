/* core/edge/kernels_half.h - convolutions to few channels, for wide vectors; kernels_tiles.h includes it.
 *
 * Idea: where no more than half of the lanes have a channel, two neighbouring lanes share one. One `mac` then takes
 * eight activations instead of four, of which the first four go to the even lanes and the others to the odd ones, and
 * half as many steps do. At the end the two sums of a channel are added, for two pixels at once: those of one come to
 * lie in the even lanes, those of the other in the odd ones.
 *
 * What the file that includes it defines, beside what kernels_tiles.h asks for:
 *   eight(p)                  8 bytes, as often as they fit
 *   apart(p)                  LANES / 2 int32 in even lanes, 0 in odd ones
 *   both(v)                   even lanes, in both
 *   folded(a, b)              even lanes of a plus odd ones; odd lanes of b plus even ones
 *   by_pixel(v)               bytes 0, 2 ... of 16, then 1, 3 ...
 */

#define HALF_SUMS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define HALF_START(n) ints a##n = bias;
#define HALF_PRODUCT(n) a##n = mac(a##n, eight(q + n * t->pixel_bytes), line);
#define HALF_SCALED(n0, n1) scaled(folded(a##n0, a##n1), m)

UNIT static void tile_half(const tile *t, const uint8_t *x, uint8_t *y)
{
    const lmbi_edge_step *s = t->step;
    const conv_plan *p = t->plan;
    /* the weights, by their distance from the plan: GCC 12 then keeps one number more of the loop in a register */
    const uint8_t *w = (const uint8_t *)((uintptr_t)p + p->distance + t->block * p->block);
    const ints bias = apart(s->bias + LANES * t->block);
    HALF_SUMS(HALF_START)
    const int64_t *at = p->offset, *end = at + p->segments;
    do {
        const uint8_t *q = x + *at;
        size_t n = p->pairs;
        do {
            ints line = load_line(w);
            HALF_SUMS(HALF_PRODUCT)
            q += 8;
            w += WIDE;
        } while (--n);
    } while (++at < end);
    output q8 = output_of(s->y.zero_point, s->op.lo, s->op.hi);
    floats m = both(s->m + LANES * t->block);
    bytes u = by_pixel(ordered(narrow(HALF_SCALED(0, 1), HALF_SCALED(2, 3), HALF_SCALED(4, 5), HALF_SCALED(6, 7), &q8)));
    uint8_t rows[WIDE];
    if (s->y.c == LANES / 2) {
        store(y, u);
        return;
    }
    store(rows, u);
    store_tile(t, y, rows, HALF, 1, LANES / 2);
}

static const tile_row half_tile = { HALF, 1, tile_half };
