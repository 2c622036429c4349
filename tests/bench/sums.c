/* tests/bench/sums.c - how long a sum over ranks takes: shared memory (comm/window.h) and messages, in turns.
 *
 *     mpirun -n 2 --bind-to core bench_sums [rounds]     one line a size, from rank 0: medians of 21 sums of each, by
 *                                                        turns
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/window.h"
#include "core/base/compiler.h"
#include "core/base/threads.h"

enum { TIMES = 21, MAX_ROUNDS = 1001 };

LMB_HOT static void add(void *ctx, float *LMB_RESTRICT into, const float *LMB_RESTRICT from, size_t at, size_t n)
{
    (void)ctx, (void)at;
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static lmb_status measure(lmb_comm *c, lmb_window *w, float *v, float *scratch, size_t n, int rounds, double median[2],
                          lmb_error *err)
{
    static double took[2][MAX_ROUNDS];

    for (int i = 0; i < 2 * rounds; i++) {
        double start = lmb_seconds();
        for (int k = 0; k < TIMES; k++) {
            if (i % 2)
                LMB_TRY(lmb_comm_reduce_all(c, v, scratch, n, add, NULL, err));
            else
                LMB_TRY(lmb_window_reduce(w, 0, n, true, add, NULL, err));
        }
        took[i % 2][i / 2] = (lmb_seconds() - start) / TIMES;
    }
    for (int k = 0; k < 2; k++) {
        qsort(took[k], (size_t)rounds, sizeof took[k][0], by_size);
        median[k] = took[k][rounds / 2];
    }
    return LMB_OK;
}

static lmb_status run(lmb_comm *c, int rounds, lmb_error *err)
{
    static const size_t kib[] = { 64, 256, 1024, 4096, 65536 };
    size_t most = kib[LMB_COUNT(kib) - 1] * 256;
    float *v = calloc(most, sizeof *v), *scratch = calloc(most, sizeof *scratch);
    lmb_window *w = NULL;
    lmb_status st =
        v && scratch ? lmb_window_open(c, most, true, &w, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to sum");

    for (int i = 0; i < LMB_COUNT(kib) && st == LMB_OK; i++) {
        double s[2];
        st = measure(c, w, v, scratch, kib[i] * 256, kib[i] > 10000 ? rounds / 10 + 1 : rounds, s, err);
        if (st == LMB_OK && c->rank == 0)
            printf("%6zu KiB over %d ranks: window %8.1f us, messages %8.1f us, %.1f times\n", kib[i], c->size,
                   s[0] * 1e6, s[1] * 1e6, s[1] / s[0]);
    }
    lmb_window_close(w);
    free(v);
    free(scratch);
    return st;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 101;
    lmb_error err = LMB_ERROR_INIT;
    lmb_comm *c = NULL;

    if (rounds < 1 || rounds > MAX_ROUNDS)
        return fprintf(stderr, "1 to %d rounds\n", MAX_ROUNDS), 2;
    lmb_status st = lmb_comm_open(&c, &err);
    if (st == LMB_OK)
        st = run(c, rounds, &err);
    if (st != LMB_OK)
        fprintf(stderr, "bench_sums: %s\n", err.msg);
    if (st != LMB_OK && c)
        c->abort(c, 1);
    lmb_comm_close(c);
    return st != LMB_OK;
}
