/* tests/core/edge/test_lmb.c - the file: what is written is read back, and hostile bytes do no harm. */
#include "core/edge/lmb.h"

#include <string.h>

#include "core/base/random.h"
#include "core/edge/write.h"
#include "tests/check_main.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

static lmb_edge_buffer file;
static char why[200];

static void setup(void)
{
    file = (lmb_edge_buffer){ NULL, 0, 0 };
    why[0] = 0;
    ck_assert_msg(small_network(&file, why, sizeof why) == LMB_EDGE_OK, "%s", why);
}

static void teardown(void) { free(file.data); }

/* RFC 3720, appendix B.4. */
START_TEST(crc_known_answers)
{
    uint8_t b[32];
    memset(b, 0, sizeof b);
    ck_assert_uint_eq(lmbi_edge_crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, sizeof b);
    ck_assert_uint_eq(lmbi_edge_crc32c(0, b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        b[i] = (uint8_t)i;
    ck_assert_uint_eq(lmbi_edge_crc32c(lmbi_edge_crc32c(0, b, 9), b + 9, 23), 0x46dd794e);
}
END_TEST

START_TEST(what_was_written_is_read)
{
    lmb_edge_model m;
    lmb_edge_tensor t;
    lmb_edge_op op;
    size_t n;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_uint_eq(m.n_ops, 12);
    lmb_edge_tensor_at(&m, 0, &t);
    ck_assert_str_eq(t.name, "image");
    ck_assert(t.h == 6 && t.w == 5 && t.c == 3 && t.layout == LMB_EDGE_CHW && t.zero_point == 120);
    lmb_edge_tensor_at(&m, m.n_ops, &t);
    ck_assert_str_eq(t.name, "scores");
    ck_assert(t.type == LMB_EDGE_F32 && t.count == NETWORK_OUT && t.bytes == 4 * NETWORK_OUT);
    lmb_edge_op_at(&m, 1, &op);
    ck_assert_str_eq(lmb_edge_kind_name(op.kind), "conv");
    ck_assert(op.groups == 17 && op.n_weights == 17 * 9 && op.lo == 3 && op.hi == 250 && op.in[0] == 1);
    ck_assert_uint_eq(lmb_edge_op_macs(&m, 0), 6 * 5 * 17 * 27);
    ck_assert_mem_eq(lmb_edge_meta(&m, "labels", &n), "a,b,c,d,e,f,g", 13);
    ck_assert_uint_eq(n, 13);
    ck_assert_ptr_null(lmb_edge_meta(&m, "label", &n));
    ck_assert_ptr_null(lmb_edge_meta(&m, "labelsx", &n));
}
END_TEST

/* All kernel sets agree on the whole network, from an odd address, into an odd arena. */
START_TEST(kernel_sets_agree)
{
    uint8_t input[NETWORK_IN];
    float want[NETWORK_OUT] = { 0 }, got[NETWORK_OUT];
    const char *name;
    int usable;
    uint8_t *odd = malloc(file.size + 1);
    ck_assert_ptr_nonnull(odd);
    memcpy(odd + 1, file.data, file.size);
    lmb_rand r = lmb_rand_at(3, LMB_RAND_TEST, 0, (uint64_t)_i);
    for (int i = 0; i < NETWORK_IN; i++)
        input[i] = (uint8_t)lmb_rand_u32(&r, (uint32_t)i);
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        lmb_edge_model m;
        if (!usable)
            continue;
        ck_assert_int_eq(lmb_edge_open(odd + 1, file.size, &m, why, sizeof why), LMB_EDGE_OK);
        ck_assert_int_eq(lmb_edge_use(&m, name), LMB_EDGE_OK);
        ck_assert_str_eq(lmb_edge_kernels_of(&m), name);
        uint8_t *memory = malloc(lmb_edge_prepare_bytes(&m) + 1), *arena = malloc(lmb_edge_arena_bytes(&m) + 1);
        ck_assert(memory && arena);
        ck_assert_int_eq(lmb_edge_run(&m, arena + 1, input, got), LMB_EDGE_E_ARG); /* not prepared */
        lmb_edge_prepare(&m, memory + 1);
        ck_assert_int_eq(lmb_edge_run(&m, arena + 1, input, got), LMB_EDGE_OK);
        ck_assert_int_eq(lmb_edge_run(&m, arena + 1, input, got), LMB_EDGE_OK); /* nothing is left over */
        if (i == 0)
            memcpy(want, got, sizeof want);
        ck_assert_mem_eq(got, want, sizeof want);
        free(memory);
        free(arena);
    }
    lmb_edge_model m;
    ck_assert_int_eq(lmb_edge_open(odd + 1, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_use(&m, "no such"), LMB_EDGE_E_ARG);
    free(odd);
}
END_TEST

/* A run, op by op: each leaves what it leaves in a whole run, once or several times. */
START_TEST(single_ops)
{
    lmb_edge_model m;
    uint8_t input[NETWORK_IN];
    float whole[NETWORK_OUT], got[NETWORK_OUT];

    for (int i = 0; i < NETWORK_IN; i++)
        input[i] = (uint8_t)(i * 37);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    size_t bytes = lmb_edge_arena_bytes(&m);
    uint8_t *arena = calloc(1, bytes), *before = malloc(bytes);
    void *prepared = malloc(lmb_edge_prepare_bytes(&m));
    ck_assert_int_eq(lmb_edge_run_op(&m, arena, 0, 1), LMB_EDGE_E_ARG); /* not prepared */
    lmb_edge_prepare(&m, prepared);
    ck_assert_int_eq(lmb_edge_run(&m, arena, input, whole), LMB_EDGE_OK);
    memcpy(before, arena, bytes);
    ck_assert_int_eq(lmb_edge_run_op(&m, arena, m.n_ops - 1, 3), LMB_EDGE_OK); /* its inputs are still there */
    ck_assert_mem_eq(before, arena, bytes);
    ck_assert_int_eq(lmb_edge_run_op(&m, arena, m.n_ops, 1), LMB_EDGE_E_ARG);
    for (uint32_t i = 0; i < m.n_ops; i++)
        ck_assert_int_eq(lmb_edge_run_op(&m, arena, i, 2), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_run(&m, arena, input, got), LMB_EDGE_OK);
    ck_assert_mem_eq(whole, got, sizeof whole);
    free(arena);
    free(before);
    free(prepared);
}
END_TEST

START_TEST(signature_covers_all_before_it)
{
    size_t covered, bytes;
    const uint8_t *signature;
    ck_assert_int_eq(lmb_edge_signature(file.data, file.size, &covered, &signature, &bytes, why, sizeof why),
                     LMB_EDGE_OK);
    ck_assert_uint_eq(bytes, NETWORK_SIGNATURE);
    ck_assert_ptr_eq(signature, file.data + covered);
    ck_assert_uint_eq(covered + bytes, file.size);
    memset(file.data + covered, 0xa5, bytes); /* signing changes nothing that is checked */
    lmb_edge_model m;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_signature(file.data, 40, &covered, &signature, &bytes, NULL, 0), LMB_EDGE_E_FORMAT);
}
END_TEST

/* Stands for Ed25519: the sum of all bytes, and that it is looked at first. */
static int verify_sum(void *ctx, const uint8_t *message, size_t n, const uint8_t *signature, size_t signature_bytes)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + message[i];
    ++*(int *)ctx;
    return signature_bytes == 4 && lmbi_edge_u32(signature) == sum;
}

static void sign_sum(lmb_edge_buffer *b)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < b->size - 4; i++)
        sum = sum * 31 + b->data[i];
    put_u32(b->data + b->size - 4, sum);
}

START_TEST(trusted_files)
{
    lmb_edge_buffer b = { NULL, 0, 0 }, again = { NULL, 0, 0 };
    int asked = 0;
    const lmb_edge_trust any = { verify_sum, &asked, 0 }, seven = { verify_sum, &asked, 7 };
    const lmb_edge_trust eight = { verify_sum, &asked, 8 };
    lmb_edge_model m, plain;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &plain, why, sizeof why), LMB_EDGE_OK);
    ck_assert_uint_eq(plain.release, 0);
    ck_assert_int_eq(lmb_edge_write_release(file.data, file.size, 7, 4, &b, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &any, &m, why, sizeof why), LMB_EDGE_E_UNTRUSTED);
    sign_sum(&b);
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &any, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &seven, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(m.release == 7 && m.n_ops == plain.n_ops && m.meta_bytes == plain.meta_bytes);
    ck_assert_mem_eq(m.weights, plain.weights, plain.weights_bytes);
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &eight, &m, why, sizeof why), LMB_EDGE_E_OLD);
    ck_assert_str_eq(why, "release 7; 8 is the oldest allowed");
    /* content that lmb_edge_open would refuse is refused for its signature: nobody has looked at it */
    b.data[b.size / 2] ^= 1;
    asked = 0;
    ck_assert_int_eq(lmb_edge_open_trusted(b.data, b.size, &any, &m, why, sizeof why), LMB_EDGE_E_UNTRUSTED);
    ck_assert_int_eq(asked, 1);
    b.data[b.size / 2] ^= 1;
    /* a release of a release replaces both sections */
    ck_assert_int_eq(lmb_edge_write_release(b.data, b.size, 8, 0, &again, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open_trusted(again.data, again.size, &any, &m, why, sizeof why), LMB_EDGE_E_UNTRUSTED);
    ck_assert_str_eq(why, "the file is not signed");
    ck_assert_int_eq(lmb_edge_open(again.data, again.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_uint_eq(m.release, 8);
    ck_assert_int_eq(lmb_edge_write_release(again.data, again.size - 1, 9, 0, &b, why, sizeof why), LMB_EDGE_E_FORMAT);
    free(b.data);
    free(again.data);
}
END_TEST

/* Other lines of META, longer and shorter ones, change nothing else; what is no line is refused. */
START_TEST(lines_are_replaced)
{
    static const char long_lines[] = "producer=limbeck\nteacher=0123456789abcdef0123456789abcdef0123456789abcdef0123456789\n",
                      *const bad[] = { "no newline", "bell=\a\n" };
    lmb_edge_buffer b = { NULL, 0, 0 }, back = { NULL, 0, 0 };
    lmb_edge_model was, m;
    size_t n;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &was, why, sizeof why), LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_write_lines(file.data, file.size, long_lines, sizeof long_lines - 1, &b, why, sizeof why),
                     LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open(b.data, b.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert_mem_eq(lmb_edge_meta(&m, "teacher", &n), "0123456789abcdef", 16);
    ck_assert_ptr_null(lmb_edge_meta(&m, "labels", &n));
    ck_assert_mem_eq(m.ops, was.ops, (size_t)was.n_ops * LMBI_EDGE_OP);
    ck_assert_mem_eq(m.weights, was.weights, was.weights_bytes);
    ck_assert_int_eq(
        lmb_edge_write_lines(b.data, b.size, (const char *)was.meta, was.meta_bytes, &back, why, sizeof why),
        LMB_EDGE_OK);
    ck_assert_int_eq(lmb_edge_open(back.data, back.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(m.meta < m.tensors && m.meta_bytes == was.meta_bytes); /* in the place of the old ones */
    ck_assert_mem_eq(m.meta, was.meta, was.meta_bytes);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(lmb_edge_write_lines(file.data, file.size, bad[i], strlen(bad[i]), &back, why, sizeof why),
                         LMB_EDGE_E_FORMAT);
    free(b.data);
    free(back.data);
}
END_TEST

/* ---- hostile ---------------------------------------------------------------------------------------------- */

START_TEST(every_truncation_is_refused)
{
    for (size_t n = 0; n < file.size; n++) {
        uint8_t *copy = malloc(n ? n : 1); /* of that size, so that a sanitizer sees the end */
        lmb_edge_model m;
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, file.data, n);
        ck_assert_int_ne(lmb_edge_open(copy, n, &m, why, sizeof why), LMB_EDGE_OK);
        if (n >= LMBI_EDGE_HEADER) /* the same, by a file that claims to be that short */
            put_u32(copy + 16, (uint32_t)n);
        reseal(copy, n);
        try_file(copy, n);
        free(copy);
    }
}
END_TEST

/* One flipped bit anywhere but in the signature is noticed. */
START_TEST(every_flip_is_noticed)
{
    lmb_edge_model m;
    for (size_t i = 0; i < file.size - NETWORK_SIGNATURE; i++) {
        file.data[i] ^= (uint8_t)(1 << i % 8);
        ck_assert_msg(lmb_edge_open(file.data, file.size, &m, why, sizeof why) != LMB_EDGE_OK, "byte %zu", i);
        file.data[i] ^= (uint8_t)(1 << i % 8);
    }
}
END_TEST

/* With checksums made right again, damage reaches the deeper checks: refused or run, never worse. */
START_TEST(damage_with_good_checksums)
{
    enum { ROUNDS = 4000, INTERESTING = 6 };
    static const uint8_t interesting[INTERESTING] = { 0, 1, 0x7f, 0x80, 0xfe, 0xff };
    lmb_edge_model m;
    lmb_rand r = lmb_rand_at(11, LMB_RAND_TEST, 0, (uint64_t)_i);
    uint8_t *copy = malloc(file.size);
    uint32_t e = 0;
    int ran = 0;
    ck_assert_ptr_nonnull(copy);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    size_t tensors = (size_t)(m.tensors - file.data), ops = (size_t)(m.ops - file.data);
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(copy, file.data, file.size);
        for (uint32_t k = 1 + lmb_rand_below(&r, e++, 4); k; k--) {
            /* mostly in the records, where the structure is */
            uint32_t where = lmb_rand_below(&r, e++, 4);
            size_t at = where == 0   ? lmb_rand_below(&r, e++, (uint32_t)file.size)
                        : where == 1 ? tensors + lmb_rand_below(&r, e++, 13 * LMBI_EDGE_TENSOR)
                                     : ops + lmb_rand_below(&r, e++, 12 * LMBI_EDGE_OP);
            uint32_t v = lmb_rand_u32(&r, e++);
            copy[at] = v & 1 ? interesting[(v >> 1) % INTERESTING] : (uint8_t)(v >> 8);
        }
        reseal(copy, file.size);
        ran += try_file(copy, file.size);
    }
    ck_assert_int_gt(ran, 0); /* or the loop would test nothing but the first check */
    ck_assert_int_lt(ran, ROUNDS);
    free(copy);
}
END_TEST

/* One row per claim that must be refused: bytes of an op or tensor record, and the words of the sentence. */
typedef struct claim {
    int op, tensor; /* -1: not this one */
    int at, value;
    const char *sentence;
} claim;

static const claim claims[] = {
    { 0, -1, 0, 99, "op 0 has kind 99" },
    { 0, -1, 1, 2, "number of inputs" },
    { 0, -1, 2, 255, NULL }, /* lo = 255 = hi is allowed */
    { 1, -1, 2, 251, "number of inputs, clamp" },
    { 0, -1, 4, 1, "not written yet" },
    { 0, -1, 20, 0, "at least 1" },
    { 0, -1, 24, 0, "at least 1" },
    { 0, -1, 32, 3, "pad is as large" },
    { 0, -1, 32, 2, "output size does not follow" },
    { 0, -1, 40, 0, "groups must be at least 1" },
    { 0, -1, 40, 2, "groups must divide" },
    { 0, -1, 44, 1, "reserved" },
    { 0, -1, 50, 255, "do not lie in WTS" },
    { 0, -1, 58, 255, "do not lie in QNT" },
    { 2, -1, 59, 255, "three constants" },
    { 3, -1, 59, 255, "its constants do not lie in QNT" },
    { -1, 0, 0, 0, "empty or too large" },
    { -1, 0, 3, 255, "empty or too large" },
    { -1, 0, 12, 1, "input must be u8" },
    { -1, 2, 12, 1, "only dequantise writes f32" },
    { -1, 2, 12, 2, "type or layout" },
    { -1, 2, 13, 1, "only input and output" },
    { -1, 2, 19, 0xff, "scale" },
    { -1, 2, 23, 1, "does not lie in NAME" },
    { -1, 2, 28, 1, "out of range" },
    { -1, 5, 14, 1, "must have the height" },
};

START_TEST(false_claims_are_refused)
{
    const claim *c = &claims[_i];
    lmb_edge_model m;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    size_t at = c->op >= 0 ? (size_t)(m.ops - file.data) + (size_t)c->op * LMBI_EDGE_OP
                           : (size_t)(m.tensors - file.data) + (size_t)c->tensor * LMBI_EDGE_TENSOR;
    file.data[at + (size_t)c->at] = (uint8_t)c->value;
    reseal(file.data, file.size);
    lmb_edge_status s = lmb_edge_open(file.data, file.size, &m, why, sizeof why);
    ck_assert_int_eq(s, !c->sentence ? LMB_EDGE_OK : c->at == 0 && c->op == 0 ? LMB_EDGE_E_VERSION : LMB_EDGE_E_FORMAT);
    if (c->sentence)
        ck_assert_msg(strstr(why, c->sentence) != NULL, "%s", why);
}
END_TEST

/* The last `less` bytes of WTS are taken out; what follows moves up. */
static void cut_weights(lmb_edge_buffer *f, uint32_t less)
{
    uint32_t end = 0;
    for (uint32_t i = 0; i < lmbi_edge_u32(f->data + 24); i++) {
        uint8_t *entry = f->data + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        uint32_t offset = lmbi_edge_u32(entry + 8), bytes = lmbi_edge_u32(entry + 16);
        if (end)
            put_u32(entry + 8, offset - less);
        if (lmbi_edge_u32(entry) == LMBI_EDGE_TYPE('W', 'T', 'S', ' ')) {
            put_u32(entry + 16, bytes - less);
            end = offset + bytes;
        }
    }
    memmove(f->data + end - less, f->data + end, f->size - end);
    f->size -= less;
    put_u32(f->data + 16, (uint32_t)f->size);
    reseal(f->data, f->size);
}

/* A thousand ops over the same bytes would make opening a small file a day's work. */
START_TEST(weights_are_of_one_op)
{
    static int8_t weights[64 * 64];
    static float scales[64];
    const lmb_edge_quant q = { 0.5f, 0, 0, 255 };
    lmb_edge_buffer shared = { NULL, 0, 0 };
    lmb_edge_model m;
    for (int i = 0; i < 64; i++)
        scales[i] = 1;
    lmb_edge_writer *w = lmb_edge_writer_create();
    int x = lmb_edge_write_input(w, 1, 1, 64, LMB_EDGE_HWC, q, "x");
    for (int i = 0; i < 2; i++) {
        lmb_edge_gemm op = { x, q, 64, weights, scales, NULL, "y", 0 };
        x = lmb_edge_write_gemm(w, &op);
    }
    ck_assert_msg(lmb_edge_write_finish(w, 0, &shared, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    lmb_edge_writer_destroy(w);
    ck_assert_int_eq(lmb_edge_open(shared.data, shared.size, &m, why, sizeof why), LMB_EDGE_OK);
    put_u32(shared.data + (m.ops - shared.data) + LMBI_EDGE_OP + 48, 0); /* the second's begin where the first's do */
    cut_weights(&shared, sizeof weights);
    ck_assert_int_eq(lmb_edge_open(shared.data, shared.size, &m, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_str_eq(why, "op 1, y: its weights do not lie in WTS, each for one op");
    free(shared.data);
}
END_TEST

/* Names of the file end up in sentences, and those on terminals. */
START_TEST(sentences_steer_no_terminal)
{
    lmb_edge_model m;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    uint8_t *name = memmem(file.data, file.size, "first", 5), *op = file.data + (m.ops - file.data);
    ck_assert_ptr_nonnull(name);
    memcpy(name, "\xc2\x9b\x80zt", 5);
    op[40] = 2;
    reseal(file.data, file.size);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_str_eq(why, "op 0, ???zt: groups must divide input and output channels");
}
END_TEST

/* A pool has no weights, and may take a day all the same. */
START_TEST(work_is_of_all_ops)
{
    const lmb_edge_quant q = { 0.5f, 0, 0, 255 };
    const uint16_t kernel[2] = { 60, 50 }, one[2] = { 1, 1 }, none[4] = { 0 };
    lmb_edge_buffer pool = { NULL, 0, 0 };
    lmb_edge_model m;
    lmb_edge_writer *w = lmb_edge_writer_create();
    int x = lmb_edge_write_input(w, 100, 80, 3, LMB_EDGE_HWC, q, "x");
    lmb_edge_write_max_pool(w, x, kernel, one, one, none, 0, 255, "y");
    ck_assert_msg(lmb_edge_write_finish(w, 0, &pool, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    lmb_edge_writer_destroy(w);
    ck_assert_int_eq(lmb_edge_open(pool.data, pool.size, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(lmb_edge_macs(&m) == 0);
    ck_assert(lmb_edge_work(&m) == 100 * 80 * 3 + 41 * 31 * 3 * (1 + 60 * 50));
    free(pool.data);
}
END_TEST

START_TEST(bad_memory_plan_is_refused)
{
    lmb_edge_model m;
    lmb_edge_tensor t;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    lmb_edge_tensor_at(&m, 1, &t); /* read by `deep` and `sum`: `deep` may not lie over it */
    uint8_t *record = file.data + (m.tensors - file.data) + 2 * LMBI_EDGE_TENSOR;
    put_u32(record + 24, (uint32_t)t.place + 64);
    reseal(file.data, file.size);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_str_eq(why, "memory plan: op 1, deep, writes over first, which is still needed");
}
END_TEST

START_TEST(other_versions_are_refused)
{
    lmb_edge_model m;
    file.data[10] = 9; /* a higher minor is fine */
    reseal(file.data, file.size);
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_OK);
    file.data[8] = 2;
    ck_assert_int_eq(lmb_edge_open(file.data, file.size, &m, why, sizeof why), LMB_EDGE_E_VERSION);
    ck_assert_str_eq(why, "format 2.9: this reader knows 1.x; use a newer Limbeck");
}
END_TEST

/* ---- writer ----------------------------------------------------------------------------------------------- */

START_TEST(first_error_sticks)
{
    const lmb_edge_quant q = { 1.0f, 0, 0, 255 }, bad = { 0.0f, 0, 0, 255 };
    lmb_edge_buffer out = { NULL, 0, 0 };
    lmb_edge_writer *w = lmb_edge_writer_create();
    int x = lmb_edge_write_input(w, 4, 4, 2, LMB_EDGE_HWC, q, "x");
    ck_assert_int_eq(lmb_edge_write_global_average(w, x, bad, "mean"), -1);
    ck_assert_int_eq(lmb_edge_write_add(w, x, x, q, "sum"), -1);
    ck_assert_int_eq(lmb_edge_write_finish(w, 0, &out, why, sizeof why), LMB_EDGE_E_ARG);
    ck_assert_str_eq(why, "mean: scale 0 must be positive and zero point 0 in 0..255");
    ck_assert_uint_eq(out.size, 0);
    lmb_edge_writer_destroy(w);
}
END_TEST

/* The writer opens its own result: what only the reader knows is reported too. 70,000 x 255 x 128 > 2^31. */
START_TEST(overflow_is_refused_when_written)
{
    enum { N = 70000 };
    const lmb_edge_quant q = { 1.0f, 0, 0, 255 };
    const float scale = 1.0f;
    lmb_edge_buffer out = { NULL, 0, 0 };
    lmb_edge_writer *w = lmb_edge_writer_create();
    int8_t *weights = malloc(N);
    ck_assert_ptr_nonnull(weights);
    memset(weights, -128, N);
    lmb_edge_gemm op = { lmb_edge_write_input(w, 1, 1, N, LMB_EDGE_HWC, q, "x"), q, 1, weights, &scale, NULL, "y", 0 };
    lmb_edge_write_gemm(w, &op);
    ck_assert_int_eq(lmb_edge_write_finish(w, 0, &out, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_str_eq(why, "op 0, y: its sums can overflow 32 bits");
    lmb_edge_writer_destroy(w);
    free(weights);
    free(out.data);
}
END_TEST

#define N_CLAIMS (int)(sizeof claims / sizeof claims[0])
LMB_TEST_MAIN("core/edge/lmb", tcase_add_checked_fixture(tc_, setup, teardown); add(crc_known_answers);
              add(what_was_written_is_read); add_loop(kernel_sets_agree, 20); add(single_ops);
              add(signature_covers_all_before_it); add(trusted_files); add(lines_are_replaced); add(every_truncation_is_refused);
              add(every_flip_is_noticed); add_loop(damage_with_good_checksums, 4);
              add_loop(false_claims_are_refused, N_CLAIMS); add(weights_are_of_one_op); add(sentences_steer_no_terminal); add(work_is_of_all_ops); add(bad_memory_plan_is_refused);
              add(other_versions_are_refused); add(first_error_sticks); add(overflow_is_refused_when_written);)
