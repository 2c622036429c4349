/* core/cpu/winograd_bf16.c - the loops of winograd.c over feature maps in bf16, for AVX-512 with BF16.
 *
 * Transforms are f32; their results are rounded to bf16 and multiplied in pairs, two to a lane, into sums of f32: twice
 * the products a cycle, half the bytes. Rounding after the transform costs more than before it: the error of an output
 * is about 1 % of the typical output, a tenth of a percent of what the sum of the products' magnitudes would be.
 *
 * Layouts    V [36][block / 12][c / 16][12][16]      forward: two channels are a pair
 *            V [36][block / 12][c / 16][6][16][2]    gradient: two tiles are a pair
 *            U [36][c / 2][k][2] in panels of 32     transformed weights
 *            M [36][block][k] f32                    products
 *            D [36][block / 2][k][2]                 transformed gradient of the output
 *            S [36][c][k] f32                        sums of the gradient
 *
 * From one point to the next it is some more than that, see LMBI_PAD; numbers are half as long as what winograd.c
 * provides for.
 */
enum { LANES = 16 };
#define DATA_IS_BF16
#include "core/cpu/winograd_transforms.h"

enum { WIDE = 2, TALL = 12, ROWS = 8, ROWS_ALONE = 16, PAD = 2 * LMBI_PAD };

/* Distances between points, in numbers. */
INLINE int64_t v_point(const lmbi_winograd *g) { return g->block * g->c + PAD; }
INLINE int64_t d_point(const lmbi_winograd *g) { return g->block * g->k + PAD; }
INLINE int64_t m_point(const lmbi_winograd *g) { return g->block * g->k + LMBI_PAD; }
INLINE int64_t u_point(const lmbi_winograd *g) { return g->c * g->k + PAD; }

INLINE __m512bh pairs_at(const uint16_t *p) { return (__m512bh)_mm512_loadu_si512(p); }
INLINE __m512bh pair_everywhere(const uint16_t *p)
{
    int32_t both;
    memcpy(&both, p, sizeof both);
    return (__m512bh)_mm512_set1_epi32(both);
}
INLINE __m512 add_products(__m512 sum, __m512bh a, __m512bh b) { return _mm512_dpbf16_ps(sum, a, b); }

INLINE __m256i at(const uint16_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
INLINE __m256i rounded(vec v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }

/* first[0], second[0], first[1], second[1], ... */
INLINE void store_pairs(uint16_t *to, __m256i first, __m256i second)
{
    __m512i low = _mm512_cvtepu16_epi32(first), high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16);
    _mm512_storeu_si512(to, _mm512_or_si512(low, high));
}

INLINE int64_t v_offset(const lmbi_winograd *g, int64_t point, int64_t tile, int64_t c)
{
    return point * v_point(g) + (tile / TILE * (g->c / CHUNK) + c / CHUNK) * TILE * CHUNK + tile % TILE * CHUNK;
}

/* ---- transforms ---- */

/* A tile of x, 16 channels from c on -> its 36 points, `point` numbers from one to the next. */
INLINE void input_points(const lmbi_winograd *g, const data *x, const place *p, int64_t c, uint16_t *to, int64_t point)
{
    vec d[36], a[36], b[6];

    load_window(x + p->n * g->h * g->w * g->c + c, g->h, g->w, g->c, p->y - g->ph, p->x - g->pw, 6, d);
    for (int j = 0; j < 6; j++)
        input_6(d + j, 6, a + 6 * j);
    for (int i = 0; i < 6; i++) {
        input_6(a + i, 6, b);
        for (int j = 0; j < 6; j++)
            _mm256_storeu_si256((__m256i *)(void *)(to + (6 * i + j) * point), rounded(b[j]));
    }
}

INLINE void gradient_points(const lmbi_winograd *g, const data *dy, const place *p, int64_t k, uint16_t *to,
                            int64_t point)
{
    vec d[16], a[24], b[6];

    load_window(dy + p->n * g->oh * g->ow * g->k + k, g->oh, g->ow, g->k, p->y, p->x, 4, d);
    for (int j = 0; j < 4; j++)
        output_gradient_6(d + j, 4, a + 6 * j);
    for (int i = 0; i < 6; i++) {
        output_gradient_6(a + i, 6, b);
        for (int j = 0; j < 6; j++)
            _mm256_storeu_si256((__m256i *)(void *)(to + (6 * i + j) * point), rounded(b[j]));
    }
}

/* Tiles [t0, t0 + count) of x -> V of the forward pass; slots up to `padded` are zero. */
static void transform_input(const lmbi_winograd *g, const data *x, int64_t t0, int64_t count, int64_t padded,
                            uint16_t *v)
{
    int64_t point = v_point(g);
    place p = place_of(g, t0);

    for (int64_t t = 0; t < padded; t++, step(g, &p))
        for (int64_t c = 0; c < g->c; c += LANES) {
            uint16_t *to = v + v_offset(g, 0, t, c);
            if (t < count)
                input_points(g, x, &p, c, to, point);
            for (int i = 0; i < LMBI_POINTS && t >= count; i++)
                memset(to + i * point, 0, sizeof *to * LANES);
        }
}

typedef void (*points_fn)(const lmbi_winograd *g, const data *x, const place *p, int64_t c, uint16_t *to,
                          int64_t point);

/* Tiles in pairs. To point i of tiles t, t + 1 and channels c...: to[i * point + at(t, c)] */
INLINE void transform_pairs(const lmbi_winograd *g, const data *x, int64_t channels, int64_t t0, int64_t count,
                            int64_t padded, points_fn transform, bool grouped, uint16_t *v)
{
    int64_t point = grouped ? v_point(g) : d_point(g);
    place first = place_of(g, t0), second = first;

    step(g, &second);
    for (int64_t t = 0; t < padded; t += 2) {
        for (int64_t c = 0; c < channels; c += LANES) {
            uint16_t a[LMBI_POINTS * LANES], b[LMBI_POINTS * LANES];
            uint16_t *to = v + (grouped ? v_offset(g, 0, t, c) : t * channels + 2 * c);
            if (t < count)
                transform(g, x, &first, c, a, LANES);
            else
                memset(a, 0, sizeof a);
            if (t + 1 < count)
                transform(g, x, &second, c, b, LANES);
            else
                memset(b, 0, sizeof b);
            for (int i = 0; i < LMBI_POINTS; i++)
                store_pairs(to + i * point, at(a + i * LANES), at(b + i * LANES));
        }
        for (int i = 0; i < 2; i++) {
            step(g, &first);
            step(g, &second);
        }
    }
}

/* M -> tiles [t0, t0 + count) of y. */
static void transform_output(const lmbi_winograd *g, const float *m, int64_t t0, int64_t count,
                             const lmbi_winograd_end *e, data *y)
{
    int64_t point = m_point(g);
    __m512 lo = _mm512_set1_ps(e->lo), hi = _mm512_set1_ps(e->hi);
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
                    /* NaN passes: the second operand is taken when one is NaN */
                    put(y + pixel, (vec)_mm512_min_ps(hi, _mm512_max_ps(lo, (__m512)v)));
                }
        }
    }
}

/* backward: inputs and outputs change places and the kernel turns by 180 degrees. */
static void transform_weights(const lmbi_winograd *g, const float *w, int backward, float *result)
{
    int64_t per_k = backward ? 9 : 9 * g->c, per_c = backward ? 9 * g->row : 9, point = u_point(g);
    int64_t whole = g->k / (WIDE * LANES) * (WIDE * LANES);
    float chunk[CHUNK * 9 * LANES];

    for (int64_t k = 0; k < g->k; k += LANES) {
        int64_t wide = k < whole ? WIDE * LANES : LANES, k0 = k / wide * wide; /* of the panel */
        for (int64_t c = 0; c < g->c; c += 2) {
            uint16_t *u = (uint16_t *)result + k0 * g->c + c * wide + 2 * (k - k0);
            __m256i points[2][36];
            if (c % CHUNK == 0)
                taps_of(w + k * per_k + c * per_c, per_k, per_c, chunk);
            for (int both = 0; both < 2; both++) {
                vec taps[9], a[18], b[6];
                for (int i = 0; i < 9; i++)
                    taps[i] = load(chunk + (9 * (c % CHUNK + both) + (backward ? 8 - i : i)) * LANES);
                for (int j = 0; j < 3; j++)
                    weights_6(taps + j, 3, a + 6 * j);
                for (int i = 0; i < 6; i++) {
                    weights_6(a + i, 6, b);
                    for (int j = 0; j < 6; j++)
                        points[both][6 * i + j] = rounded(b[j]);
                }
            }
            for (int i = 0; i < LMBI_POINTS; i++)
                store_pairs(u + i * point, points[0][i], points[1][i]);
        }
    }
}

/* ---- products ---- */

/* m[TALL][wide] = v [c][TALL] u [c][wide]; `ldm` is the row of m. */
INLINE void product(const uint16_t *v, const uint16_t *u, int64_t c, int wide, float *m, int64_t ldm)
{
    __m512 sum[TALL][WIDE];

    for (int t = 0; t < TALL; t++)
        for (int w = 0; w < wide; w++)
            sum[t][w] = _mm512_setzero_ps();
    for (int64_t chunk = 0; chunk < c; chunk += CHUNK, v += TILE * CHUNK)
        for (int i = 0; i < CHUNK; i += 2, u += wide * LANES * 2) {
            __m512bh right[WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = pairs_at(u + w * LANES * 2);
            for (int t = 0; t < TALL; t++) {
                __m512bh left = pair_everywhere(v + t * CHUNK + i);
                for (int w = 0; w < wide; w++)
                    sum[t][w] = add_products(sum[t][w], left, right[w]);
            }
        }
    for (int t = 0; t < TALL; t++)
        for (int w = 0; w < wide; w++)
            _mm512_storeu_ps(m + t * ldm + w * LANES, sum[t][w]);
}

static void multiply(const lmbi_winograd *g, const uint16_t *v, const uint16_t *u, int64_t tiles, float *m)
{
    for (int64_t point = 0; point < LMBI_POINTS; point++)
        for (int64_t k = 0; k < g->k;) {
            bool whole = g->k - k >= WIDE * LANES;
            const uint16_t *panel = u + point * u_point(g) + k * g->c;
            for (int64_t t = 0; t < tiles; t += TALL) {
                const uint16_t *rows = v + v_offset(g, point, t, 0);
                float *to = m + point * m_point(g) + t * g->k + k;
                if (whole)
                    product(rows, panel, g->c, WIDE, to, g->k);
                else
                    product(rows, panel, g->c, 1, to, g->k);
            }
            k += whole ? WIDE * LANES : LANES;
        }
}

/* s[rows][wide] += v [tiles][rows] d [tiles][wide]; rows * wide sums stay in registers. */
INLINE void gradient_product(const uint16_t *v, int64_t group, const uint16_t *d, int64_t ldd, int64_t tiles, int rows,
                             int wide, float *s, int64_t lds)
{
    __m512 sum[ROWS_ALONE][WIDE];

    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            sum[r][w] = _mm512_loadu_ps(s + r * lds + w * LANES);
    for (int64_t t0 = 0; t0 < tiles; t0 += TILE, v += group)
        for (int t = 0; t < TILE; t += 2, d += 2 * ldd) {
            __m512bh right[WIDE];
            for (int w = 0; w < wide; w++)
                right[w] = pairs_at(d + w * LANES * 2);
            for (int r = 0; r < rows; r++) {
                __m512bh left = pair_everywhere(v + t * CHUNK + 2 * r);
                for (int w = 0; w < wide; w++)
                    sum[r][w] = add_products(sum[r][w], left, right[w]);
            }
        }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++)
            _mm512_storeu_ps(s + r * lds + w * LANES, sum[r][w]);
}

static void multiply_gradient(const lmbi_winograd *g, const uint16_t *v, const uint16_t *d, int64_t tiles,
                              const band *b)
{
    int64_t group = g->c * TILE; /* from 12 tiles to the next 12 */

    for (int64_t point = 0; point < LMBI_POINTS; point++)
        for (int64_t k = 0; k < b->k;) {
            bool whole = b->k - k >= WIDE * LANES;
            int rows = whole ? ROWS : ROWS_ALONE;
            const uint16_t *right = d + point * d_point(g) + 2 * (b->k0 + k);
            for (int64_t c = 0; c < b->c; c += rows) {
                const uint16_t *left = v + v_offset(g, point, 0, b->c0 + c) + 2 * (c % CHUNK);
                float *to = b->s + point * s_point(b) + c * b->k + k;
                if (whole)
                    gradient_product(left, group, right, g->k, tiles, ROWS, WIDE, to, b->k);
                else
                    gradient_product(left, group, right, g->k, tiles, ROWS_ALONE, 1, to, b->k);
            }
            k += whole ? WIDE * LANES : LANES;
        }
}

/* ---- the three ways ---- */

static void forward(const lmbi_winograd *g, const void *x, const float *u, const lmbi_winograd_end *e, void *y,
                    float *scratch)
{
    uint16_t *v = (uint16_t *)scratch;
    float *m = (float *)(v + LMBI_POINTS * v_point(g));

    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_input(g, x, t, count, padded, v);
        multiply(g, v, (const uint16_t *)u, padded, m);
        transform_output(g, m, t, count, e, y);
    }
}

static void banded(const lmbi_winograd *g, const void *x, const float *w, int backward, const lmbi_winograd_end *e,
                   void *y, float *scratch)
{
    uint16_t *v = (uint16_t *)scratch, *u = v + LMBI_POINTS * v_point(g);
    float *m = (float *)(u + LMBI_POINTS * (g->c * LMBI_BAND + PAD));

    transform_input(g, x, 0, g->tiles, g->block, v);
    for (int64_t k = 0; k < g->row; k += LMBI_BAND) {
        lmbi_winograd b = outputs_from(g, k);
        lmbi_winograd_end end = end_from(e, k);
        transform_weights(&b, w + k * (backward ? 9 : 9 * g->c), backward, (float *)u);
        multiply(&b, v, u, g->block, m);
        transform_output(&b, m, 0, g->tiles, &end, (data *)y + k);
    }
}

static void gradient(const lmbi_winograd *g, const void *x, const void *dy, float *dw, float *scratch)
{
    uint16_t *v = (uint16_t *)scratch, *d = v + LMBI_POINTS * v_point(g);
    float *s = (float *)(d + LMBI_POINTS * d_point(g));

    for (int64_t t = 0; t < g->tiles; t += g->block) {
        int64_t count = g->tiles - t < g->block ? g->tiles - t : g->block, padded = (count + TILE - 1) / TILE * TILE;
        transform_pairs(g, x, g->c, t, count, padded, input_points, true, v);
        transform_pairs(g, dy, g->k, t, count, padded, gradient_points, false, d);
        for (band b = first_band(g, s); b.k0 < g->k; next_band(g, &b)) {
            if (t == 0)
                memset(s, 0, sizeof *s * (size_t)(LMBI_POINTS * s_point(&b)));
            multiply_gradient(g, v, d, padded, &b);
            if (t + count == g->tiles)
                gradient_of_weights(g, &b, dw);
        }
    }
}

const lmbi_winograd_loops lmbi_winograd_bf16 = { transform_weights, forward, banded, gradient, 3 };
