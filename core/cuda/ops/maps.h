/* core/cuda/ops/maps.h - feature maps in any form: f32 or bf16, plain order or NHWC, by the same bodies.
 *
 * Idea: a body is a template over the type in which numbers are kept; `load` and `store` change them to and from f32,
 * V neighbours at once, which is one instruction on a GPU. A form says type and order; a row of the table says which
 * form it takes (core/plan/backend.h), and the planner brings operands into it. In NHWC a channel is a column of a
 * matrix, so that neighbours in a warp are neighbours in memory: `columns` sums down all columns in two launches, in a
 * fixed order.
 */
#ifndef LMB_CORE_CUDA_OPS_MAPS_H
#define LMB_CORE_CUDA_OPS_MAPS_H

#include <string.h>

#include "core/base/bf16.h"
#include "core/cuda/ops/grid.h"

namespace lmb {

/* ---- numbers ---- */

struct bf16 {
    uint16_t bits;
    LMB_BODY operator float() const { return lmb_bf16_get(bits); }
    static LMB_BODY bf16 of(float f) { return bf16{ lmb_bf16_of(f) }; }
};
LMB_BODY void put(float *p, float v) { *p = v; }
LMB_BODY void put(bf16 *p, float v) { *p = bf16::of(v); }

template <int V> struct pack { float v[V]; };
template <class T, int V> struct alignas(sizeof(T) * V) raw { T v[V]; };

template <int V, class T> LMB_BODY pack<V> load(const T *p, int i)
{
    raw<T, V> u;
    pack<V> out;
#ifdef __CUDA_ARCH__
    u = *(const raw<T, V> *)(p + i);
#else
    memcpy(&u, p + i, sizeof u); /* the caller's memory may be aligned to 4 bytes only */
#endif
    for (int k = 0; k < V; k++)
        out.v[k] = (float)u.v[k];
    return out;
}

template <int V, class T> LMB_BODY void store(T *p, int i, const pack<V> &x)
{
    raw<T, V> u;
    for (int k = 0; k < V; k++)
        put(&u.v[k], x.v[k]);
#ifdef __CUDA_ARCH__
    *(raw<T, V> *)(p + i) = u;
#else
    memcpy(p + i, &u, sizeof u);
#endif
}

constexpr int wide = 4; /* neighbours that a thread takes at once */

/* May `wide` neighbours be taken at once? The maps lie where vectors may, and channels come in such groups. */
inline bool in_groups(const lmb_run *r, int64_t group)
{
    bool good = group % wide == 0;
    for (int i = 0; i < r->n_in; i++)
        good = good && (r->in[i].shape.n != 4 || (uintptr_t)r->in[i].data % 16 == 0);
    for (int i = 0; i < r->n_out; i++)
        good = good && (r->out[i].shape.n != 4 || (uintptr_t)r->out[i].data % 16 == 0);
    return good;
}

/* f.at<V>(i) for i = 0, V, 2 V, ... below n. */
template <int V, class F> struct in_steps {
    F f;
    LMB_BODY void operator()(int i) const { f.template at<V>(i * V); }
};
/* groups: of `wide` in runs of `run` numbers; T: in which they are kept. Eight of bf16 fill a load of 16 bytes, as four
 * of f32 do. */
template <class T, class F>
lmb_status each_group(const lmb_run *r, int64_t n, int64_t run, bool groups, const F &f, lmb_error *err)
{
    if constexpr (sizeof(T) == 2)
        if (groups && run % (2 * wide) == 0)
            return each(r, n / (2 * wide), in_steps<2 * wide, F>{ f }, err);
    return groups ? each(r, n / wide, in_steps<wide, F>{ f }, err) : each(r, n, in_steps<1, F>{ f }, err);
}

/* ---- forms ---- */

struct plain_f32 { typedef float type; static constexpr bool nhwc = false; };
struct nhwc_f32 { typedef float type; static constexpr bool nhwc = true; };
struct nhwc_bf16 { typedef bf16 type; static constexpr bool nhwc = true; };

/* Where things are in maps [n][c][area] or [n][area][c]. */
template <bool nhwc> struct maps {
    int n, c, area;
    LMB_BODY int count() const { return n * area; } /* of a channel */
    LMB_BODY int channel(int i) const { return nhwc ? i % c : i / area % c; }
    LMB_BODY int image(int i) const { return i / (c * area); }
    LMB_BODY int pixel(int i) const { return nhwc ? i / c % area : i % area; }
    LMB_BODY int at(int image, int channel, int pixel) const
    {
        return nhwc ? (image * area + pixel) * c + channel : (image * c + channel) * area + pixel;
    }
    LMB_BODY int step() const { return nhwc ? c : 1; } /* from pixel to pixel */
};
template <bool nhwc> maps<nhwc> maps_of(const lmb_shape *s)
{
    maps<nhwc> m = { (int)s->d[0], (int)s->d[1], 1 };
    for (int i = 2; i < s->n; i++)
        m.area *= (int)s->d[i];
    return m;
}

inline const lmb_type *operand_of(const lmb_call *c, int i) { return i < c->n_in ? &c->in[i] : &c->out[i - c->n_in]; }

/* Kept in bf16: all maps, the first operand alone, or the result alone. */
inline lmb_layout all_nhwc(const lmb_call *, int) { return LMB_LAYOUT_NHWC; }
inline lmb_dtype bf16_maps(const lmb_call *c, int operand)
{
    return operand_of(c, operand)->shape.n == 4 ? LMB_BF16 : LMB_F32;
}
inline lmb_dtype bf16_first(const lmb_call *, int operand) { return operand == 0 ? LMB_BF16 : LMB_F32; }
inline lmb_dtype bf16_result(const lmb_call *c, int operand) { return operand == LMB_OUT(c, 0) ? LMB_BF16 : LMB_F32; }

/* Of a product: what is multiplied; sums stay f32. */
inline lmb_dtype bf16_factors(const lmb_call *, int operand) { return operand < 2 ? LMB_BF16 : LMB_F32; }

/* f32 numbers, and operand `which` is a map of two dimensions. */
inline bool two_dimensions(const lmb_call *c, int which, const char **why)
{
    if (!all_f32(c, 0, why))
        return false;
    *why = "not a map of two dimensions";
    return operand_of(c, which)->shape.n == 4;
}

typedef lmb_dtype storage_rule(const lmb_call *c, int operand);

/* A row of K in plain order, whose operands are kept as `rule` says. */
template <class K> constexpr lmb_kernel stored(const char *name, const char *op, const char *domain, storage_rule *rule,
                                               const char *(*note)(const void *state) = nullptr)
{
    return lmb_kernel{ name,           op,          domain,          K::accepts, nullptr, rule,
                       row<K>::create, row<K>::run, row<K>::destroy, false,      false,   note };
}

typedef lmb_layout layout_rule(const lmb_call *c, int operand);

/* A row of K, which has a member type `form`: operands are kept as the rules say where the form is NHWC, or bf16. */
template <class K> constexpr lmb_kernel formed(const char *name, const char *op, const char *domain,
                                               layout_rule *in_nhwc, storage_rule *in_bf16, bool order_free = false,
                                               const char *(*note)(const void *state) = nullptr)
{
    return lmb_kernel{ name,
                       op,
                       domain,
                       K::accepts,
                       K::form::nhwc ? in_nhwc : nullptr,
                       sizeof(typename K::form::type) == 2 ? in_bf16 : nullptr,
                       row<K>::create,
                       row<K>::run,
                       row<K>::destroy,
                       order_free,
                       order_free,
                       note };
}
template <class K> constexpr lmb_kernel map_kernel(const char *name, const char *op, const char *domain,
                                                   storage_rule *in_bf16 = bf16_maps, bool order_free = false)
{
    return formed<K>(name, op, domain, all_nhwc, in_bf16, order_free);
}

/* ---- sums of columns ---- */

constexpr int column_lanes = 32, column_rows = 8;

/* Bands of rows, each summed by itself: enough to fill a GPU, the same for the same sizes. */
inline int column_bands(int rows, int c)
{
    int across = (c + column_lanes - 1) / column_lanes, most = 1024 / across > 1 ? 1024 / across : 1;
    int bands = (rows + 63) / 64;
    return bands < 1 ? 1 : bands < most ? bands : most;
}

/* Scratch for K sums a column. */
template <int K> size_t column_bytes(int rows, int c)
{
    return sizeof(double) * K * (size_t)c * (size_t)column_bands(rows, c);
}

template <int K, int V, class F> struct band_sums {
    F f;
    double *part; /* [band][K][c] */
    int rows, c, bands;
    /* Rows first, first + every, ... of a band, for V columns. */
    LMB_BODY void walk(int band, int column, int first, int every, double s[K][V]) const
    {
        int each = (rows + bands - 1) / bands, end = (band + 1) * each < rows ? (band + 1) * each : rows;
        for (int k = 0; k < K; k++)
            for (int v = 0; v < V; v++)
                s[k][v] = 0;
        for (int row = band * each + first; row < end; row += every)
            f.template add<V>(row * c + column, column, s);
    }
    LMB_BODY void keep(int band, int column, const double s[K][V]) const
    {
        for (int k = 0; k < K; k++)
            for (int v = 0; v < V; v++)
                part[(band * K + k) * c + column + v] = s[k][v];
    }
};

#ifdef __CUDACC__
template <int K, int V, class F> __global__ void __launch_bounds__(column_lanes *column_rows)
    band_kernel(band_sums<K, V, F> b)
{
    __shared__ double all[column_rows][K * V][column_lanes];
    int column = ((int)blockIdx.x * column_lanes + (int)threadIdx.x) * V, band = (int)blockIdx.y;
    double s[K][V];
    if (column < b.c)
        b.walk(band, column, (int)threadIdx.y, column_rows, s);
    for (int i = 0; column < b.c && i < K * V; i++)
        all[threadIdx.y][i][threadIdx.x] = s[i / V][i % V];
    __syncthreads();
    if (threadIdx.y || column >= b.c)
        return;
    for (int y = 1; y < column_rows; y++)
        for (int i = 0; i < K * V; i++)
            s[i / V][i % V] += all[y][i][threadIdx.x];
    b.keep(band, column, s);
}
#endif

template <int K, int V, class F> lmb_status bands(const lmb_run *r, const band_sums<K, V, F> &b, lmb_error *err)
{
    if (!r->queue) {
        double s[K][V];
        for (int band = 0; band < b.bands; band++)
            for (int column = 0; column < b.c; column += V) {
                b.walk(band, column, 0, 1, s);
                b.keep(band, column, s);
            }
        return LMB_OK;
    }
    dim3 grid((unsigned)((b.c / V + column_lanes - 1) / column_lanes), (unsigned)b.bands),
        threads(column_lanes, column_rows);
    band_kernel<<<grid, threads, 0, ((lmb_cuda_queue *)r->queue)->stream>>>(b);
    return lmbi_cuda_check(cudaGetLastError(), "starting a kernel", err);
}

template <int K, class F> struct finish_columns {
    F f;
    const double *part;
    int c, bands;
    template <class Team> LMB_BODY void operator()(Team t, int column) const
    {
        double s[K];
        for (int k = 0; k < K; k++) {
            double mine = 0;
            for (int band = t.lane(); band < bands; band += t.lanes())
                mine += part[(band * K + k) * c + column];
            s[k] = t.sum(mine);
        }
        if (t.lane() == 0)
            f.finish(column, s);
    }
};

/* f.add<V>(i, column, s): add element i and its neighbours to K sums each; f.finish(column, sums).
 * part: column_bytes. */
template <int K, class F>
lmb_status columns(const lmb_run *r, int rows, int c, bool groups, double *part, const F &f, lmb_error *err)
{
    constexpr bool fits = sizeof(double) * K * wide * column_rows * column_lanes <= 48 << 10; /* in shared memory */
    constexpr int V = fits ? wide : 1;
    int n = column_bands(rows, c);
    LMB_TRY((fits && groups ? bands<K, V>(r, band_sums<K, V, F>{ f, part, rows, c, n }, err)
                            : bands<K, 1>(r, band_sums<K, 1, F>{ f, part, rows, c, n }, err)));
    return teams(r, c, finish_columns<K, F>{ f, part, c, n }, err);
}

} // namespace lmb

#endif
