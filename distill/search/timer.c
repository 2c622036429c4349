/* distill/search/timer.c - what a table says of its machine; the machine that searches as a timer. See timer.h. */
#include "distill/search/timer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distill/search/deployed.h"
#include "distill/search/lines.h"

/* A text that is there for devices alone. */
static lmb_status read_text(const lmb_tree *line, const char *key, char *out, size_t cap, lmb_error *err)
{
    const char *text = "";

    if (lmb_tree_get(line, key))
        LMB_TRY(lmb_line_text(line, key, &text, err));
    snprintf(out, cap, "%s", text);
    return LMB_OK;
}

lmb_status lmb_timer_about_read(const lmb_tree *line, lmb_timer_about *out, lmb_error *err)
{
    const char *kernels;

    LMB_TRY(lmb_line_text(line, "kernels", &kernels, err));
    snprintf(out->kernels, sizeof out->kernels, "%s", kernels);
    LMB_TRY(read_text(line, "device", out->device, sizeof out->device, err));
    LMB_TRY(read_text(line, "processor", out->processor, sizeof out->processor, err));
    return read_text(line, "no_energy", out->no_energy, sizeof out->no_energy, err);
}

void lmb_timer_about_write(const lmb_timer_about *a, lmb_str *line)
{
    const char *const keys[] = { "device", "processor", "no_energy" };
    const char *const texts[] = { a->device, a->processor, a->no_energy };

    lmb_str_add(line, "{\"kernels\": ");
    lmb_str_add_json(line, a->kernels);
    for (int i = 0; *a->device && i < 3; i++) {
        lmb_str_addf(line, ", \"%s\": ", keys[i]);
        lmb_str_add_json(line, texts[i]);
    }
    lmb_str_add(line, "}");
}

/* ---- this machine ---- */

typedef struct held {
    const lmb_edge_model *m;
    lmbi_bench b;
} held;

static lmb_status ready(void *ctx, lmb_timer_about *out, lmb_error *err)
{
    int usable = 0;

    (void)ctx;
    (void)err;
    memset(out, 0, sizeof *out);
    for (int i = 0; !usable && lmb_edge_kernels(i, &usable); i++) /* the first that runs here is what a model takes */
        snprintf(out->kernels, sizeof out->kernels, "%s", lmb_edge_kernels(i, &usable));
    return LMB_OK;
}

static lmb_status begin(void *ctx, const struct lmb_deployed *d, void **bench, lmb_error *err)
{
    held *h = malloc(sizeof *h);

    (void)ctx;
    if (!h || !lmbi_bench_make(&d->model, &h->b)) {
        free(h);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure a model");
    }
    h->m = &d->model;
    *bench = h;
    return LMB_OK;
}

static lmb_status op(void *ctx, void *bench, uint32_t i, double *us, lmb_error *err)
{
    const held *h = bench;

    (void)ctx;
    (void)err;
    *us = lmbi_measure_op(h->m, &h->b, i);
    return LMB_OK;
}

static lmb_status whole(void *ctx, void *bench, double sum, double deadline, lmb_timing *out, lmb_error *err)
{
    held *h = bench;

    (void)ctx;
    (void)err;
    lmbi_measure_whole(h->m, &h->b, sum, out);
    lmbi_measure_tail(h->b.run, h->b.n_runs, deadline, out);
    return LMB_OK;
}

static lmb_status energy(void *ctx, void *bench, lmb_timing *out, lmb_error *err)
{
    const held *h = bench;

    (void)err;
    lmbi_measure_energy(&((lmb_timer_here *)ctx)->energy, h->m, &h->b, out);
    return LMB_OK;
}

static void end(void *ctx, void *bench)
{
    held *h = bench;

    (void)ctx;
    lmbi_bench_free(&h->b);
    free(h);
}

lmb_timer lmb_timer_of(lmb_timer_here *h)
{
    char why[LMB_ENERGY_PATH + 80];

    if (!lmb_energy_open(LMB_ENERGY_ROOT, &h->energy, why, sizeof why))
        h->energy.n = 0; /* who leaves a report says why */
    return (lmb_timer){ NULL, ready, begin, op, whole, energy, end, h };
}
