/* comm/outbox.h - what a channel has to say and nobody has sent yet: bytes are added behind `n` where room was made,
 * and are sent from `at` on. */
#ifndef LMB_COMM_OUTBOX_H
#define LMB_COMM_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

typedef struct lmbi_outbox {
    uint8_t *bytes; /* [at, n) are to be sent */
    size_t at, n, cap;
} lmbi_outbox;

/* Room for so many bytes behind `n`. */
LMB_MUST_CHECK lmb_status lmbi_outbox_room(lmbi_outbox *o, size_t more, lmb_error *err);
/* The first n were sent. */
void lmbi_outbox_sent(lmbi_outbox *o, size_t n);
/* All of it, for the caller to free(); NULL: nothing is to be sent. */
uint8_t *lmbi_outbox_take(lmbi_outbox *o, size_t *n);

#endif
