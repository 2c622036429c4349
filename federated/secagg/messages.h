/* federated/secagg/messages.h - what the parties of a secure sum say to each other.
 *
 *    client                                                    server
 *    ADVERTISE   my keys of this round, signed            ->
 *                                                         <-   KEYS        those of your neighbours, and your own
 *    SHARES      my two secrets, in shares, sealed to     ->
 *                each neighbour; a commitment
 *                                                         <-   BOXES       what was sealed to you
 *    MASKED      my vector, packed, follows               ->
 *                                                         <-   DROPPED     who shared, but sent no vector
 *    CONSISTENT  malicious mode: I sign that list         ->
 *                                                         <-   CONSENTS    your neighbours signed it too
 *    REVEAL      one share for each neighbour: of its     ->
 *                mask key if dropped, else of its own mask
 *
 * A message is its type in one byte, a head, and where the type has entries a u32 count and the entries, all of one
 * size. Every head begins with the session: what was said in another round is refused.
 *
 *   errors   E_FORMAT names the message and the field
 *   threads  pure
 */
#ifndef LMB_FEDERATED_SECAGG_MESSAGES_H
#define LMB_FEDERATED_SECAGG_MESSAGES_H

#include "comm/wire.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "federated/secagg/roster.h"
#include "federated/secagg/shamir.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_SECAGG_KEY = 32, LMB_SECAGG_BOX = 2 * LMB_SHAMIR_SHARE + 16 };

typedef enum {
    LMB_SECAGG_ADVERTISE = 1,
    LMB_SECAGG_KEYS = 2,
    LMB_SECAGG_SHARES = 3,
    LMB_SECAGG_BOXES = 4,
    LMB_SECAGG_MASKED = 5,
    LMB_SECAGG_DROPPED = 6,
    LMB_SECAGG_CONSISTENT = 7,
    LMB_SECAGG_CONSENTS = 8,
    LMB_SECAGG_REVEAL = 9,
    LMB_SECAGG_TYPES = 10
} lmb_secagg_type;

/* X25519 keys of one round, signed with the long-term key: `box` seals the shares, `mask` makes the pair masks. */
typedef struct lmb_secagg_keys {
    uint32_t id;
    uint8_t box[LMB_SECAGG_KEY], mask[LMB_SECAGG_KEY], signature[LMB_SIGNATURE];
} lmb_secagg_keys;

typedef struct lmb_secagg_advertise { /* no entries */
    lmb_hash sid;
    lmb_secagg_keys keys;
} lmb_secagg_advertise;

typedef struct lmb_secagg_keys_head { /* entries: lmb_secagg_keys, ids ascending */
    lmb_hash sid;
    uint32_t clients, threshold; /* of the graph; the degree is the number of entries less one */
} lmb_secagg_keys_head;

typedef struct lmb_secagg_shares_head { /* entries: lmb_secagg_box, id = to whom, ascending */
    lmb_hash sid, commitment;
} lmb_secagg_shares_head;

typedef struct lmb_secagg_box {
    uint32_t id;
    uint8_t box[LMB_SECAGG_BOX];
} lmb_secagg_box;

typedef struct lmb_secagg_head { /* BOXES: lmb_secagg_box, id = from whom; DROPPED: lmb_secagg_id; CONSENTS:
                                    lmb_secagg_consent; REVEAL: lmb_secagg_reveal, id = whose; all ascending */
    lmb_hash sid;
} lmb_secagg_head;

typedef struct lmb_secagg_masked { /* no entries */
    lmb_hash sid;
    uint64_t bytes; /* of the packed vector that follows */
} lmb_secagg_masked;

typedef struct lmb_secagg_consistent { /* no entries */
    lmb_hash sid;
    uint8_t signature[LMB_SIGNATURE];
} lmb_secagg_consistent;

typedef struct lmb_secagg_id { uint32_t id; } lmb_secagg_id;
typedef struct lmb_secagg_consent {
    uint32_t id;
    uint8_t signature[LMB_SIGNATURE];
} lmb_secagg_consent;
typedef struct lmb_secagg_reveal {
    uint32_t id;
    uint8_t share[LMB_SHAMIR_SHARE];
} lmb_secagg_reveal;

/* The entries of a message that was read; points into its bytes. */
typedef struct lmb_secagg_entries {
    lmb_secagg_type type;
    const uint8_t *at;
    size_t each;
    uint32_t n;
} lmb_secagg_entries;

/* Append type, head and (where there are entries) their number; then add each. Whoever appended last asks
 * lmb_str_check. */
LMB_MUST_CHECK lmb_status lmb_secagg_write(lmb_secagg_type type, const void *head, uint32_t entries, lmb_str *out,
                                           lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_secagg_write_entry(lmb_secagg_type type, const void *entry, lmb_str *out, lmb_error *err);

/* Read a message that must be of `type`. `entries` NULL for types without. */
LMB_MUST_CHECK lmb_status lmb_secagg_read(lmb_secagg_type type, const uint8_t *bytes, size_t n, void *head,
                                          lmb_secagg_entries *entries, lmb_error *err);
/* Entry i < n; cannot fail, since their sizes were checked. */
void lmb_secagg_entry(const lmb_secagg_entries *e, uint32_t i, void *entry);
const char *lmb_secagg_type_name(unsigned type); /* "?" when there is none */

#ifdef __cplusplus
}
#endif
#endif
