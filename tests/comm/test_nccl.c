/* Mirrors comm/nccl.c: this process is one rank of two; the other and NCCL are what each test says. */
#include "tests/comm/nccl_pair.h"
#include "tests/temp_dir.h"

START_TEST(ranks_meet)
{
    for (int rank = 0; rank < 2; rank++) {
        lmb_comm c = pair(rank);
        lmb_nccl *n = NULL;
        begin();
        fake.busy_init = 5;
        ck_ok(lmb_nccl_open(&c, &fake_api, &patient, &n, &err));
        ck_assert_int_eq(fake.ids, rank == 0); /* who asks makes a name: only one may */
        ck_assert_int_eq(fake.id[0], rank == 0 ? 0x5a : 0x33);
        ck_assert_int_eq(fake.id[LMB_NCCL_ID - 1], rank == 0 ? 0x5a : 0x33);
        ck_assert(fake.inits == 1 && fake.size == 2 && fake.rank == rank);
        ck_assert_int_gt(fake.states, 5); /* looked until it was no longer busy */
        lmb_nccl_close(n);
        ck_assert(fake.finalizes == 1 && fake.destroys == 1 && fake.aborts == 0 && fake.streams == 0);
    }
}
END_TEST

/* Case i of ranks that can not work together; nobody asks NCCL for a communicator. */
START_TEST(ranks_that_do_not_fit)
{
    static const struct {
        int ready, version, gpu, id_code;
        const char *says;
    } cases[] = {
        { 0, 22809, 2, 0, "rank 0 can not use its GPU" },
        { 1, 21805, 2, 0, "rank 1 has NCCL 22809, rank 0 has NCCL 21805" },
        { 1, 22809, 1, 0, "ranks 0 and 1 are on the same GPU" },
        { 1, 22809, 2, FAKE_ERROR, "rank 0 could not name the job to NCCL: remote process exited" },
    };
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;

    begin();
    other = (struct other){ cases[_i].ready, cases[_i].version, cases[_i].gpu, cases[_i].id_code, 0 };
    ck_assert_int_eq(lmb_nccl_open(&c, &fake_api, &patient, &n, &err), LMB_E_PEER);
    ck_says(cases[_i].says);
    ck_assert(fake.inits == 0 && fake.streams == 0 && !n);
}
END_TEST

START_TEST(a_rank_without_a_gpu_tells_the_others)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;

    begin();
    fake.fail_select = 1;
    ck_assert_int_eq(lmb_nccl_open(&c, &fake_api, &patient, &n, &err), LMB_E_DEVICE);
    ck_says("selecting a GPU: something else");
    ck_assert(other.gathers == 1 && fake.inits == 0);
}
END_TEST

START_TEST(nobody_comes_to_the_meeting)
{
    lmb_comm c = pair(0);
    lmb_nccl *n = NULL;
    const lmb_nccl_options hasty = { .limit_s = 0.05 };

    begin();
    fake.busy_init = FAKE_FOREVER;
    ck_assert_int_eq(lmb_nccl_open(&c, &fake_api, &hasty, &n, &err), LMB_E_PEER);
    ck_says("meeting of the GPUs");
    ck_says("nothing came of it for 0.05 s");
    ck_assert(fake.aborts == 1 && fake.finalizes == 0 && fake.streams == 0);
}
END_TEST

START_TEST(work_is_waited_for)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;
    float from[4] = { 1, 2, 3, 4 }, to[4] = { 0 };
    int stream;

    begin();
    fake.busy_work = 20;
    ck_ok(lmb_nccl_open(&c, &fake_api, &patient, &n, &err));
    ck_ok(lmb_nccl_sum(n, (lmb_nccl_label){ 7, 3 }, from, to, 4, LMB_NCCL_F32, &stream, &err));
    ck_ok(lmb_nccl_wait(n, &err));
    ck_assert_int_gt(fake.stream_looks, 20);
    ck_assert(fake.works == 1 && fake.afters == 1 && to[3] == 4);
    ck_ok(lmb_nccl_sum_scatter(n, (lmb_nccl_label){ 7, 3 }, from, to, 2, LMB_NCCL_F32, NULL, &err));
    ck_ok(lmb_nccl_gather(n, (lmb_nccl_label){ 7, 3 }, from, to, 2, LMB_NCCL_BF16, NULL, &err));
    ck_ok(lmb_nccl_exchange(n, (lmb_nccl_label){ 7, -1 }, from, 0, to, -1, 4, LMB_NCCL_F32, NULL, &err));
    ck_ok(lmb_nccl_wait(n, &err));
    ck_assert(fake.works == 4 && fake.afters == 1);

    /* ranges as one piece of work, numbers in half the size, and a stream that waits for all of it */
    const lmb_nccl_piece p[2] = { { to, 2, LMB_NCCL_F32, LMB_NCCL_ADD, -1 },
                                  { to + 2, 1, LMB_NCCL_F32, LMB_NCCL_LEAST, 0 } };
    uint16_t half[4];
    ck_ok(lmb_nccl_narrow(n, from, half, 4, &stream, &err));
    ck_ok(lmb_nccl_reduce(n, (lmb_nccl_label){ 8, 2 }, p, 2, NULL, &err));
    ck_ok(lmb_nccl_widen(n, half, to, 4, &err));
    ck_ok(lmb_nccl_spread(n, (lmb_nccl_label){ 8, -1 }, p + 1, 1, NULL, &err));
    ck_ok(lmb_nccl_release(n, &stream, &err));
    ck_ok(lmb_nccl_wait_for(n, &stream, 9, &err));
    ck_assert(fake.works == 7 && fake.afters == 3 && fake.groups == 0 && to[3] == 4);
    lmb_nccl_close(n);
}
END_TEST

/* An error that NCCL tells, or (case 1) work of which nothing comes. */
START_TEST(a_peer_that_fails_ends_it)
{
    lmb_comm c = pair(1);
    lmb_nccl *n = NULL;
    float v[4] = { 0 };
    const lmb_nccl_options o = { .limit_s = _i ? 0.05 : 120 };
    char host[64] = "", want[128];

    begin();
    ck_ok(lmb_nccl_open(&c, &fake_api, &o, &n, &err));
    fake.fail_state = _i ? 0 : FAKE_ERROR;
    fake.busy_work = _i ? FAKE_FOREVER : 3;
    ck_ok(lmb_nccl_sum(n, (lmb_nccl_label){ 812, 3 }, v, v, 4, LMB_NCCL_BF16, NULL, &err));
    ck_assert_int_eq(lmb_nccl_wait(n, &err), LMB_E_PEER);
    gethostname(host, sizeof host - 1);
    snprintf(want, sizeof want, "rank 1 on %s, all-reduce of bucket 3 of step 812: %s", host,
             _i ? "nothing came of it for 0.05 s" : "remote process exited");
    ck_says(want);
    ck_assert_int_eq(fake.aborts, 1);
    /* from now on nothing of NCCL's is touched: the table ends the program on a dead communicator */
    for (int again = 0; again < 2; again++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(again ? lmb_nccl_wait(n, &err)
                               : lmb_nccl_sum(n, (lmb_nccl_label){ 813, 0 }, v, v, 4, LMB_NCCL_F32, NULL, &err),
                         LMB_E_PEER);
        ck_says("given up at all-reduce of bucket 3 of step 812");
    }
    ck_assert_int_eq(fake.works, 1);
    lmb_nccl_close(n);
    ck_assert(fake.aborts == 1 && fake.finalizes == 0 && fake.destroys == 0 && fake.streams == 0);
}
END_TEST

static void hear(void *ctx, const char *sentence) { (void)ctx, (void)sentence; }

/* One piece of work, behind what the stream has; the stream goes on behind the work before it; a neighbour that dies is
 * named. */
START_TEST(letters_are_one_piece_of_work)
{
    lmb_comm c = pair(0);
    lmb_nccl *n = NULL;
    int stream;
    float from[4] = { 1, 2, 3, 4 }, to[4];
    const lmb_nccl_letter l[2] = { { 1, from, NULL, 4 }, { 1, NULL, to, 4 } };

    begin();
    ck_ok(lmb_nccl_open(&c, &fake_api, &patient, &n, &err));
    ck_ok(lmb_nccl_swap(n, (lmb_nccl_label){ 7, -1 }, "activations 3 to rank 1", l, 2, &stream, &err));
    ck_assert(fake.works == 2 && fake.afters == 2 && fake.groups == 0);
    fake.fail_state = FAKE_ERROR;
    ck_ok(lmb_nccl_swap(n, (lmb_nccl_label){ 8, -1 }, "activations 4 to rank 1", l, 1, &stream, &err));
    ck_assert_int_eq(lmb_nccl_wait(n, &err), LMB_E_PEER);
    ck_says("activations 4 to rank 1 of step 8: remote process exited");
    ck_assert_int_eq(fake.aborts, 1);
    lmb_nccl_abort(n);
    ck_assert_int_eq(fake.aborts, 1);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_nccl_swap(n, (lmb_nccl_label){ 9, -1 }, "x", l, 1, &stream, &err), LMB_E_PEER);
    lmb_nccl_close(n);
}
END_TEST

/* The noticeboard knows who keeps us waiting. */
START_TEST(who_is_behind_is_named)
{
    lmb_comm first = pair(0), second = pair(1);
    lmb_watch *w0 = NULL, *w1 = NULL;
    lmb_nccl *n = NULL;
    char dir[128], path[160];
    float v[2] = { 0 };

    begin();
    temp_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/ranks", dir);
    ck_ok(lmb_watch_open(&first, path, 1e6, hear, NULL, &w0, &err));
    ck_ok(lmb_watch_open(&second, path, 1e6, hear, NULL, &w1, &err));
    const lmb_nccl_options o = { .limit_s = 0.05, .watch = w1 };
    ck_ok(lmb_nccl_open(&second, &fake_api, &o, &n, &err));
    lmb_watch_doing(w0, 5, "waiting for data", false);
    fake.busy_work = FAKE_FOREVER;
    ck_ok(lmb_nccl_sum(n, (lmb_nccl_label){ 6, 0 }, v, v, 2, LMB_NCCL_F32, NULL, &err));
    ck_assert_int_eq(lmb_nccl_wait(n, &err), LMB_E_PEER);
    ck_says("all-reduce of bucket 0 of step 6: nothing came of it");
    ck_says("; rank 0 on ");
    ck_says("is behind, at: waiting for data of step 5; start again");
    lmb_nccl_close(n);

    char text[200] = "x"; /* and nobody, when the other waits where we are */
    lmb_watch_doing(w0, 6, "all-reduce of bucket 0", true);
    lmb_watch_behind(w1, text, sizeof text);
    ck_assert_str_eq(text, "");
    lmb_watch_close(w1);
    lmb_watch_close(w0);
    temp_remove(dir);
}
END_TEST

START_TEST(a_fixed_order_is_asked_for)
{
    lmb_comm c = pair(0);
    lmb_nccl *n = NULL;
    const lmb_nccl_options o = { .limit_s = 120, .fixed_order = true };

    begin();
    setenv("NCCL_ALGO", "Tree", 1);
    ck_ok(lmb_nccl_open(&c, &fake_api, &o, &n, &err));
    ck_assert_str_eq(getenv("NCCL_ALGO"), "Ring");
    ck_assert_str_eq(getenv("NCCL_NVLS_ENABLE"), "0");
    ck_assert_str_eq(getenv("NCCL_MIN_NCHANNELS"), getenv("NCCL_MAX_NCHANNELS"));
    lmb_nccl_close(n);
}
END_TEST

START_TEST(modules_are_looked_at)
{
    const lmb_nccl_api *api = NULL;

    begin();
    setenv("LMB_NCCL_MODULE", "/nonexistent/module.so", 1);
    ck_assert_int_eq(lmb_nccl_load(&api, &err), LMB_E_UNSUPPORTED);
    ck_says("no NCCL module (/nonexistent/module.so");
    err = (lmb_error)LMB_ERROR_INIT;
    setenv("LMB_NCCL_MODULE", LMB_SOURCE_DIR "/README.md", 1);
    ck_assert_int_eq(lmb_nccl_load(&api, &err), LMB_E_DEVICE);
    ck_assert_ptr_null(api);
#ifdef NCCL_MODULE
    int version = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    setenv("LMB_NCCL_MODULE", NCCL_MODULE, 1);
    ck_ok(lmb_nccl_load(&api, &err));
    ck_assert_int_eq(api->library(&version), LMB_NCCL_OK);
    ck_assert_int_ge(version, 21800);
    if (api->device_select(0) != LMB_NCCL_OK)
        ck_assert_int_gt(strlen(api->text(api->device_select(0))), 5); /* a machine without a GPU: a sentence */
#endif
}
END_TEST

LMB_TEST_MAIN("comm/nccl", add(ranks_meet); add_loop(ranks_that_do_not_fit, 4);
              add(a_rank_without_a_gpu_tells_the_others); add(nobody_comes_to_the_meeting); add(work_is_waited_for);
              add_loop(a_peer_that_fails_ends_it, 2); add(letters_are_one_piece_of_work); add(who_is_behind_is_named);
              add(a_fixed_order_is_asked_for); add(modules_are_looked_at);)
