/* Mirrors federated/unmask_gpu.c and core/cuda/chacha.c: masks made on a GPU are those of RFC 8439, of libsodium and
 * of the processor's kernels, to the bit, those of a simulation's clients too (federated/simulate_masks.c); without a
 * GPU the processor does the work, and says so. Runs on what LMB_CUDA_MODULE names: the played module, whose kernels
 * run on the host, or, labelled gpu, the real one. */
#include "federated/unmask_gpu.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/cuda/chacha.h"
#include "core/cuda/device.h"
#include "federated/simulate.h"
#include "tests/check_main.h"

static lmb_error err;
static lmb_gpu *gpu;
static char said[400];

static void hear(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(said, sizeof said, "%s", text);
}

static const lmb_log log_of_test = { hear, NULL, LMB_LOG_INFO };

/* RFC 8439, appendix A.1, test vectors 1 and 3: key 0, and the second block of key 00..01. */
START_TEST(known_answers)
{
    uint32_t v[20] = { 0, 1 }, words[18] = { 0 };
    uint64_t w[2] = { 0 };

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_chacha_add(lmb_gpu_api(gpu), lmb_gpu_device(gpu), v, 20, 32, words, 1, &err));
    ck_assert_uint_eq(v[0], 0xade0b876u);
    ck_assert_uint_eq(v[1], 0x903df1a0u + 1);
    ck_assert_uint_eq(v[15], 0x8665eeb2u);
    ck_assert_uint_eq(v[16], 0xbee7079fu); /* vector 2: block 1 */
    ck_ok(lmb_chacha_add(lmb_gpu_api(gpu), lmb_gpu_device(gpu), w, 2, 64, words, 1, &err));
    ck_assert_uint_eq(w[0], UINT64_C(0x903df1a0ade0b876));
    memset(v, 0, sizeof v);
    words[7] = 0x01000000;
    ck_ok(lmb_chacha_add(lmb_gpu_api(gpu), lmb_gpu_device(gpu), v, 20, 32, words, 1, &err));
    ck_assert_uint_eq(v[16], 0x2452eb3au);
}
END_TEST

static void draw(lmb_mask *masks, size_t n)
{
    for (size_t m = 0; m < n; m++) {
        randombytes_buf(masks[m].key, sizeof masks[m].key);
        masks[m].subtract = m % 3 == 1;
    }
}

/* One mask is libsodium's stream; many are the sums of mask.c: vectors that end within a word, a block, and keys that
 * are dealt to several threads. */
START_TEST(as_the_processor)
{
    enum { MOST = 40, LONGEST = 9001 };
    static const size_t lengths[] = { 1, 7, 8, 9, 15, 16, 17, 255, 1024, LONGEST }, counts[] = { 1, 2, 7, 8, 9, MOST };
    static const unsigned rings[] = { 20, 32, 33, 62 };
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    static uint8_t stream[LONGEST * 8];
    lmb_unmask_gpu *u = lmb_unmask_gpu_open("masks come off", &log_of_test);
    lmb_mask masks[MOST];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_ptr_nonnull(u);
    ck_assert_msg(strstr(said, "masks come off on ") && !strstr(said, "processor"), "%s", said);
    for (size_t r = 0; r < sizeof rings / sizeof *rings; r++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
                lmb_ring_vector a, b;
                draw(masks, counts[c]);
                ck_ok(lmb_ring_init(&a, rings[r], lengths[l], &err));
                ck_ok(lmb_ring_init(&b, rings[r], lengths[l], &err));
                for (size_t i = 0; i < lengths[l]; i++) {
                    lmb_ring_set(&a, i, i * 77);
                    lmb_ring_set(&b, i, i * 77);
                }
                ck_ok(lmb_unmask_gpu_apply(u, &a, masks, counts[c], NULL, &err));
                ck_ok(lmb_mask_apply(&b, masks, counts[c], NULL, &err));
                for (size_t i = 0; i < lengths[l]; i++)
                    ck_assert_uint_eq(lmb_ring_get(&a, i), lmb_ring_get(&b, i));
                crypto_stream_chacha20_ietf(stream, sizeof stream, nonce, masks[0].key);
                for (size_t i = 0; counts[c] == 1 && i < lengths[l]; i++) {
                    uint64_t k = 0;
                    memcpy(&k, stream + i * (a.u32 ? 4 : 8),
                           a.u32 ? 4 : 8); /* little-endian machines, like the test's peers */
                    ck_assert_uint_eq(lmb_ring_get(&a, i), (k + i * 77) & ((UINT64_C(1) << rings[r]) - 1));
                }
                lmb_ring_deinit(&a);
                lmb_ring_deinit(&b);
            }
    lmb_unmask_gpu_close(u);
}
END_TEST

/* ---- clients of a simulation ---- */

enum { NUMBERS = 60000, CLIENTS = 6 };
static size_t streams; /* that the GPU has made */

static lmb_status train(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                        lmb_error *e)
{
    (void)ctx, (void)lane, (void)task, (void)e;
    for (int i = 0; i < NUMBERS; i++)
        result->delta[i] = (float)((i * 7 + client * 13) % 101) * 1e-4f;
    result->examples = (uint64_t)client + 1;
    return LMB_OK;
}

static lmb_status on_gpu(void *ctx, lmb_ring_vector *v, const lmb_mask *masks, size_t n, lmb_pool *pool, lmb_error *e)
{
    streams += n;
    return lmb_unmask_gpu_apply(ctx, v, masks, n, pool, e);
}

/* The model of a simulation, on the GPU, on the processor, or in the clear. */
static float *simulate(bool masks, const lmb_masker *masker)
{
    static const char rules[] = "{rounds: 2, target: 6, minimum: 3, secure_aggregation: {clip: 0.1}}";
    static const uint64_t examples[CLIENTS] = { 1, 2, 3, 4, 5, 6 };
    float *model = calloc(NUMBERS, sizeof *model), *initial = calloc(NUMBERS, sizeof *initial);
    lmb_server_config server;
    lmb_config *yaml;
    lmb_comm *comm;
    uint64_t best;
    double score, first;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(rules, strlen(rules), "s.yaml", &yaml, &err));
    ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &server, &err));
    ck_ok(lmbi_comm_open_self(&comm, &err));
    server.state_dir = "unmask-gpu-state";
    const lmb_server_job job = { .n = NUMBERS, .initial = initial, .settings = "" };
    lmb_simulation s = { .server = &server, .job = &job, .clients = CLIENTS, .examples = examples, .train = train,
                         .fresh = true, .masker = masker };
    ck_ok(lmb_fields_bind(lmb_simulate_fields, NULL, &s.c, &err));
    s.c.masks = masks;
    s.c.dropout = 0.2;
    ck_ok(lmb_simulate(&s, comm, model, &best, &score, &first, &err));
    lmb_comm_close(comm);
    lmb_config_destroy(yaml);
    free(initial);
    return model;
}

START_TEST(masks_of_simulated_clients)
{
    lmb_unmask_gpu *u = lmb_unmask_gpu_open("masks go on and come off", &log_of_test);
    const lmb_masker masker = { on_gpu, u };

    ck_assert_msg(strncmp(said, "masks go on and come off on ", 28) == 0 && !strstr(said, "processor"), "%s", said);
    streams = 0;
    float *there = simulate(true, &masker), *here = simulate(true, NULL), *clear = simulate(false, NULL);
    ck_assert_uint_ge(streams, 2 * 2 * CLIENTS); /* each client's in each round, on and off */
    ck_assert_msg(strncmp(said, "masks go on", 11) == 0, "%s", said); /* and none but there */
    ck_assert_mem_eq(there, here, NUMBERS * sizeof *here);
    ck_assert_mem_eq(there, clear, NUMBERS * sizeof *clear);
    free(there);
    free(here);
    free(clear);
    lmb_unmask_gpu_close(u);
}
END_TEST

START_TEST(without_a_gpu_the_processor_does_it)
{
    char *was = getenv("LMB_CUDA_MODULE") ? strdup(getenv("LMB_CUDA_MODULE")) : NULL;
    lmb_ring_vector a, b;
    lmb_mask masks[3];

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(setenv("LMB_CUDA_MODULE", "/nowhere/liblimbeck_cuda.so", 1), 0);
    lmb_unmask_gpu *u = lmb_unmask_gpu_open("masks come off", &log_of_test);
    ck_assert_ptr_nonnull(u);
    ck_assert_msg(strstr(said, "masks come off on the processor: this installation has no CUDA module"), "%s", said);
    draw(masks, 3);
    ck_ok(lmb_ring_init(&a, 32, 100, &err));
    ck_ok(lmb_ring_init(&b, 32, 100, &err));
    ck_ok(lmb_unmask_gpu_apply(u, &a, masks, 3, NULL, &err));
    ck_ok(lmb_mask_apply(&b, masks, 3, NULL, &err));
    ck_assert_mem_eq(a.u32, b.u32, 400);
    lmb_ring_deinit(&a);
    lmb_ring_deinit(&b);
    lmb_unmask_gpu_close(u);
    if (was)
        ck_assert_int_eq(setenv("LMB_CUDA_MODULE", was, 1), 0);
    else
        ck_assert_int_eq(unsetenv("LMB_CUDA_MODULE"), 0);
    free(was);
}
END_TEST

/* No fork: a process that has touched CUDA cannot hand it to a child. */
int main(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    if (sodium_init() < 0)
        return 1;
    bool there = lmb_gpu_open(0, &gpu, &err) == LMB_OK;
    if (!there)
        printf("%s: %s\n", getenv("LMB_CUDA_MODULE") ? "skipped" : "what needs the CUDA module is left out", err.msg);
    if (!there && getenv("LMB_CUDA_MODULE"))
        return 0;
    Suite *s = suite_create("federated/unmask_gpu");
    TCase *tc = tcase_create("federated/unmask_gpu");
    if (there) {
        tcase_add_test(tc, known_answers);
        tcase_add_test(tc, as_the_processor);
        tcase_add_test(tc, masks_of_simulated_clients);
    }
    tcase_add_test(tc, without_a_gpu_the_processor_does_it);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_ENV);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    lmb_gpu_close(gpu);
    return bad != 0;
}
