/* federated/server_secagg.h - a round under secure aggregation, of server_session.c (how it begins) and server_secagg.c
 * (how it goes on). Not for others. */
#ifndef LMB_FEDERATED_SERVER_SECAGG_H
#define LMB_FEDERATED_SERVER_SECAGG_H

#include "federated/secagg/server.h"
#include "federated/server_parts.h"
#include "federated/unmask_gpu.h"

struct secure_round {
    lmb_secure o;
    lmb_hash federation;
    uint8_t vouch[LMB_SIGN_SECRET]; /* of a server that makes its own rosters */
    lmb_roster own;                 /* of the cohort; without an admin        */
    lmb_str own_bytes, blob;
    lmb_session_head head;
    lmb_secagg_server *sum; /* NULL in mode off, and between rounds */
    lmb_ring_vector ring;   /* mode off: the sum so far             */
    lmb_unmask_gpu *gpu;    /* NULL: the masks come off here        */
};

void lmbi_secure_end(secure_round *r); /* the sum, if there is one */

#endif
