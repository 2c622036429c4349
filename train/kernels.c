/* train/kernels.c - a trainer's choice of kernels: measured or fixed, rank 0's on all ranks, replayed after a
 * checkpoint.
 *
 * Measuring is never on while a training runs: rank 0 compiles one plan for each number of rows that the epoch will
 * bring, so that all is known before the first step. Kernels are measured with every processor busy, whatever the
 * number of ranks and threads of this training: so one cache gives the same choice, and in deterministic mode the same
 * bits, on any number of workers.
 */
#include <stdlib.h>
#include <string.h>

#include "train/trainer_internal.h"

enum { MOST_THREADS = 16, MOST_TEXT = 4 << 20, FAILED = -1 };

int lmb_train_measuring_threads(void)
{
    int n = lmb_cpu_count();
    return n < MOST_THREADS ? n : MOST_THREADS;
}

/* Different numbers of rows that shards of a batch of n samples have, added to rows[0 .. count). */
static int add_rows(const lmb_trainer *t, int64_t n, int64_t rows[LMBI_MOST_ROWS], int count)
{
    for (int64_t k = 0; k < t->slots_all && count < LMBI_MOST_ROWS; k++) {
        int64_t lo, hi;
        bool known = false;
        lmbi_shard_range(t, n, k, &lo, &hi);
        for (int i = 0; i < count; i++)
            known |= rows[i] == hi - lo;
        if (!known && hi > lo)
            rows[count++] = hi - lo;
    }
    return count;
}

static void use(lmb_trainer *t, lmb_choices *c)
{
    for (int w = 0; w < t->threads; w++)
        lmb_program_choices(t->worker[w].program, c);
}

int lmbi_trainer_rows(const lmb_trainer *t, int64_t rows[LMBI_MOST_ROWS])
{
    int64_t batch = t->c.batch < t->train->n ? t->c.batch : t->train->n;
    return add_rows(t, t->train->n % batch, rows, add_rows(t, batch, rows, 0));
}

/* A plan for each number of rows, by the first thread's program, which will need most of them. */
static lmb_status compile_all(lmb_trainer *t, lmb_error *err)
{
    int64_t rows[LMBI_MOST_ROWS];
    const lmb_plan *plan;
    int n = lmbi_trainer_rows(t, rows);

    for (int i = 0; i < n; i++)
        LMB_TRY(lmb_program_plan(t->worker[0].program, rows[i], t->factors != NULL, &plan, err));
    return LMB_OK;
}

/* The choice as text in the state, of what plans have asked for. */
static lmb_status keep_text(lmb_trainer *t, lmb_error *err)
{
    lmb_str text = LMB_STR_INIT;

    lmb_choices_text(t->choices, true, &text);
    lmb_status st = lmb_str_check(&text, err);
    if (st == LMB_OK) {
        free(t->s.kernels);
        t->s.kernels = text.text; /* ours now; NULL when there is nothing to choose */
    } else {
        lmb_str_free(&text);
    }
    return st;
}

/* Rank 0: from the cache, and what is not there by measuring. A cache that can not be written costs time, not the
 * training. */
static lmb_status measure(lmb_trainer *t, const char *folder, const lmb_log *log, lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT;
    lmb_str machine = LMB_STR_INIT;

    lmb_cpu_machine(&machine);
    LMB_TRY(lmb_str_check(&machine, err));
    lmb_status st = lmb_choices_load(t->choices, folder, machine.text, log, err);
    if (st == LMB_OK) {
        lmb_choices_measuring(t->choices, true);
        use(t, t->choices);
        st = compile_all(t, err);
        lmb_choices_measuring(t->choices, false);
    }
    if (st == LMB_OK)
        st = keep_text(t, err);
    if (st == LMB_OK && lmb_choices_measured(t->choices) &&
        lmb_choices_save(t->choices, folder, machine.text, &local) != LMB_OK)
        lmb_log_at(log, LMB_LOG_WARN, "plan", "%s; the next run measures its kernels again", local.msg);
    lmb_str_free(&machine);
    return st;
}

/* Rank 0's text to all; or, if its choice came to nothing, that there will be none: nobody waits for it. */
static lmb_status share(lmb_trainer *t, lmb_status chosen, lmb_error *err)
{
    lmb_error unsaid = LMB_ERROR_INIT; /* err has what went wrong first */
    int64_t n = chosen != LMB_OK ? FAILED : t->s.kernels ? (int64_t)strlen(t->s.kernels) : 0;
    lmb_status st = t->comm->broadcast(t->comm, &n, sizeof n, 0, chosen == LMB_OK ? err : &unsaid);

    if (chosen != LMB_OK || st != LMB_OK)
        return chosen != LMB_OK ? chosen : st;
    if (n == FAILED)
        return LMB_FAIL(err, LMB_E_PEER, "rank 0 could not choose kernels; it says why");
    if (n < 0 || n > MOST_TEXT)
        return LMB_FAIL(err, LMB_E_FORMAT, "rank 0 sends a choice of kernels of %lld bytes; at most %d are taken",
                        (long long)n, MOST_TEXT);
    if (t->comm->rank != 0) {
        free(t->s.kernels);
        t->s.kernels = n ? calloc(1, (size_t)n + 1) : NULL;
        if (n && !t->s.kernels)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld bytes of kernels' names", (long long)n);
    }
    return n ? t->comm->broadcast(t->comm, t->s.kernels, (size_t)n, 0, err) : LMB_OK;
}

/* Products that no fast kernel took. */
static void warn_of_references(const lmb_plan *plan, const lmb_log *log)
{
    lmb_plan_step first = { 0 };
    int n = 0;

    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        if (s.cost.macs > 0 && strcmp(s.kernel, "reference") == 0 && n++ == 0)
            first = s;
    }
    if (n)
        lmb_log_at(log, LMB_LOG_WARN, "plan",
                   "%d of %d steps run on slow reference kernels, the first is %s (%s)%s%s; `limbeck bench --train` "
                   "shows what that costs",
                   n, lmb_plan_steps(plan), first.node, first.op, first.refused ? ": " : "",
                   first.refused ? first.refused : "");
}

static lmb_status choose(lmb_trainer *t, const char *folder, bool resumed, const lmb_log *log, lmb_error *err)
{
    lmb_status st = lmb_choices_create(lmb_train_measuring_threads(), &t->choices, err);
    if (st == LMB_OK && folder && !resumed && t->comm->rank == 0)
        st = measure(t, folder, log, err);
    LMB_TRY(share(t, st, err));
    if (!t->s.kernels)
        return LMB_OK;
    LMB_TRY(lmb_choices_add(t->choices, t->s.kernels, strlen(t->s.kernels), err));
    use(t, t->choices);
    return LMB_OK;
}

lmb_status lmb_trainer_kernels(lmb_trainer *t, const char *folder, bool resumed, const lmb_log *log, lmb_error *err)
{
    const lmb_plan *plan = NULL;
    int64_t batch = t->c.batch < t->train->n ? t->c.batch : t->train->n, rows[LMBI_MOST_ROWS];

    LMB_TRY(lmbi_trainer_ways(t, folder, log, err));
    if (t->pipeline && (folder || (resumed && t->s.kernels)))
        return LMB_FAIL(err, LMB_E_ARG,
                        "kernels are not measured for the stages of train.pipeline; set plan_cache to off");
    if (t->pipeline)
        return LMB_OK;
    LMB_TRY(choose(t, folder, resumed, log, err));
    if (t->comm->rank != 0 || add_rows(t, batch, rows, 0) == 0)
        return LMB_OK;
    LMB_TRY(lmb_program_plan(t->worker[0].program, rows[0], t->factors != NULL, &plan, err));
    if (t->backends[0])
        warn_of_references(plan, log);
    if (lmb_choices_lost(t->choices))
        lmb_log_at(log, LMB_LOG_WARN, "plan",
                   "the training began with kernels that this build or processor lacks; it goes on with others, "
                   "and its weights will differ in their last bits");
    return LMB_OK;
}
