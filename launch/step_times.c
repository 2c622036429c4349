/* launch/step_times.c - see step_times.h. */
#include "launch/step_times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A step, or all steps of a kernel. */
typedef struct row {
    const char *kernel, *node;
    int first, n; /* its first step, how many */
    double seconds, flops, bytes;
} row;

static int by_time(const void *a, const void *b)
{
    const row *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds > y->seconds ? -1 : 1;
    return x->first - y->first;
}

static row row_of(const lmb_plan *p, int i)
{
    lmb_plan_step s = lmb_plan_step_at(p, i);
    bool plain = strcmp(s.kernel, "reference") == 0 && s.op;
    return (row){ plain ? s.op : s.kernel, s.node, i, 1, s.seconds, s.cost.flops, s.cost.bytes };
}

static void figures(lmb_str *out, const row *r, double all)
{
    double s = r->seconds;
    lmb_str_addf(out, " %10.4f %6.1f%% %9.1f %9.3f", 1e3 * s, all > 0 ? 100 * s / all : 0,
                 s > 0 ? 1e-9 * r->bytes / s : 0, s > 0 ? 1e-12 * r->flops / s : 0);
}

static const char columns[] = "         ms   share      GB/s   TFLOP/s";

static void print_steps(const row *of, int n, double all, const lmb_plan *p, lmb_str *out)
{
    char shape[LMB_SHAPE_TEXT];

    lmb_str_addf(out, "\nthe longest steps\n%4s  %-28s %-28s %-22s%s\n", "step", "kernel", "node", "output", columns);
    for (int i = 0; i < n && i < LMB_STEP_TIMES; i++) {
        lmb_plan_step s = lmb_plan_step_at(p, of[i].first);
        lmb_str_addf(out, "%4d  %-28.28s %-28.28s %-4s%-18s", of[i].first, of[i].kernel, of[i].node,
                     lmb_dtype_name(s.dtype), lmb_shape_text(&s.shape, shape, sizeof shape));
        figures(out, &of[i], all);
        lmb_str_add(out, "\n");
    }
}

static void print_kernels(row *of, int n, double all, lmb_str *out)
{
    int kinds = 0;

    for (int i = 0; i < n; i++) { /* gathered in front */
        int k = 0;
        while (k < kinds && strcmp(of[k].kernel, of[i].kernel) != 0)
            k++;
        if (k == kinds) {
            of[kinds++] = of[i];
            continue;
        }
        of[k].n++;
        of[k].seconds += of[i].seconds;
        of[k].flops += of[i].flops;
        of[k].bytes += of[i].bytes;
    }
    qsort(of, (size_t)kinds, sizeof *of, by_time);
    lmb_str_addf(out, "\n%-28s %6s%s\n", "kernel", "steps", columns);
    for (int i = 0; i < kinds && i < LMB_STEP_TIMES; i++) {
        lmb_str_addf(out, "%-28.28s %6d", of[i].kernel, of[i].n);
        figures(out, &of[i], all);
        lmb_str_add(out, "\n");
    }
}

void lmb_step_times(const lmb_plan *p, lmb_str *out)
{
    int n = lmb_plan_steps(p);
    row *of = calloc((size_t)n + 1, sizeof *of), sum = { .kernel = "all", .n = n };

    if (!of) {
        out->failed = true;
        return;
    }
    for (int i = 0; i < n; i++) {
        of[i] = row_of(p, i);
        sum.seconds += of[i].seconds;
        sum.flops += of[i].flops;
        sum.bytes += of[i].bytes;
    }
    qsort(of, (size_t)n, sizeof *of, by_time);
    print_steps(of, n, sum.seconds, p, out);
    print_kernels(of, n, sum.seconds, out);
    lmb_str_addf(out, "%-28s %6d", "all", n);
    figures(out, &sum, sum.seconds);
    lmb_str_addf(out, "\n%s\n", lmb_plan_describe(p).replayed
                                    ? "by the device's clock, in a replayed run: without pauses between steps"
                                    : "a step lasts until the next one begins");
    free(of);
}
