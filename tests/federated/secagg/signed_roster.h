/* tests/federated/secagg/signed_roster.h - rows to a signed roster in one step, as server and admin do in two. */
#ifndef LMB_TESTS_SECAGG_SIGNED_ROSTER_H
#define LMB_TESTS_SECAGG_SIGNED_ROSTER_H

#include "federated/secagg/roster.h"

static inline lmb_status signed_roster(const lmb_roster_row *rows, uint32_t n, const lmb_hash *federation,
                                       const uint8_t admin_secret[LMB_SIGN_SECRET], lmb_str *out, lmb_error *err)
{
    lmb_str plain = LMB_STR_INIT;
    lmb_status st = lmb_roster_write(rows, n, 1, federation, &plain, err);
    if (st == LMB_OK)
        st = lmb_roster_sign((const uint8_t *)plain.text, plain.n, admin_secret, out, err);
    lmb_str_free(&plain);
    return st;
}

#endif
