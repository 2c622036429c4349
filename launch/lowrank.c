/* launch/lowrank.c - see lowrank.h. */
#include "launch/lowrank.h"

#include <stdio.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/base/str.h"
#include "launch/stage.h"

const lmb_field lmb_lowrank_fields[] = {
    LMB_SECTION(lmb_lowrank_config, train, lmb_train_fields, "training after layers have become thinner ones"),
    LMB_SECTION(lmb_lowrank_config, distill, lmb_distill_fields,
                "the teacher's share in it; what it does not say is as before it"),
    LMB_FIELD_END
};

lmb_status lmb_lowrank_bind(const lmb_tree *lowrank, lmb_lowrank_config *out, lmb_error *err)
{
    lmb_field rows[16];
    int n = 0;

    for (const lmb_field *r = lmb_ranks_fields; r->key; r++) {
        rows[n] = *r;
        rows[n++].offset += offsetof(lmb_lowrank_config, ranks);
    }
    for (const lmb_field *r = lmb_lowrank_fields; r->key; r++)
        rows[n++] = *r;
    rows[n] = (lmb_field)LMB_FIELD_END;
    return lmb_fields_bind(rows, lowrank, out, err);
}

lmb_status lmb_lowrank_student(const lmb_lowrank_config *c, const lmb_graph *student, lmb_ranks *ranks, lmb_graph **out,
                               lmb_error *err)
{
    lmb_status st = lmb_ranks_choose(student, &c->ranks, ranks, err);

    if (st == LMB_OK && (st = lmb_ranks_apply(ranks, out, err)) != LMB_OK)
        lmb_ranks_free(ranks);
    if (st != LMB_OK)
        lmb_error_context(err, "lowrank");
    return st;
}

/* ---- what is told ---- */

static void sum(const lmb_ranks *ranks, int *thin, double *macs, double *after)
{
    *thin = 0;
    *macs = *after = 0;
    for (int i = 0; i < ranks->n; i++) {
        *thin += ranks->row[i].thin;
        *macs += ranks->row[i].macs;
        *after += ranks->row[i].macs_after;
    }
}

static void print_row(const lmb_ranks_row *r)
{
    char shape[80], rank[48] = "-", energy[32] = "-";

    snprintf(shape, sizeof shape, "%lld x %lld x %lld", (long long)r->out, (long long)r->in, (long long)r->taps);
    if (r->rank_out)
        snprintf(energy, sizeof energy, "%.4f", r->energy);
    if (r->rank_out && r->taps > 1)
        snprintf(rank, sizeof rank, "%lld, %lld", (long long)r->rank_out, (long long)r->rank_in);
    else if (r->rank_out)
        snprintf(rank, sizeof rank, "%lld", (long long)r->rank_out);
    printf("  %-32s %16s %10s %7s %12.0f %12.0f%s\n", r->weight, shape, rank, energy, r->macs, r->macs_after,
           r->thin ? "" : "  stays");
}

void lmb_lowrank_print(const lmb_ranks *ranks)
{
    double macs, after;
    int thin;

    sum(ranks, &thin, &macs, &after);
    printf("  %-32s %16s %10s %7s %12s %12s\n", "layer", "out x in x taps", "ranks", "energy", "MACs", "MACs after");
    for (int i = 0; i < ranks->n; i++)
        print_row(&ranks->row[i]);
    if (thin)
        printf("%d of %d layers are factorised: %.0f of their %.0f MACs are left (%.1f %%)\n", thin, ranks->n, after,
               macs, 100 * after / macs);
    else if (ranks->n)
        printf("no layer is factorised: none would have enough fewer MACs; lower lowrank.energy, lowrank.gain or "
               "lowrank.tile\n");
    else
        printf("no layer is factorised: there is none to look at; convolutions of one group over images and full layers "
               "can be, if lowrank.layers or lowrank.ends does not leave them out\n");
    if (ranks->others)
        printf("%d other layer%s can not be factorised and stay%s: several groups, other shapes than images or rows, or "
               "weights that are frozen or read twice\n",
               ranks->others, ranks->others > 1 ? "s" : "", ranks->others > 1 ? "" : "s");
}

static void add_row(const lmb_ranks_row *r, lmb_str *s)
{
    lmb_str_add(s, "{\"weight\": ");
    lmb_str_add_json(s, r->weight);
    lmb_str_add_member(s, "out", (double)r->out);
    lmb_str_add_member(s, "in", (double)r->in);
    lmb_str_add_member(s, "taps", (double)r->taps);
    lmb_str_add_member(s, "rank_out", (double)r->rank_out);
    lmb_str_add_member(s, "rank_in", (double)r->rank_in);
    lmb_str_add_member(s, "energy", r->energy);
    lmb_str_add_member(s, "macs", r->macs);
    lmb_str_add_member(s, "macs_after", r->macs_after);
    lmb_str_addf(s, ", \"thin\": %s}", r->thin ? "true" : "false");
}

lmb_status lmb_lowrank_leave(const lmb_lowrank_config *c, const lmb_ranks *ranks, const char *run, const char *stage,
                             lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_str s = LMB_STR_INIT;
    double macs, after;
    int thin;

    sum(ranks, &thin, &macs, &after);
    lmb_str_add(&s, "{\"energy\": ");
    lmb_str_add_number(&s, c->ranks.energy);
    lmb_str_add_member(&s, "macs", macs);
    lmb_str_add_member(&s, "macs_after", after);
    lmb_str_add(&s, ", \"layers\": [");
    for (int i = 0; i < ranks->n; i++) {
        lmb_str_add(&s, i ? ",\n  " : "\n  ");
        add_row(&ranks->row[i], &s);
    }
    lmb_str_add(&s, "\n]}\n");
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_stage_path(path, run, stage, "lowrank.json", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, s.text, s.n, err);
    lmb_str_free(&s);
    return st;
}

lmb_status lmb_lowrank_forget(const char *run, const char *stage, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    int n = snprintf(path, sizeof path, "%s/%s/lowrank.json", run, stage);

    if (n < 0 || n >= LMB_STAGE_PATH || !lmb_file_exists(path))
        return LMB_OK;
    return remove(path) ? LMB_FAIL(err, LMB_E_IO, "cannot remove %s", path) : LMB_OK;
}
