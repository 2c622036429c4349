/* launch/compress_page.c - report.html of a search: the answer, the front, the layers, what was tried. See
 * compress.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "launch/compress.h"
#include "launch/compress_tested.h"
#include "launch/report.h"

static void lead(const lmb_compress_report *r, lmb_str *out)
{
    const lmb_search_result *x = r->result;
    const lmb_point *p = &x->points.point[x->best], *first = &x->points.point[0];
    const lmb_compress_test *t = &r->test[x->best];
    char bytes[32];
    lmb_str said = LMB_STR_INIT;

    lmb_str_addf(out, "<p class=\"lead\">%s<strong>%.1f &micro;s</strong>",
                 x->met ? "" : "The limits can not all be met. Nearest: ", p->cost[LMB_GOAL_LATENCY]);
    if (*r->about->device) {
        lmb_str_add(out, " on ");
        lmb_str_add_html(out, r->about->device);
    }
    lmb_str_addf(out,
                 " and <strong>%s</strong> with <strong>%.2f %%</strong> of the test samples right "
                 "(95 %% interval %.2f to %.2f); the teacher has %.2f %%",
                 lmb_report_count(p->cost[LMB_GOAL_BYTES], "B", bytes, sizeof bytes), 100 * t->accuracy, 100 * t->lo,
                 100 * t->hi, 100 * r->teacher.accuracy);
    if (r->teacher_us > 0 && *r->about->device)
        lmb_str_addf(out, " and takes %.1f &micro;s in float on the machine that searched", r->teacher_us);
    else if (r->teacher_us > 0)
        lmb_str_addf(out, " and takes %.1f &micro;s in float (%.1f times as long)", r->teacher_us,
                     r->teacher_us / p->cost[LMB_GOAL_LATENCY]);
    lmb_str_addf(out, ", as integers %.1f &micro;s (%.1f times).</p>\n<p class=\"soft\">The search ended because ",
                 first->cost[LMB_GOAL_LATENCY], first->cost[LMB_GOAL_LATENCY] / p->cost[LMB_GOAL_LATENCY]);
    lmb_str_add_html(out, x->why);
    lmb_str_add(out, ". Decisions were made on held-out samples alone; ");
    lmb_compress_tested(&r->tested, x->budget.drop, x->met, &said);
    lmb_str_add_html(out, said.text ? said.text : "");
    out->failed |= said.failed;
    lmb_str_free(&said);
    lmb_str_add(out, ".</p>\n");
}

/* ---- the front ---- */

/* Cells behind the 99th percentile: what only some searches have is left out. */
static void time_cells(const lmb_compress_report *r, const lmb_point *x, lmb_str *out)
{
    lmb_str_addf(out, "<td>%.0f</td>", x->timing.throughput);
    if (r->result->deadline > 0)
        lmb_str_addf(out, "<td>%.*g %%</td>", x->timing.missed < 0.1 ? 2 : 3, 100 * x->timing.missed);
    if (!*r->no_energy)
        lmb_str_addf(out, "<td>%.3g &micro;J</td>", x->timing.energy);
}

/* Whose latencies they are. */
static void machine(const lmb_compress_report *r, lmb_str *out)
{
    const lmb_timer_about *a = r->about;

    if (!*a->device) {
        lmb_str_add(out, r->c->table.frozen ? "." : "the machine that searched.");
        return;
    }
    lmb_str_add(out, r->c->table.frozen ? ", of the device " : "the device ");
    lmb_str_add_html(out, a->device);
    lmb_str_add(out, " (");
    lmb_str_add_html(out, a->processor);
    lmb_str_add(out, ", kernels ");
    lmb_str_add_html(out, a->kernels);
    lmb_str_add(out, ").");
}

static void front_table(const lmb_compress_report *r, lmb_str *out)
{
    const lmb_points *p = &r->result->points;
    char n[2][32];

    lmb_str_add(
        out,
        "<div class=\"wide\"><table class=\"stages\"><thead><tr><th scope=\"col\">point</th><th scope=\"col\">latency p50</th><th scope=\"col\">p99"
        "</th><th scope=\"col\">predictions a second</th>");
    if (r->result->deadline > 0)
        lmb_str_addf(out, "<th scope=\"col\">later than %.10g &micro;s</th>", r->result->deadline);
    lmb_str_add(out, *r->no_energy ? "" : "<th scope=\"col\">energy</th>");
    lmb_str_add(
        out,
        "<th scope=\"col\">bytes</th><th scope=\"col\">MACs</th><th scope=\"col\">held-out</th><th scope=\"col\">test, 95 % interval</th>"
        "<th scope=\"col\">predicted / measured</th></tr></thead><tbody>\n");
    for (int i = 0; i < p->n; i++) {
        const lmb_point *x = &p->point[i];
        if (!x->front && i != r->result->best)
            continue;
        lmb_str_addf(out, "<tr%s><th scope=\"row\">%d (%s)</th><td>%.1f &micro;s</td><td>%.1f &micro;s</td>",
                     i == r->result->best ? " class=\"best\"" : "", x->id, lmb_point_kinds[x->kind],
                     x->cost[LMB_GOAL_LATENCY], x->timing.p99);
        time_cells(r, x, out);
        lmb_str_addf(out, "<td>%s</td><td>%s</td><td>%.2f %%</td><td>%.2f %% (%.2f to %.2f)</td><td>%.2f</td></tr>\n",
                     lmb_report_count(x->cost[LMB_GOAL_BYTES], "B", n[0], sizeof n[0]),
                     lmb_report_count(x->cost[LMB_GOAL_MACS], "", n[1], sizeof n[1]), 100 * lmb_point_accuracy(x),
                     100 * r->test[i].accuracy, 100 * r->test[i].lo, 100 * r->test[i].hi,
                     x->predicted[LMB_GOAL_LATENCY] / x->cost[LMB_GOAL_LATENCY]);
    }
    lmb_str_add(
        out,
        "</tbody></table></div>\n<p class=\"soft\">Points that no other beats in accuracy, latency, bytes and MACs together; each has its files in "
        "points/NNN. The answer is bold. ");
    lmb_str_add(out, r->c->table.frozen ? "Latency is the sum of the operators' in a table that was not measured anew"
                                        : "Latency is of single predictions on one thread of ");
    machine(r, out);
    lmb_str_add(out, *r->no_energy ? " No energy: " : " Energy is the whole processor's (RAPL) a prediction");
    lmb_str_add_html(out, r->no_energy);
    lmb_str_add(out, ".</p>\n");
}

/* ---- layers ---- */

static lmb_status open_point(const lmb_compress_report *r, int id, lmb_deployed *out, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];

    LMB_TRY(lmb_search_file(path, r->folder, id, "model.lmb", err));
    return lmb_deployed_read(path, out, err);
}

/* How many channels the tensor of this name has in the teacher; 0: it has none of this name. */
static unsigned channels_before(const lmb_edge_model *m, const char *name)
{
    for (uint32_t i = 0; i <= m->n_ops; i++) {
        lmb_edge_tensor t;
        lmb_edge_tensor_at(m, i, &t);
        if (strcmp(t.name, name) == 0)
            return t.c;
    }
    return 0;
}

/* A factorised layer is named layer.in, layer.core, layer.out (distill/lowrank): what comes before the last is
 * narrow. */
static const char *rank_of(const char *name, unsigned channels, char *text, size_t cap)
{
    const char *part = strrchr(name, '.');

    snprintf(text, cap, "%u", channels);
    return part && (strcmp(part, ".in") == 0 || strcmp(part, ".core") == 0) ? text : "";
}

static void layer_row(const lmb_edge_model *now, const lmb_edge_model *was, uint32_t i, double us, double most,
                      double sum, lmb_str *out)
{
    lmb_edge_op op;
    lmb_edge_tensor y;
    char before[32] = "", macs[32], bits[8] = "", rank[16];

    lmb_edge_op_at(now, i, &op);
    lmb_edge_tensor_at(now, i + 1, &y);
    unsigned c = channels_before(was, y.name);
    if (c)
        snprintf(before, sizeof before, "%u", c);
    if (op.bits)
        snprintf(bits, sizeof bits, "%u", op.bits);
    lmb_str_add(out, "<tr><th scope=\"row\">");
    lmb_str_add_html(out, y.name);
    lmb_str_addf(
        out,
        "</th><td>%s</td><td>%u&times;%u</td><td>%s</td><td>%u</td><td>%s</td><td>%s</td><td>%s</td><td>%.2f</td><td class=\"share\"><i style=\"width:%.1f%%\">"
        "</i></td><td>%.1f %%</td></tr>\n",
        lmb_edge_kind_name(op.kind), y.h, y.w, before, y.c, c ? "" : rank_of(y.name, y.c, rank, sizeof rank), bits,
        lmb_report_count((double)lmb_edge_op_macs(now, i), "", macs, sizeof macs), us, 100 * us / most,
        100 * us / sum);
}

static lmb_status layers(const lmb_compress_report *r, lmb_str *out, lmb_error *err)
{
    lmb_deployed now, was;
    double *us = NULL, sum = 0, most = 0;

    LMB_TRY(open_point(r, r->result->best, &now, err));
    lmb_status st = open_point(r, 0, &was, err);
    if (st != LMB_OK) {
        lmb_deployed_free(&now);
        return st;
    }
    const lmb_edge_model *m = &now.model;
    us = malloc(sizeof *us * ((size_t)m->n_ops + 1));
    st = us ? lmb_latency_ops(r->table, &now, us, &sum, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the layers");
    for (uint32_t i = 0; st == LMB_OK && i < m->n_ops; i++)
        most = fmax(most, us[i]);
    if (st == LMB_OK) {
        lmb_str_addf(
            out,
            "<h2>Layers of point %d</h2>\n<div class=\"wide\"><table class=\"stages layers\"><thead><tr><th scope=\"col\">output</th><th scope=\"col\">op"
            "</th><th scope=\"col\">size</th><th scope=\"col\">channels before</th><th scope=\"col\">channels</th><th scope=\"col\">rank</th><th scope=\"col\">bits</th>"
            "<th scope=\"col\">MACs</th><th scope=\"col\">&micro;s</th><th scope=\"col\">time</th><th scope=\"col\"></th></tr></thead><tbody>\n",
            r->result->best);
        for (uint32_t i = 0; i < m->n_ops; i++)
            layer_row(m, &was.model, i, us[i], most, sum, out);
        lmb_str_addf(
            out,
            "</tbody></table></div>\n<p class=\"soft\">Times are from the latency table; they add up to %.1f &micro;s. A layer with a rank is the "
            "narrow part of one that was factorised (.in, .core, .out).</p>\n",
            sum);
    }
    free(us);
    lmb_deployed_free(&now);
    lmb_deployed_free(&was);
    return st;
}

/* ---- what was tried ---- */

static void tried(const lmb_compress_report *r, lmb_str *out)
{
    const lmb_points *p = &r->result->points;

    lmb_str_add(
        out,
        "<h2>What was tried</h2>\n<div class=\"wide\"><table class=\"stages\"><thead><tr><th scope=\"col\">point</th><th scope=\"col\">of</th>"
        "<th scope=\"col\">step</th><th scope=\"col\">latency</th><th scope=\"col\">held-out</th><th scope=\"col\">lost / won</th><th scope=\"col\">"
        "drop at most</th><th scope=\"col\">decision</th><th scope=\"col\" class=\"note\">moves</th></tr></thead><tbody>\n");
    for (int i = 0; i < p->n; i++) {
        const lmb_point *x = &p->point[i];
        char step[24] = "", of[24] = "";
        if (x->kind == LMB_POINT_STEP)
            snprintf(step, sizeof step, "%.3g %%", 100 * x->step);
        if (x->parent >= 0)
            snprintf(of, sizeof of, "%d", x->parent);
        lmb_str_addf(
            out,
            "<tr%s><th scope=\"row\">%d</th><td>%s</td><td>%s</td><td>%.1f &micro;s</td><td>%.2f %%</td><td>%lld / %lld</td><td>%.2f points</td><td>%s"
            "</td><td class=\"note\">%s",
            x->accepted ? "" : " class=\"rejected\"", x->id, of, step, x->cost[LMB_GOAL_LATENCY],
            100 * lmb_point_accuracy(x), (long long)x->pair.lost, (long long)x->pair.won, 100 * x->limit,
            lmbi_compress_decision(x),
            x->kind == LMB_POINT_TEACHER    ? "the teacher as integers"
            : x->kind == LMB_POINT_FINISHED ? "the last training"
            : x->n_moves == 0               ? "the teacher, trained as it is"
                                            : "");
        if (x->before.n)
            lmb_str_addf(out, "; beside point %d %lld won, %lld lost", x->parent, (long long)x->before.won,
                         (long long)x->before.lost);
        if (x->proof.n)
            lmb_str_addf(out, "; taught beside untaught %lld won, %lld lost: %s", (long long)x->proof.won,
                         (long long)x->proof.lost, x->proof.won > x->proof.lost ? "taught" : "untaught");
        if (x->diverged)
            lmb_str_addf(out, "%s", x->n_moves ? "its training diverged and was taken back; "
                                               : "; it diverged and was taken back");
        for (int k = 0; k < x->n_moves; k++) {
            lmb_str text = LMB_STR_INIT;
            lmb_move_text(&x->move[k], &text);
            lmb_str_add(out, k ? "; " : "");
            lmb_str_add_html(out, text.text ? text.text : "");
            lmb_str_free(&text);
        }
        lmb_str_add(out, "</td></tr>\n");
    }
    lmb_str_addf(
        out,
        "</tbody></table></div>\n<p class=\"soft\">Lost: held-out samples that only the teacher has right; won: that only the point has right. The "
        "drop is at most as shown with %g %% confidence (Tango's score interval).</p>\n",
        100 * r->c->confidence);
}

lmb_status lmb_compress_page(const lmb_compress_report *r, lmb_str *out, lmb_error *err)
{
    lmb_report_page_begin("Compression", out);
    lead(r, out);
    lmb_str_add(out, "<h2>The front</h2>\n<div class=\"figures\">\n");
    for (int i = 0; i < LMB_COSTS; i++)
        lmbi_compress_picture(r, i, out);
    lmb_str_add(out, "</div>\n");
    front_table(r, out);
    lmb_others_table(r->others, &r->result->points, r->level, out);
    lmb_status st = layers(r, out, err);
    tried(r, out);
    lmb_report_page_end(r->config, out);
    return st;
}
