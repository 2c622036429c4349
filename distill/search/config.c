/* distill/search/config.c - what can be asked of a search. See search.h. */
#include "distill/search/search.h"

#include <string.h>

#include "core/base/config.h"
#include "distill/quantize/bits.h"

static const lmb_field table_fields[] = {
    LMB_TEXT(lmb_search_table, file, "", "latencies of operators; default <run>/compress/latency.jsonl"),
    LMB_BOOL(lmb_search_table, frozen, 0,
             "measure nothing: take the table as it is, for the same decisions again or for the machine it is of"),
    LMB_FIELD_END
};

/* Who teaches is the search's, and logits are always kept: the rest of lmb_distill_fields has no say here. */
static const lmb_field distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, 0.5, 0, 1, "", "share of the teacher; the labels have the rest"),
    LMB_REAL(lmb_distill_config, temperature, 2, 0.05, 100, "", "softens both predictions"),
    LMB_CHOICE(lmb_distill_config, precision, 0, lmb_distill_precisions,
               "of the teacher's feature maps; bf16: asked in half the time"),
    LMB_TREE(lmb_distill_config, losses,
             "the teacher's share is of these, with weights: kl and dkd, as `limbeck list losses` shows; default [kl]"),
    LMB_TREE(
        lmb_distill_config, teachers,
        "several that teach, whose logits are averaged: a list of files, or of {file, weight}; what is compressed is "
        "compress.teacher, or else the first of them"),
    LMB_FIELD_END
};

/* Defaults that no share and no temperature is: so a journal from before there were these keys agrees. */
enum { AS_DISTILL = -1 };
static const lmb_field finish_distill_fields[] = {
    LMB_REAL(lmb_distill_config, alpha, AS_DISTILL, AS_DISTILL, 1, "",
             "share of the teacher, 0.5 or less for few bits; -1: that of `distill`"),
    LMB_REAL(lmb_distill_config, temperature, 0, 0, 100, "",
             "softens both predictions, 1 to 2 for integers; 0: that of `distill`"),
    LMB_TREE(lmb_distill_config, losses, "default: those of `distill`"),
    LMB_FIELD_END
};

const lmb_field lmb_search_fields[] = {
    LMB_CHOICE(lmb_search_config, objective, LMB_GOAL_LATENCY, lmb_goals,
               "what is made small; accuracy: lose as little as the limits allow"),
    LMB_TEXT(lmb_search_config, accuracy_drop_max, "",
             "held-out accuracy that may be lost against the teacher, such as \"1.0 %\""),
    LMB_TEXT(lmb_search_config, latency_max, "", "median time of one prediction, such as \"50 us\""),
    LMB_TEXT(lmb_search_config, bytes_max, "", "size of the deployed file, such as \"84 kB\""),
    LMB_TEXT(lmb_search_config, macs_max, "", "multiply-accumulates of one prediction, such as \"12 M\""),
    LMB_TEXT(
        lmb_search_config, deadline, "",
        "after which a prediction is late, such as \"200 us\": the share of late ones is reported; default latency_max"),
    LMB_REAL(lmb_search_config, confidence, 0.9, 0.5, 0.9999, "",
             "with which a point must have lost no more (one-sided, paired)"),
    LMB_TEXT(lmb_search_config, slack, "",
             "more that may be lost while searching, because `recover` or `finish` gives it back; default \"1 %\""),
    LMB_REAL(lmb_search_config, step, 0.1, 0.001, 0.9, "", "share of the cost that a step takes away at first"),
    LMB_REAL(lmb_search_config, step_min, 0.02, 0.001, 0.9, "",
             "a step that would be smaller than this ends the search"),
    LMB_REAL(lmb_search_config, gain_min, 0.005, 0, 0.9, "",
             "a step that gains a smaller share than this does not pay"),
    LMB_REAL(lmb_search_config, penalty, 1, 0, 1000, "",
             "how fast a limit that is exceeded gains weight beside the cost that is worked on; 0: never"),
    LMB_INT(lmb_search_config, steps, LMB_SEARCH_STEPS, 1, 1e6, "", "at most; a search that has ended goes on with more"),
    LMB_INT(lmb_search_config, candidates, 1, 1, LMB_SEARCH_CANDIDATES, "",
            "of a step, tried side by side (on several ranks with mpirun): of all moves, of each technique alone, of others"),
    LMB_INT(lmb_search_config, tile, 4, 1, 1024, "channels",
            "that kernels work on at a time; sizes are multiples of it"),
    LMB_INT(lmb_search_config, min_channels, 4, 1, 1e6, "channels", "stay in every layer"),
    LMB_BOOL(lmb_search_config, low_rank, 1, "also factorise layers"),
    LMB_INT(lmb_search_config, bits_min, 8, 2, 8, "bits",
            "below 8: also lower the bits of layers' weights, down to these"),
    LMB_TREE(lmb_search_config, moves,
             "only these of channels, ranks, bits and blocks, as a list: one technique alone, to compare with"),
    LMB_INT(lmb_search_config, batches, 16, 1, 10000, "",
            "of 64 samples that gradients are taken from before each step"),
    LMB_INT(lmb_search_config, probe, 128, 0, 1e9, "samples",
            "on which each move is tried before a step, to see what it costs; 0: gradients alone tell"),
    LMB_INT(lmb_search_config, samples, 8192, 1, 1e9, "",
            "of the training part that `tune` sees, other ones in each step"),
    LMB_SECTION(lmb_search_config, tune, lmb_train_fields, "the short training after each step"),
    LMB_SECTION(lmb_search_config, recover, lmb_train_fields,
                "the last training in floats, of the cheapest point; needs no `finish`, but goes before it"),
    LMB_SECTION(lmb_search_config, finish, lmb_train_fields,
                "the last training with fake quantisation; without both, points are as `tune` leaves them"),
    LMB_SECTION(lmb_search_config, distill, distill_fields, "the teacher's share in all three"),
    LMB_SECTION(lmb_search_config, finish_distill, finish_distill_fields,
                "the teacher's share in `finish`, where it is another"),
    LMB_BOOL(lmb_search_config, prove, 0,
             "give `finish` without the teacher as well, and keep the teacher's if it wins more held-out samples than "
             "it loses"),
    LMB_INT(lmb_search_config, calibration, 512, 1, 1e9, "images", "of the training part that ranges are taken from"),
    LMB_TREE(lmb_search_config, observer, "of ranges: minmax, moving_average, percentile, mse or entropy, and options"),
    LMB_SECTION(lmb_search_config, qat, lmb_qat_fields,
                "bits, scales and activations of every point's integers, for the profiles of `limbeck export`; "
                "observer, momentum and learned steps are `finish`'s"),
    LMB_BOOL(lmb_search_config, equalise, 0,
             "balance channels between layers before ranges are taken (Clip becomes Relu)"),
    LMB_BOOL(lmb_search_config, correct_bias, 0,
             "of points that `finish` has not trained: take back what rounding weights shifts"),
    LMB_INT(lmb_search_config, seed, 1, 0, 9e15, "", "of all choices of samples"),
    LMB_SECTION(lmb_search_config, table, table_fields, "of measured latencies"),
    LMB_FIELD_END
};

static lmb_status optional(const char *text, const char *key, const char *unit, double *out, lmb_error *err)
{
    return *text ? lmb_budget_number(text, key, unit, out, err) : LMB_OK;
}

/* A limit on a cost. 0 is none in a budget, so that asking for it would go unheard. */
static lmb_status limit_of(const char *text, const char *key, const char *unit, double *out, lmb_error *err)
{
    LMB_TRY(optional(text, key, unit, out, err));
    return *text && *out == 0 ? LMB_FAIL(err, LMB_E_ARG, "%s is 0: nothing is as small as that", key) : LMB_OK;
}

lmb_status lmb_search_budget(const lmb_search_config *c, lmb_budget *out, lmb_error *err)
{
    lmb_budget b = { (lmb_goal)c->objective, -1, { 0 } };
    double late;

    LMB_TRY(optional(c->accuracy_drop_max, "accuracy_drop_max", "%", &b.drop, err));
    LMB_TRY(limit_of(c->latency_max, "latency_max", "us", &b.limit[LMB_GOAL_LATENCY], err));
    LMB_TRY(limit_of(c->bytes_max, "bytes_max", "B", &b.limit[LMB_GOAL_BYTES], err));
    LMB_TRY(limit_of(c->macs_max, "macs_max", "MACs", &b.limit[LMB_GOAL_MACS], err));
    LMB_TRY(lmb_search_deadline(c, &late, err));
    if (b.drop > 1)
        return LMB_FAIL(err, LMB_E_ARG, "accuracy_drop_max is %s: no more than 100 %% can be lost",
                        c->accuracy_drop_max);
    LMB_TRY(lmb_budget_check(&b, err));
    *out = b;
    return LMB_OK;
}

lmb_status lmb_search_deadline(const lmb_search_config *c, double *out, lmb_error *err)
{
    double us = 0;

    LMB_TRY(optional(c->latency_max, "latency_max", "us", &us, err));
    LMB_TRY(limit_of(c->deadline, "deadline", "us", &us, err));
    *out = us;
    return LMB_OK;
}

lmb_status lmb_search_slack(const lmb_search_config *c, bool last, double *out, lmb_error *err)
{
    double share = 0;

    LMB_TRY(lmb_budget_number(*c->slack ? c->slack : "1 %", "slack", "%", &share, err));
    if (*c->slack && *c->accuracy_drop_max && !last)
        return LMB_FAIL(err, LMB_E_ARG,
                        "compress.slack is %s, which only a last training may give back: give a section `recover` or "
                        "`finish`, or leave slack out (of the command line: --set compress.slack=)",
                        c->slack);
    if (share > 1)
        return LMB_FAIL(err, LMB_E_ARG, "compress.slack is %s: no more than 100 %% can be lost", c->slack);
    *out = last ? share : 0;
    return LMB_OK;
}

const char *const lmb_search_moves_names[] = { "channels", "ranks", "bits", "blocks", NULL };

lmb_status lmb_search_moves(const lmb_search_config *c, bool use[LMB_MOVE_KINDS], lmb_error *err)
{
    const bool can[LMB_MOVE_KINDS] = { true, c->low_rank, c->bits_min < LMB_BITS_MAX, true };

    for (int k = 0; k < LMB_MOVE_KINDS; k++)
        use[k] = can[k] && !c->moves;
    if (c->moves && (c->moves->kind != LMB_TREE_LIST || !c->moves->child))
        return lmb_tree_fail(c->moves, err, LMB_E_ARG, "moves is a list of some of channels, ranks, bits, blocks");
    for (const lmb_tree *t = c->moves ? c->moves->child : NULL; t; t = t->next) {
        const char *name;
        int k = 0;
        LMB_TRY(lmb_tree_text(t, &name, err));
        while (lmb_search_moves_names[k] && strcmp(lmb_search_moves_names[k], name) != 0)
            k++;
        if (k == LMB_MOVE_KINDS)
            return lmb_tree_fail(t, err, LMB_E_ARG, "there is no move '%.40s'; there are channels, ranks, bits, blocks",
                                 name);
        if (!can[k])
            return lmb_tree_fail(t, err, LMB_E_ARG, "moves has %s, and %s", name,
                                 k == LMB_MOVE_BITS ? "bits_min is 8: say how few there may be" : "low_rank is false");
        use[k] = true;
    }
    return LMB_OK;
}

lmb_status lmb_search_integers(const lmb_search_config *c, bool finish, lmb_error *err)
{
    bool use[LMB_MOVE_KINDS];

    LMB_TRY(lmb_search_moves(c, use, err));
    if (c->qat.scheme == LMB_QAT_LEARNED && !finish)
        return LMB_FAIL(err, LMB_E_ARG,
                        "compress.qat.scheme is learned, and nothing learns with fake quantisation: give a section "
                        "`finish`, or leave the scheme at range");
    if (use[LMB_MOVE_BITS] && c->qat.bits < c->bits_min)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "compress.qat.bits is %lld, and bits_min says that the search may go down to %lld: it would begin "
            "below its end; lower bits_min, or leave it at 8",
            (long long)c->qat.bits, (long long)c->bits_min);
    if (finish && c->finish.precision == LMB_TRAIN_BF16)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "compress.finish.precision is bf16, which would round the numbers of fake quantisation by up to "
            "half a step; leave it at f32 (tune and recover may be bf16)");
    return LMB_OK;
}

lmb_status lmb_search_lessons(const lmb_search_config *c, bool finish, lmb_distill_config *out, lmb_error *err)
{
    const lmb_distill_config *f = &c->finish_distill;
    lmb_objective o;

    if (!finish && (f->alpha != AS_DISTILL || f->temperature != 0 || f->losses))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "compress.finish_distill is the teacher's share in `finish`, and there is no such section; give one");
    if (f->alpha < 0 && f->alpha != AS_DISTILL)
        return LMB_FAIL(err, LMB_E_ARG,
                        "compress.finish_distill.alpha is %g; it must be 0 .. 1, or -1 for that of `distill`",
                        f->alpha);
    if (f->temperature > 0 && f->temperature < 0.05)
        return LMB_FAIL(err, LMB_E_ARG,
                        "compress.finish_distill.temperature is %g; it must be 0.05 .. 100, or 0 for that of `distill`",
                        f->temperature);
    *out = c->distill;
    out->alpha = f->alpha < 0 ? c->distill.alpha : f->alpha;
    out->temperature = f->temperature > 0 ? f->temperature : c->distill.temperature;
    out->losses = f->losses ? f->losses : c->distill.losses;
    if (c->prove && (!finish || out->alpha == 0))
        return LMB_FAIL(err, LMB_E_ARG, "compress.prove asks whether the teacher helps in `finish`, and %s",
                        finish
                            ? "its share there is 0: give finish_distill.alpha (or distill.alpha), or leave prove out"
                            : "there is no such section: give one, or leave prove out");
    LMB_TRY(lmb_judge_lesson(&c->distill, &o, err));
    return lmb_judge_lesson(out, &o, err);
}
