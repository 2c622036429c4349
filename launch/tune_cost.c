/* launch/tune_cost.c - what a recipe's model costs when it is deployed: the file that it would become, measured. See
 * tune.h. */
#include <string.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "distill/search/deployed.h"
#include "distill/search/lines.h"
#include "launch/tune.h"

/* A model whose file is the same was measured already: settings that change no size and no time have one latency. */
typedef struct known {
    char hash[LMB_HASH_HEX];
    double cost;
    bool found;
} known;

static lmb_status find_cost(void *ctx, const lmb_tree *line, lmb_error *err)
{
    known *k = ctx;
    const char *hash;
    double cost;

    LMB_TRY(lmb_line_text(line, "model", &hash, err));
    LMB_TRY(lmb_line_real(line, "us", &cost, err));
    if (strcmp(hash, k->hash) == 0) {
        k->found = true;
        k->cost = cost;
    }
    return LMB_OK;
}

static lmb_status latency_of(lmbi_tune *r, const lmb_deployed *d, double *cost, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    known k = { .found = false };
    lmb_str line = LMB_STR_INIT;
    lmb_hash h = lmb_hash_of(d->file.text, d->file.n);
    lmb_timing t;

    lmb_hash_hex(&h, k.hash);
    LMB_TRY(lmb_path_join(path, sizeof path, r->folder, "costs.jsonl", err));
    LMB_TRY(lmb_lines_read(path, LMB_LINES_MEASURED, find_cost, &k, err));
    *cost = k.cost;
    if (k.found)
        return LMB_OK;
    LMB_TRY(lmb_latency_whole(r->latency, d, 0, &t, err));
    *cost = t.p50;
    lmb_str_addf(&line, "{\"model\": \"%s\", \"us\": ", k.hash);
    lmb_str_add_number(&line, *cost);
    lmb_str_add(&line, "}");
    lmb_status st = lmb_lines_add(path, &line, err);
    lmb_str_free(&line);
    return st;
}

lmb_status lmbi_tune_cost(lmbi_tune *r, const lmb_graph *model, double *out, lmb_error *err)
{
    lmb_deployed d;
    lmb_status st = LMB_OK;

    LMB_TRY(lmb_deployed_sketch(model, NULL, &d, err));
    if (r->c.cost == LMB_TUNE_COST_LATENCY)
        st = latency_of(r, &d, out, err);
    else
        *out = r->c.cost == LMB_TUNE_COST_BYTES ? (double)d.file.n : (double)lmb_edge_macs(&d.model);
    lmb_deployed_free(&d);
    return st;
}
