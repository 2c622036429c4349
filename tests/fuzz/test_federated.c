/* Mirrors federated/messages.c, upload.c and session.c: bytes of a client that is enrolled and hostile. A message that
 * is accepted says the same when written again; an upload is absorbed only when each of its values was looked at. */
#include "comm/bytes.h"
#include "federated/session.h"
#include "federated/upload.h"
#define FUZZ_SUITE "federated"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { ROUNDS = 20000, UPLOAD_ROUNDS = 3000, VALUES = 24, POISON = 60, TYPES = 20 };

typedef union any_message {
    lmb_hello hello;
    lmb_task_message task;
    lmb_want want;
    lmb_alive alive;
    lmb_update_message update;
    lmb_round_note note;
    lmb_roster_message roster;
    lmb_key_message key;
    lmb_rotate_message rotate;
} any_message;

/* ---- messages: the first byte is the type, the others the body ---- */

static void message_target(const uint8_t *data, size_t bytes)
{
    uint8_t again[2048];
    lmb_error err = LMB_ERROR_INIT;
    lmb_record r = { 0 };
    any_message m;
    const char *name = NULL;
    size_t n;

    if (!bytes)
        return;
    r.type = data[0];
    r.body = bytes > 1 ? data + 1 : NULL;
    r.bytes = bytes - 1;
    if (lmb_message_read(&r, &m, &err) != LMB_OK) {
        ck_assert_int_eq(err.status, LMB_E_FORMAT);
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    ck_ok(lmb_wire_write("again", lmb_message_rows(r.type, &name), &m, again, sizeof again, &n, &err));
    ck_assert_uint_eq(n, r.bytes);
    if (n)
        ck_assert_mem_eq(again, r.body, n);
}

START_TEST(messages)
{
    static uint8_t bytes[TYPES][2048];
    static any_message zero;
    fuzz_seed seeds[TYPES];
    lmb_error err = LMB_ERROR_INIT;
    size_t k = 0;

    for (unsigned type = 0; type < TYPES; type++) {
        const char *name = NULL;
        const lmb_wire_field *rows = lmb_message_rows(type, &name);
        if (!rows)
            continue;
        bytes[k][0] = (uint8_t)type;
        ck_ok(lmb_wire_write(name, rows, &zero, bytes[k] + 1, sizeof *bytes - 1, &seeds[k].bytes, &err));
        seeds[k].data = bytes[k];
        seeds[k++].bytes++;
    }
    ck_assert_uint_ge(k, 15); /* every message but CHUNK */
    fuzz_run(message_target, seeds, k, ROUNDS);
}
END_TEST

/* ---- uploads: a script of steps, eight bytes each: what, how many values, at which of them, which value ---- */

static const char *spool;
static char spool_dir[] = "/tmp/limbeck-fuzz-XXXXXX";

static void upload_end(void) { rmdir(spool_dir); }
static void upload_begin(void)
{
    spool = mkdtemp(spool_dir);
    ck_assert_ptr_nonnull(spool);
    atexit(upload_end);
}

static double absorbed[VALUES];
static uint64_t absorbed_weight;

static void take(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight)
{
    (void)state;
    ck_assert(at <= VALUES && count <= VALUES - at);
    for (size_t i = 0; i < count; i++) {
        ck_assert(isfinite(values[i]) && fabsf(values[i]) <= 8);
        absorbed[at + i] = (double)values[i];
    }
    absorbed_weight += add_weight ? examples : 0;
}

static float pick(unsigned which)
{
    static const float special[] = { 0.0f, INFINITY, NAN, 8.5f, -INFINITY, -8.0f, -1e30f, 1e-40f };
    return which % 32 == 0 ? special[which / 32 % 8] : (float)which / 64;
}

static void upload_target(const uint8_t *data, size_t bytes)
{
    static const lmb_aggregator recorder = { .name = "recorder", .absorb = take };
    lmb_codec_spec f32;
    lmb_upload_rules rules = { .round = 3, .n = VALUES, .max_examples = 1000, .max_abs = 8, .codec = &f32 };
    lmb_update_message head = { .round = 3, .n = VALUES, .examples = 10, .blob = { .bytes = VALUES * sizeof(float) } };
    float sent[VALUES], honest[VALUES],
        poisoned[VALUES]; /* one NaN, announced with its proper hash: seen when all is there */
    lmb_error none = LMB_ERROR_INIT;
    lmb_upload u;

    ck_assert_int_eq(lmb_codec_open(NULL, &f32, &none), LMB_OK);
    memcpy(head.codec, f32.text, sizeof head.codec);
    for (unsigned i = 0; i < VALUES; i++) {
        honest[i] = (float)(i + 1) / 64;
        poisoned[i] = pick(POISON + i);
    }
    lmb_upload_init(&u);
    for (; bytes >= 8; data += 8, bytes -= 8) {
        lmb_error err = LMB_ERROR_INIT;
        lmb_update_message m = head;
        lmb_record r = { .type = LMB_MSG_CHUNK, .offset = data[2] * sizeof(float), .body = (const uint8_t *)sent,
                         .bytes = data[1] % (VALUES + 1) * sizeof(float) + data[3] % 4u };
        lmb_status st = LMB_OK;
        uint64_t had;
        bool complete;

        if (r.bytes > sizeof sent)
            r.bytes = sizeof sent;
        for (unsigned i = 0; i < VALUES; i++)
            sent[i] = data[4] ? pick(data[4] + data[2] + i) : honest[(data[2] + i) % VALUES];
        switch (data[0] % 4) {
        case 0:
            m.blob.hash = lmb_hash_of(data[7] % 2 ? poisoned : honest, sizeof honest);
            m.examples += data[5] ? data[5] * 4u - 10u : 0;
            m.n += data[6] / 128;
            m.blob.bytes += (uint64_t)(data[7] / 64) << 33;
            st = lmb_upload_begin(&u, spool, 1, &rules, &m, &err);
            ck_assert(st != LMB_OK || (m.examples >= 1 && m.examples <= 1000 && m.n == VALUES &&
                                       m.blob.bytes == VALUES * sizeof(float)));
            break;
        case 3: lmb_upload_end(&u); break;
        default:
            had = u.have;
            st = lmb_upload_chunk(&u, &r, &err);
            ck_assert(st != LMB_OK || (had == r.offset && u.have == had + r.bytes));
            break;
        }
        ck_assert_uint_le(u.have, VALUES * sizeof(float));
        complete = lmb_upload_complete(&u);
        if (st == LMB_OK && complete) {
            absorbed_weight = 0;
            st = lmb_upload_absorb(&u, &recorder, NULL, &err);
            ck_assert_int_eq(st == LMB_OK, absorbed_weight != 0);
            for (int i = 0; st == LMB_OK && i < VALUES; i++)
                ck_assert_double_eq(absorbed[i], (double)honest[i]);
            if (st == LMB_OK)
                lmb_upload_end(&u);
        }
        if (st != LMB_OK) {
            ck_assert_msg(st != LMB_E_IO, "%s", err.msg);
            ck_assert_uint_gt(strlen(err.msg), 10);
            lmb_upload_end(&u);
        }
    }
    lmb_upload_end(&u);
    ck_assert_int_ne(access(u.path[0] ? u.path : "/nonexistent", F_OK), 0);
}

START_TEST(uploads)
{
    static const uint8_t whole[] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0 };
    static const uint8_t parts[] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                     1, 8, 10, 0, 0, 0, 0, 0, 1, 6, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t bad[] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 24, 0, 0, 8, 0, 0, 0, 1, 24, 0, 3, 0, 0, 0, 0,
                                   0, 0, 0, 0, 0, 1, 255, 255 };
    static const uint8_t poison[] = { 0, 0, 0, 0, 0, 0, 0, 1, 1, 24, 0, 0, POISON, 0, 0, 0 };
    static const fuzz_seed seeds[] = {
        { whole, sizeof whole }, { parts, sizeof parts }, { bad, sizeof bad }, { poison, sizeof poison },
    };

    upload_begin();
    absorbed_weight = 0;
    upload_target(parts, sizeof parts);
    ck_assert_uint_eq(absorbed_weight, 10); /* the seeds do reach the end */
    fuzz_run(upload_target, seeds, sizeof seeds / sizeof *seeds, UPLOAD_ROUNDS);
    ck_assert_int_eq(rmdir(spool_dir), 0); /* nothing is left in it */
}
END_TEST

/* ---- payloads: the first byte picks the codec, the others are what a client says its update is ---- */

enum { PAYLOAD_ROUNDS = 3000, PAYLOAD_VALUES = 700 };
static const char *const specs[] = { "f32",
                                     "bf16",
                                     "{name: int8, group: 100}",
                                     "{name: topk, share: 0.1}",
                                     "{name: rotation, bits: 1}",
                                     "{name: rotation, bits: 3}",
                                     "{name: f32, zstd: 1}",
                                     "{name: int8, zstd: 3}",
                                     "{name: topk, zstd: 3}" };
enum { SPECS = sizeof specs / sizeof *specs };
static lmb_codec_spec spec[SPECS];
static bool have_spec[SPECS];

static void payload_target(const uint8_t *data, size_t bytes)
{
    float out[PAYLOAD_VALUES];
    lmb_error err = LMB_ERROR_INIT;

    if (!bytes || !have_spec[data[0] % SPECS])
        return;
    memset(out, 0, sizeof out);
    lmb_status st = lmb_codec_decode_all(&spec[data[0] % SPECS], 1, data + 1, bytes - 1, out, PAYLOAD_VALUES, &err);
    ck_assert(st == LMB_OK || st == LMB_E_FORMAT || st == LMB_E_NUMERIC);
    if (st != LMB_OK)
        ck_assert_uint_gt(strlen(err.msg), 10);
    for (int i = 0; i < PAYLOAD_VALUES; i++)
        ck_assert(isfinite(out[i]));
}

static void payload_begin(void)
{
    for (size_t k = 0; k < SPECS; k++) {
        lmb_error err = LMB_ERROR_INIT;
        lmb_status st = lmb_codec_parse(specs[k], &spec[k], &err);
        have_spec[k] = st == LMB_OK;
        ck_assert(st == LMB_OK || st == LMB_E_UNSUPPORTED);
    }
}

START_TEST(payloads)
{
    static uint8_t seed[SPECS][4 * PAYLOAD_VALUES + 600];
    fuzz_seed seeds[SPECS];
    float value[PAYLOAD_VALUES];
    size_t n = 0;

    for (uint32_t i = 0; i < PAYLOAD_VALUES; i++)
        value[i] = i % 9 ? 0.01f * (float)(i % 31) : -1;
    payload_begin();
    for (size_t k = 0; k < SPECS; k++) {
        lmb_error err = LMB_ERROR_INIT;
        uint8_t *data;
        size_t bytes;
        if (!have_spec[k])
            continue;
        ck_ok(lmb_codec_encode(&spec[k], 1, value, PAYLOAD_VALUES, &data, &bytes, &err));
        ck_assert_uint_lt(bytes + 1, sizeof seed[0]);
        seed[n][0] = (uint8_t)k;
        memcpy(seed[n] + 1, data, bytes);
        seeds[n] = (fuzz_seed){ seed[n], bytes + 1 };
        n++;
        free(data);
    }
    fuzz_run(payload_target, seeds, n, PAYLOAD_ROUNDS);
}
END_TEST

/* ---- what describes a secure sum, and its messages in pieces: [u32 size, u8 place / 8, u8 length] and that many bytes
 * ---- */

enum { SESSION_ROUNDS = 3000, PIECES_LIMIT = 2000 };

static void session_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_session_head head;
    const uint8_t *roster;
    size_t n;
    lmb_status st = lmb_session_read(data, bytes, &head, &roster, &n, &err);
    if (st == LMB_OK) {
        lmb_secagg_coding c = lmb_session_coding(&head, 100);
        lmb_roster r;
        if (lmb_secagg_coding_check(&c, &err) == LMB_OK) /* what passes can be computed with */
            ck_assert(lmb_pack_bytes(c.ring_bits, 101) <= 101 * 8);
        if (lmb_roster_open(&r, roster, n, &head.federation, head.admin, &err) == LMB_OK)
            lmb_roster_close(&r);
    } else {
        ck_assert_int_eq(st, LMB_E_FORMAT);
    }
}

static void pieces_target(const uint8_t *data, size_t bytes)
{
    lmb_message_pieces p = { 0 };
    bool whole;
    while (bytes >= 6) {
        lmb_error err = LMB_ERROR_INIT;
        size_t n = data[5] < bytes - 6 ? data[5] : bytes - 6;
        lmb_record r = { LMB_MSG_SECAGG, lmb_get_u32(data), (uint64_t)data[4] * 8, n ? data + 6 : NULL, n };
        lmb_status st = lmb_pieces_take(&p, &r, PIECES_LIMIT, &whole, &err);
        ck_assert(st == LMB_OK || st == LMB_E_FORMAT);
        ck_assert(p.have <= p.total && p.total <= PIECES_LIMIT);
        if (st == LMB_OK && whole)
            lmb_pieces_drop(&p);
        data += 6 + n;
        bytes -= 6 + n;
    }
    lmb_pieces_drop(&p);
}

START_TEST(sessions)
{
    static const uint8_t parts[] = { 12, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 12, 0, 0, 0, 1, 4, 9, 10, 11, 12 },
                         beyond[] = { 255, 255, 255, 255, 0, 1, 1 }, hole[] = { 20, 0, 0, 0, 1, 2, 1, 2 };
    const fuzz_seed seeds[] = { { parts, sizeof parts }, { beyond, sizeof beyond }, { hole, sizeof hole } };
    uint8_t secret[LMB_SIGN_SECRET], public_key[LMB_SIGN_PUBLIC];
    lmb_session_head head = {
        .number = 3, .clients = 4, .weight_max = 10, .value_bits = 16, .ring_bits = 22, .clip = 1
    };
    lmb_roster_row rows[2] = { { 1, { 1 } }, { 2, { 2 } } };
    lmb_str plain = LMB_STR_INIT, roster = LMB_STR_INIT, blob = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;

    crypto_sign_keypair(public_key, secret);
    memcpy(head.admin, public_key, sizeof head.admin);
    ck_ok(lmb_roster_write(rows, 2, 1, &head.federation, &plain, &err));
    ck_ok(lmb_roster_sign((const uint8_t *)plain.text, plain.n, secret, &roster, &err));
    ck_ok(lmb_session_write(&head, roster.text, roster.n, &blob, &err));
    fuzz_run(session_target, &(fuzz_seed){ (const uint8_t *)blob.text, blob.n }, 1, SESSION_ROUNDS);
    fuzz_run(pieces_target, seeds, sizeof seeds / sizeof *seeds, SESSION_ROUNDS);
    lmb_str_free(&plain);
    lmb_str_free(&roster);
    lmb_str_free(&blob);
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/federated", add(messages); add(uploads); add(payloads); add(sessions);)
#endif
