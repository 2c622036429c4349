/* distill/lowrank/basis.c - the vectors that a layer is cut along. See lowrank.h. */
#include <stdlib.h>
#include <string.h>

#include "core/ops/conv.h"
#include "core/ops/gemm.h"
#include "core/passes/fold.h"
#include "distill/lowrank/internal.h"
#include "distill/lowrank/svd.h"

bool lmb_lowrank_fits(const lmb_graph *g, const lmb_node *n)
{
    bool conv = strcmp(n->op->name, "Conv") == 0, gemm = strcmp(n->op->name, "Gemm") == 0;

    if ((!conv && !gemm) || n->n_in < 2 || n->in[1] == LMB_NONE)
        return false;
    const lmb_value *w = &g->value[n->in[1]];
    if (w->role != LMB_ROLE_PARAMETER || w->frozen || !w->data || lmb_sole_reader(g, n->in[1]) < 0 ||
        w->shape.n != (conv ? 4 : 2))
        return false;
    if (conv)
        return ((const lmb_conv_attr *)n->attr)->group == 1;
    const lmb_gemm_attr *a = n->attr;
    return a->transB && !a->transA && a->alpha == 1 && (n->n_in < 3 || n->in[2] == LMB_NONE || a->beta == 1);
}

void lmb_basis_destroy(lmb_basis *b)
{
    if (!b)
        return;
    free(b->w);
    free(b->left);
    free(b->right);
    free(b->s);
    free(b->s_out);
    free(b->s_in);
    free(b);
}

void lmb_basis_most(int64_t out, int64_t in, int64_t taps, int64_t *rank_out, int64_t *rank_in)
{
    *rank_out = out < in * taps ? out : in * taps;
    *rank_in = in < out * taps ? in : out * taps;
}

/* Leading vectors of an unfolding, and its singular values: of rows that are channels of one side, each with all it has
 * to do with on the other. */
static lmb_status side(const lmb_basis *b, bool left, double **out, double **values, lmb_error *err)
{
    int64_t channels = left ? b->out : b->in, other = left ? b->in : b->out, m = other * b->taps,
            k = m < channels ? m : channels;
    double *a = malloc(sizeof *a * (size_t)(m * channels + 1));
    lmb_status st = LMB_OK;

    *values = malloc(sizeof **values * (size_t)(k + 1));
    *out = calloc((size_t)(channels * k + 1), sizeof **out);
    if (!a || !*values || !*out)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to decompose weights");
    for (int64_t c = 0; st == LMB_OK && c < channels; c++)
        for (int64_t o = 0; o < other; o++)
            for (int64_t t = 0; t < b->taps; t++)
                a[(o * b->taps + t) * channels + c] = b->w[((left ? c : o) * b->in + (left ? o : c)) * b->taps + t];
    if (st == LMB_OK)
        st = lmb_svd(a, m, channels, NULL, *values, *out, err);
    free(a);
    return st;
}

static lmb_status decompose(lmb_basis *b, lmb_error *err)
{
    if (b->taps > 1) {
        LMB_TRY(side(b, true, &b->left, &b->s_out, err));
        return side(b, false, &b->right, &b->s_in, err);
    }
    b->rank = b->out < b->in ? b->out : b->in;
    b->s = malloc(sizeof *b->s * (size_t)(b->rank + 1));
    b->left = malloc(sizeof *b->left * (size_t)(b->out * b->rank + 1));
    b->right = malloc(sizeof *b->right * (size_t)(b->in * b->rank + 1));
    if (!b->s || !b->left || !b->right)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to decompose weights");
    return lmb_svd(b->w, b->out, b->in, b->left, b->s, b->right, err);
}

lmb_status lmb_basis_create(const lmb_graph *g, const lmb_node *n, lmb_basis **out, lmb_error *err)
{
    const lmb_value *w = &g->value[n->in[1]];
    int64_t count = lmb_shape_count(&w->shape);
    lmb_basis *b = calloc(1, sizeof *b);

    if (!b)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to decompose %s", w->name);
    b->out = w->shape.d[0];
    b->in = w->shape.d[1];
    b->taps = w->shape.n == 4 ? w->shape.d[2] * w->shape.d[3] : 1;
    b->w = malloc(sizeof *b->w * (size_t)(count + 1));
    lmb_status st = b->w ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to decompose %s", w->name);
    for (int64_t i = 0; st == LMB_OK && i < count; i++)
        b->w[i] = ((const float *)w->data)[i];
    if (st == LMB_OK)
        st = decompose(b, err);
    if (st != LMB_OK) {
        lmb_error_context(err, "%s", w->name);
        lmb_basis_destroy(b);
        return st;
    }
    *out = b;
    return LMB_OK;
}

/* left' w right, [rank_out, rank_in, taps]. */
void lmbi_basis_core(const lmb_basis *b, int64_t rank_out, int64_t rank_in, double *half, double *core)
{
    int64_t nl = b->out < b->in * b->taps ? b->out : b->in * b->taps,
            nr = b->in < b->out * b->taps ? b->in : b->out * b->taps;

    memset(half, 0, sizeof *half * (size_t)(rank_out * b->in * b->taps));
    memset(core, 0, sizeof *core * (size_t)(rank_out * rank_in * b->taps));
    for (int64_t o = 0; o < b->out; o++)
        for (int64_t i = 0; i < rank_out; i++)
            for (int64_t k = 0; k < b->in * b->taps; k++)
                half[i * b->in * b->taps + k] += b->left[o * nl + i] * b->w[o * b->in * b->taps + k];
    for (int64_t i = 0; i < rank_out; i++)
        for (int64_t c = 0; c < b->in; c++)
            for (int64_t j = 0; j < rank_in; j++)
                for (int64_t t = 0; t < b->taps; t++)
                    core[(i * rank_in + j) * b->taps + t] += b->right[c * nr + j] * half[(i * b->in + c) * b->taps + t];
}

/* What three factors multiply to. */
static lmb_status tucker(const lmb_basis *b, int64_t rank_out, int64_t rank_in, float *w, lmb_error *err)
{
    int64_t nl = b->out < b->in * b->taps ? b->out : b->in * b->taps,
            nr = b->in < b->out * b->taps ? b->in : b->out * b->taps;
    double *half = malloc(sizeof *half * (size_t)(rank_out * b->in * b->taps + 1));
    double *core = malloc(sizeof *core * (size_t)(rank_out * rank_in * b->taps + 1));
    lmb_status st = half && core ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to multiply factors");

    if (st == LMB_OK) {
        lmbi_basis_core(b, rank_out, rank_in, half, core);
        memset(half, 0, sizeof *half * (size_t)(rank_out * b->in * b->taps));
        for (int64_t i = 0; i < rank_out; i++)
            for (int64_t c = 0; c < b->in; c++)
                for (int64_t j = 0; j < rank_in; j++)
                    for (int64_t t = 0; t < b->taps; t++)
                        half[(i * b->in + c) * b->taps + t] +=
                            b->right[c * nr + j] * core[(i * rank_in + j) * b->taps + t];
        for (int64_t o = 0; o < b->out; o++)
            for (int64_t k = 0; k < b->in * b->taps; k++) {
                double sum = 0;
                for (int64_t i = 0; i < rank_out; i++)
                    sum += b->left[o * nl + i] * half[i * b->in * b->taps + k];
                w[o * b->in * b->taps + k] = (float)sum;
            }
    }
    free(half);
    free(core);
    return st;
}

lmb_status lmb_basis_weights(const lmb_basis *b, int64_t rank_out, int64_t rank_in, float *w, lmb_error *err)
{
    if (b->taps > 1)
        return tucker(b, rank_out, rank_in, w, err);
    for (int64_t o = 0; o < b->out; o++)
        for (int64_t c = 0; c < b->in; c++) {
            double sum = 0;
            for (int64_t k = 0; k < rank_out; k++)
                sum += b->left[o * b->rank + k] * b->s[k] * b->right[c * b->rank + k];
            w[o * b->in + c] = (float)sum;
        }
    return LMB_OK;
}

/* Vectors are orthonormal, so that what is left of w has the core's length. */
lmb_status lmb_basis_energy(const lmb_basis *b, int64_t rank_out, int64_t rank_in, double *share, lmb_error *err)
{
    double all = 0, left = 0;

    for (int64_t i = 0; i < b->out * b->in * b->taps; i++)
        all += b->w[i] * b->w[i];
    if (b->taps > 1) {
        double *half = malloc(sizeof *half * (size_t)(rank_out * b->in * b->taps + 1));
        double *core = malloc(sizeof *core * (size_t)(rank_out * rank_in * b->taps + 1));
        if (half && core)
            lmbi_basis_core(b, rank_out, rank_in, half, core);
        for (int64_t i = 0; half && core && i < rank_out * rank_in * b->taps; i++)
            left += core[i] * core[i];
        bool room = half && core;
        free(half);
        free(core);
        if (!room)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory to multiply factors");
    } else {
        for (int64_t k = 0; k < rank_out; k++)
            left += b->s[k] * b->s[k];
    }
    *share = all > 0 ? (left < all ? left / all : 1) : 1;
    return LMB_OK;
}
