/* Every way in which the clients of a small secure sum can leave, and what comes of it: exactly the integer sum of
 * those who sent a vector, or an end without a sum.
 *
 * A session of six takes some 200 multiplications on Curve25519 and there are tens of thousands of them, always with
 * the same keys; so the test is linked with --wrap and these results are kept. */
#include "tests/federated/secagg/world.h"

/* ---- remembered: X25519, Ed25519 ---- */

enum { SLOTS = 1 << 16, KEY_MAX = 160 };
typedef struct memory {
    bool used;
    uint8_t key[KEY_MAX], value[64];
    int result;
} memory;
static memory remembered[SLOTS];

static memory *look_up(int what, const void *a, size_t na, const void *b, size_t nb, const void *c, size_t nc)
{
    uint8_t key[KEY_MAX] = { (uint8_t)what };
    uint64_t h = 1469598103934665603u;
    ck_assert_uint_lt(1 + na + nb + nc, sizeof key);
    memcpy(key + 1, a, na);
    memcpy(key + 1 + na, b, nb);
    memcpy(key + 1 + na + nb, c, nc);
    for (size_t i = 0; i < sizeof key; i++)
        h = (h ^ key[i]) * 1099511628211u;
    for (size_t i = h % SLOTS;; i = (i + 1) % SLOTS) {
        if (!remembered[i].used)
            memcpy(remembered[i].key, key, sizeof key);
        if (memcmp(remembered[i].key, key, sizeof key) == 0)
            return &remembered[i];
    }
}

int __real_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p);
int __wrap_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p);
int __real_crypto_scalarmult_base(unsigned char *q, const unsigned char *n);
int __wrap_crypto_scalarmult_base(unsigned char *q, const unsigned char *n);
int __real_crypto_sign_detached(unsigned char *sig, unsigned long long *sig_bytes, const unsigned char *m,
                                unsigned long long bytes, const unsigned char *sk);
int __wrap_crypto_sign_detached(unsigned char *sig, unsigned long long *sig_bytes, const unsigned char *m,
                                unsigned long long bytes, const unsigned char *sk);
int __real_crypto_sign_verify_detached(const unsigned char *sig, const unsigned char *m, unsigned long long bytes,
                                       const unsigned char *pk);
int __wrap_crypto_sign_verify_detached(const unsigned char *sig, const unsigned char *m, unsigned long long bytes,
                                       const unsigned char *pk);

int __wrap_crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p)
{
    memory *m = look_up(1, n, 32, p, 32, "", 0);
    if (!m->used)
        m->result = __real_crypto_scalarmult(m->value, n, p);
    m->used = true;
    memcpy(q, m->value, 32);
    return m->result;
}

int __wrap_crypto_scalarmult_base(unsigned char *q, const unsigned char *n)
{
    memory *m = look_up(2, n, 32, "", 0, "", 0);
    if (!m->used)
        m->result = __real_crypto_scalarmult_base(m->value, n);
    m->used = true;
    memcpy(q, m->value, 32);
    return m->result;
}

int __wrap_crypto_sign_detached(unsigned char *sig, unsigned long long *sig_bytes, const unsigned char *msg,
                                unsigned long long bytes, const unsigned char *sk)
{
    memory *m = look_up(3, msg, bytes, sk, 64, "", 0);
    if (!m->used)
        m->result = __real_crypto_sign_detached(m->value, sig_bytes, msg, bytes, sk);
    m->used = true;
    memcpy(sig, m->value, 64);
    return m->result;
}

int __wrap_crypto_sign_verify_detached(const unsigned char *sig, const unsigned char *msg, unsigned long long bytes,
                                       const unsigned char *pk)
{
    memory *m = look_up(4, sig, 64, msg, bytes, pk, 32);
    if (!m->used)
        m->result = __real_crypto_sign_verify_detached(sig, msg, bytes, pk);
    m->used = true;
    return m->result;
}

/* ---- a session with drop-outs ---- */

/* A client takes part in the stages before leaves[i]: 0 never came ... 5 stayed to the end. Without a CONSENT stage the
 * number 3 does not occur. */
enum { SHARES = 1, VECTOR = 2, CONSENT = 3, REVEAL = 4, STAYS = 5 };

typedef struct outcome {
    bool sum;      /* it came out, and was right  */
    bool refusals; /* a client ended its part     */
    unsigned in;   /* bit i: client i is in it    */
} outcome;

static outcome session(world *w, const int *leaves)
{
    static const int what[] = { [LMB_SECAGG_STAGE_ADVERTISE] = 0, [LMB_SECAGG_STAGE_SHARE] = SHARES,
                                [LMB_SECAGG_STAGE_MASK] = VECTOR, [LMB_SECAGG_STAGE_CONSENT] = CONSENT,
                                [LMB_SECAGG_STAGE_REVEAL] = REVEAL };
    outcome o = { false, false, 0 };
    lmb_ring_vector sum;
    bool in[WORLD_MAX] = { false };
    uint32_t clients, count = 0;
    lmb_error err = LMB_ERROR_INIT;
    lmb_status st = LMB_OK;

    world_serve(w);
    while (st == LMB_OK && lmb_secagg_server_stage(w->server) < LMB_SECAGG_STAGE_UNMASK) {
        lmb_secagg_stage now = lmb_secagg_server_stage(w->server);
        for (uint32_t i = 0; i < w->n; i++) {
            lmb_error own = LMB_ERROR_INIT;
            lmb_status did = LMB_OK;
            if (!lmb_secagg_server_owes(w->server, w->ids[i]) || leaves[i] <= what[now])
                continue;
            if (now == LMB_SECAGG_STAGE_ADVERTISE)
                world_join(w, i);
            else
                did = world_tell(w, i, &own);
            if (did == LMB_OK && now == LMB_SECAGG_STAGE_MASK)
                did = world_mask(w, i, &own);
            if (did != LMB_OK) { /* not enough others, never anything else */
                if (did != LMB_E_PEER)
                    ck_abort_msg("client %u: %s", i, own.msg);
                o.refusals = true;
                continue;
            }
            did = now == LMB_SECAGG_STAGE_MASK ? world_upload(w, i, &own) : world_send(w, i, &own);
            if (did != LMB_OK)
                ck_abort_msg("server, client %u: %s", i, own.msg);
            in[i] |= now == LMB_SECAGG_STAGE_MASK;
        }
        st = lmb_secagg_server_advance(w->server, &err);
    }
    if (st == LMB_OK)
        st = lmb_secagg_server_finish(w->server, NULL, &sum, &clients, &err);
    if (st == LMB_OK) {
        for (uint32_t i = 0; i < w->n; i++) {
            count += in[i];
            o.in |= (unsigned)in[i] << i;
        }
        if (clients != count || !world_sum_is(w, &sum, in))
            ck_abort_msg("the sum is wrong");
        lmb_ring_deinit(&sum);
        o.sum = true;
    } else if (st != LMB_E_PEER || strlen(err.msg) < 20) {
        ck_abort_msg("no clean end: %s: %s", lmb_status_name(st), err.msg);
    }
    if (lmb_secagg_server_stage(w->server) != LMB_SECAGG_STAGE_OVER)
        ck_abort_msg("the session is not over");
    world_end(w);
    return o;
}

/* On a complete graph the rule is simple: in every stage threshold + 1 clients must answer, and three. */
static bool should_come_out(const world *w, const int *leaves)
{
    for (int stage = 0; stage < STAYS; stage++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < w->n; i++)
            n += leaves[i] > stage;
        if (n < w->shape.threshold + 1 || n < 3)
            return false;
    }
    return true;
}

/* All assignments of `choices` to n clients. */
static void every_assignment(world *w, const int *choices, int n_choices)
{
    unsigned long total = 1, sums = 0;
    for (uint32_t i = 0; i < w->n; i++)
        total *= (unsigned long)n_choices;
    for (unsigned long a = 0; a < total; a++) {
        int leaves[WORLD_MAX];
        unsigned long rest = a;
        outcome o;
        for (uint32_t i = 0; i < w->n; i++, rest /= (unsigned long)n_choices)
            leaves[i] = choices[rest % (unsigned long)n_choices];
        o = session(w, leaves);
        sums += o.sum;
        if (w->shape.degree + 1 == w->n && o.sum != should_come_out(w, leaves))
            ck_abort_msg("assignment %lu of %u clients: %s", a, w->n, o.sum ? "a sum" : "no sum");
        if (o.sum && o.refusals && w->shape.degree + 1 == w->n)
            ck_abort_msg("assignment %lu: a client left a session that came out", a);
    }
    ck_assert_uint_gt(sums, 0);
}

static const int curious_choices[] = { 0, SHARES, VECTOR, REVEAL, STAYS };
static const int malicious_choices[] = { 0, SHARES, VECTOR, CONSENT, REVEAL, STAYS };

/* Thresholds just above the floor: half of the neighbours, or two thirds. */
START_TEST(curious)
{
    static const uint32_t threshold[] = { 0, 0, 0, 2, 2, 3, 3 };
    world w = world_make((uint32_t)_i, LMB_SECAGG_CURIOUS, (uint32_t)_i - 1, threshold[_i]);
    every_assignment(&w, curious_choices, 5);
    world_free(&w);
}
END_TEST

START_TEST(malicious)
{
    static const uint32_t threshold[] = { 0, 0, 0, 2, 3, 3, 4 };
    world w = world_make((uint32_t)_i, LMB_SECAGG_MALICIOUS, (uint32_t)_i - 1, threshold[_i]);
    if (_i < 6) {
        every_assignment(&w, malicious_choices, 6);
    } else { /* every subset at every stage, the others stay */
        for (int stage = 0; stage < STAYS; stage++)
            for (unsigned set = 0; set < 64; set++) {
                int leaves[6];
                for (int i = 0; i < 6; i++)
                    leaves[i] = set >> i & 1 ? stage : STAYS;
                ck_assert_int_eq(session(&w, leaves).sum, should_come_out(&w, leaves));
            }
    }
    world_free(&w);
}
END_TEST

/* Not all are neighbours: who falls out of whose reach is another matter, the sum is not. */
START_TEST(ring_of_six)
{
    world w = world_make(6, LMB_SECAGG_CURIOUS, 4, 3);
    every_assignment(&w, curious_choices + 1, 4); /* who never came is not on the ring */
    world_free(&w);
}
END_TEST

/* Every subset of a stage, on rings where most are no neighbours: any sum that comes out is right. */
START_TEST(larger_rings)
{
    lmb_secagg_mode mode = _i ? LMB_SECAGG_MALICIOUS : LMB_SECAGG_CURIOUS;
    world w = world_make(13, mode, 6, _i ? 5 : 4);
    uint8_t seed[LMB_SECAGG_SEED] = { 5 };
    unsigned sums = 0;
    lmbi_stream dice;
    lmbi_stream_open(&dice, seed);
    for (int round = 0; round < 600; round++) {
        int leaves[WORLD_MAX];
        for (uint32_t i = 0; i < w.n; i++) {
            leaves[i] = lmbi_stream_below(&dice, 12) ? STAYS : (int)lmbi_stream_below(&dice, STAYS);
            if (leaves[i] == CONSENT && !_i)
                leaves[i] = REVEAL;
        }
        sums += session(&w, leaves).sum;
    }
    lmbi_stream_close(&dice);
    ck_assert_uint_gt(sums, 100);
    world_free(&w);
}
END_TEST

static uint32_t common_neighbours(const lmb_secagg_graph *g, uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < g->degree; k++)
        n += lmb_secagg_graph_slot(g, b, g->near[a * g->degree + k]) >= 0;
    return n;
}

/* A client that is left with fewer neighbours than the threshold, before any vector, is taken out; the others sum. On
 * the ring its neighbours at the distances 1, 5 and 6 leave: those beside it lose one less than it does. The distance
 * shows in the number of common neighbours. */
START_TEST(left_alone)
{
    static const uint8_t ring_seed[LMB_SECAGG_SEED] = { 77 }; /* as in world.h */
    static const uint32_t common[] = { 10, 6, 5 };
    world w = world_make(20, LMB_SECAGG_CURIOUS, 12, 7);
    lmb_secagg_graph g;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_secagg_graph_init(&g, w.n, 12, ring_seed, &err));
    for (uint32_t i = 0; i < w.n; i++) {
        int leaves[WORLD_MAX];
        unsigned stay = 0;
        outcome o;
        for (uint32_t j = 0; j < w.n; j++) {
            leaves[j] = STAYS;
            for (int c = 0; c < 3; c++)
                if (lmb_secagg_graph_slot(&g, i, j) >= 0 && common_neighbours(&g, i, j) == common[c])
                    leaves[j] = SHARES;
            stay |= (unsigned)(leaves[j] == STAYS && j != i) << j;
        }
        ck_assert_int_eq(__builtin_popcount(stay), 20 - 1 - 6);
        o = session(&w, leaves);
        ck_assert(o.sum && !o.refusals);
        ck_assert_uint_eq(o.in, stay);
    }
    lmb_secagg_graph_deinit(&g);
    world_free(&w);
}
END_TEST

/* Fewer than three cannot hide in a sum. */
START_TEST(two_are_too_few)
{
    world w = world_make(2, LMB_SECAGG_CURIOUS, 1, 2);
    int stay[2] = { STAYS, STAYS };
    ck_assert(!session(&w, stay).sum);
    world_free(&w);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/dropouts", if (sodium_init() < 0) return 1;
              tcase_add_loop_test(tc_, curious, 3, 7); tcase_add_loop_test(tc_, malicious, 3, 7); add(ring_of_six);
              add_loop(larger_rings, 2); add(left_alone); add(two_are_too_few);)
