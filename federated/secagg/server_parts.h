/* federated/secagg/server_parts.h - the server's state, for its four files. */
#ifndef LMB_FEDERATED_SECAGG_SERVER_PARTS_H
#define LMB_FEDERATED_SECAGG_SERVER_PARTS_H

#include "federated/secagg/server.h"

/* The last thing a client did. Comparing with >= says who is still there. */
typedef enum { LMBI_INVITED, LMBI_ADVERTISED, LMBI_SHARED, LMBI_MASKED, LMBI_CONSENTED, LMBI_REVEALED } lmbi_did;

typedef struct lmbi_secagg_peer {
    lmb_secagg_keys keys;
    lmb_hash commitment;
    lmbi_did did;
    bool excluded; /* shared, but with too few others: in nobody's masks */
    uint8_t signature[LMB_SIGNATURE];
    uint8_t *boxes;  /* [degree][LMB_SECAGG_BOX], in the order of its neighbours                   */
    uint8_t *shares; /* [degree][LMB_SHAMIR_SHARE], what it revealed of each neighbour              */
    uint8_t *given;  /* [degree] 1 where it revealed one                                            */
} lmbi_secagg_peer;

struct lmb_secagg_server {
    lmb_secagg_stage stage;
    lmb_secagg_session session;
    lmb_hash sid;
    lmb_hash dropped; /* what clients sign in CONSENT */
    const lmb_roster *roster;
    lmb_secagg_trust trust;
    lmb_secagg_shape shape;
    uint32_t clients_min;
    uint8_t seed[LMB_SECAGG_SEED];
    uint32_t n; /* clients; those of the graph once ADVERTISE is closed */
    lmbi_secagg_peer *peer; /* [n], ids ascending */
    lmb_secagg_graph graph;
    lmb_ring_vector sum;
    int64_t open;     /* whose vector is coming in, or -1 */
    uint64_t open_at; /* numbers of it so far */
    lmb_masker masker; /* apply NULL: lmb_mask_apply */
};

/* In the masks of those it neighbours; and: its vector is in the sum. */
static inline bool lmbi_secagg_in_masks(const lmbi_secagg_peer *p) { return p->did >= LMBI_SHARED && !p->excluded; }
static inline bool lmbi_secagg_in_sum(const lmbi_secagg_peer *p) { return p->did >= LMBI_MASKED; }

/* Place of a client in `peer`, or -1. */
int64_t lmbi_secagg_find(const lmb_secagg_server *s, uint32_t id);
/* Does it owe a message in this stage? */
bool lmbi_secagg_owes(const lmb_secagg_server *s, const lmbi_secagg_peer *p);
/* The neighbours of client i, [degree]. */
static inline const uint32_t *lmbi_secagg_near(const lmb_secagg_server *s, uint32_t i)
{
    return s->graph.near + (size_t)i * s->graph.degree;
}
/* Its boxes and shares; wiped. */
void lmbi_secagg_free_peer(lmbi_secagg_peer *p, uint32_t degree);
/* DROPPED as client `to` is told. */
LMB_MUST_CHECK lmb_status lmbi_secagg_put_dropped(const lmb_secagg_server *s, uint32_t to, lmb_str *out,
                                                  lmb_error *err);
/* Neighbours of client i that are in the sum. */
uint32_t lmbi_secagg_stayed(const lmb_secagg_server *s, uint32_t i);

/* Recover what was revealed and take the masks off s->sum.  errors  E_PEER names the client whose mask stays */
LMB_MUST_CHECK lmb_status lmbi_secagg_unmask(lmb_secagg_server *s, lmb_pool *pool, lmb_error *err);

#endif
