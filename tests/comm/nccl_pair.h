/* tests/comm/nccl_pair.h - for tests of comm/nccl.c: this process is one rank of two; what the other shows is `other`, what
 * NCCL does is `fake`. */
#ifndef TESTS_COMM_NCCL_PAIR_H
#define TESTS_COMM_NCCL_PAIR_H

#include <string.h>
#include <unistd.h>

#include "comm/nccl.h"
#include "tests/check_main.h"
#include "tests/comm/fake_nccl.h"

static lmb_error err;

/* The other rank shows what we show, but for these bytes. */
static struct other {
    int ready, version, gpu, id_code;
    int gathers;
} other;

static lmb_status pair_gather(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *e)
{
    unsigned char *theirs = (unsigned char *)all + (size_t)!c->rank * n;
    int32_t head[2] = { other.ready, other.version };

    (void)e;
    other.gathers++;
    memcpy((unsigned char *)all + (size_t)c->rank * n, mine, n);
    ck_assert_uint_eq(n, sizeof head + LMB_NCCL_DEVICE_ID);
    memcpy(theirs, head, sizeof head);
    memset(theirs + sizeof head, other.gpu, LMB_NCCL_DEVICE_ID);
    return LMB_OK;
}

/* From rank 0: whether it could name the job, and the name. */
static lmb_status pair_broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *e)
{
    int32_t code = other.id_code;
    (void)e;
    if (c->rank != root && n == sizeof code + LMB_NCCL_ID) {
        memcpy(data, &code, sizeof code);
        memset((char *)data + sizeof code, 0x33, LMB_NCCL_ID);
    }
    return LMB_OK;
}

static lmb_comm pair(int rank)
{
    return (
        lmb_comm){ .rank = rank, .size = 2, .name = "pair", .gather_all = pair_gather, .broadcast = pair_broadcast };
}

static void begin(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    memset(&fake, 0, sizeof fake);
    fake.version = 22809;
    fake.gpu = 1;
    other = (struct other){ .ready = 1, .version = 22809, .gpu = 2 };
}

static const lmb_nccl_options patient = { .limit_s = 120 };

#define ck_says(part) ck_assert_msg(strstr(err.msg, part), "'%s' is not in '%s'", part, err.msg)

#endif
