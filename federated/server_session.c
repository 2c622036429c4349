/* federated/server_session.c - a session of secure aggregation begins: its settings, its number, its roster.
 *
 * Nothing of a session is ever written down. A server that was killed begins another one, and since every session has a
 * number of its own (in the journal, written first), nobody answers the old one for it.
 *
 * Without a signed roster the server vouches for its clients' keys with one of its own: that is enough against a server
 * that is curious, and says nothing against one that lies (docs/secure-aggregation.md).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "federated/papers.h"
#include "federated/server_secagg.h"

bool lmbi_secure_hides(const lmb_server *s) { return s->secure && s->secure->o.c.mode != LMB_SECURE_OFF; }

/* ---- opening ---- */

lmb_status lmbi_secure_open(lmb_server *s, lmb_error *err)
{
    uint64_t last;
    secure_round *r;
    char path[4096];

    if (!s->cfg.secure_aggregation)
        return LMB_OK;
    r = s->secure = lmb_secret_new(sizeof *r); /* the key that vouches lies in it */
    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for secure aggregation");
    LMB_TRY(lmb_secure_open(s->cfg.secure_aggregation, s->job.n, lmbi_secure_most(&s->cfg, &s->privacy),
                            (uint64_t)s->cfg.minimum, &s->privacy, &r->o, err));
    if (s->cfg.minimum < (int64_t)r->o.clients_min)
        s->cfg.minimum = (int64_t)r->o.clients_min;
    LMB_TRY(lmb_journal_federation(s->journal, &r->federation, err));
    if (!lmbi_secure_hides(s))
        return lmb_ring_init(&r->ring, r->o.coding.ring_bits, r->o.coding.length + 1, err);
    if (s->cfg.device == LMB_SERVER_CUDA)
        r->gpu = lmb_unmask_gpu_open("masks come off", s->job.log);
    LMB_TRY(lmb_journal_last_sum(s->journal, &last, err)); /* damage shows before anybody is asked */
    LMB_TRY(lmb_path_join(path, sizeof path, s->state_dir, "roster.key", err));
    return lmb_sign_file(path, r->vouch, err);
}

void lmbi_secure_describe(const lmb_server *s)
{
    static const char *const against[] = { "a curious server", "a malicious server",
                                           "nobody: the integers are summed in the clear" };
    const secure_round *r = s->secure;

    if (r)
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated",
                   "secure aggregation against %s; clip %g, %u bits a value in a ring of %u, weights up to %u, "
                   "sums of %u clients or more%s%s",
                   against[r->o.c.mode], r->o.coding.clip, r->o.coding.value_bits, r->o.coding.ring_bits,
                   r->o.coding.weight_max, r->o.clients_min,
                   s->people.required || !lmbi_secure_hides(s) ? "" : "; the server vouches for the keys",
                   r->o.coding.noise ? "; the clients add the noise" : "");
}

void lmbi_secure_end(secure_round *r)
{
    lmb_secagg_server_destroy(r->sum);
    r->sum = NULL;
    lmb_roster_close(&r->own);
}

void lmbi_secure_close(lmb_server *s)
{
    secure_round *r = s->secure;
    if (!r)
        return;
    lmbi_secure_end(r);
    lmb_unmask_gpu_close(r->gpu);
    lmb_ring_deinit(&r->ring);
    lmb_str_free(&r->own_bytes);
    lmb_str_free(&r->blob);
    lmb_secret_free(r);
    s->secure = NULL;
}

void lmbi_secure_forget(member *m)
{
    lmb_pieces_drop(&m->secure.in);
    lmb_str_free(&m->secure.masked);
    lmb_str_free(&m->secure.out);
    m->secure = (secure_member){ 0 };
}

/* ---- a session begins ---- */

static int by_row(const void *a, const void *b)
{
    uint32_t x = ((const lmb_roster_row *)a)->id, y = ((const lmb_roster_row *)b)->id;
    return (x > y) - (x < y);
}

/* rows[n] of the cohort, by number. */
static uint32_t cohort_of(lmb_server *s, lmb_roster_row *rows)
{
    uint32_t n = 0;
    for (member *m = s->members; m; m = m->next) {
        if (m->status != MEMBER_SELECTED)
            continue;
        lmbi_secure_forget(m);
        rows[n].id = (uint32_t)m->id;
        memcpy(rows[n++].key, m->sign, LMB_SIGN_PUBLIC);
    }
    qsort(rows, n, sizeof *rows, by_row);
    return n;
}

static lmb_status vouch_for(secure_round *r, const lmb_roster_row *rows, uint32_t n, lmb_error *err)
{
    lmb_str plain = LMB_STR_INIT, *b = &r->own_bytes;
    lmb_str_clear(b);
    lmb_status st = lmb_roster_write(rows, n, r->head.number, &r->federation, &plain, err);
    if (st == LMB_OK)
        st = lmb_roster_sign((const uint8_t *)plain.text, plain.n, r->vouch, b, err);
    lmb_str_free(&plain);
    LMB_TRY(st);
    return lmb_roster_open(&r->own, (const uint8_t *)b->text, b->n, &r->federation, r->head.admin, err);
}

static lmb_status open_sum(lmb_server *s, const lmb_roster_row *rows, uint32_t n, lmb_error *err)
{
    secure_round *r = s->secure;
    lmb_task_message task = lmbi_task(s);
    lmb_secagg_session session = lmb_session_of(&r->head, &task);
    uint32_t *cohort = calloc(n, sizeof *cohort);
    lmb_status st = cohort ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a secure sum of %u clients", n);

    for (uint32_t i = 0; st == LMB_OK && i < n; i++)
        cohort[i] = rows[i].id;
    lmb_secagg_server_setup setup = { .session = &session,
                                      .roster = s->people.required ? &s->people.roster : &r->own,
                                      .cohort = cohort,
                                      .n = n,
                                      .trust = r->o.trust,
                                      .shape = r->o.shape,
                                      .clients_min = r->o.clients_min };
    if (st == LMB_OK)
        st = lmb_secagg_server_create(&setup, &r->sum, err);
    free(cohort);
    return st;
}

static lmb_status begin(lmb_server *s, lmb_roster_row *rows, lmb_error *err)
{
    secure_round *r = s->secure;
    const lmb_secagg_coding *c = &r->o.coding;
    uint32_t n = cohort_of(s, rows);

    lmbi_secure_end(r);
    r->head = (lmb_session_head){ .federation = r->federation,
                                  .mode = (uint32_t)r->o.c.mode,
                                  .clients = c->clients,
                                  .weight_max = c->weight_max,
                                  .value_bits = c->value_bits,
                                  .ring_bits = c->ring_bits,
                                  .clip = c->clip,
                                  .noise = c->noise };
    memcpy(r->head.admin, s->people.required ? s->people.admin : lmb_sign_public(r->vouch), sizeof r->head.admin);
    LMB_TRY(lmb_journal_next_sum(s->journal, &r->head.number, err));
    lmb_str_clear(&r->blob);
    if (lmbi_secure_hides(s) && !s->people.required) {
        LMB_TRY(vouch_for(r, rows, n, err));
        LMB_TRY(lmb_session_write(&r->head, r->own_bytes.text, r->own_bytes.n, &r->blob, err));
    } else {
        LMB_TRY(
            lmb_session_write(&r->head, s->people.roster_bytes, (size_t)s->blobs[BLOB_ROSTER].id.bytes, &r->blob, err));
    }
    s->blobs[BLOB_SESSION] =
        (blob){ { lmb_hash_of(r->blob.text, r->blob.n), r->blob.n }, (const uint8_t *)r->blob.text };
    if (lmbi_secure_hides(s))
        return open_sum(s, rows, n, err);
    memset(r->ring.u32 ? (void *)r->ring.u32 : r->ring.u64, 0,
           r->ring.n * (r->ring.u32 ? sizeof *r->ring.u32 : sizeof *r->ring.u64));
    return LMB_OK;
}

lmb_status lmbi_secure_begin(lmb_server *s, lmb_error *err)
{
    if (!s->secure)
        return LMB_OK;
    size_t n = 0;
    for (const member *m = s->members; m; m = m->next)
        n += m->status == MEMBER_SELECTED;
    lmb_roster_row *rows = calloc(n + 1, sizeof *rows);
    lmb_status st =
        rows ? begin(s, rows, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a secure sum of %zu clients", n);
    free(rows);
    return st;
}
