/* distill/search/check.c - what is refused before any work. See search.h. */
#include <math.h>
#include <string.h>

#include "distill/quantize/bits.h"
#include "distill/quantize/integer_form.h"
#include "distill/search/internal.h"
#include "distill/tune/significance.h"

/* A drop so small that even a model that answers like the teacher could not show it is no question to ask. */
lmb_status lmbi_search_check_held_out(const lmbi_search *s, lmb_error *err)
{
    double z = lmb_normal_quantile(s->r->c->confidence), n = (double)s->r->held_out->n, d = s->budget.drop;

    if (d < 0 || (d > 0 && n >= lmb_paired_least(d, s->r->c->confidence)))
        return LMB_OK;
    if (d == 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "accuracy_drop_max is 0: no number of samples can show that; %lld can show %.2g %%",
                        (long long)s->r->held_out->n, 100 * z * z / (n + z * z));
    return LMB_FAIL(
        err, LMB_E_ARG,
        "%lld held-out samples can not show with confidence %g that no more than %g %% is lost; make split.validation at "
        "least %.0f (and ten times that to have a choice)",
        (long long)s->r->held_out->n, s->r->c->confidence, 100 * d, lmb_paired_least(d, s->r->c->confidence));
}

/* Weights of few bits are rounded while they learn, and a training in bf16 refuses that: hours later, if it is a move
 * that makes them few. */
static lmb_status check_rounding(const lmbi_search *s, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;
    bool use[LMB_MOVE_KINDS], few, recovers = s->r->recover && c->recover.precision == LMB_TRAIN_BF16;

    LMB_TRY(lmb_search_moves(c, use, err));
    few = use[LMB_MOVE_BITS];
    for (int v = 0; v < s->start->n_values; v++)
        few |= s->start->value[v].bits && s->start->value[v].bits <= LMB_BITS_FEW;
    if (few && (recovers || c->tune.precision == LMB_TRAIN_BF16))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "compress.%s.precision is bf16, and weights of %d bits or fewer (compress.qat, bits_min) are rounded "
            "while they learn, which bf16 would blur by up to half a step; set it to f32",
            recovers ? "recover" : "tune", LMB_BITS_FEW);
    return LMB_OK;
}

enum { NAME_MOST = LMB_MOVE_NAME - 20 }; /* a layer that is factorised gives its name to three, each with an ending */

/* A move is of a weight, and journals name it. */
static lmb_status check_names(const lmb_graph *g, lmb_error *err)
{
    for (int v = 0; v < g->n_values; v++)
        if (g->value[v].data && g->value[v].name && strlen(g->value[v].name) > NAME_MOST)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                            "the weight '%.60s...' has a name of %zu bytes, and a search tells weights of up to %d bytes "
                            "apart: give it a shorter one",
                            g->value[v].name, strlen(g->value[v].name), NAME_MOST);
    return LMB_OK;
}

/* One number that is none spoils all answers, and who looks for the reason looks at the data. */
static lmb_status check_finite(const lmb_graph *g, lmb_error *err)
{
    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *w = &g->value[v];
        const float *number = w->dtype == LMB_F32 ? w->data : NULL;
        for (int64_t i = 0; number && i < lmb_shape_count(&w->shape); i++)
            if (!isfinite(number[i]))
                return LMB_FAIL(err, LMB_E_ARG,
                                "the weight '%.60s' has %g as number %lld of %lld: the training that made this model has "
                                "diverged, or its file is damaged; give another",
                                w->name ? w->name : "", (double)number[i], (long long)i + 1,
                                (long long)lmb_shape_count(&w->shape));
    }
    return LMB_OK;
}

/* What the search begins with: the teacher in words that have an integer form, each weight with its bits. E_UNSUPPORTED
 * names a node that has none. */
lmb_status lmbi_search_check_form(lmbi_search *s, lmb_error *err)
{
    lmb_deployed d;

    LMB_TRY(check_finite(s->r->teacher, err));
    LMB_TRY(lmb_pass_integer_form(s->r->teacher, &s->start, err));
    LMB_TRY(lmb_bits_settle(s->start, &s->r->c->qat, err));
    LMB_TRY(check_names(s->start, err));
    s->qat = s->r->c->qat;
    s->qat.layers = NULL;
    LMB_TRY(check_rounding(s, err));
    LMB_TRY(lmb_deployed_sketch(s->start, &s->qat, &d, err));
    lmb_deployed_free(&d);
    return LMB_OK;
}

lmb_status lmb_search_check(const lmb_search_request *r, lmb_error *err)
{
    lmbi_search s = { .r = r };

    LMB_TRY(lmb_search_budget(r->c, &s.budget, err));
    LMB_TRY(lmb_search_slack(r->c, r->recover || r->finish, &s.slack, err));
    LMB_TRY(lmb_search_integers(r->c, r->finish, err));
    LMB_TRY(lmb_search_lessons(r->c, r->finish, &s.finish_distill, err));
    LMB_TRY(lmbi_search_check_held_out(&s, err));
    LMB_TRY(lmb_judge_check(r->teacher, r->train, err));
    if (r->teachers)
        LMB_TRY(lmb_judge_check(r->teachers, r->train, err));
    lmb_status st = lmbi_search_check_form(&s, err);
    lmbi_search_lessons(&s);
    if (st == LMB_OK)
        st = lmb_judge_check_lessons(&s.jc, s.start, r->train, NULL, err);
    lmb_graph_destroy(s.start);
    return st;
}

lmb_status lmb_search_ranks_share(const lmb_search_request *r, lmb_error *err)
{
    const lmb_judge_config c = {
        .recover = r->c->recover, .finish = r->c->finish, .recovers = r->recover, .finishes = r->finish
    };
    return lmb_judge_ranks_share(&c, r->train->n, r->comm->size, err);
}

bool lmbi_search_beyond_guessing(int64_t right, int64_t n, int classes)
{
    if (right == 0 || right == n)
        return right > 0;
    return lmb_beta_share((double)right, (double)(n - right) + 1, 1.0 / classes) < 0.01;
}

/* Who teaches must know more than nothing: hours of lessons would end in it, and there is nothing to lose. */
static lmb_status check_knows(const lmbi_search *s, const char *who, int64_t right, lmb_error *err)
{
    double n = (double)s->r->held_out->n, k = s->r->train->classes;

    if (lmbi_search_beyond_guessing(right, s->r->held_out->n, s->r->train->classes))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_ARG,
                    "%s: %.4g %% of the held-out samples are answered rightly, about as many as guessing among %g "
                    "classes does: are they of this data, and do they take numbers of 0 .. 255? Else give `mean`, "
                    "`scale`, `channel_mean`, `channel_deviation` in a section {name: onnx, path: ...}",
                    who, 100 * (double)right / n, k);
}

lmb_status lmbi_search_check_teachers(const lmbi_search *s, lmb_error *err)
{
    if (s->r->teachers)
        LMB_TRY(check_knows(s, "distill.teachers", lmb_judge_teaches_right(s->judge), err));
    return check_knows(s, "the teacher", lmb_judge_teacher_right(s->judge), err);
}
