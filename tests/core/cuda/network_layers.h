/* tests/core/cuda/network_layers.h - convolutions and products of the networks that are measured, each shape once, as
 * in errors.h: there cuDNN takes other engines than for small ones. As they are large, all of a result is looked
 * through for what is not written, and some hundred numbers of it, spread over all, are set against sums in double. */
#ifndef LMB_TESTS_CORE_CUDA_NETWORK_LAYERS_H
#define LMB_TESTS_CORE_CUDA_NETWORK_LAYERS_H

#include "core/ops/conv.h"
#include "tests/core/cuda/errors.h"
#include "tests/core/cuda/networks.h"

enum { MOST_LAYERS = 200, SAMPLES = 300 };

static int add_layer(shape *all, int n, const shape *q)
{
    for (int i = 0; i < n; i++)
        if (memcmp(&all[i], q, sizeof *q) == 0)
            return n;
    ck_assert_int_lt(n, MOST_LAYERS);
    all[n] = *q;
    return n + 1;
}

static int layers_of(const lmb_graph *g, int rows, shape *all, int n)
{
    for (int i = 0; i < g->n_nodes; i++) {
        lmb_type in[LMB_MAX_IN], out[LMB_MAX_OUT];
        lmb_call c;
        lmb_call_of(g, &g->node[i], in, out, &c);
        shape q = { rows, 0, 1, 1, 0, 1, 1, 0, 1 };
        if (strcmp(c.op->name, "Conv") == 0) {
            lmb_conv v = lmb_conv_of_call(&c);
            ck_assert(v.kh == v.kw && v.sh == v.sw && v.ph == v.pw && v.h == v.w && v.dh == 1);
            q = (shape){ rows, (int)v.c, (int)v.h, (int)v.w, (int)v.k, (int)v.kh, (int)v.sh, (int)v.ph, (int)v.group };
        } else if (strcmp(c.op->name, "Gemm") == 0) {
            q.c = (int)in[0].shape.d[1], q.k = (int)out[0].shape.d[1];
        } else {
            continue;
        }
        n = add_layer(all, n, &q);
    }
    return n;
}

/* Of all networks; returns how many. */
static int network_layers(int rows, shape all[MOST_LAYERS])
{
    int n = 0;
    for (int i = 0; i < NETWORKS; i++) {
        lmb_graph *g = network(i);
        n = layers_of(g, rows, all, n);
        lmb_graph_destroy(g);
    }
    return n;
}

typedef struct sides { int oh, ow, cg, kg; } sides;

static sides sides_of(const shape *q)
{
    return (sides){ (q->h + 2 * q->p - q->r) / q->s + 1, (q->w + 2 * q->p - q->r) / q->s + 1, q->c / q->g,
        q->k / q->g };
}

static bool inside(const shape *q, int row, int column)
{
    return row >= 0 && row < q->h && column >= 0 && column < q->w;
}

/* Number `at` of y, dx or dw, by definition, and the sum of its terms' magnitudes. */
static void sum_y(const shape *q, const float *x, const float *w, int64_t at, double *value, double *size)
{
    sides d = sides_of(q);
    int column = (int)(at % d.ow), row = (int)(at / d.ow % d.oh), k = (int)(at / (d.ow * d.oh) % q->k),
        n = (int)(at / ((int64_t)d.ow * d.oh * q->k));
    for (int c = 0; c < d.cg; c++)
        for (int t = 0; t < q->r * q->r; t++) {
            int y = row * q->s - q->p + t / q->r, z = column * q->s - q->p + t % q->r;
            if (!inside(q, y, z))
                continue;
            double v = (double)w[((int64_t)k * d.cg + c) * q->r * q->r + t] *
                       x[(((int64_t)n * q->c + k / d.kg * d.cg + c) * q->h + y) * q->w + z];
            *value += v, *size += fabs(v);
        }
}

static void sum_dx(const shape *q, const float *dy, const float *w, int64_t at, double *value, double *size)
{
    sides d = sides_of(q);
    int column = (int)(at % q->w), row = (int)(at / q->w % q->h), c = (int)(at / (q->w * q->h) % q->c),
        n = (int)(at / ((int64_t)q->w * q->h * q->c));
    for (int k = c / d.cg * d.kg; k < (c / d.cg + 1) * d.kg; k++)
        for (int t = 0; t < q->r * q->r; t++) {
            int y = row + q->p - t / q->r, z = column + q->p - t % q->r;
            if (y < 0 || z < 0 || y % q->s || z % q->s || y / q->s >= d.oh || z / q->s >= d.ow)
                continue;
            double v = (double)w[((int64_t)k * d.cg + c % d.cg) * q->r * q->r + t] *
                       dy[(((int64_t)n * q->k + k) * d.oh + y / q->s) * d.ow + z / q->s];
            *value += v, *size += fabs(v);
        }
}

static void sum_dw(const shape *q, const float *x, const float *dy, int64_t at, double *value, double *size)
{
    sides d = sides_of(q);
    int t = (int)(at % (q->r * q->r)), c = (int)(at / (q->r * q->r) % d.cg), k = (int)(at / (q->r * q->r * d.cg));
    for (int n = 0; n < q->n; n++)
        for (int i = 0; i < d.oh * d.ow; i++) {
            int y = i / d.ow * q->s - q->p + t / q->r, z = i % d.ow * q->s - q->p + t % q->r;
            if (!inside(q, y, z))
                continue;
            double v = (double)dy[((int64_t)n * q->k + k) * d.oh * d.ow + i] *
                       x[(((int64_t)n * q->c + k / d.kg * d.cg + c) * q->h + y) * q->w + z];
            *value += v, *size += fabs(v);
        }
}

static void check_result(const shape *q, int which, const float *got, int64_t n, const float *x, const float *w,
                         const float *dy, double bound)
{
    static const char *const names[] = { "y", "dx", "dw" };
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(got[i]))
            ck_abort_msg("%s at %lld of %lld is %g", names[which], (long long)i, (long long)n, (double)got[i]);
    for (int64_t i = 0; i < SAMPLES && i < n; i++) {
        int64_t at = n <= SAMPLES ? i : (i * (n / SAMPLES) + i * i) % n;
        double value = 0, size = 0;
        if (which == 0)
            sum_y(q, x, w, at, &value, &size);
        else if (which == 1)
            sum_dx(q, dy, w, at, &value, &size);
        else
            sum_dw(q, x, dy, at, &value, &size);
        double error = fabs(got[at] - value);
        ck_assert_msg(error <= bound * size + 1e-30,
                      "%s of %d x %d x %d x %d, %d filters of %d, stride %d, %d groups, at %lld: %g instead of %g, "
                      "off by %g of the magnitudes",
                      names[which], q->n, q->c, q->h, q->w, q->k, q->r, q->s, q->g, (long long)at, (double)got[at],
                      value, error / size);
    }
}

static void check_layer(const lmb_backend *backend, const shape *q, double bound)
{
    lmb_shape sx, sw, sy;

    shapes_of(q, &sx, &sw, &sy);
    const int64_t n[3] = { lmb_shape_count(&sy), lmb_shape_count(&sx), lmb_shape_count(&sw) };
    float *x = numbers(n[1], 1), *w = numbers(n[2], 2), *dy = numbers(n[0], 3);
    sums s[3] = { sums_of(n[0]), sums_of(n[1]), sums_of(n[2]) };
    run_shape(backend, q, x, w, dy, s);
    for (int i = 0; i < 3; i++) {
        check_result(q, i, s[i].got, n[i], x, w, dy, bound);
        free(s[i].value);
        free(s[i].size);
        free(s[i].got);
    }
    free(x);
    free(w);
    free(dy);
}
#endif
