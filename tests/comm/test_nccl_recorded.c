/* Mirrors comm/nccl.c and nccl_log.c where work of NCCL's is part of a recorded step: what fails, hangs or is left then. */
#include "tests/comm/nccl_pair.h"

/* What fails while it is recorded is no reason to end anything; NCCL that is too old is not asked. */
START_TEST(a_recording_that_fails_ends_nothing)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;
    double v[4] = { 1, 2, 3, 4 };
    int stream;

    begin();
    fake.version = other.version = _i ? 20804 : 20900;
    ck_ok(lmb_nccl_open(&c, &fake_api, &patient, &n, &err));
    ck_assert_int_eq(lmb_nccl_records(n), !_i);
    lmb_nccl_record(n, true);
    fake.fail_work = FAKE_ERROR;
    ck_assert_int_eq(
        lmb_nccl_sum_on(n, (lmb_nccl_label){ 3, -1 }, "statistics", v, 4, LMB_NCCL_F64, &stream, &err),
        LMB_E_UNSUPPORTED);
    ck_says("NCCL let statistics not be recorded: remote process exited");
    lmb_nccl_record(n, false);
    fake.fail_work = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_nccl_sum_on(n, (lmb_nccl_label){ 3, -1 }, "statistics", v, 4, LMB_NCCL_F64, &stream, &err));
    ck_assert(fake.works == 1 && fake.afters == 0 && fake.aborts == 0);
    lmb_nccl_close(n);
}
END_TEST

/* A whole graph is looked at like a single sum: its stream, or (case 1) an event behind it. */
START_TEST(a_replay_is_not_waited_for_longer)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;
    const lmb_nccl_options hasty = { .limit_s = 0.05 };
    int at;

    begin();
    ck_ok(lmb_nccl_open(&c, &fake_api, &hasty, &n, &err));
    fake.working = 1;
    fake.busy_work = 20;
    lmb_nccl_replayed(n, 11);
    ck_ok(_i ? lmb_nccl_wait_event(n, &at, -1, &err) : lmb_nccl_wait_for(n, &at, 11, &err));
    ck_assert_int_gt(fake.stream_looks, 20);
    fake.busy_work = FAKE_FOREVER;
    lmb_nccl_replayed(n, 12);
    ck_assert_int_eq(_i ? lmb_nccl_wait_event(n, &at, -1, &err) : lmb_nccl_wait_for(n, &at, 12, &err), LMB_E_PEER);
    ck_says("the recorded sums of step 12: nothing came of it for 0.05 s");
    ck_assert_int_eq(fake.aborts, 1);
    lmb_nccl_close(n);
}
END_TEST

/* Three sums and statistics in a graph, two replays of which are on the stream: the first piece that was not passed is
 * named, with its own step. Without a recording it is the same. */
START_TEST(a_replay_names_its_bucket)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;
    const lmb_nccl_options hasty = { .limit_s = 0.05 };
    float v[4] = { 0 };
    double d[2] = { 0 };
    int at;

    begin();
    ck_ok(lmb_nccl_open(&c, &fake_api, &hasty, &n, &err));
    ck_ok(lmb_nccl_sum(n, (lmb_nccl_label){ 2, 7 }, v, v, 4, LMB_NCCL_F32, NULL, &err)); /* step by step, passed */
    ck_assert_uint_eq(fake.count, 1);
    fake.stuck = 1;
    for (int again = 0; again < 2; again++) { /* what was recorded before is forgotten */
        lmb_nccl_record(n, true);
        for (int b = 0; b < 3; b++)
            ck_ok(lmb_nccl_sum(n, (lmb_nccl_label){ 3, b }, v, v, 4, LMB_NCCL_F32, NULL, &err));
        ck_ok(lmb_nccl_sum_on(n, (lmb_nccl_label){ 3, -1 }, "statistics", d, 2, LMB_NCCL_F64, &at, &err));
        lmb_nccl_record(n, false);
    }
    for (int step = 4; step < 1600; step++) { /* the log goes round */
        lmb_nccl_replayed(n, step);
        fake.count += 4;
    }
    lmb_nccl_replayed(n, 1600);
    fake.count += (uint64_t)_i;
    lmb_nccl_replayed(n, 1601);
    if (_i == 3)
        fake.fail_state = FAKE_ERROR;
    fake.busy_work = FAKE_FOREVER;
    ck_assert_int_eq(lmb_nccl_wait_for(n, &at, 1601, &err), LMB_E_PEER);
    static const char *const want[] = { "all-reduce of bucket 0 of step 1600: nothing",
                                        "all-reduce of bucket 1 of step 1600", "all-reduce of bucket 2 of step 1600",
                                        "statistics of step 1600: remote process",
                                        "all-reduce of bucket 0 of step 1601" };
    ck_says(want[_i]);
    lmb_nccl_close(n);
}
END_TEST

/* NCCL waits for a graph to be destroyed, whose owner waits for our sentence: it comes all the same. */
START_TEST(an_abort_that_waits_for_a_graph_holds_nobody_up)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;
    float v[4] = { 0 };

    begin();
    ck_ok(lmb_nccl_open(&c, &fake_api, &patient, &n, &err));
    atomic_store(&fake.graphs, 1);
    fake.fail_state = FAKE_ERROR;
    ck_ok(lmb_nccl_sum(n, (lmb_nccl_label){ 5, 0 }, v, v, 4, LMB_NCCL_F32, NULL, &err));
    ck_assert_int_eq(lmb_nccl_wait(n, &err), LMB_E_PEER);
    ck_says("all-reduce of bucket 0 of step 5: remote process exited");
    atomic_store(&fake.graphs, 0);
    lmb_nccl_close(n);
    ck_assert(fake.aborts == 1 && fake.finalizes == 0 && fake.streams == 0);
}
END_TEST

LMB_TEST_MAIN("comm/nccl_recorded", add_loop(a_recording_that_fails_ends_nothing, 2);
              add_loop(a_replay_is_not_waited_for_longer, 2); add_loop(a_replay_names_its_bucket, 5);
              add(an_abort_that_waits_for_a_graph_holds_nobody_up);)
