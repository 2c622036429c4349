/* core/cpu/winograd_loops.h - the loops of winograd.c, for vectors of LANES floats. Included by winograd_plain.c,
 * winograd_avx2.c and winograd_avx512.c, which say LANES, WIDE (vectors of output channels in a register tile), TALL
 * (its tiles, a divisor of 12), ROWS (its input channels in the gradient) and NAME. All three do the same operations in
 * the same order, but a multiply-add rounds once where the processor has it.
 *
 * Layouts    V [36][block / 12][c / 16][12][16]     transformed input; the 12 x 16 of a product are neighbours
 *            U [36][c][k] in panels of WIDE vectors  transformed weights
 *            M [36][block][k]                        products, or the transformed gradient of the output
 */
#include "core/cpu/winograd_transforms.h"

/* Distances between points. */
INLINE int64_t v_point(const lmbi_winograd *g) { return g->block * g->c + LMBI_PAD; }
INLINE int64_t m_point(const lmbi_winograd *g) { return g->block * g->k + LMBI_PAD; }
INLINE int64_t u_point(const lmbi_winograd *g) { return g->c * g->k + LMBI_PAD; }

INLINE int64_t v_offset(const lmbi_winograd *g, int64_t point, int64_t tile, int64_t c)
{
    int64_t group = tile / TILE * (g->c / CHUNK) + c / CHUNK;
    return point * v_point(g) + group * TILE * CHUNK + tile % TILE * CHUNK + c % CHUNK;
}

/* The second dimension of a transform, to the 36 points. */
INLINE void store_points(float *to, int64_t point, const vec *a, void (*transform)(const vec *, int, vec *))
{
    for (int i = 0; i < 6; i++) {
        vec b[6];
        transform(a + i, 6, b);
        for (int j = 0; j < 6; j++)
            store(to + (6 * i + j) * point, b[j]);
    }
}

/* Tiles [t0, t0 + count) of x -> V; slots up to `padded` are zero. */
static void transform_input(const lmbi_winograd *g, const data *x, int64_t t0, int64_t count, int64_t padded, float *v)
{
    int64_t point = v_point(g);
    place p = place_of(g, t0);

    for (int64_t t = 0; t < padded; t++, step(g, &p))
        for (int64_t c = 0; c < g->c; c += LANES) {
            vec d[36] = { 0 }, a[36];
            if (t < count)
                load_window(x + p.n * g->h * g->w * g->c + c, g->h, g->w, g->c, p.y - g->ph, p.x - g->pw, 6, d);
            for (int j = 0; j < 6; j++)
                input_6(d + j, 6, a + 6 * j); /* columns; a is transposed */
            store_points(v + v_offset(g, 0, t, c), point, a, input_6);
        }
}

/* M -> tiles [t0, t0 + count) of y. */
static void transform_output(const lmbi_winograd *g, const float *m, int64_t t0, int64_t count,
                             const lmbi_winograd_end *e, data *y)
{
    int64_t point = m_point(g);
    vec lo = (vec){ 0 } + e->lo, hi = (vec){ 0 } + e->hi;
    place p = place_of(g, t0);

    for (int64_t t = 0; t < count; t++, step(g, &p)) {
        int rows = g->oh - p.y < 4 ? (int)(g->oh - p.y) : 4, cols = g->ow - p.x < 4 ? (int)(g->ow - p.x) : 4;
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec s[36], a[24], b[16], shift = load(e->bias ? e->bias + k : zeros);
            int64_t at = ((p.n * g->oh + p.y) * g->ow + p.x) * g->row + k;
            for (int i = 0; i < 36; i++)
                s[i] = load(m + i * point + t * g->k + k);
            for (int j = 0; j < 6; j++)
                output_4(s + j, 6, a + 4 * j);
            for (int i = 0; i < 4; i++)
                output_4(a + i, 4, b + 4 * i);
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < cols; j++) {
                    int64_t pixel = at + (i * g->ow + j) * g->row;
                    vec v = b[4 * i + j] + shift;
                    if (e->add)
                        v += get((const data *)e->add + pixel);
                    v = choose(v < lo, lo, v);
                    put(y + pixel, choose(v > hi, hi, v));
                }
        }
    }
}

/* Tiles of dy -> M, as the gradient sees them. */
static void transform_gradient(const lmbi_winograd *g, const data *dy, int64_t t0, int64_t count, int64_t padded,
                               float *m)
{
    int64_t point = m_point(g);
    place p = place_of(g, t0);

    for (int64_t t = 0; t < padded; t++, step(g, &p))
        for (int64_t k = 0; k < g->k; k += LANES) {
            vec d[16] = { 0 }, a[24];
            if (t < count)
                load_window(dy + p.n * g->oh * g->ow * g->k + k, g->oh, g->ow, g->k, p.y, p.x, 4, d);
            for (int j = 0; j < 4; j++)
                output_gradient_6(d + j, 4, a + 6 * j);
            store_points(m + t * g->k + k, point, a, output_gradient_6);
        }
}

/* ---- products ---- */

/* m[TALL][wide] = v [c][TALL] u [c][wide]; `ldm` is the row of m. */
INLINE void product(const float *v, const float *u, int64_t c, int wide, float *m, int64_t ldm)
{
    vec sum[TALL][WIDE];

    for (int t = 0; t < TALL; t++)
        for (int w = 0; w < wide; w++)
            sum[t][w] = (vec){ 0 };
    for (int64_t chunk = 0; chunk < c; chunk += CHUNK, v += TILE * CHUNK)
        for (int i = 0; i < CHUNK; i++, u += wide * LANES) {
            vec right[WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = load(u + w * LANES);
            for (int t = 0; t < TALL; t++)
                for (int w = 0; w < wide; w++)
                    sum[t][w] += v[t * CHUNK + i] * right[w];
        }
    for (int t = 0; t < TALL; t++)
        for (int w = 0; w < wide; w++)
            store(m + t * ldm + w * LANES, sum[t][w]);
}

static void multiply(const lmbi_winograd *g, const float *v, const float *u, int64_t tiles, float *m)
{
    for (int64_t point = 0; point < LMBI_POINTS; point++)
        for (int64_t k = 0; k < g->k;) {
            int64_t left = g->k - k;
            const float *panel = u + point * u_point(g) + k * g->c;
            for (int64_t t = 0; t < tiles; t += TALL) {
                const float *rows = v + v_offset(g, point, t, 0);
                float *to = m + point * m_point(g) + t * g->k + k;
                if (left >= WIDE * LANES)
                    product(rows, panel, g->c, WIDE, to, g->k);
                else
                    product(rows, panel, g->c, 1, to, g->k);
            }
            k += left >= WIDE * LANES ? WIDE * LANES : LANES;
        }
}

/* s[ROWS][wide] += v [tiles][ROWS] m [tiles][wide] */
INLINE void gradient_product(const float *v, int64_t group, const float *m, int64_t ldm, int64_t tiles, int wide,
                             float *s, int64_t lds)
{
    vec sum[ROWS][WIDE];

    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            sum[r][w] = load(s + r * lds + w * LANES);
    for (int64_t t0 = 0; t0 < tiles; t0 += TILE, v += group)
        for (int t = 0; t < TILE; t++, m += ldm) {
            vec right[WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = load(m + w * LANES);
            for (int r = 0; r < ROWS; r++)
                for (int w = 0; w < wide; w++)
                    sum[r][w] += v[t * CHUNK + r] * right[w];
        }
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < wide; w++)
            store(s + r * lds + w * LANES, sum[r][w]);
}

static void multiply_gradient(const lmbi_winograd *g, const float *v, const float *m, int64_t tiles, const band *b)
{
    int64_t group = g->c * TILE; /* from 12 tiles to the next 12 */

    for (int64_t point = 0; point < LMBI_POINTS; point++)
        for (int64_t k = 0; k < b->k;) {
            int64_t left = b->k - k;
            const float *right = m + point * m_point(g) + b->k0 + k;
            for (int64_t c = 0; c < b->c; c += ROWS) {
                const float *rows = v + v_offset(g, point, 0, b->c0 + c);
                float *to = b->s + point * s_point(b) + c * b->k + k;
                if (left >= WIDE * LANES)
                    gradient_product(rows, group, right, g->k, tiles, WIDE, to, b->k);
                else
                    gradient_product(rows, group, right, g->k, tiles, 1, to, b->k);
            }
            k += left >= WIDE * LANES ? WIDE * LANES : LANES;
        }
}

/* ---- weights ---- */

/* backward: inputs and outputs change places and the kernel turns by 180 degrees. */
static void transform_weights(const lmbi_winograd *g, const float *w, int backward, float *u)
{
    int64_t per_k = backward ? 9 : 9 * g->c, per_c = backward ? 9 * g->row : 9, point = u_point(g);
    float chunk[CHUNK * 9 * LANES];

    for (int64_t k = 0; k < g->k; k += LANES) {
        int64_t whole = g->k / (WIDE * LANES) * (WIDE * LANES), wide = k < whole ? WIDE * LANES : LANES;
        int64_t k0 = k / wide * wide; /* of the panel */
        for (int64_t c = 0; c < g->c; c++) {
            vec taps[9], a[18], b[6];
            if (c % CHUNK == 0)
                taps_of(w + k * per_k + c * per_c, per_k, per_c, chunk);
            for (int i = 0; i < 9; i++)
                taps[i] = load(chunk + (9 * (c % CHUNK) + (backward ? 8 - i : i)) * LANES);
            for (int j = 0; j < 3; j++)
                weights_6(taps + j, 3, a + 6 * j);
            for (int i = 0; i < 6; i++) {
                weights_6(a + i, 6, b);
                for (int j = 0; j < 6; j++)
                    store(u + (6 * i + j) * point + k0 * g->c + c * wide + (k - k0), b[j]);
            }
        }
    }
}

static void forward(const lmbi_winograd *g, const void *x, const float *u, const lmbi_winograd_end *e, void *y,
                    float *scratch)
{
    float *v = scratch, *m = scratch + LMBI_POINTS * v_point(g);

    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_input(g, x, t, count, padded, v);
        multiply(g, v, u, padded, m);
        transform_output(g, m, t, count, e, y);
    }
}

static void banded(const lmbi_winograd *g, const void *x, const float *w, int backward, const lmbi_winograd_end *e,
                   void *y, float *scratch)
{
    float *v = scratch, *u = v + LMBI_POINTS * v_point(g), *m = u + lmbi_winograd_points(g->c, LMBI_BAND);

    transform_input(g, x, 0, g->tiles, g->block, v);
    for (int64_t k = 0; k < g->row; k += LMBI_BAND) {
        lmbi_winograd b = outputs_from(g, k);
        lmbi_winograd_end end = end_from(e, k);
        transform_weights(&b, w + k * (backward ? 9 : 9 * g->c), backward, u);
        multiply(&b, v, u, g->block, m);
        transform_output(&b, m, 0, g->tiles, &end, (data *)y + k);
    }
}

static void gradient(const lmbi_winograd *g, const void *x, const void *dy, float *dw, float *scratch)
{
    float *v = scratch, *m = v + LMBI_POINTS * v_point(g), *s = m + LMBI_POINTS * m_point(g);

    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_input(g, x, t, count, padded, v);
        transform_gradient(g, dy, t, count, padded, m);
        for (band b = first_band(g, s); b.k0 < g->k; next_band(g, &b)) {
            if (t == 0)
                memset(s, 0, sizeof *s * (size_t)(LMBI_POINTS * s_point(&b)));
            multiply_gradient(g, v, m, padded, &b);
            if (t + count == g->tiles)
                gradient_of_weights(g, &b, dw);
        }
    }
}

const lmbi_winograd_loops NAME = { transform_weights, forward, banded, gradient, 1 };
