/* Mirrors the vectors of train/parts.c of which every rank has its own pages: what is collected, spread and forgotten,
 * and that forgotten pages are not there any more. Ranks are threads. */
#include "train/parts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/check_main.h"
#include "tests/comm/thread_ranks.h"

enum { SEGMENTS = 4, COUNT = 300000, RANKS = 4, GROUPS = 2 };
static const size_t counts[SEGMENTS] = { 100000, 7, 150000, 49993 };
static const int owner[SEGMENTS] = { 0, 1, 1, 0 };

static float number(size_t i) { return (float)(i % 1000) + 0.25f; }

static size_t resident(const void *memory, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = bytes / page, there = 0;
    unsigned char *list = malloc(n);

    ck_assert_int_eq(mincore((void *)memory, n * page, list), 0);
    for (size_t i = 0; i < n; i++)
        there += list[i] & 1 ? page : 0;
    free(list);
    return there;
}

static bool mine(size_t i, int me)
{
    size_t at = 0;
    int k = 0;
    while (i >= at + counts[k])
        at += counts[k++];
    return owner[k] == me;
}

static void run(lmb_comm *c, void *ctx)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_segment segment[SEGMENTS] = { 0 };
    size_t at = 0, own = 0, bytes = COUNT * sizeof(float);
    const size_t from[SEGMENTS] = { 0 };
    lmbi_parts *p;

    (void)ctx;
    for (int i = 0; i < SEGMENTS; i++) {
        segment[i] = (lmb_segment){ .offset = at, .count = counts[i] };
        at += counts[i];
        own += owner[i] == c->rank % GROUPS ? counts[i] : 0;
    }
    ck_assert_uint_eq(at, COUNT);
    const lmb_state_layout l = { .n = SEGMENTS, .segment = segment, .count = COUNT };
    ck_ok(lmbi_parts_stages(&l, c, GROUPS, owner, from, GROUPS - 1, &p, &err));
    ck_assert_uint_eq(p->own_count, own);
    float *v = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(v != MAP_FAILED);

    for (size_t i = 0; i < COUNT && c->rank == 0; i++)
        v[i] = number(i);
    ck_ok(lmbi_parts_spread(p, v, &err)); /* rank 0's to their owners, replicas too */
    lmbi_parts_forget(p, v);
    ck_assert_uint_le(resident(v, bytes), own * sizeof(float) + 8 * 4096);
    size_t wrong = 0; /* counted: an assertion costs more than what it looks at */
    for (size_t i = 0; i < COUNT; i++)
        if (mine(i, c->rank % GROUPS)) {
            wrong += v[i] != number(i);
            v[i] += 1;
        }
    float *copy = calloc(COUNT, sizeof *copy);
    lmbi_parts_copy(p, copy, v);
    for (size_t i = 0; i < COUNT; i++)
        wrong += copy[i] != (mine(i, c->rank % GROUPS) ? number(i) + 1 : 0);
    free(copy);
    ck_ok(lmbi_parts_collect(p, v, &err)); /* whole on rank 0 alone */
    for (size_t i = 0; i < COUNT && c->rank == 0; i++)
        wrong += v[i] != number(i) + 1;
    ck_assert(c->rank == 0 || resident(v, bytes) <= own * sizeof(float) + 8 * 4096);
    ck_ok(lmbi_parts_share(p, v, &err));
    for (size_t i = 0; i < COUNT; i++)
        wrong += v[i] != number(i) + 1;
    ck_assert_uint_eq(wrong, 0);
    munmap(v, bytes);
    lmbi_parts_destroy(p);
}

START_TEST(every_rank_has_its_own_pages) { on_threads(RANKS, run, NULL); }
END_TEST

LMB_TEST_MAIN("train/parts", add(every_rank_has_its_own_pages);)
