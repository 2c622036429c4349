/* federated/session.c - see session.h. */
#include "federated/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/bytes.h"

static const lmb_wire_field head_rows[] = {
    LMB_WIRE(lmb_session_head, federation, BYTES, LMB_HASH_BYTES),
    LMB_WIRE(lmb_session_head, number, U64, 0),
    LMB_WIRE(lmb_session_head, mode, U32, 0),
    LMB_WIRE(lmb_session_head, clients, U32, 0),
    LMB_WIRE(lmb_session_head, weight_max, U32, 0),
    LMB_WIRE(lmb_session_head, value_bits, U32, 0),
    LMB_WIRE(lmb_session_head, ring_bits, U32, 0),
    LMB_WIRE(lmb_session_head, clip, REAL, 0),
    LMB_WIRE(lmb_session_head, noise, U64, 0),
    LMB_WIRE(lmb_session_head, admin, BYTES, LMB_SIGN_PUBLIC),
    LMB_WIRE_LAST,
};
enum { HEAD = LMB_HASH_BYTES + 8 + 5 * 4 + 8 + 8 + LMB_SIGN_PUBLIC };

lmb_status lmb_session_write(const lmb_session_head *head, const void *roster, size_t roster_bytes, lmb_str *out,
                             lmb_error *err)
{
    uint8_t buf[HEAD];
    size_t n;
    LMB_TRY(lmb_wire_write("SESSION", head_rows, head, buf, sizeof buf, &n, err));
    lmb_str_add_n(out, buf, n);
    if (roster_bytes)
        lmb_str_add_n(out, roster, roster_bytes);
    return lmb_str_check(out, err);
}

lmb_status lmb_session_read(const uint8_t *bytes, size_t n, lmb_session_head *head, const uint8_t **roster,
                            size_t *roster_bytes, lmb_error *err)
{
    if (n < HEAD)
        return LMB_FAIL(err, LMB_E_FORMAT, "the description of a secure sum has %zu bytes, %d at least are needed", n,
                        HEAD);
    LMB_TRY(lmb_wire_read("SESSION", head_rows, bytes, HEAD, head, err));
    if (head->mode > LMB_SECURE_OFF)
        return LMB_FAIL(err, LMB_E_FORMAT, "a secure sum of mode %u; the modes are 0 to %d", head->mode,
                        LMB_SECURE_OFF);
    *roster = bytes + HEAD;
    *roster_bytes = n - HEAD;
    return LMB_OK;
}

lmb_secagg_coding lmb_session_coding(const lmb_session_head *h, uint64_t n)
{
    return (lmb_secagg_coding){ .length = n,
                                .clients = h->clients,
                                .weight_max = h->weight_max,
                                .value_bits = h->value_bits,
                                .ring_bits = h->ring_bits,
                                .clip = h->clip,
                                .noise = h->noise };
}

/* The run is all that the clients are told to do: two that are to train differently are in different sessions. */
static lmb_hash run_of(const lmb_task_message *t)
{
    uint8_t number[8];
    uint64_t clip;
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck task");
    lmb_put_u64(number, t->round);
    lmb_hash_add(&h, number, sizeof number);
    memcpy(&clip, &t->clip, sizeof clip);
    lmb_put_u64(number, clip);
    lmb_hash_add(&h, number, sizeof number);
    lmb_hash_add(&h, &t->layout, sizeof t->layout);
    lmb_hash_add(&h, &t->graph.hash, sizeof t->graph.hash);
    lmb_hash_add(&h, &t->settings.hash, sizeof t->settings.hash);
    return lmb_hash_end(&h);
}

lmb_secagg_session lmb_session_of(const lmb_session_head *head, const lmb_task_message *task)
{
    return (lmb_secagg_session){ .federation = head->federation,
                                 .run = run_of(task),
                                 .round = head->number,
                                 .model = task->model.hash,
                                 .mode = head->mode == LMB_SECURE_MALICIOUS ? LMB_SECAGG_MALICIOUS : LMB_SECAGG_CURIOUS,
                                 .coding = lmb_session_coding(head, task->n) };
}

void lmb_session_seed(const lmb_task_message *task, uint8_t seed[LMB_SECAGG_SEED])
{
    uint8_t number[8];
    lmb_hasher h;
    lmb_hash made;
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck rounding");
    lmb_put_u64(number, task->seed);
    lmb_hash_add(&h, number, sizeof number);
    lmb_put_u64(number, task->round);
    lmb_hash_add(&h, number, sizeof number);
    made = lmb_hash_end(&h);
    memcpy(seed, made.b, LMB_SECAGG_SEED);
}

/* ---- pieces ---- */

void lmb_pieces_drop(lmb_message_pieces *p)
{
    free(p->bytes);
    *p = (lmb_message_pieces){ 0 };
}

lmb_status lmb_pieces_take(lmb_message_pieces *p, const lmb_record *r, size_t limit, bool *whole, lmb_error *err)
{
    *whole = false;
    if (r->message > limit || !r->bytes)
        return LMB_FAIL(err, LMB_E_FORMAT, "a message of %u bytes for a secure sum, the longest has %zu", r->message,
                        limit);
    if (r->offset == 0) {
        lmb_pieces_drop(p);
        p->bytes = malloc(r->message ? r->message : 1);
        if (!p->bytes)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a message of %u bytes", r->message);
        p->total = r->message;
    }
    if (!p->bytes || r->message != p->total || r->offset != p->have || r->bytes > p->total - p->have)
        return LMB_FAIL(err, LMB_E_FORMAT, "a piece of a secure sum's message does not follow what came before it");
    memcpy(p->bytes + p->have, r->body, r->bytes);
    p->have += r->bytes;
    *whole = p->have == p->total;
    return LMB_OK;
}

lmb_record lmb_piece_at(const void *bytes, size_t n, size_t at)
{
    size_t left = n - at;
    return (lmb_record){ LMB_MSG_SECAGG, (uint32_t)n, at, (const uint8_t *)bytes + at,
                         left < LMB_RECORD_BODY ? left : LMB_RECORD_BODY };
}
