/* federated/server_end.c - farewells: all rounds are over and every client is told; or the server was stopped, and
 * clients are told to come back.
 *
 * A server that finds all rounds over when it starts has a word for those that its predecessor could not tell. The
 * journal knows whether there are any; when none comes at once it does not wait for them. Clients that were told to
 * come back later are waited for if that is soon.
 */
#include <stdlib.h>

#include "federated/server_parts.h"

static const double farewell_s = 10, linger_s = 3, part_s = 2, come_back_s = 1; /* then again and again, more slowly */

/* ---- all rounds are over ---- */

/* Tell those that are there; afterwards the journal, in one transaction. */
static lmb_status tell_all(lmb_server *s, lmb_error *err)
{
    lmb_round_note note = { .round = s->state.round, .sentence = "all rounds are over; thank you" };
    size_t n = 0, room = (size_t)lmbi_members_connected(s) + 1;
    int64_t *told = malloc(room * sizeof *told);

    if (!told)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to tell %zu clients", room);
    for (member *m = s->members; m && n < room; m = m->next) {
        if (!m->peer || m->told)
            continue;
        m->told = true;
        told[n++] = m->id;
        lmbi_peer_farewell(m->peer, LMB_MSG_DONE, &note);
        s->expected -= s->expected > 0;
        lmb_crash_at(&s->crash, LMB_CRASH_TOLD);
    }
    lmb_status st = n ? lmb_journal_told(s->journal, told, n, err) : LMB_OK;
    free(told);
    return st;
}

void lmbi_end_farewell(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    double now = lmbi_now(s);
    bool wait = s->expected && now - s->phase_since < linger_s;

    if (tell_all(s, &err) != LMB_OK) {
        lmbi_server_fail(s, &err);
        return;
    }
    for (const member *m = s->members; m;
         m = m->next) /* for words to leave, and for those who were here a moment ago */
        wait |= m->peer || (!m->told && (m->paced ? now < m->due : now - m->gone < s->cfg.reconnect_s));
    if (!wait || now - s->phase_since > farewell_s)
        uv_stop(&s->loop);
}

/* ---- stopped ---- */

static bool anybody_working(const lmb_server *s)
{
    for (const member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_HANDED || (m->status == MEMBER_SELECTED && m->peer))
            return true;
    return false;
}

void lmbi_end_drain(lmb_server *s)
{
    lmb_later later = { .seconds = come_back_s, .sentence = "the server is stopped; it may come back" };

    if (s->phase == PHASE_FAREWELL || s->phase == PHASE_PART || s->worker.finishing) /* what is finished is kept */
        return;
    if (s->phase != PHASE_GATHER && anybody_working(s) && lmbi_now(s) - s->drain_since <= s->cfg.drain_s)
        return;
    for (member *m = s->members; m; m = m->next)
        if (m->peer && !m->peer->told) { /* one that is at work goes on, and has its result when it comes back */
            lmbi_peer_farewell(m->peer, LMB_MSG_LATER, &later);
            m->peer = NULL;
        }
    lmbi_round_enter(s, PHASE_PART);
}

void lmbi_end_part(lmb_server *s)
{
    if (s->peers && lmbi_now(s) - s->phase_since < part_s)
        return;
    s->stopping = true;
    uv_stop(&s->loop);
}
