/* comm/outbox.c - see outbox.h. The buffer lives as long as there is something in it: most connections of a server
 * wait, and must cost next to nothing. */
#include "comm/outbox.h"

#include <stdlib.h>
#include <string.h>

lmb_status lmbi_outbox_room(lmbi_outbox *o, size_t more, lmb_error *err)
{
    size_t cap = o->cap;
    uint8_t *p;
    if (o->at) {
        memmove(o->bytes, o->bytes + o->at, o->n - o->at);
        o->n -= o->at;
        o->at = 0;
    }
    if (o->n + more <= cap)
        return LMB_OK;
    cap = o->n + more > 2 * cap ? o->n + more : 2 * cap;
    p = realloc(o->bytes, cap);
    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes to be sent", cap);
    o->bytes = p;
    o->cap = cap;
    return LMB_OK;
}

void lmbi_outbox_sent(lmbi_outbox *o, size_t n)
{
    o->at += n;
    if (o->at < o->n)
        return;
    free(o->bytes);
    *o = (lmbi_outbox){ 0 };
}

uint8_t *lmbi_outbox_take(lmbi_outbox *o, size_t *n)
{
    uint8_t *out = o->bytes;
    *n = o->n - o->at;
    if (!*n)
        return NULL;
    if (o->at)
        memmove(out, out + o->at, *n);
    *o = (lmbi_outbox){ 0 };
    return out;
}
