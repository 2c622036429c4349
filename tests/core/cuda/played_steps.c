/* tests/core/cuda/played_steps.c - the played GPU's integer networks and keystreams (core/cuda/steps.h), and the
 * kernels on vectors, of which `limbeck doctor` tries relu: see played.c. LMB_PLAYED=wrong: that one is. */
#include <stdlib.h>
#include <string.h>

#include "tests/core/cuda/played.h"

typedef struct some { lmb_int8_step step; int64_t n; } some;
typedef struct vector { const float *x; float *y; size_t n; } vector;

static const lmb_cuda_api *real;

static lmb_status run_int8(void *what, lmb_error *err)
{
    return real->int8_step(&((some *)what)->step, ((some *)what)->n, NULL, err);
}
static lmb_status run_chacha(void *what, lmb_error *err) { return real->chacha_add(what, NULL, err); }

static lmb_status int8_step(const lmb_int8_step *s, int64_t n, lmb_cuda_queue *q, lmb_error *err)
{
    if (!q)
        return real->int8_step(s, n, NULL, err);
    some *copy = malloc(sizeof *copy);
    *copy = (some){ *s, n };
    lmbi_played_defer(q->stream, run_int8, copy);
    return LMB_OK;
}

static lmb_status chacha_add(const lmb_chacha_job *j, lmb_cuda_queue *q, lmb_error *err)
{
    if (!q)
        return real->chacha_add(j, NULL, err);
    lmb_chacha_job *copy = malloc(sizeof *copy);
    *copy = *j;
    lmbi_played_defer(q->stream, run_chacha, copy);
    return LMB_OK;
}

static lmb_status run_relu(void *what, lmb_error *err)
{
    const vector *v = what;
    const char *play = getenv("LMB_PLAYED");
    (void)err;
    for (size_t i = 0; i < v->n; i++)
        v->y[i] = v->x[i] < 0 ? 0 : v->x[i];
    if (play && strcmp(play, "wrong") == 0)
        v->y[v->n - 1] += 1;
    return LMB_OK;
}

static lmb_status relu(const float *x, float *y, size_t n, lmb_cuda_stream *s, lmb_error *err)
{
    vector *v = malloc(sizeof *v);
    (void)err;
    *v = (vector){ x, y, n };
    lmbi_played_defer(s, run_relu, v);
    return LMB_OK;
}

typedef struct move { float *w, *v; const float *g; size_t n; float lr, momentum, decay; bool nesterov; } move;

static lmb_status run_sgd(void *what, lmb_error *err)
{
    const move *m = what;
    for (size_t i = 0; i < m->n; i++) {
        float g = m->g[i] + m->decay * m->w[i];
        m->v[i] = m->momentum * m->v[i] + g;
        m->w[i] -= m->lr * (m->nesterov ? g + m->momentum * m->v[i] : m->v[i]);
    }
    return (void)err, LMB_OK;
}

static lmb_status sgd_momentum(float *w, const float *g, float *v, size_t n, float lr, float momentum,
                               float weight_decay, bool nesterov, lmb_cuda_stream *s, lmb_error *err)
{
    move *m = malloc(sizeof *m);
    (void)err;
    *m = (move){ w, v, g, n, lr, momentum, weight_decay, nesterov };
    lmbi_played_defer(s, run_sgd, m);
    return LMB_OK;
}

void lmbi_played_steps(lmb_cuda_api *table, const lmb_cuda_api *ours)
{
    real = ours;
    table->int8_step = int8_step;
    table->chacha_add = chacha_add;
    table->relu = relu;
    table->sgd_momentum = sgd_momentum;
}
