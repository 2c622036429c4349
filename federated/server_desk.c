/* federated/server_desk.c - what people do with a server's folder, whether the server runs or not: invite, and change
 * its key. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "federated/papers.h"
#include "federated/server_parts.h"

_Static_assert((int)LMB_SERVER_INVITE == (int)LMB_INVITE_MAX, "one size of invite");

/* Invites name the key that will be there when they are used. */
static lmb_status invite_key(const char *state_dir, lmb_journal *j, uint8_t secret[LMB_NOISE_KEY], lmb_error *err)
{
    char path[4096];
    int64_t ends;
    LMB_TRY(lmb_journal_rotation(j, &ends, err));
    LMB_TRY(lmb_path_join(path, sizeof path, state_dir, ends ? "server.key.next" : "server.key", err));
    if (ends && !lmb_file_exists(path))
        LMB_TRY(lmb_path_join(path, sizeof path, state_dir, "server.key", err));
    return lmb_key_file(path, secret, err);
}

lmb_status lmb_server_rotate(const char *state_dir, double overlap_s, lmb_error *err)
{
    uint8_t secret[LMB_NOISE_KEY];
    char path[4096];
    lmb_journal *j;
    lmb_status st;
    int64_t ends = 0;

    if (!(overlap_s >= 1 && overlap_s <= 366.0 * 86400))
        return LMB_FAIL(err, LMB_E_ARG, "the two keys overlap for 1 s to 366 days, not %g s", overlap_s);
    LMB_TRY(lmb_path_join(path, sizeof path, state_dir, "server.key.next", err));
    LMB_TRY(lmb_journal_open(state_dir, &j, err));
    st = lmb_journal_rotation(j, &ends, err);
    if (st == LMB_OK && ends)
        st = LMB_FAIL(err, LMB_E_ARG,
                      "the server's key is being changed already, for another %lld s; a running server ends that",
                      (long long)(ends - (int64_t)time(NULL)));
    if (st == LMB_OK)
        st = lmb_key_file(path, secret, err);
    sodium_memzero(secret, sizeof secret);
    if (st == LMB_OK)
        st = lmb_journal_set_rotation(j, (int64_t)time(NULL) + (int64_t)overlap_s, err);
    lmb_journal_close(j);
    return st;
}

lmb_status lmb_server_invite(const char *state_dir, const char *host, int port, double ttl_s,
                             char out[LMB_SERVER_INVITE], lmb_error *err)
{
    lmb_invite invite = { { 0 }, (uint16_t)port, { 0 }, { 0 } };
    uint8_t secret[LMB_NOISE_KEY];
    lmb_journal *j;
    lmb_token token;
    char text[LMB_INVITE_MAX];
    lmb_status st;

    if (port < 1 || port > 65535 || !(ttl_s >= 1 && ttl_s <= 366.0 * 86400))
        return LMB_FAIL(err, LMB_E_ARG,
                        "an invite needs a port from 1 to 65535 and a life of 1 s to 366 days; got %d and %g s",
                        port, ttl_s);
    if (snprintf(invite.host, sizeof invite.host, "%s", host) >= (int)sizeof invite.host)
        return LMB_FAIL(err, LMB_E_ARG, "the host name is too long");
    LMB_TRY(lmb_journal_open(state_dir, &j, err));
    st = invite_key(state_dir, j, secret, err);
    if (st == LMB_OK) {
        lmb_noise_public(secret, invite.server_public);
        randombytes_buf(invite.token, sizeof invite.token);
        token = lmb_token_derive(invite.token);
        st = lmb_invite_format(&invite, text, err);
    }
    if (st == LMB_OK)
        st = lmb_journal_add_token(j, &token, (int64_t)time(NULL) + (int64_t)ttl_s, err);
    if (st == LMB_OK)
        memcpy(out, text, sizeof text);
    lmb_journal_close(j);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(&invite, sizeof invite);
    sodium_memzero(&token, sizeof token);
    sodium_memzero(text, sizeof text);
    return st;
}
