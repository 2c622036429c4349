/* Mirrors train/device_nccl.c: ranks are threads, NCCL is played (tests/comm/played_nccl.h), and what a resident step
 * would call is called here: sums, least and greatest values, in f32 and bf16, whole and in parts, and a peer that
 * dies. */
#include "train/device_nccl.h"

#include <stdlib.h>

#include "core/base/random.h"
#include "tests/check_main.h"
#include "tests/comm/played_nccl.h"

enum { SEGMENTS = 5, BUCKETS = 3, MOST_CHUNKS = 16 };
static const size_t counts[SEGMENTS] = { 3000, 1, 2, 1500, 700 };
static const int bucket_first[BUCKETS + 1] = { SEGMENTS, 3, 1, 0 }; /* segments [first[b + 1], first[b]) */

typedef struct scene {
    int size;
    bool narrow, sharded;
    lmb_segment segment[SEGMENTS];
    lmb_state_layout layout;
    size_t at[SEGMENTS], count;
    lmb_step_chunk chunk[MOST_CHUNKS];
    int n_chunks;
    lmb_device_bucket bucket[BUCKETS];
    int owned[MOST_CHUNKS]; /* how many ranks own a chunk */
    lmb_status died[MOST_RANKS];
    char sentence[MOST_RANKS][400];
    pthread_mutex_t lock;
} scene;

static float number(int rank, size_t i)
{
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, (uint64_t)rank);
    return lmb_rand_normal(&r, (uint32_t)i);
}

static void begin(scene *s, int size, bool narrow, bool sharded)
{
    *s = (scene){ .size = size, .narrow = narrow, .sharded = sharded };
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < SEGMENTS; i++) {
        s->segment[i].reduce = i == 1 ? LMB_REDUCE_MIN : i == 2 ? LMB_REDUCE_MAX : LMB_REDUCE_MEAN;
        s->segment[i].count = counts[i];
        s->at[i] = s->count;
        for (size_t k = 0; k < counts[i]; k += LMB_STEP_CHUNK)
            s->chunk[s->n_chunks++] =
                (lmb_step_chunk){ .at = s->count + k,
                                  .n = (int32_t)(counts[i] - k < LMB_STEP_CHUNK ? counts[i] - k : LMB_STEP_CHUNK),
                                  .reduce = (uint8_t)s->segment[i].reduce };
        s->count += (counts[i] + LMB_STEP_ALIGN - 1) / LMB_STEP_ALIGN * LMB_STEP_ALIGN;
    }
    s->layout = (lmb_state_layout){ .n = SEGMENTS, .segment = s->segment, .count = s->count };
    size_t end = LMB_STEP_HEAD + s->count;
    for (int b = 0; b < BUCKETS; b++) {
        int first = bucket_first[b + 1];
        size_t lo = first ? LMB_STEP_HEAD + s->at[first] : 0;
        s->bucket[b] = (lmb_device_bucket){ lo, end - lo, first, bucket_first[b] };
        end = lo;
    }
    play_nccl(size);
}

/* What all ranks' numbers at i become, as the played library adds them. */
static float want(const scene *s, int segment, size_t i)
{
    float v = number(0, i);
    for (int r = 1; r < s->size; r++) {
        float x = number(r, i);
        v = segment == 1 ? fminf(v, x) : segment == 2 ? fmaxf(v, x) : v + x;
    }
    return v;
}

static float narrowed(const scene *s, size_t i)
{
    float v = lmb_bf16_get(lmb_bf16_of(number(0, i)));
    for (int r = 1; r < s->size; r++)
        v += lmb_bf16_get(lmb_bf16_of(number(r, i)));
    return lmb_bf16_get(lmb_bf16_of(v));
}

static void check_sums(const scene *s, const float *v, const bool *mine)
{
    for (size_t i = 0; i < LMB_STEP_HEAD; i++)
        ck_assert_float_eq(v[i], want(s, 0, i)); /* sums over samples: everybody's, never narrow */
    for (int c = 0; c < s->n_chunks; c++)
        for (size_t k = 0; k < (size_t)s->chunk[c].n && mine[c]; k++) {
            size_t i = LMB_STEP_HEAD + s->chunk[c].at + k;
            int segment = s->chunk[c].reduce == LMB_REDUCE_MIN ? 1 : s->chunk[c].reduce == LMB_REDUCE_MAX ? 2 : 0;
            ck_assert_float_eq(v[i], s->narrow && !segment ? narrowed(s, i) : want(s, segment, i));
        }
}

/* Weights of the own chunks move; afterwards all have all. */
static void check_weights(scene *s, lmb_device_sum *d, float *state, const bool *mine, lmb_error *e)
{
    lmb_error err = *e;
    for (int c = 0; c < s->n_chunks; c++)
        for (size_t k = 0; k < (size_t)s->chunk[c].n; k++)
            state[s->chunk[c].at + k] = mine[c] ? (float)(s->chunk[c].at + k) : -1;
    ck_ok(d->weights(d, &err));
    ck_ok(d->wait(d, 4, &err));
    for (int c = 0; c < s->n_chunks; c++)
        for (size_t k = 0; k < (size_t)s->chunk[c].n; k++)
            ck_assert_float_eq(state[s->chunk[c].at + k], (float)(s->chunk[c].at + k));
}

/* A rank: one step as a resident step makes it. */
static void run_rank(lmb_comm *c, void *ctx)
{
    scene *s = ctx;
    lmb_error err = LMB_ERROR_INIT;
    float *sum = malloc(sizeof *sum * (LMB_STEP_HEAD + s->count)), *state = calloc(s->count, sizeof *state);
    double part[3] = { 0, 0, 0 };
    bool mine[MOST_CHUNKS] = { false };
    int stream;
    const lmbi_device_nccl_options o = { { .limit_s = 120, .fixed_order = false }, &stream, s->narrow, s->sharded };
    lmb_device_sum *d;
    const lmb_device_part *parts;
    int n_parts;
    lmb_device_vector v = { .layout = &s->layout, .stream = &stream, .count = s->count, .at = s->at,
                            .n_buckets = BUCKETS, .n_chunks = s->n_chunks, .bucket = s->bucket, .chunk = s->chunk };

    for (size_t i = 0; i < LMB_STEP_HEAD + s->count; i++)
        sum[i] = number(c->rank, i);
    ck_ok(lmbi_device_nccl_open(c, &played_nccl, &o, &d, &err));
    ck_ok(d->divide(d, &v, &n_parts, &parts, &err));
    ck_ok(d->prepare(d, sum, state, &err));
    ck_assert_int_eq(n_parts < 0, !s->sharded);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_chunks && !s->sharded; i++)
        mine[i] = true;
    for (int p = 0; p < n_parts; p++)
        for (int i = parts[p].first; i < parts[p].last; i++) {
            mine[i] = true;
            s->owned[i]++;
        }
    pthread_mutex_unlock(&s->lock);
    ck_ok(d->begin(d, 4, &err));
    lmb_status st = LMB_OK;
    for (int b = 0; b < BUCKETS && st == LMB_OK; b++)
        st = d->ready(d, b, &err);
    if (st == LMB_OK)
        st = d->join(d, &err);
    if (st == LMB_OK)
        st = d->wait(d, 4, &err);
    s->died[c->rank] = st;
    snprintf(s->sentence[c->rank], sizeof s->sentence[0], "%s", err.msg);
    if (st == LMB_OK) {
        check_sums(s, sum, mine);
        double statistics[2] = { c->rank + 1, 0.5 };
        ck_assert(d->captures && d->same_bits == (c->size == 2));
        ck_ok(d->statistics(d, statistics, 2, &err));
        ck_ok(d->wait(d, 4, &err));
        ck_assert(statistics[0] == c->size * (c->size + 1) / 2 && statistics[1] == 0.5 * c->size);
        part[c->rank % 3] = c->rank + 1;
        if (s->sharded) {
            ck_ok(d->share(d, part, 3, &err));
            for (int r = 0; r < s->size && r < 3; r++)
                ck_assert_double_eq(part[r], r + 1);
            check_weights(s, d, state, mine, &err);
        }
    }
    d->close(d);
    free(sum);
    free(state);
}

/* Case i: two or three ranks, f32 or bf16, whole or in parts. */
START_TEST(ranks_sum)
{
    scene s;
    begin(&s, _i & 4 ? 3 : 2, _i & 1, _i & 2);
    on_threads(s.size, run_rank, &s);
    for (int i = 0; i < s.n_chunks && s.sharded; i++)
        ck_assert_int_eq(s.owned[i], 1);
    ck_assert_int_ge(played.reduced, BUCKETS);
    size_t narrow = s.narrow ? s.count - 2 * LMB_STEP_ALIGN : 0; /* but for the two segments that are compared */
    ck_assert_uint_le((size_t)played.bytes[LMB_NCCL_BF16], narrow * 2);
    ck_assert_int_eq(played.bytes[LMB_NCCL_BF16] > 0, s.narrow);
}
END_TEST

START_TEST(a_dead_peer_is_named)
{
    scene s;
    char want_text[64];
    begin(&s, 2, false, _i);
    played.die_at = _i ? 3 : 2; /* in the second bucket */
    on_threads(2, run_rank, &s);
    for (int r = 0; r < 2; r++) {
        ck_assert_int_eq(s.died[r], LMB_E_PEER);
        snprintf(want_text, sizeof want_text, "%s of bucket 1 of step 4: remote process exited",
                 _i ? "reduce-scatter" : "all-reduce");
        ck_assert_msg(strstr(s.sentence[r], want_text), "'%s' is not in '%s'", want_text, s.sentence[r]);
    }
}
END_TEST

LMB_TEST_MAIN("train/device_nccl", add_loop(ranks_sum, 8); add_loop(a_dead_peer_is_named, 2);)
