/* core/cuda/ops/race.h - a kernel with several ways takes the best by their times (core/cuda/contest.h), on the
 * operands of its first run.
 *
 * Idea: what is known of the shape, from this process or a file, is taken; else, while there is time for it, a contest
 * is held; else the first way is taken, as where nothing is measured. A kernel K has links, each with alternatives, and
 * behind them our own kernel:
 *   links()                     how many; `at` names the one that runs, links(): our own
 *   enter_all(race &)           make the alternatives of all links, and enter them
 *   take(l, i, q, err)          from now on link l runs by its alternative i; there is memory for its work
 *   keep(l, i)                  for good: memory of the others is given back
 *   run_link(l, r, q, err)
 *   take_known(contestant, ...) find, make and take a way again by its name and place; sets `at`
 *   take_first(q)
 */
#ifndef LMB_CORE_CUDA_OPS_RACE_H
#define LMB_CORE_CUDA_OPS_RACE_H

#include "core/cuda/ops/fallback.h"

namespace lmb {

template <class K> struct race {
    K *k;
    const lmb_run *r;
    lmb_cuda_queue *q;
    lmbi_contest held;
    int which[LMBI_CONTEST_MOST]; /* of each way: which of its link's */
    int running;

    void enter(const char *name, int link, int place, int alternative)
    {
        if (held.n < LMBI_CONTEST_MOST)
            which[held.n] = alternative;
        lmbi_contest_enter(&held, name, link, place);
    }
    static lmb_status one_turn(void *ctx, lmb_error *err)
    {
        race *x = (race *)ctx;
        return x->running < x->k->links() ? x->k->run_link(x->running, x->r, x->q, err) : x->k->own.run(x->r, err);
    }
    static lmb_status some_turns(void *ctx, int i, int turns, double *ms, lmb_error *err)
    {
        race *x = (race *)ctx;
        x->running = x->held.of[i].link;
        if (x->running < x->k->links())
            LMB_TRY(x->k->take(x->running, x->which[i], x->q, err));
        return lmbi_queue_time(x->q, one_turn, x, turns, ms, err);
    }
};

template <class K> void tell(K *k, const lmbi_contest *c, const char *shape, const lmb_log *log)
{
    char times[640];
    lmbi_contest_text(c, times, sizeof times);
    if (*times)
        k->said.add(times, "");
    lmb_log_at(log, LMB_LOG_INFO, "cuda", "%s: %s; %s", shape, times,
               c->winner < 0 ? "none runs" : c->of[c->winner].name);
}

template <class K> void hold_contest(K *k, const lmb_run *r, lmb_cuda_queue *q, const char *shape)
{
    race<K> x = { k, r, q, {}, {}, 0 };
    double since = lmbi_queue_clock();
    k->enter_all(x);
    lmbi_contest_hold(&x.held, race<K>::some_turns, &x);
    int won = x.held.winner, n = k->links();
    k->at = won < 0 ? n : x.held.of[won].link;
    tell(k, &x.held, shape, q->log);
    lmbi_queue_decided(q, shape, &x.held, lmbi_queue_clock() - since);
    k->keep(k->at, k->at < n ? x.which[won] : -1);
    lmb_error why = LMB_ERROR_INIT; /* for who was alone and never ran */
    if (k->at < n && k->take(k->at, x.which[won], q, &why) != LMB_OK) {
        k->said.add("not taken", why.msg);
        k->at = n;
    }
}

/* The way that is best for this shape, as it turns out now, or did before. */
template <class K> void take_best(K *k, const lmb_run *r, lmb_cuda_queue *q, const char *shape)
{
    const lmbi_contest *c = lmbi_queue_known(q, shape);
    lmb_error why = LMB_ERROR_INIT;
    if (c && c->winner < 0) {
        k->at = k->links();
        return tell(k, c, shape, nullptr);
    }
    if (c && k->take_known(c->of[c->winner], q, &why) == LMB_OK)
        return tell(k, c, shape, nullptr);
    if (c) /* there is less memory now, or another library */
        k->said.add(c->of[c->winner].name, why.msg);
    if (lmbi_queue_may_measure(q))
        return hold_contest(k, r, q, shape);
    if (q->time.limit > 0)
        k->said.add("not timed", "the time for that was used up");
    k->take_first(q);
}

} // namespace lmb

#endif
