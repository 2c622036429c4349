/* federated/server_select.c - who takes part: chosen among those that are there and idle, by what is known of them
 * (federated/select.h), and in the journal before anybody is asked; the others are told when to come back.
 *
 * Pace: clients without work hang up and return after pace_s, or later when there are many: so much later that while a
 * round lasts about twice as many come as it asks. Each is given another time, so that they do not come all at once.
 *
 *   source   pace steering: Bonawitz et al., Towards federated learning at scale: system design. SysML 2019, section
 *            2.3
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "federated/server_parts.h"

/* ---- who is there ---- */

uint64_t lmbi_members_connected(const lmb_server *s)
{
    uint64_t n = 0;
    for (const member *m = s->members; m; m = m->next)
        n += m->peer != NULL;
    return n;
}

bool lmbi_select_ready(const lmb_server *s)
{
    uint64_t n = lmbi_members_connected(s), pool = s->cfg.pool ? (uint64_t)s->cfg.pool : lmbi_server_width(s);
    return n >= pool || (n >= (uint64_t)s->cfg.minimum && lmbi_now(s) - s->phase_since >= s->cfg.gather_s);
}

static bool is_idle(const member *m) { return m->peer && !m->peer->told && m->status == MEMBER_IDLE; }

static int by_id(const void *a, const void *b)
{
    const member *x = *(member *const *)a, *y = *(member *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

/* ---- drawing ---- */

/* order[n]: the places of those that take part come first; *take of them. Depends on the seed, the turn, who is there
 * and what is known of them, not on who came first. */
static lmb_status draw(lmb_server *s, member *const *there, size_t n, size_t most, uint64_t turn, size_t *order,
                       size_t *take, lmb_error *err)
{
    s->state.share = 1;
    if (s->privacy.on && s->privacy.c.sampling != LMB_SAMPLING_ALL) {
        uint32_t *drawn = malloc((n + 1) * sizeof *drawn);
        if (!drawn)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory to draw among %zu clients", n);
        *take = lmb_privacy_draw(&s->privacy, turn, n, n, drawn, &s->state.share);
        for (size_t i = 0; i < *take; i++)
            order[i] = drawn[i];
        free(drawn);
        return LMB_OK;
    }
    lmb_candidate *c = calloc(n + 1, sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose among %zu clients", n);
    for (size_t i = 0; i < n; i++)
        c[i] = (lmb_candidate){ there[i]->id, there[i]->known.examples, there[i]->known.loss, there[i]->known.last };
    *take = n < most ? n : most;
    lmb_status st = lmb_select(s->selector, s->selector_config, c, n, *take, (uint64_t)s->cfg.seed, turn, order, err);
    free(c);
    return st;
}

static void set_to_work(lmb_server *s, member *m, const lmb_journal_turn *at)
{
    m->at = *at;
    m->status = MEMBER_SELECTED;
    m->steps = 0;
    m->asked = m->progress = lmbi_now(s);
}

/* Journal the turns of the chosen, then tell them. */
static lmb_status ask(lmb_server *s, member *const *there, const size_t *order, size_t n, lmb_error *err)
{
    lmb_journal_turn *turn = calloc(n + 1, sizeof *turn);
    if (!turn)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to ask %zu clients", n);
    for (size_t i = 0; i < n; i++)
        turn[i] = (lmb_journal_turn){ .client = there[order[i]]->id,
                                      .turn = lmbi_is_async(s) ? ++s->state.turn : s->state.round + 1,
                                      .version = s->state.round,
                                      .model = s->blobs[BLOB_MODEL].id.hash };
    lmb_crash_at(&s->crash, LMB_CRASH_DRAWN);
    lmb_status st = lmb_journal_ask(s->journal, &s->state, turn, n, err);
    if (st == LMB_OK)
        lmb_crash_at(&s->crash, LMB_CRASH_ASKED);
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        set_to_work(s, there[order[i]], &turn[i]);
    if (st == LMB_OK)
        st = lmbi_secure_begin(s, err);
    for (size_t i = 0; st == LMB_OK && i < n;
         i++) /* a client may be lost on the way: all are at work before the first is told */
        if (there[order[i]]->peer)
            lmbi_peer_task(there[order[i]]->peer);
    free(turn);
    return st;
}

lmb_status lmbi_select_ask(lmb_server *s, size_t most, size_t *n, lmb_error *err)
{
    size_t idle = 0, i = 0;
    lmb_status st;

    *n = 0;
    for (const member *m = s->members; m; m = m->next)
        idle += is_idle(m);
    member **there = calloc(idle + 1, sizeof *there);
    size_t *order = calloc(idle + 1, sizeof *order);
    if (!there || !order) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to select among %zu clients", idle);
    } else {
        for (member *m = s->members; m; m = m->next)
            if (is_idle(m))
                there[i++] = m;
        qsort(there, idle, sizeof *there, by_id);
        st = draw(s, there, idle, most, (lmbi_is_async(s) ? s->state.turn : s->state.round) + 1, order, n, err);
        if (st == LMB_OK && lmbi_round_spent(s, s->state.share)) /* more than was configured, because fewer are there */
            *n = SIZE_MAX;
        else if (st == LMB_OK)
            st = ask(s, there, order, *n, err);
    }
    free(there);
    free(order);
    return st;
}

lmb_status lmbi_select_again(lmb_server *s, member *m, lmb_error *err)
{
    size_t first = 0;
    return ask(s, &m, &first, 1, err);
}

/* ---- after a restart ---- */

typedef struct resumed { lmb_server *s; size_t n; } resumed;

static lmb_status take_turn(void *ctx, const lmb_journal_turn *t, const uint8_t key[32], lmb_error *err)
{
    resumed *r = ctx;
    lmb_journal_client c;
    member *m;
    bool found;

    LMB_TRY(lmb_journal_find_client(r->s->journal, key, &c, &found, err));
    if (!found || c.state != LMB_CLIENT_APPROVED)
        return LMB_OK;
    LMB_TRY(lmbi_member_make(r->s, key, &c, &m, err));
    m->state = c.state;
    set_to_work(r->s, m, t);
    m->gone = lmbi_now(r->s);
    r->n++;
    return LMB_OK;
}

lmb_status lmbi_select_resume(lmb_server *s, size_t *n, lmb_error *err)
{
    resumed r = { s, 0 };
    lmb_status st = lmb_journal_turns(s->journal, take_turn, &r, err);
    *n = r.n;
    return st;
}

/* ---- those that are not needed ---- */

/* When to come back; 0: stay. */
static double pace(const lmb_server *s)
{
    double members = 0, most = s->cfg.pace_s;

    if (s->cfg.pace_s <= 0)
        return 0;
    for (const member *m = s->members; m; m = m->next)
        members++;
    double spread = s->round_seconds * members / (2 * (double)lmbi_server_width(s));
    if (spread > most)
        most = spread < 3600 || s->cfg.pace_s > 3600 ? spread : 3600;
    most *= 0.5 + randombytes_uniform(1000) / 1000.0;
    return most < LMB_LATER_MOST ? most : LMB_LATER_MOST;
}

static void later(lmb_server *s, member *m, uint64_t turn, const char *sentence)
{
    lmb_later text = { .round = turn, .seconds = pace(s) };
    peer *p = m->peer;

    if (!p || p->told)
        return;
    snprintf(text.sentence, sizeof text.sentence, "%s", sentence);
    if (text.seconds > 0) {
        m->paced = true;
        m->due = lmbi_now(s) + 1.25 * text.seconds + 3; /* the client's own jitter, and its way */
        lmbi_peer_farewell(p, LMB_MSG_LATER, &text);
        m->peer = NULL;
        m->gone = lmbi_now(s);
    } else if (lmb_message_send(p->channel, LMB_MSG_LATER, &text, NULL) != LMB_OK) {
        lmbi_peer_close(p);
    } else {
        lmbi_peer_flush(p);
    }
}

void lmbi_member_spare(lmb_server *s, member *m, const char *sentence)
{
    m->status = MEMBER_IDLE;
    m->stale = m->upload.fd >= 0;
    lmb_upload_end(&m->upload);
    if (m->peer)
        m->peer->sending = NULL;
    later(s, m, m->at.turn, sentence);
}

void lmbi_select_pace(lmb_server *s)
{
    if (s->cfg.pace_s <= 0)
        return;
    for (member *m = s->members; m; m = m->next)
        if (m->peer && !lmbi_at_work(m))
            later(s, m, 0, "there is no work for this client now");
}
