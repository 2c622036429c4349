/* federated/server_people.c - what people decide beside the running server: who takes part, the roster, the next key.
 *
 * Idea: once a second the server asks the journal whether another process wrote (federated/members.h). A client that
 * may not take part yet keeps its connection as `waiting`: no round sees it, and what it sends is not looked at. A new
 * roster takes effect between rounds, a revocation at once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "federated/papers.h"
#include "federated/server_parts.h"

static const double look_s = 0.5;

/* ---- the server's key ---- */

static lmb_status key_path(const lmb_server *s, const char *name, char out[4096], lmb_error *err)
{
    return lmb_path_join(out, 4096, s->state_dir, name, err);
}

/* The new key takes the old one's place. Killed between the two steps, the next start does the second. */
static lmb_status end_rotation(lmb_server *s, lmb_error *err)
{
    char from[4096], to[4096];
    LMB_TRY(key_path(s, "server.key.next", from, err));
    LMB_TRY(key_path(s, "server.key", to, err));
    if (lmb_file_exists(from)) {
        LMB_TRY(lmb_file_publish(from, to, err));
        LMB_TRY(lmb_key_file(to, s->secret, err));
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated",
                   "the server's key has changed: only the new one is answered to");
    }
    s->people.rotating = false;
    sodium_memzero(s->people.next_secret, sizeof s->people.next_secret);
    return lmb_journal_set_rotation(s->journal, 0, err);
}

static void tell_key(peer *p)
{
    lmb_key_message m;
    lmb_noise_public(p->server->people.next_secret, m.key);
    lmbi_peer_say(p, LMB_MSG_KEY, &m);
}

static lmb_status look_at_key(lmb_server *s, lmb_error *err)
{
    char path[4096];
    int64_t ends;

    LMB_TRY(lmb_journal_rotation(s->journal, &ends, err));
    s->people.rotation_ends = ends;
    if (!ends || s->people.rotating)
        return LMB_OK;
    LMB_TRY(key_path(s, "server.key.next", path, err));
    if (!lmb_file_exists(path))
        return end_rotation(s, err);
    LMB_TRY(lmb_key_file(path, s->people.next_secret, err));
    s->people.rotating = true;
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated",
               "the server's key changes: both are answered to for %" PRId64 " s", ends - (int64_t)time(NULL));
    for (peer *p = s->peers, *next; p; p = next) {
        next = p->next;
        if (p->member && !p->told && !p->closing)
            tell_key(p);
    }
    return LMB_OK;
}

/* ---- the roster ---- */

static lmb_status load_roster(lmb_server *s, lmb_error *err)
{
    people *w = &s->people;
    lmb_hash federation;
    lmb_roster fresh;
    void *bytes;
    size_t n;
    lmb_status st;

    w->roster_stale = false;
    if (!w->required)
        return LMB_OK;
    LMB_TRY(lmb_journal_federation(s->journal, &federation, err));
    LMB_TRY(lmb_journal_roster(s->journal, &bytes, &n, err));
    if (!bytes)
        return LMB_OK;
    st = lmb_roster_open(&fresh, bytes, n, &federation, w->admin, err);
    if (st != LMB_OK || fresh.version == w->roster.version) {
        if (st == LMB_OK)
            lmb_roster_close(&fresh);
        free(bytes);
        return st;
    }
    for (peer *p = s->peers; p; p = p->next)
        if (p->sending == &s->blobs[BLOB_ROSTER])
            p->sending = NULL;
    lmb_roster_close(&w->roster);
    free(w->roster_bytes);
    w->roster = fresh;
    w->roster_bytes = bytes;
    s->blobs[BLOB_ROSTER] = (blob){ { lmb_hash_of(bytes, n), n }, bytes };
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "roster %" PRIu64 ": %u clients, signed by the admin",
               fresh.version, fresh.n);
    w->roster_told = false;
    return LMB_OK;
}

static void tell_roster(peer *p)
{
    lmb_server *s = p->server;
    lmb_roster_message m = { .roster = s->blobs[BLOB_ROSTER].id, .version = s->people.roster.version };
    if (s->people.roster.n)
        lmbi_peer_say(p, LMB_MSG_ROSTER, &m);
}

/* ---- who takes part ---- */

/* NULL: it may; else the sentence that it waits with. */
static const char *why_not(const lmb_server *s, const member *m)
{
    const uint8_t *listed;
    if (m->state == LMB_CLIENT_WAITING)
        return "this client waits for approval by the people who run the federation";
    if (!s->people.required)
        return NULL;
    listed = lmb_roster_key(&s->people.roster, (uint32_t)m->id);
    return listed && memcmp(listed, m->sign, sizeof m->sign) == 0
               ? NULL
               : "this client waits for a roster that names it, signed by the admin";
}

static void wait_with(member *m, peer *p, const char *sentence)
{
    lmb_round_note note = { 0 };
    m->waiting = p;
    m->peer = NULL;
    snprintf(note.sentence, sizeof note.sentence, "%s", sentence);
    lmb_log_at(p->server->job.log, LMB_LOG_INFO, "federated", "client %" PRId64 " (%s): %s", m->id, m->name, sentence);
    lmbi_peer_say(p, LMB_MSG_REFUSED, &note);
}

static void take_part(member *m, peer *p)
{
    m->waiting = NULL;
    m->peer = p;
    tell_roster(p);
    if ((m->status == MEMBER_SELECTED || (m->status == MEMBER_HANDED && lmbi_secure_hides(p->server))) && !p->closing) {
        lmbi_peer_task(p);
        lmbi_secure_again(p->server, m);
    }
}

void lmbi_people_arrived(peer *p)
{
    member *m = p->member;
    const char *sentence = why_not(p->server, m);
    if (p->server->people.rotating)
        tell_key(p);
    if (p->closing)
        return;
    if (sentence)
        wait_with(m, p, sentence);
    else
        take_part(m, p);
}

lmb_status lmbi_people_rotate(peer *p, const lmb_rotate_message *r, lmb_error *err)
{
    lmb_server *s = p->server;
    member *m = p->member;
    lmb_key_message answer;

    LMB_TRY(lmb_rotate_check(r, p->channel, m->sign, err));
    LMB_TRY(lmb_journal_rotate(s->journal, m->id, r->key, r->sign, err));
    memcpy(m->public_key, r->key, sizeof m->public_key);
    memcpy(m->sign, r->sign, sizeof m->sign);
    s->people.unsorted = true; /* the roster has its old key */
    memcpy(answer.key, r->key, sizeof answer.key);
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "client %" PRId64 " (%s) has changed its keys", m->id, m->name);
    lmbi_peer_say(p, LMB_MSG_ROTATED, &answer);
    return LMB_OK;
}

/* ---- looking ---- */

static void cast_out(lmb_server *s, member *m)
{
    peer *p = m->peer ? m->peer : m->waiting;
    lmb_error e = LMB_ERROR_INIT;

    if (p) {
        (void)LMB_FAIL(&e, LMB_E_DENIED, "client %" PRId64 " (%s) was revoked; ask the people who run the federation",
                       m->id, m->name);
        lmbi_peer_expel(p, &e);
    }
    if (m->status == MEMBER_SELECTED) /* gone for a moment, or waiting; HANDED: asked for when it is its turn */
        lmbi_member_out(s, m, "it was revoked");
}

static lmb_status look_at_clients(lmb_server *s, lmb_error *err)
{
    lmb_journal_client *list;
    size_t n;

    LMB_TRY(lmb_journal_clients(s->journal, &list, &n, err));
    for (member *m = s->members; m; m = m->next)
        for (size_t i = 0; i < n; i++)
            if (list[i].id == m->id) {
                bool fell = list[i].state == LMB_CLIENT_REVOKED && m->state != LMB_CLIENT_REVOKED;
                m->state = list[i].state;
                if (fell)
                    cast_out(s, m);
                break;
            }
    free(list);
    return LMB_OK;
}

/* Members move between waiting and taking part; between rounds, all are told of a new roster. */
static void sort_members(lmb_server *s)
{
    for (member *m = s->members; m; m = m->next) {
        const char *sentence = why_not(s, m);
        if (m->waiting && !sentence && m->state == LMB_CLIENT_APPROVED)
            take_part(m, m->waiting);
        else if (m->peer && !m->told && sentence && m->status == MEMBER_IDLE)
            wait_with(m, m->peer, sentence);
        else if (m->peer && !m->told && !s->people.roster_told)
            tell_roster(m->peer);
    }
    s->people.roster_told = true;
    s->people.unsorted =
        s->phase == PHASE_ROUND && s->people.unsorted; /* who works in a round is looked at again after it */
}

static lmb_status look(lmb_server *s, bool changed, lmb_error *err)
{
    if (changed) {
        LMB_TRY(look_at_clients(s, err));
        LMB_TRY(look_at_key(s, err));
        s->people.roster_stale = true;
    }
    if (s->people.rotating && (int64_t)time(NULL) >= s->people.rotation_ends)
        LMB_TRY(end_rotation(s, err));
    return LMB_OK;
}

void lmbi_people_check(lmb_server *s)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st = LMB_OK;
    bool changed = false;

    if (lmbi_now(s) - s->people.looked >= look_s) {
        s->people.looked = lmbi_now(s);
        st = lmb_journal_changed(s->journal, &changed, &err);
        if (st == LMB_OK)
            st = look(s, changed, &err);
    }
    if (st == LMB_OK && s->people.roster_stale && s->phase != PHASE_ROUND)
        st = load_roster(s, &err);
    if (st != LMB_OK) /* the disk may come back; rounds that cannot be written end the run by themselves */
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "%s", err.msg);
    if (changed || s->people.unsorted || !s->people.roster_told)
        sort_members(s);
    if (s->phase == PHASE_FAREWELL) {
        lmb_round_note note = { .round = s->state.round, .sentence = "all rounds are over" };
        for (member *m = s->members; m; m = m->next)
            if (m->waiting)
                lmbi_peer_farewell(m->waiting, LMB_MSG_DONE, &note);
    }
}

lmb_status lmbi_people_open(lmb_server *s, lmb_error *err)
{
    bool unused;
    s->people.required = *s->cfg.admin != 0;
    s->people.roster_told = true;
    if (s->people.required)
        LMB_TRY(lmb_public_parse(s->cfg.admin, s->people.admin, err));
    if (s->people.required)
        LMB_TRY(lmb_journal_set_admin(s->journal, s->people.admin, err));
    LMB_TRY(lmb_journal_changed(s->journal, &unused, err));
    LMB_TRY(look(s, true, err));
    return load_roster(s, err);
}

void lmbi_people_close(lmb_server *s)
{
    lmb_roster_close(&s->people.roster);
    free(s->people.roster_bytes);
}
