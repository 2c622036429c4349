/* federated/client_trust.c - what a client believes: the roster that the admin signed, the server's next key; and how
 * it changes its own keys.
 *
 * Idea: the server is trusted to run rounds, not to say who takes part. A client that was given the admin's public key
 * works for nobody before it has seen a roster with the admin's signature, with its own key in it, of the federation it
 * knows, and not older than the last one. What it has seen is kept in <state_dir>/roster.txt.
 *
 * Its own keys change in two steps that survive a crash: the new ones lie beside the old ones (*.next) until the server
 * has said that it knows them. Started between the two, the client tries the old ones, and when the server knows them
 * no more, the new ones.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/scan.h"
#include "federated/client_parts.h"

enum { ROSTER_MAX = 64 << 20 };
static const char hex[] = "0123456789abcdef";

static lmb_status path_of(const lmb_client *c, const char *name, char out[4096], lmb_error *err)
{
    return lmb_path_join(out, 4096, c->path, name, err);
}

/* ---- the roster ---- */

/* "<federation> <version> <hash>" */
static lmb_status load_pin(lmb_client *c, lmb_error *err)
{
    client_trust *t = &c->trust;
    char path[4096], federation[65], hash[65];
    void *text;
    const char *at;
    size_t n, a = 0, b = 0;
    bool good;

    LMB_TRY(path_of(c, "roster.txt", path, err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 200, &text, &n, err));
    at = text;
    good = lmb_scan_word(&at, hex, federation, sizeof federation) && lmb_scan_char(&at, ' ') &&
           lmb_scan_count(&at, 20, &t->version) && lmb_scan_char(&at, ' ') &&
           lmb_scan_word(&at, hex, hash, sizeof hash) && (!*at || strcmp(at, "\n") == 0) &&
           sodium_hex2bin(t->federation.b, LMB_HASH_BYTES, federation, 64, NULL, &a, NULL) == 0 &&
           a == LMB_HASH_BYTES && sodium_hex2bin(t->hash.b, LMB_HASH_BYTES, hash, 64, NULL, &b, NULL) == 0 &&
           b == LMB_HASH_BYTES;
    free(text);
    if (!good)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s is damaged; remove it to believe the next roster that the admin signed",
                        path);
    t->pinned = true;
    return LMB_OK;
}

static lmb_status save_pin(lmb_client *c, lmb_error *err)
{
    client_trust *t = &c->trust;
    char path[4096], text[200], federation[65], hash[65];

    t->federation = t->roster.federation;
    t->version = t->roster.version;
    t->hash = t->roster.hash;
    t->pinned = true;
    sodium_bin2hex(federation, sizeof federation, t->federation.b, LMB_HASH_BYTES);
    sodium_bin2hex(hash, sizeof hash, t->hash.b, LMB_HASH_BYTES);
    snprintf(text, sizeof text, "%s %" PRIu64 " %s\n", federation, t->version, hash);
    LMB_TRY(path_of(c, "roster.txt", path, err));
    return lmb_file_write(path, text, strlen(text), err);
}

static lmb_status check_roster(const lmb_client *c, const lmb_roster *r, lmb_error *err)
{
    const client_trust *t = &c->trust;
    if (t->pinned && r->version < t->version)
        return LMB_FAIL(err, LMB_E_DENIED, "the server shows roster %" PRIu64 ", this client has seen %" PRIu64
                        ": it may be an attempt to bring back who was removed", r->version, t->version);
    if (t->pinned && r->version == t->version && memcmp(&r->hash, &t->hash, sizeof r->hash) != 0)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the server shows another roster %" PRIu64 " than this client has seen: the admin signed "
                        "two of one version",
                        r->version);
    for (uint32_t i = 0; i < r->n; i++)
        if (memcmp(r->row[i].key, lmb_sign_public(c->sign_secret), LMB_SIGN_PUBLIC) == 0)
            return LMB_OK;
    return LMB_FAIL(err, LMB_E_DENIED, "roster %" PRIu64 " of the admin does not name this client", r->version);
}

static lmb_status take_whole_roster(lmb_client *c, lmb_error *err)
{
    client_trust *t = &c->trust;
    lmb_hash got = lmb_hash_of(t->data, (size_t)t->id.bytes);
    lmb_roster r;
    lmb_status st;

    t->fetching = false;
    if (memcmp(&got, &t->id.hash, sizeof got) != 0) {
        t->have = 0;
        return LMB_FAIL(err, LMB_E_FORMAT, "the roster that the server sent does not have the hash it announced");
    }
    LMB_TRY(lmb_roster_open(&r, t->data, (size_t)t->id.bytes, t->pinned ? &t->federation : NULL, t->admin, err));
    st = check_roster(c, &r, err);
    if (st != LMB_OK) {
        lmb_roster_close(&r);
        return st;
    }
    lmb_roster_close(&t->roster);
    t->roster = r;
    st = save_pin(c, err);
    if (st != LMB_OK) { /* what is not kept is not believed: an older one could take its place after the next start */
        lmb_roster_close(&t->roster);
        t->have = 0;
        return st;
    }
    t->believed = t->id;
    lmb_log_at(c->log, LMB_LOG_INFO, "federated", "roster %" PRIu64 ": %u clients, signed by the admin", r.version,
               r.n);
    return LMB_OK;
}

static lmb_status take_roster(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    client_trust *t = &c->trust;
    lmb_roster_message m;
    lmb_want want;

    LMB_TRY(lmb_message_read(r, &m, err));
    if (!t->on || (t->roster.n && memcmp(&m.roster.hash, &t->believed.hash, sizeof m.roster.hash) == 0))
        return LMB_OK;
    if (!m.roster.bytes || m.roster.bytes > ROSTER_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "the server announces a roster of %" PRIu64 " bytes; allowed are 1 to %d",
                        m.roster.bytes, ROSTER_MAX);
    if (!t->data || t->id.bytes != m.roster.bytes || memcmp(&t->id.hash, &m.roster.hash, sizeof m.roster.hash) != 0) {
        free(t->data);
        t->data = malloc((size_t)m.roster.bytes);
        t->have = 0;
        t->id = m.roster;
        if (!t->data)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a roster of %" PRIu64 " bytes", m.roster.bytes);
    }
    t->fetching = true;
    c->fetching = -1; /* the server sends one blob at a time; what it was sending goes on afterwards */
    want = (lmb_want){ t->id, t->have };
    return lmb_message_send_as(c->channel, LMB_MSG_WANT, LMB_ROSTER_TRANSFER, &want, err);
}

static lmb_status take_chunk(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    client_trust *t = &c->trust;
    if (!t->fetching)
        return LMB_OK;
    if (r->offset != t->have || !r->bytes || r->bytes > t->id.bytes - t->have)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "the server sent %zu bytes of the roster at %" PRIu64 ", %" PRIu64 " of %" PRIu64
                        " had arrived",
                        r->bytes, r->offset, t->have, t->id.bytes);
    memcpy(t->data + t->have, r->body, r->bytes);
    t->have += r->bytes;
    return t->have == t->id.bytes ? take_whole_roster(c, err) : LMB_OK;
}

bool lmbi_trust_ready(const lmb_client *c) { return !c->trust.on || (c->trust.roster.n && !c->trust.fetching); }

/* ---- keys ---- */

static lmb_status adopt_one(const lmb_client *c, const char *name, lmb_error *err)
{
    char from[4096], to[4096], next[64];
    snprintf(next, sizeof next, "%s.next", name);
    LMB_TRY(path_of(c, next, from, err));
    LMB_TRY(path_of(c, name, to, err));
    return lmb_file_exists(from) ? lmb_file_publish(from, to, err) : LMB_OK;
}

static lmb_status read_keys(lmb_client *c, lmb_error *err)
{
    char path[4096];
    LMB_TRY(path_of(c, "client.key", path, err));
    LMB_TRY(lmb_key_file(path, c->secret, err));
    LMB_TRY(path_of(c, "sign.key", path, err));
    return lmb_sign_file(path, c->sign_secret, err);
}

/* The signing key goes last: as long as its .next is there, the change is not done. */
lmb_status lmbi_trust_adopt(lmb_client *c, lmb_error *err)
{
    LMB_TRY(adopt_one(c, "client.key", err));
    LMB_TRY(adopt_one(c, "sign.key", err));
    c->trust.rotating = c->cfg.rotate_keys = false;
    return read_keys(c, err);
}

lmb_status lmbi_trust_open(lmb_client *c, lmb_error *err)
{
    client_trust *t = &c->trust;
    char key[4096], sign[4096];

    LMB_TRY(path_of(c, "client.key.next", key, err));
    LMB_TRY(path_of(c, "sign.key.next", sign, err));
    if (lmb_file_exists(sign) && !lmb_file_exists(key)) /* killed between the two renames */
        LMB_TRY(lmbi_trust_adopt(c, err));
    t->rotating = lmb_file_exists(sign) && lmb_file_exists(key);
    LMB_TRY(read_keys(c, err));
    t->on = c->cfg.admin && *c->cfg.admin;
    if (!t->on)
        return LMB_OK;
    LMB_TRY(lmb_public_parse(c->cfg.admin, t->admin, err));
    return load_pin(c, err);
}

void lmbi_trust_close(lmb_client *c)
{
    lmb_roster_close(&c->trust.roster);
    free(c->trust.data);
}

lmb_status lmbi_trust_greet(lmb_client *c, lmb_error *err)
{
    lmb_rotate_message m = { { 0 }, { 0 }, { 0 }, { 0 } };
    uint8_t secret[LMB_NOISE_KEY], sign_secret[LMB_SIGN_SECRET];
    char path[4096];

    c->trust.fetching = false;
    if (!c->cfg.rotate_keys && !c->trust.rotating)
        return LMB_OK;
    LMB_TRY(path_of(c, "client.key.next", path, err));
    LMB_TRY(lmb_key_file(path, secret, err));
    LMB_TRY(path_of(c, "sign.key.next", path, err));
    LMB_TRY(lmb_sign_file(path, sign_secret, err));
    lmb_noise_public(secret, m.key);
    lmb_rotate_prove(&m, c->channel, c->sign_secret, sign_secret);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(sign_secret, sizeof sign_secret);
    c->trust.rotating = true;
    return lmb_message_send(c->channel, LMB_MSG_ROTATE, &m, err);
}

static lmb_status take_rotated(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    lmb_key_message m;
    char print[LMB_FINGERPRINT];

    LMB_TRY(lmb_message_read(r, &m, err));
    if (!c->trust.rotating)
        return LMB_FAIL(err, LMB_E_FORMAT, "the server speaks of a change of keys that this client did not ask for");
    LMB_TRY(lmbi_trust_adopt(c, err));
    lmb_fingerprint(lmb_sign_public(c->sign_secret), print);
    lmb_log_at(c->log, LMB_LOG_INFO, "federated", "this client's keys have changed; its fingerprint is %s now", print);
    return LMB_OK;
}

/* Told over the channel of the key that is known, so it is the server who says it. */
static lmb_status take_key(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    lmb_key_message m;
    LMB_TRY(lmb_message_read(r, &m, err));
    if (memcmp(m.key, c->invite.server_public, sizeof m.key) == 0)
        return LMB_OK;
    memcpy(c->invite.server_public, m.key, sizeof m.key);
    lmb_log_at(c->log, LMB_LOG_INFO, "federated",
               "the server changes its key; this client uses the new one from now on");
    return lmbi_client_remember(c, err);
}

static lmb_status take(lmb_client *c, const lmb_record *r, bool *mine, lmb_error *err)
{
    *mine = true;
    switch (r->type) {
    case LMB_MSG_ROSTER: return take_roster(c, r, err);
    case LMB_MSG_KEY: return take_key(c, r, err);
    case LMB_MSG_ROTATED: return take_rotated(c, r, err);
    case LMB_MSG_CHUNK:
        if (r->message == LMB_ROSTER_TRANSFER)
            return take_chunk(c, r, err);
        break;
    case LMB_MSG_TASK:
        if (!lmbi_trust_ready(c) && !c->trust.fetching)
            return LMB_FAIL(err, LMB_E_DENIED,
                            "the server wants work done and has shown no roster; this client was told to "
                            "believe only one that the admin signed (federation.client.admin)");
        break;
    default: break;
    }
    *mine = false;
    return LMB_OK;
}

lmb_status lmbi_trust_message(lmb_client *c, const lmb_record *r, bool *mine, lmb_error *err)
{
    lmb_status st = take(c, r, mine, err);
    if (st == LMB_E_DENIED)
        c->trust.refused = true;
    return st;
}
