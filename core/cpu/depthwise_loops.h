/* core/cpu/depthwise_loops.h - of the loops of conv.h those of one filter a channel: vectors of channels, one weight a
 * channel and tap. Included by conv_loops.h, which has the vectors.
 */
enum {
    ABREAST = 4, /* pixels of a row at once, sharing the loads of weights */
    AHEAD = 8    /* pixels that are asked for early                       */
};

/* A row of pixels: its taps [t0, t1) meet the image, all of them in pixels [lo, hi). */
INLINE void depthwise_row(const lmbi_taps *g, const lmbi_phase *p, int64_t t0, int64_t t1, const float *source,
                          const float *w, float *result)
{
    int64_t C = g->c, jump = g->jump_x * C, step = g->step_x * C, row = g->w * C;

    for (int64_t j = 0, abreast; j < p->cols; j += abreast) {
        abreast = p->taps > 0 && j >= p->lo && j < p->hi && p->hi - p->lo >= ABREAST ? ABREAST : 1;
        if (abreast > 1 && j + ABREAST > p->hi) /* the last of them once more */
            j = p->hi - ABREAST;
        for (int64_t b = 0; b < C; b += LANES) {
            int64_t c = b + LANES <= C ? b : C - LANES;
            const float *from = source + j * step + c;
            float *to = result + j * jump + c;
            vec sum[ABREAST];
            UNROLL
            for (int u = 0; u < ABREAST; u++)
                sum[u] = (vec){ 0 };
            if (abreast > 1) {
                const float *newest = from + AHEAD * step + p->tap[p->taps - 1].at;
                UNROLL
                for (int u = 0; u < ABREAST; u++) { /* what has not been read for the row above */
                    __builtin_prefetch(newest + u * step);
                    __builtin_prefetch(to + (u + AHEAD) * jump, 1);
                    if (step != C) {
                        __builtin_prefetch(newest + u * step - C);
                        __builtin_prefetch(newest + u * step - row);
                        __builtin_prefetch(newest + u * step - row - C);
                    }
                }
                for (const lmbi_tap *t = p->tap + t0; t < p->tap + t1; t++) {
                    vec weight = load(w + (t - p->tap) * C + c);
                    UNROLL
                    for (int u = 0; u < ABREAST; u++)
                        sum[u] += weight * load(from + t->at + u * step);
                }
                UNROLL
                for (int u = 0; u < ABREAST; u++)
                    store(to + u * jump, sum[u]);
            } else {
                for (const lmbi_tap *t = p->tap + t0; t < p->tap + t1; t++)
                    if (j >= t->left && j < t->right)
                        sum[0] += load(w + (t - p->tap) * C + c) * load(from + t->at);
                store(to, sum[0]);
            }
        }
    }
}

static void depthwise(const lmbi_taps *g, const lmbi_phase *p, const float *x, const float *w, float *y)
{
    for (int64_t i = 0; i < p->rows; i++) {
        int64_t t0 = 0, t1;
        while (t0 < p->taps && (i < p->tap[t0].top || i >= p->tap[t0].bottom))
            t0++;
        for (t1 = t0; t1 < p->taps && i >= p->tap[t1].top && i < p->tap[t1].bottom;)
            t1++;
        depthwise_row(g, p, t0, t1, x + i * g->step_y * g->w * g->c, w,
                      y + ((p->y + i * g->jump_y) * g->ow + p->x) * g->c);
    }
}

/* s[t] += sums over the pixels of a padded image, for `taps` taps and one vector of channels. */
INLINE void image_gradient(const lmbi_taps *g, const lmbi_tap *tap, int taps, const float *x, const float *dy,
                           uintptr_t next, float *s, int64_t lds)
{
    int64_t C = g->c, step = g->step_x * C, row = g->step_y * g->side * C - g->ow * step, at[9];
    vec sum[9];

    UNROLL
    for (int t = 0; t < taps; t++) {
        sum[t] = (vec){ 0 };
        at[t] = ((tap[t].y - g->tap->y) * g->side + tap[t].x - g->tap->x) * C;
    }
    for (int64_t i = 0; i < g->oh; i++, x += row)
        for (int64_t j = 0; j < g->ow; j++, x += step, dy += C, next += sizeof(vec)) {
            vec d = load(dy);
            ask(next, 0);
            UNROLL
            for (int t = 0; t < taps; t++)
                sum[t] += d * load(x + at[t]);
        }
    UNROLL
    for (int t = 0; t < taps; t++)
        store(s + t * lds, load(s + t * lds) + sum[t]);
}

static void depthwise_gradient(const lmbi_taps *g, const float *image, const float *dy, float *s)
{
    int64_t C = g->c, lds = lmbi_up(C, LANES);

    for (int64_t b = 0; b < C; b += LANES) {
        int64_t c = b + LANES <= C ? b : C - LANES, t = 0;
        /* a part of the next image */
        uintptr_t next = (uintptr_t)dy + (uintptr_t)(g->oh * g->ow * (C + b)) * sizeof *dy;
        for (; t + 9 <= g->kernel; t += 9)
            image_gradient(g, g->tap + t, 9, image + c, dy + c, next, s + t * lds + b, lds);
        for (; t + 5 <= g->kernel; t += 5)
            image_gradient(g, g->tap + t, 5, image + c, dy + c, next, s + t * lds + b, lds);
        for (; t < g->kernel; t++)
            image_gradient(g, g->tap + t, 1, image + c, dy + c, next, s + t * lds + b, lds);
    }
}
