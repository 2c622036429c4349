/* distill/search/taylor.c - see taylor.h. */
#include "distill/search/taylor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "core/graph/state.h"
#include "datasets/loader.h"
#include "train/loss.h"
#include "train/program.h"

struct lmb_taylor {
    lmb_state_layout *layout;
    int64_t batches;
    float *gradient; /* [batches][layout->count] */
};

void lmb_taylor_destroy(lmb_taylor *t)
{
    if (!t)
        return;
    lmb_state_layout_destroy(t->layout);
    free(t->gradient);
    free(t);
}

static lmb_status run_batches(lmb_taylor *t, lmb_program *p, lmb_loader *l, const float *state, lmb_error *err)
{
    const lmb_batch *batch;

    LMB_TRY(lmb_loader_begin(l, 0, 0, err));
    for (int64_t i = 0; i < t->batches; i++) {
        LMB_TRY(lmb_loader_next(l, &batch, err));
        lmb_step_info info = { 0, 0, batch->sample };
        lmb_program_step s = { .n = batch->n, .x = batch->x, .y = batch->y, .state = state, .info = &info,
                               .out = t->gradient + (size_t)i * t->layout->count };
        LMB_TRY(lmb_program_run(p, &s, err));
    }
    return LMB_OK;
}

lmb_status lmb_taylor_create(const lmb_graph *model, const lmb_dataset *data, const lmb_taylor_config *c,
                             lmb_taylor **out, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_loss loss = { .build = lmb_loss_cross_entropy };
    lmb_loader_options o = { .data = data, .batch = c->rows, .seed = c->seed, .shuffle = true };
    lmb_program *p = NULL;
    lmb_loader *l = NULL;
    float *state = NULL;
    lmb_status st;

    if (c->batches * c->rows > data->n)
        return LMB_FAIL(err, LMB_E_ARG, "gradients of %lld batches of %lld samples; the training part has %lld",
                        (long long)c->batches, (long long)c->rows, (long long)data->n);
    lmb_taylor *t = calloc(1, sizeof *t);
    if (!t)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for gradients");
    t->batches = c->batches;
    LMB_TRY_GOTO(st, done, lmb_state_layout_create(model, &t->layout, err));
    t->gradient = malloc(sizeof *t->gradient * ((size_t)c->batches * t->layout->count + 1));
    state = malloc(sizeof *state * (t->layout->count + 1));
    if (!t->gradient || !state) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for the gradients of %lld batches of %zu numbers",
                      (long long)c->batches, t->layout->count);
        goto done;
    }
    lmb_state_from_graph(t->layout, model, state);
    LMB_TRY_GOTO(st, done, lmb_cpu_backends(c->backend, backends, err));
    LMB_TRY_GOTO(st, done, lmb_program_create(model, &loss, backends, &p, err));
    LMB_TRY_GOTO(st, done, lmb_loader_create(&o, &l, err));
    LMB_TRY_GOTO(st, done, run_batches(t, p, l, state, err));
    *out = t;
    t = NULL;
done:
    lmb_loader_destroy(l);
    lmb_program_destroy(p);
    lmb_taylor_destroy(t);
    free(state);
    return st;
}

/* Add g w of a stored value to the channels that its indices along `axis` belong to. */
static void add_member(const float *gradient, const lmb_graph *g, const lmb_axis_map *map, const lmb_axis_member *m,
                       const lmb_axis_class *class, double *sum)
{
    const lmb_value *x = &g->value[m->value];
    const float *w = x->data;
    int64_t outer = 1, inner = 1, n = x->shape.d[m->axis];

    for (int a = 0; a < x->shape.n; a++)
        *(a < m->axis ? &outer : &inner) *= a == m->axis ? 1 : x->shape.d[a];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int32_t c = lmb_axis_channel(map, m->value, m->axis, i);
            if (c < class->first || c >= class->first + class->channels)
                continue;
            for (int64_t k = 0; k < inner; k++)
                sum[c - class->first] += (double)gradient[(o * n + i) * inner + k] * (double)w[(o * n + i) * inner + k];
        }
}

static const lmb_segment *segment_of(const lmb_taylor *t, const lmb_graph *g, lmb_vid v)
{
    return lmb_state_find(t->layout, g->value[v].name);
}

lmb_status lmb_taylor_class(const lmb_taylor *t, const lmb_graph *g, const lmb_axis_map *map,
                            const lmb_axis_class *class, double *out, lmb_error *err)
{
    double *sum = malloc(sizeof *sum * ((size_t)class->channels + 1));

    if (!sum)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to score %d channels", (int)class->channels);
    for (int32_t c = 0; c < class->channels; c++)
        out[c] = 0;
    for (int64_t b = 0; b < t->batches; b++) {
        const float *gradient = t->gradient + (size_t)b * t->layout->count;
        memset(sum, 0, sizeof *sum * (size_t)class->channels);
        for (int i = 0; i < class->n_members; i++) {
            const lmb_axis_member *m = &class->member[i];
            const lmb_segment *s =
                m->makes && g->value[m->value].role == LMB_ROLE_PARAMETER ? segment_of(t, g, m->value) : NULL;
            if (s)
                add_member(gradient + s->offset, g, map, m, class, sum);
        }
        for (int32_t c = 0; c < class->channels; c++)
            out[c] += fabs(sum[c]) / (double)t->batches;
    }
    free(sum);
    return LMB_OK;
}

lmb_status lmb_taylor_channels(const lmb_taylor *t, const lmb_graph *g, const lmb_axis_map *map, double *out,
                               lmb_error *err)
{
    for (int k = 0; k < map->n_classes; k++)
        LMB_TRY(lmb_taylor_class(t, g, map, &map->class[k], out + map->class[k].first, err));
    return LMB_OK;
}

double lmb_taylor_weights(const lmb_taylor *t, const lmb_graph *g, lmb_vid value, const float *w)
{
    const lmb_value *x = &g->value[value];
    const lmb_segment *s = segment_of(t, g, value);
    int64_t rows = x->shape.d[0], each = lmb_shape_count(&x->shape) / (rows ? rows : 1);
    double all = 0;

    for (int64_t b = 0; s && b < t->batches; b++) {
        const float *gradient = t->gradient + (size_t)b * t->layout->count + s->offset;
        for (int64_t r = 0; r < rows; r++) {
            double sum = 0;
            for (int64_t k = r * each; k < (r + 1) * each; k++)
                sum += (double)gradient[k] * ((double)w[k] - (double)((const float *)x->data)[k]);
            all += fabs(sum) / (double)t->batches;
        }
    }
    return all;
}

static double row_sum(const lmb_value *x, const float *gradient, int64_t row, int64_t each)
{
    const float *w = x->data;
    double sum = 0;

    for (int64_t k = row * each; k < (row + 1) * each; k++)
        sum += (double)gradient[k] * (double)w[k];
    return sum;
}

void lmb_taylor_rows(const lmb_taylor *t, const lmb_graph *g, const lmb_vid *value, int n, int64_t rows, double *out)
{
    for (int64_t r = 0; r < rows; r++) {
        out[r] = 0;
        for (int64_t b = 0; b < t->batches; b++) {
            double sum = 0;
            for (int i = 0; i < n; i++) {
                const lmb_segment *s = value[i] == LMB_NONE ? NULL : segment_of(t, g, value[i]);
                if (s)
                    sum += row_sum(&g->value[value[i]], t->gradient + (size_t)b * t->layout->count + s->offset, r,
                                   lmb_shape_count(&g->value[value[i]].shape) / rows);
            }
            out[r] += fabs(sum) / (double)t->batches;
        }
    }
}
