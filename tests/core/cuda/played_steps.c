/* tests/core/cuda/played_steps.c - the played GPU's integer networks and keystreams (core/cuda/steps.h): see
 * played.c. */
#include <stdlib.h>

#include "tests/core/cuda/played.h"

typedef struct some { lmb_int8_step step; int64_t n; } some;

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

void lmbi_played_steps(lmb_cuda_api *table, const lmb_cuda_api *ours)
{
    real = ours;
    table->int8_step = int8_step;
    table->chacha_add = chacha_add;
}
