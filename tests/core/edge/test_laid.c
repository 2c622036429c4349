/* Mirrors core/edge/laid.c and write_laid.c: a file with weights laid out gives the same answers from less memory, one
 * for other kernels opens as ever, and hostile sections do no harm. (Every shape: test_ops.c, test_products.c.) */
#include "core/edge/laid.h"

#include <string.h>

#include "core/base/random.h"
#include "tests/check_main.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

enum { ALL = LMB_EDGE_LAID_SETS };

static char why[200];
static lmb_edge_buffer plain;

static void ck_edge(lmb_edge_status s) { ck_assert_msg(s == LMB_EDGE_OK, "%d: %s", (int)s, why); }

static void setup(void)
{
    plain = (lmb_edge_buffer){ NULL, 0, 0 };
    ck_edge(small_network(&plain, why, sizeof why));
}

static void teardown(void) { free(plain.data); }

static lmb_edge_buffer laid_for(const lmb_edge_buffer *file, const char *const *sets, int n)
{
    lmb_edge_buffer out = { NULL, 0, 0 };
    ck_edge(lmb_edge_write_laid(file->data, file->size, sets, n, &out, why, sizeof why));
    return out;
}

static lmb_edge_buffer laid_for_all(const lmb_edge_buffer *file)
{
    const char *sets[ALL];
    for (int i = 0; i < ALL; i++)
        sets[i] = lmb_edge_layouts(i);
    ck_assert_ptr_null(lmb_edge_layouts(ALL));
    return laid_for(file, sets, ALL);
}

/* A block of exactly its size, aligned as a mapped file. */
static uint8_t *mapped(const lmb_edge_buffer *b)
{
    void *p = NULL;
    ck_assert_int_eq(posix_memalign(&p, 64, b->size), 0);
    memcpy(p, b->data, b->size);
    return p;
}

static void run(lmb_edge_model *m, uint64_t seed, float scores[NETWORK_OUT])
{
    uint8_t input[NETWORK_IN];
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, seed);
    for (int i = 0; i < NETWORK_IN; i++)
        input[i] = (uint8_t)lmb_rand_u32(&r, (uint32_t)i);
    void *memory = malloc(lmb_edge_prepare_bytes(m)), *arena = calloc(lmb_edge_arena_bytes(m), 1);
    lmb_edge_prepare(m, memory);
    ck_edge(lmb_edge_run(m, arena, input, scores));
    free(memory);
    free(arena);
}

/* The section of a file that is for `set`; NULL: none. */
static uint8_t *section_for(uint8_t *file, const char *set, size_t *bytes)
{
    lmb_edge_model m;
    const char *name;
    ck_edge(lmb_edge_open(file, (size_t)lmbi_edge_u64(file + 16), &m, why, sizeof why));
    for (int i = 0; (name = lmb_edge_laid(&m, i, bytes)); i++)
        if (strcmp(name, set) == 0)
            return file + ((const uint8_t *)name - 8 - file);
    return NULL;
}

/* The fastest set of this machine; NULL: it has the scalar one alone. */
static const char *fastest(void)
{
    int usable;
    for (int i = 0; lmb_edge_kernels(i, &usable); i++)
        if (usable)
            return strcmp(lmb_edge_kernels(i, &usable), "scalar") != 0 ? lmb_edge_kernels(i, &usable) : NULL;
    return NULL;
}

/* ---- answers and memory ----------------------------------------------------------------------------------- */

START_TEST(same_answers_from_less_memory)
{
    int bits = 2 + _i, usable;
    const char *name;
    lmb_edge_buffer file = { NULL, 0, 0 };
    ck_edge(small_network_of(bits, 1, &file, why, sizeof why));
    lmb_edge_buffer laid = laid_for_all(&file);
    uint8_t *at = mapped(&laid);
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        lmb_edge_model with, without;
        float want[NETWORK_OUT], got[NETWORK_OUT];
        if (!usable)
            continue;
        ck_edge(lmb_edge_open(at, laid.size, &with, why, sizeof why));
        ck_edge(lmb_edge_use(&with, name));
        without = with;
        if (strcmp(name, "scalar") == 0) { /* reads WTS as it is */
            ck_assert_int_eq(lmb_edge_use_laid(&with, why, sizeof why), LMB_EDGE_E_ARG);
            ck_assert_str_eq(why, "the file has no weights laid out for 'scalar' in version 1");
        } else {
            ck_edge(lmb_edge_use_laid(&with, why, sizeof why));
            /* steps, heads, and what is small: no weight is left */
            ck_assert_uint_lt(lmb_edge_prepare_bytes(&with) + without.weights_bytes, lmb_edge_prepare_bytes(&without));
            ck_assert_uint_eq(lmb_edge_arena_bytes(&with), lmb_edge_arena_bytes(&without));
        }
        run(&without, (uint64_t)_i, want);
        run(&with, (uint64_t)_i, got);
        ck_assert_mem_eq(got, want, sizeof want);

        size_t least = 64, most = lmb_edge_arena_bytes(&with); /* some ops, then all but add fall back */
        for (; least < most && lmb_edge_within(&with, least) != LMB_EDGE_OK; least += 64)
            ;
        for (size_t bytes = least; bytes <= most; bytes += 64) {
            ck_edge(lmb_edge_within(&with, bytes));
            run(&with, (uint64_t)_i, got);
            ck_assert_mem_eq(got, want, sizeof want);
        }
        ck_edge(lmb_edge_use(&with, name)); /* and back to repacking */
        ck_assert_ptr_null(with.laid);
        run(&with, (uint64_t)_i, got);
        ck_assert_mem_eq(got, want, sizeof want);
    }
    free(at);
    free(laid.data);
    free(file.data);
}
END_TEST

/* Written on any machine; on one that has other kernels, and by readers that do not know of it, as if it was absent. */
START_TEST(other_kernels_repack)
{
    const char *mine = fastest(), *sets[ALL];
    int n = 0;
    lmb_edge_model m;
    float want[NETWORK_OUT], got[NETWORK_OUT];
    for (int i = 0; i < ALL; i++)
        if (!mine || strcmp(lmb_edge_layouts(i), mine) != 0)
            sets[n++] = lmb_edge_layouts(i);
    lmb_edge_buffer laid = laid_for(&plain, sets, n);
    uint8_t *at = mapped(&laid);
    ck_edge(lmb_edge_open(plain.data, plain.size, &m, why, sizeof why));
    run(&m, 1, want);
    ck_edge(lmb_edge_open(at, laid.size, &m, why, sizeof why));
    size_t before = lmb_edge_prepare_bytes(&m), bytes;
    ck_assert_int_eq(lmb_edge_use_laid(&m, why, sizeof why), LMB_EDGE_E_ARG);
    ck_assert_uint_eq(lmb_edge_prepare_bytes(&m), before);
    run(&m, 1, got);
    ck_assert_mem_eq(got, want, sizeof want);
    for (int i = 0; i < n; i++)
        ck_assert_str_eq(lmb_edge_laid(&m, i, &bytes), sets[i]);
    ck_assert_ptr_null(lmb_edge_laid(&m, n, &bytes));
    free(at);
    free(laid.data);
}
END_TEST

/* A file that was read to where malloc would have it. */
START_TEST(elsewhere_it_repacks)
{
    const char *mine = fastest();
    lmb_edge_model m;
    if (!mine)
        return;
    lmb_edge_buffer laid = laid_for(&plain, &mine, 1);
    uint8_t *at = malloc(laid.size + 128), *odd = at + 64 - (uintptr_t)at % 64 + 16;
    memcpy(odd, laid.data, laid.size);
    ck_edge(lmb_edge_open(odd, laid.size, &m, why, sizeof why));
    ck_assert_int_eq(lmb_edge_use_laid(&m, why, sizeof why), LMB_EDGE_E_ARG);
    ck_assert_str_eq(why, "the file lies 16 bytes past a multiple of 64: map it, or align its memory to 64");
    ck_assert(try_file(odd, laid.size));
    free(at);
    free(laid.data);
}
END_TEST

/* What is not in the list is repacked, beside ops that are used where they lie. */
START_TEST(an_op_may_be_left_out)
{
    const char *mine = fastest();
    const size_t last = LMBI_EDGE_LAID_HEAD + 4 * 10; /* of the list: the last gemm */
    lmb_edge_model m;
    float want[NETWORK_OUT], got[NETWORK_OUT];
    size_t bytes;
    if (!mine)
        return;
    lmb_edge_buffer laid = laid_for(&plain, &mine, 1);
    uint8_t *s = section_for(laid.data, mine, &bytes);
    size_t begin = (size_t)(s - laid.data), shorter = (size_t)lmbi_edge_u32(s + last) * 64;
    uint8_t *entry = laid.data + LMBI_EDGE_HEADER + (lmbi_edge_u32(laid.data + 24) - 1) * LMBI_EDGE_SECTION;
    put_u32(s + last, 0);
    put_u32(entry + 16, (uint32_t)shorter);
    laid.size = begin + shorter;
    put_u32(laid.data + 16, (uint32_t)laid.size);
    reseal(laid.data, laid.size);
    uint8_t *at = mapped(&laid);
    ck_edge(lmb_edge_open(at, laid.size, &m, why, sizeof why));
    size_t before = lmb_edge_prepare_bytes(&m);
    run(&m, 2, want);
    ck_edge(lmb_edge_use_laid(&m, why, sizeof why));
    ck_assert_uint_lt(lmb_edge_prepare_bytes(&m), before);
    run(&m, 2, got);
    ck_assert_mem_eq(got, want, sizeof want);
    free(at);
    free(laid.data);
}
END_TEST

/* ---- writing ---------------------------------------------------------------------------------------------- */

/* The layouts, pinned: files are out there. Whoever changes one on purpose raises LMB_EDGE_LAID_VERSION, and this. */
START_TEST(layouts_are_those_of_the_version)
{
    static const struct {
        const char *set;
        uint32_t crc;
    } pinned[ALL] = { { "avx512vnni", 0x3d31ee8b },
                      { "avxvnni", 0x41c5f397 },
                      { "avx2", 0x1e66b5b2 },
                      { "neondot", 0x32cefe6a },
                      { "neon", 0xcc43217c } };
    lmb_edge_buffer laid = laid_for_all(&plain);
    uint32_t crc[ALL];
    ck_assert_int_eq(LMB_EDGE_LAID_VERSION, 1);
    for (int i = 0; i < ALL; i++) {
        size_t bytes = 0;
        const uint8_t *s = section_for(laid.data, pinned[i].set, &bytes);
        crc[i] = lmbi_edge_crc32c(0, s, bytes);
    }
    free(laid.data);
    for (int i = 0; i < ALL; i++)
        ck_assert_msg(crc[i] == pinned[i].crc, "%s: 0x%08x", pinned[i].set, crc[i]);
}
END_TEST

/* Again for others, and without any: all else stays, but a signature, which would no longer hold. */
START_TEST(written_again)
{
    static const char *const two[] = { "neon", "avx2" }, *const same[] = { "neon", "neon" }, *const none[] = { "mmx" };
    lmb_edge_buffer all = laid_for_all(&plain), fewer = laid_for(&all, two, 2), back = laid_for(&fewer, NULL, 0);
    lmb_edge_buffer b = { NULL, 0, 0 }, unsigned_file = { NULL, 0, 0 };
    lmb_edge_model m;
    size_t bytes, covered;
    const uint8_t *signature;
    ck_edge(lmb_edge_open(fewer.data, fewer.size, &m, why, sizeof why));
    ck_assert_str_eq(lmb_edge_laid(&m, 0, &bytes), "neon");
    ck_assert_str_eq(lmb_edge_laid(&m, 1, &bytes), "avx2");
    ck_assert_ptr_null(lmb_edge_laid(&m, 2, &bytes));
    ck_edge(lmb_edge_open(plain.data, plain.size, &m, why, sizeof why));
    ck_edge(lmb_edge_write_lines(plain.data, plain.size, (const char *)m.meta, m.meta_bytes, &unsigned_file, why,
                                 sizeof why));
    ck_assert_uint_eq(back.size, unsigned_file.size);
    ck_assert_mem_eq(back.data, unsigned_file.data, back.size);
    /* a release keeps what is laid out, and its signature covers it */
    ck_edge(lmb_edge_write_release(fewer.data, fewer.size, 3, 64, &b, why, sizeof why));
    ck_edge(lmb_edge_signature(b.data, b.size, &covered, &signature, &bytes, why, sizeof why));
    const uint8_t *s = section_for(b.data, "avx2", &bytes);
    ck_assert(s && s + bytes <= b.data + covered);
    ck_edge(lmb_edge_write_laid(b.data, b.size, two, 1, &back, why, sizeof why)); /* behind what the buffer has */
    ck_edge(lmb_edge_open(back.data + unsigned_file.size, back.size - unsigned_file.size, &m, why, sizeof why));
    ck_assert_uint_eq(m.release, 3);
    size_t was = back.size;
    ck_assert_int_eq(lmb_edge_write_laid(plain.data, plain.size, same, 2, &back, why, sizeof why), LMB_EDGE_E_ARG);
    ck_assert_str_eq(why, "weights are laid out once: 'neon' is named twice");
    ck_assert_int_eq(lmb_edge_write_laid(plain.data, plain.size, none, 1, &back, why, sizeof why), LMB_EDGE_E_ARG);
    ck_assert_ptr_nonnull(strstr(why, "can not be laid out for 'mmx'"));
    ck_assert_int_eq(lmb_edge_write_laid(plain.data, plain.size - 1, two, 2, &back, why, sizeof why),
                     LMB_EDGE_E_FORMAT);
    ck_assert_uint_eq(back.size, was);
    free(unsigned_file.data);
    free(b.data);
    free(back.data);
    free(fewer.data);
    free(all.data);
}
END_TEST

/* ---- hostile ---------------------------------------------------------------------------------------------- */

typedef struct lie {
    int at;
    uint32_t value; /* of 32 bits there */
    lmb_edge_status status;
    const char *sentence;
} lie;

enum { LIST = LMBI_EDGE_LAID_HEAD };
static const lie lies[] = {
    { 0, 2, LMB_EDGE_E_ARG, "the file has no weights laid out for" }, /* another version */
    { 8, 0x78787878, LMB_EDGE_E_ARG, "the file has no weights laid out for" },
    { 8, 0, LMB_EDGE_E_ARG, "the file has no weights laid out for" },
    { 20, 0x41414141, LMB_EDGE_E_ARG, "the file has no weights laid out for" },
    { 4, 11, LMB_EDGE_E_FORMAT, "11 ops in" },
    { 4, 0xffffffff, LMB_EDGE_E_FORMAT, "4294967295 ops in" },
    { LIST, 1, LMB_EDGE_E_FORMAT, "op 0 has its own at byte 64, and must have them behind" },
    { LIST, 0xffffffff, LMB_EDGE_E_FORMAT, "op 0 has its own at byte 274877906880, and must have them behind" },
    { LIST + 4, 2, LMB_EDGE_E_FORMAT, "op 1 has its own at byte 128, and must have them behind" },
    { LIST + 4 * 2, 2, LMB_EDGE_E_FORMAT, "op 2 has its own at byte 128, and must have none" }, /* add */
    { LIST + 4 * 6, 2, LMB_EDGE_E_FORMAT, "op 6 has its own at byte 128, and must have none" }, /* groups */
    { LIST + 4 * 10, 0, LMB_EDGE_E_FORMAT, "bytes, and the ops need" },                         /* the last gemm */
};

START_TEST(lies_are_refused)
{
    const lie *l = &lies[_i];
    const char *mine = fastest();
    lmb_edge_model m, was;
    size_t bytes;
    if (!mine)
        return;
    lmb_edge_buffer laid = laid_for(&plain, &mine, 1);
    uint8_t *at = mapped(&laid), *s = section_for(at, mine, &bytes);
    put_u32(s + l->at, l->value);
    reseal(at, laid.size);
    ck_edge(lmb_edge_open(at, laid.size, &m, why, sizeof why)); /* the model is as good as ever */
    was = m;
    ck_assert_int_eq(lmb_edge_use_laid(&m, why, sizeof why), l->status);
    ck_assert_msg(strstr(why, l->sentence) != NULL, "%s", why);
    ck_assert_mem_eq(&m, &was, sizeof m);
    ck_assert(try_file(at, laid.size));
    free(at);
    free(laid.data);
}
END_TEST

/* The section cut to every length, in a file that is otherwise sound, as its last. */
START_TEST(every_other_length_is_refused)
{
    const char *mine = fastest();
    size_t bytes, lengths = 0;
    if (!mine)
        return;
    lmb_edge_buffer laid = laid_for(&plain, &mine, 1);
    uint8_t *at = mapped(&laid), *s = section_for(at, mine, &bytes);
    size_t begin = (size_t)(s - at);
    uint32_t last = lmbi_edge_u32(at + 24) - 1;
    uint8_t *entry = at + LMBI_EDGE_HEADER + last * LMBI_EDGE_SECTION;
    ck_assert_uint_eq(begin + bytes, laid.size);
    for (size_t cut = 0; cut < bytes; cut += cut < 128 ? 1 : 61, lengths++) {
        lmb_edge_model m;
        void *exact = NULL;
        ck_assert_int_eq(posix_memalign(&exact, 64, begin + cut), 0);
        put_u32(entry + 16, (uint32_t)cut);
        put_u32(at + 16, (uint32_t)(begin + cut));
        memcpy(exact, at, begin + cut);
        reseal(exact, begin + cut);
        ck_edge(lmb_edge_open(exact, begin + cut, &m, why, sizeof why));
        ck_assert_int_ne(lmb_edge_use_laid(&m, why, sizeof why), LMB_EDGE_OK);
        ck_assert_ptr_null(m.laid);
        free(exact);
    }
    /* and longer */
    uint8_t *more = calloc(1, begin + bytes + 64);
    lmb_edge_model m;
    memcpy(more, laid.data, laid.size);
    put_u32(more + 16, (uint32_t)(laid.size + 64));
    put_u32(more + (entry - at) + 16, (uint32_t)(bytes + 64));
    reseal(more, laid.size + 64);
    ck_edge(lmb_edge_open(more, laid.size + 64, &m, why, sizeof why));
    ck_assert_int_eq(lmb_edge_use_laid(&m, why, sizeof why), LMB_EDGE_E_FORMAT);
    ck_assert_uint_gt(lengths, 200);
    free(more);
    free(at);
    free(laid.data);
}
END_TEST

/* Any numbers do no worse than other answers: not finite, as large as can be, noise. */
START_TEST(any_numbers_run)
{
    enum { ROUNDS = 40 };
    static const uint32_t words[] = {
        0x7fc00000, 0x7f800000, 0xff800000, 0x7fffffff, 0x80000000, 0xffffffff, 0x7f7fffff
    };
    lmb_edge_buffer laid = laid_for_all(&plain);
    lmb_edge_model m;
    const char *name;
    size_t bytes;
    uint32_t e = 0;
    lmb_rand r = lmb_rand_at(12, LMB_RAND_TEST, 0, (uint64_t)_i);
    ck_edge(lmb_edge_open(laid.data, laid.size, &m, why, sizeof why));
    for (int round = 0; round < ROUNDS; round++) {
        int usable, ran = 0;
        for (int i = 0; (name = lmb_edge_laid(&m, i, &bytes)); i++) {
            uint8_t *s = laid.data + ((const uint8_t *)name - 8 - laid.data);
            for (size_t at = 128; at + 4 <= bytes; at += 4) {
                uint32_t v = lmb_rand_u32(&r, e++);
                put_u32(s + at, round % 4 == 0 ? words[round / 4 % 7] : v % 4 ? v : words[v / 4 % 7]);
            }
        }
        reseal(laid.data, laid.size);
        for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++)
            ran += usable && try_laid(laid.data, laid.size, name);
        ck_assert(ran > 0 || !fastest()); /* they are taken */
    }
    free(laid.data);
}
END_TEST

/* Damage with good checksums, in the section's head, list and numbers, and in the records that they hang on. */
START_TEST(damage_with_good_checksums)
{
    enum { ROUNDS = 600 };
    lmb_edge_buffer laid = laid_for_all(&plain);
    uint8_t *copy = malloc(laid.size);
    lmb_edge_model m;
    uint32_t e = 0;
    int ran = 0, usable, taken = 0;
    size_t bytes;
    const char *name;
    lmb_rand r = lmb_rand_at(13, LMB_RAND_TEST, 0, (uint64_t)_i);
    ck_edge(lmb_edge_open(laid.data, laid.size, &m, why, sizeof why));
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(copy, laid.data, laid.size);
        for (uint32_t k = 1 + lmb_rand_below(&r, e++, 3); k; k--) {
            uint32_t where = lmb_rand_below(&r, e++, 4), set = lmb_rand_below(&r, e++, ALL);
            name = lmb_edge_laid(&m, (int)set, &bytes);
            size_t section = (size_t)((const uint8_t *)name - 8 - laid.data);
            size_t at = where == 0   ? section + lmb_rand_below(&r, e++, LIST + 12 * 4)
                        : where == 1 ? section + lmb_rand_below(&r, e++, (uint32_t)bytes)
                        : where == 2 ? (size_t)(m.tensors - laid.data) + lmb_rand_below(&r, e++, 13 * LMBI_EDGE_TENSOR)
                                     : (size_t)(m.ops - laid.data) + lmb_rand_below(&r, e++, 12 * LMBI_EDGE_OP);
            copy[at] = (uint8_t)lmb_rand_u32(&r, e++);
        }
        reseal(copy, laid.size);
        ran += try_file(copy, laid.size);
        for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++)
            taken += usable && try_laid(copy, laid.size, name);
    }
    ck_assert_int_gt(ran, 0);
    ck_assert_int_lt(ran, ROUNDS);
    ck_assert(taken > 0 || !fastest());
    free(copy);
    free(laid.data);
}
END_TEST

LMB_TEST_MAIN("core/edge/laid", tcase_add_checked_fixture(tc_, setup, teardown);
              add_loop(same_answers_from_less_memory, 7); add(other_kernels_repack); add(elsewhere_it_repacks); add(an_op_may_be_left_out);
              add(layouts_are_those_of_the_version); add(written_again);
              add_loop(lies_are_refused, (int)(sizeof lies / sizeof lies[0])); add(every_other_length_is_refused);
              add_loop(any_numbers_run, 2); add_loop(damage_with_good_checksums, 2);)
