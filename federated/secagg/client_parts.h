/* federated/secagg/client_parts.h - what the files of a client of secure aggregation share: client.c (life, turns),
 * client_share.c (keys and shares), client_reveal.c (vector, survivors). Not for others. */
#ifndef LMB_FEDERATED_SECAGG_CLIENT_PARTS_H
#define LMB_FEDERATED_SECAGG_CLIENT_PARTS_H

#include "federated/secagg/client.h"

typedef enum { WAIT_KEYS, WAIT_BOXES, WAIT_VECTOR, WAIT_DROPPED, WAIT_CONSENTS, DONE, DEAD } stage;

typedef struct peer {
    uint32_t id;
    bool shared;  /* its box was passed on: it is in everyone's masks                       */
    bool held;    /* and opened: we have its shares                                         */
    bool dropped; /* sent no vector                                                         */
    uint8_t box[LMB_SECAGG_KEY], mask[LMB_SECAGG_KEY]; /* its public keys                   */
    uint8_t open[32];                                  /* opens its box                     */
    lmb_mask pair;                                     /* the mask between it and us        */
    uint8_t shares[2 * LMB_SHAMIR_SHARE];              /* of its own mask, of its mask key  */
} peer;

struct lmb_secagg_client {
    stage at;
    uint32_t id, threshold, clients_min, neighbours_min, n_peers;
    lmb_hash sid, dropped;
    uint64_t round;
    lmb_secagg_coding coding;
    lmb_secagg_trust trust;
    const lmb_roster *roster;
    lmb_status (*spend)(void *ctx, uint64_t round, lmb_error *err);
    void *ctx;
    lmb_secagg_keys keys;                    /* as advertised */
    uint8_t sign_secret[LMB_SIGN_SECRET];    /* secrets from here on */
    uint8_t seed[LMB_SECAGG_SEED], box_secret[32], mask_secret[32], own[32];
    peer *peers; /* [n_peers], ids ascending */
};

/* client.c: what all messages are checked for */
void lmbi_secagg_client_finish(lmb_secagg_client *c, stage at); /* all secrets are gone */
LMB_MUST_CHECK lmb_status lmbi_secagg_client_sid(const lmb_secagg_client *c, const lmb_hash *sid, lmb_error *err);
peer *lmbi_secagg_client_peer(lmb_secagg_client *c, uint32_t id); /* NULL: no neighbour */
/* Lists ascend: nobody is named twice, and there is one way to write a list. */
LMB_MUST_CHECK lmb_status lmbi_secagg_client_ascends(uint32_t i, uint32_t before, uint32_t id, const char *list,
                                                     lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_secagg_client_enough(const lmb_secagg_client *c, uint32_t neighbours, const char *did,
                                                    lmb_error *err);

/* client_share.c: KEYS -> SHARES, BOXES */
LMB_MUST_CHECK lmb_status lmbi_secagg_take_keys(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply,
                                                lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_secagg_take_boxes(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_error *err);

/* client_reveal.c: DROPPED -> CONSISTENT or REVEAL, CONSENTS -> REVEAL */
LMB_MUST_CHECK lmb_status lmbi_secagg_take_dropped(lmb_secagg_client *c, const uint8_t *bytes, size_t n, lmb_str *reply,
                                                   lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_secagg_take_consents(lmb_secagg_client *c, const uint8_t *bytes, size_t n,
                                                    lmb_str *reply, lmb_error *err);

#endif
