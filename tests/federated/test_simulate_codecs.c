/* Mirrors federated/simulate.c: changes and models that travel encoded; what an encoding leaves out is remembered. */
#include "tests/federated/simulation.h"

/* The value of a change is known, and so is its distance after an encoding; bytes are counted, the run is the same
 * twice. */
START_TEST(codecs)
{
    static const char *const codec[] = { "bf16", "int8", "{name: rotation, bits: 4}" };
    static const uint64_t bytes[] = { 2 * N, N + 4, 4 + 8 * 4 / 8 };
    for (int k = 0; k < 3; k++) {
        float whole[N];
        char text[200];
        snprintf(text, sizeof text, "{rounds: 30, target: 12, minimum: 2, codec: %s}", codec[k]);
        set_up(text);
        ck_ok(run());
        memcpy(whole, model, sizeof whole);
        ck_assert_uint_eq(last.plain, 12 * 4 * N);
        ck_assert_uint_eq(last.payload, 12 * bytes[k]);
        ck_assert_double_eq_tol((double)model[0], 3, 1.2); /* the best of the rounds: where the model passes 3 */
        tear_down();
        set_up(text);
        ck_ok(run());
        ck_assert_mem_eq(model, whole, sizeof whole);
        tear_down();
    }
}
END_TEST

/* Every client wants the same small step in value 1, and a ten times greater one in value 0, in each round. */
static lmb_status steady(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                         lmb_error *e)
{
    (void)ctx, (void)lane, (void)client, (void)task, (void)e;
    memset(result->delta, 0, N * sizeof *result->delta);
    result->delta[0] = 0.0625f;
    result->delta[1] = 0.00625f;
    result->examples = 10;
    return LMB_OK;
}

/* One value of five is sent; what is left out comes later: after 22 rounds value 1 has been sent twice, each time with
 * all that had come together. Stopped and gone on it is the same run; a new one begins with nothing left out. */
START_TEST(what_is_left_out_comes_later)
{
    static const char text[] = "{rounds: 22, target: 3, minimum: 2, codec: {name: topk, share: 0.2}}";
    float whole[N];

    for (int k = 0; k < 3; k++) {
        if (k == 0)
            set_up(text);
        s.train = steady;
        s.clients = 3;
        s.fresh = k == 1;
        job.evaluate = NULL;
        rounds_seen = 0;
        stop_after = k == 2 ? 17 : 0;
        if (k == 2) {
            s.fresh = true;
            ck_assert_int_eq(run(), LMB_E_STOPPED);
            s.fresh = false;
            stop_after = 0;
            err = (lmb_error)LMB_ERROR_INIT;
        }
        ck_ok(run());
        if (k == 0) {
            memcpy(whole, model, sizeof whole);
            ck_assert_uint_eq(last.payload, 3 * (2 + 4));
            ck_assert_float_gt(model[1], 0.06f); /* never, without a memory */
            ck_assert_float_lt(model[1], 22 * 0.00625f + 1e-6f);
            ck_assert_float_gt(model[0], 19 * 0.0625f);
        }
        ck_assert_mem_eq(model, whole, sizeof whole);
    }
    tear_down();
}
END_TEST

/* Steps far below the precision of what clients are given still add up. */
START_TEST(small_steps_add_up_when_the_model_travels_as_bf16)
{
    set_up("{rounds: 40, target: 3, minimum: 2, download: bf16}");
    s.train = steady;
    s.c.checkpoint_s = 100;
    s.clients = 3;
    job.evaluate = NULL;
    for (int i = 0; i < N; i++)
        initial[i] = 100; /* bf16 knows 100 and 100.5 */
    ck_ok(run());
    ck_assert_float_eq_tol(model[1], 100 + 40 * 0.00625f, 1e-3f);
    ck_assert_float_eq(model[2], 100);
    tear_down();
    set_up("{rounds: 1, target: 3, minimum: 2, download: int8}");
    ck_assert_int_eq(run(), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "which is for changes"));
    tear_down();
}
END_TEST

LMB_TEST_MAIN("federated/simulate_codecs", add(codecs); add(what_is_left_out_comes_later);
              add(small_steps_add_up_when_the_model_travels_as_bf16);)
