/* federated/server_end.c - farewells: all rounds are over and every client is told; or the server was stopped, and clients are
 * told to come back.
 *
 * A server that finds all rounds over when it starts has a word for those that its predecessor could not tell. The journal
 * knows whether there are any; when none comes at once it does not wait for them. Clients that were told to come back later are
 * waited for if that is soon.
 */
#include <stdio.h>
#include <string.h>

#include "federated/server_parts.h"

static const double farewell_s = 10, linger_s = 3, part_s = 2, come_back_s = 1; /* then again and again, more slowly */

/* ---- all rounds are over ---- */

static lmb_status tell(lmb_server *s, member *m, lmb_error *err)
{
    lmb_round_note note = { .round = s->state.round, .sentence = "all rounds are over; thank you" };

    m->told = true;
    lmbi_peer_farewell(m->peer, LMB_MSG_DONE, &note);
    s->expected -= s->expected > 0;
    LMB_TRY(lmb_journal_told(s->journal, m->id, err));
    lmb_crash_at(&s->crash, LMB_CRASH_TOLD);
    return LMB_OK;
}

void lmbi_end_farewell(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    double now = lmbi_now(s);
    bool wait = s->expected && now - s->phase_since < linger_s;

    for (member *m = s->members; m; m = m->next) {
        if (m->peer && !m->told && tell(s, m, &err) != LMB_OK) {
            lmbi_server_fail(s, &err);
            return;
        }
        /* wait for words to leave, and for those who were here a moment ago */
        wait |= m->peer || (!m->told && (m->paced ? now < m->due : now - m->gone < s->cfg.reconnect_s));
    }
    if (!wait || now - s->phase_since > farewell_s)
        uv_stop(&s->loop);
}

/* ---- stopped ---- */

static bool anybody_working(const lmb_server *s)
{
    for (const member *m = s->members; m; m = m->next)
        if (m->status == MEMBER_SELECTED && m->peer)
            return true;
    return false;
}

void lmbi_end_drain(lmb_server *s)
{
    lmb_later later = { .seconds = come_back_s, .sentence = "the server is stopped; it may come back" };

    if (s->phase == PHASE_FAREWELL || s->phase == PHASE_PART)
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
