/* launch/compress_front.c - front.json. See compress.h. */
#include <math.h>
#include <stdio.h>

#include "launch/compress.h"
#include "train/metrics.h"

static void accuracy(lmb_str *s, const char *key, double share, double lo, double hi)
{
    lmb_str_addf(s, ", \"%s\": {\"accuracy\": ", key);
    lmb_str_add_number(s, share);
    lmb_str_add(s, ", \"interval\": [");
    lmb_str_add_number(s, lo);
    lmb_str_add(s, ", ");
    lmb_str_add_number(s, hi);
    lmb_str_add(s, "]}");
}

/* 95 % interval of a share, as the reports of stages have it. */
static void held_out(lmb_str *s, const char *key, int64_t right, int64_t n)
{
    int64_t cells[4] = { right, n - right, 0, 0 };
    lmb_metrics m = { .classes = 2, .confusion = cells, .n = n };
    double lo, hi;

    lmb_metrics_interval(&m, &lo, &hi);
    accuracy(s, key, (double)right / (double)n, lo, hi);
}

static void moves(lmb_str *s, const lmb_point *p)
{
    lmb_str_add(s, ", \"moves\": [");
    for (int i = 0; i < p->n_moves; i++) {
        lmb_str text = LMB_STR_INIT;
        lmb_move_text(&p->move[i], &text);
        lmb_str_add(s, i ? ", " : "");
        lmb_str_add_json(s, text.text ? text.text : "");
        s->failed |= text.failed;
        lmb_str_free(&text);
    }
    lmb_str_add(s, "]");
}

/* Whether the teacher helps in the last training: p is of "the one that is kept is no better". */
static void proof(lmb_str *s, const lmb_paired *p)
{
    bool taught = p->won > p->lost;
    const lmb_paired other = { p->n, p->won, p->lost };

    lmb_str_addf(s, ", \"proof\": {\"kept\": \"%s\", \"won\": %lld, \"lost\": %lld", taught ? "taught" : "alone",
                 (long long)p->won, (long long)p->lost);
    lmb_str_add_member(s, "p", lmb_paired_worse(taught ? &other : p));
    lmb_str_add(s, "}");
}

static void point(lmb_str *s, const lmb_compress_report *r, int i)
{
    const lmb_point *p = &r->result->points.point[i];

    lmb_str_addf(s,
                 "  {\"point\": %d, \"parent\": %d, \"round\": %d, \"kind\": \"%s\", \"accepted\": %s, \"beaten\": %s, "
                 "\"front\": %s, \"folder\": \"points/%03d\"",
                 p->id, p->parent, p->round, lmb_point_kinds[p->kind], p->accepted ? "true" : "false",
                 p->beaten ? "true" : "false", p->front ? "true" : "false", p->id);
    held_out(s, "held_out", p->right, p->pair.n);
    lmb_str_add_member(s, "drop", lmb_paired_drop(&p->pair));
    lmb_str_add_member(s, "drop_at_most", p->limit);
    lmb_str_add_member(s, "worse_p", lmb_paired_worse(&p->pair));
    if (r->test[i].there)
        accuracy(s, "test", r->test[i].accuracy, r->test[i].lo, r->test[i].hi);
    lmb_str_add_member(s, "latency_us", p->cost[LMB_GOAL_LATENCY]);
    lmb_str_add_member(s, "latency_p99_us", p->timing.p99);
    lmb_str_add_member(s, "throughput_per_s", p->timing.throughput);
    if (r->result->deadline > 0)
        lmb_str_add_member(s, "deadline_missed", p->timing.missed);
    if (p->timing.energy > 0)
        lmb_str_add_member(s, "energy_uj", p->timing.energy);
    lmb_str_add_member(s, "predicted_to_measured", p->predicted[LMB_GOAL_LATENCY] / p->cost[LMB_GOAL_LATENCY]);
    lmb_str_add_member(s, "bytes", p->cost[LMB_GOAL_BYTES]);
    lmb_str_add_member(s, "macs", p->cost[LMB_GOAL_MACS]);
    lmb_str_add_member(s, "parameters", p->parameters);
    lmb_str_add_member(s, "arena_bytes", p->arena);
    if (p->kind == LMB_POINT_STEP)
        lmb_str_add_member(s, "step", p->step);
    if (p->diverged)
        lmb_str_add(s, ", \"diverged\": true");
    if (p->before.n) {
        lmb_str_addf(s, ", \"against_parent\": {\"won\": %lld, \"lost\": %lld", (long long)p->before.won,
                     (long long)p->before.lost);
        lmb_str_add_member(s, "worse_p", lmb_paired_worse(&p->before));
        lmb_str_add(s, "}");
    }
    if (p->proof.n)
        proof(s, &p->proof);
    moves(s, p);
    lmb_str_add(s, "}");
}

/* The answer beside the teacher on the test part. */
static void tested(lmb_str *s, const lmb_paired *p)
{
    double lo, hi;

    lmb_paired_interval(p, 0.95, &lo, &hi);
    lmb_str_addf(s, " \"tested\": {\"samples\": %lld, \"lost\": %lld, \"won\": %lld", (long long)p->n,
                 (long long)p->lost, (long long)p->won);
    lmb_str_add_member(s, "drop", lmb_paired_drop(p));
    lmb_str_add(s, ", \"interval\": [");
    lmb_str_add_number(s, lo);
    lmb_str_add(s, ", ");
    lmb_str_add_number(s, hi);
    lmb_str_add(s, "]},\n");
}

static void limits(lmb_str *s, const lmb_budget *b)
{
    static const char *const keys[] = { "latency_max_us", "bytes_max", "macs_max" };
    const char *comma = "";

    lmb_str_add(s, "{");
    if (b->drop >= 0) {
        lmb_str_add(s, "\"accuracy_drop_max\": ");
        lmb_str_add_number(s, b->drop);
        comma = ", ";
    }
    for (int i = 0; i < LMB_COSTS; i++)
        if (b->limit[i] > 0) {
            lmb_str_addf(s, "%s\"%s\": ", comma, keys[i]);
            lmb_str_add_number(s, b->limit[i]);
            comma = ", ";
        }
    lmb_str_add(s, "}");
}

static void moves_tried(lmb_str *s, const lmb_search_config *c)
{
    bool use[LMB_MOVE_KINDS] = { false };
    lmb_error none = LMB_ERROR_INIT; /* it was checked before there was a search */
    const char *comma = "";

    lmb_str_add(s, ", \"moves\": [");
    if (lmb_search_moves(c, use, &none) == LMB_OK)
        for (int k = 0; k < LMB_MOVE_KINDS; k++)
            if (use[k]) {
                lmb_str_addf(s, "%s\"%s\"", comma, lmb_search_moves_names[k]);
                comma = ", ";
            }
    lmb_str_add(s, "]");
}

/* Where latencies were measured; without a name it was the machine that searched. */
static void measured_on(lmb_str *s, const lmb_timer_about *a)
{
    const char *const keys[] = { "name", "processor", "kernels" }, *const texts[] = { a->device, a->processor,
                                                                                      a->kernels };
    const char *comma = "";

    lmb_str_add(s, ", \"device\": {");
    for (int i = 0; i < 3; i++)
        if (*texts[i]) {
            lmb_str_addf(s, "%s\"%s\": ", comma, keys[i]);
            lmb_str_add_json(s, texts[i]);
            comma = ", ";
        }
    lmb_str_add(s, "}");
}

void lmb_compress_json(const lmb_compress_report *r, lmb_str *out)
{
    const lmb_search_result *x = r->result;

    lmb_str_addf(out, "{\"objective\": \"%s\", \"limits\": ", lmb_goals[x->budget.objective]);
    limits(out, &x->budget);
    if (x->deadline > 0)
        lmb_str_add_member(out, "deadline_us", x->deadline);
    measured_on(out, r->about);
    moves_tried(out, r->c);
    lmb_str_addf(out, ", \"confidence\": ");
    lmb_str_add_number(out, r->c->confidence);
    lmb_str_addf(out, ", \"met\": %s, \"best\": %d, \"why\": ", x->met ? "true" : "false", x->best);
    lmb_str_add_json(out, x->why);
    lmb_str_addf(out, ",\n \"teacher\": {\"held_out_samples\": %lld", (long long)r->held_out);
    held_out(out, "held_out", x->teacher_right, r->held_out);
    accuracy(out, "test", r->teacher.accuracy, r->teacher.lo, r->teacher.hi);
    if (r->teacher_us > 0)
        lmb_str_add_member(out, "float_latency_us", r->teacher_us);
    if (r->teacher_us > 0 && *r->about->device)
        lmb_str_add(out, ", \"float_latency_device\": \"the machine that searched\"");
    lmb_str_add(out, "},\n");
    tested(out, &r->tested);
    lmb_str_add(out, " \"points\": [\n");
    for (int i = 0; i < x->points.n; i++) {
        point(out, r, i);
        lmb_str_add(out, i + 1 < x->points.n ? ",\n" : "\n");
    }
    lmb_str_add(out, " ]");
    lmb_others_json(r->others, &x->points, r->level, out);
    lmb_str_add(out, "}\n");
}
