/* Mirrors distill/quantize/laid_file.c: names of kernel sets, and what is said of a file whose laid-out weights are not
 * its own. */
#include "distill/quantize/laid_file.h"

#include <string.h>

#include "tests/check_main.h"
#include "tests/core/edge/hostile.h"
#include "tests/core/edge/network.h"

static lmb_str file = LMB_STR_INIT;
static lmb_error err = LMB_ERROR_INIT;
static char why[200];

static void setup(void)
{
    lmb_edge_buffer b = { NULL, 0, 0 };
    err = (lmb_error)LMB_ERROR_INIT; /* the first error stays, also from test to test where they share a process */
    ck_assert_int_eq(small_network(&b, why, sizeof why), LMB_EDGE_OK);
    lmb_str_clear(&file);
    lmb_str_add_n(&file, (const char *)b.data, b.size);
    free(b.data);
}

static void teardown(void) { lmb_str_free(&file); }

START_TEST(its_own_weights)
{
    lmb_laid_facts f;
    int usable;
    ck_ok(lmb_laid_look(file.text, file.n, &f, &err));
    ck_assert(!f.sets[0] && !f.false_sets[0] && !f.prepared);
    ck_ok(lmb_laid_make(&file, "neon,avx512vnni,avx2,avxvnni,neondot", &err));
    ck_ok(lmb_laid_look(file.text, file.n, &f, &err));
    ck_assert_ptr_eq(strstr(f.sets, "neon (4864 bytes), avx512vnni (5760 bytes), avx2 ("), f.sets);
    ck_assert_str_eq(f.false_sets, "");
    ck_assert(strcmp(lmb_edge_kernels(0, &usable), "scalar") == 0 || f.prepared > 0);
    ck_ok(lmb_laid_make(&file, "", &err));
    ck_ok(lmb_laid_look(file.text, file.n, &f, &err));
    ck_assert_str_eq(f.sets, "");
}
END_TEST

/* One number is another, all checksums are right: a device would take it, and whoever inspects is told. */
START_TEST(weights_of_others)
{
    lmb_laid_facts f;
    ck_ok(lmb_laid_make(&file, "avx2,neon", &err));
    file.text[file.n - 1] ^= 1; /* the last of neon, in the plain file's last section */
    reseal((uint8_t *)file.text, file.n);
    ck_ok(lmb_laid_look(file.text, file.n, &f, &err));
    ck_assert_str_eq(f.false_sets, "neon");
    ck_assert_int_eq(lmb_laid_true(file.text, file.n, "m.lmb", &err), LMB_E_FORMAT); /* nobody vouches for that */
    ck_assert_ptr_nonnull(strstr(err.msg, "m.lmb: what is laid out for neon are not the weights"));
    ck_ok(lmb_laid_make(&file, "avx2,neon", &err));
    ck_ok(lmb_laid_true(file.text, file.n, "m.lmb", &err));
}
END_TEST

/* Of another length than its ops ask for: it is false, and nothing is laid out to find that out. */
START_TEST(of_another_length)
{
    lmb_laid_facts f;
    lmb_edge_model m;
    ck_ok(lmb_laid_make(&file, "neon", &err));
    ck_assert_int_eq(lmb_edge_open(file.text, file.n, &m, why, sizeof why), LMB_EDGE_OK);
    ck_assert(lmb_edge_laid_bytes(&m, "neon") == 4864 && lmb_edge_laid_bytes(&m, "mmx") == 0);
    put_u32((uint8_t *)file.text + 16, (uint32_t)(file.n - 64)); /* the last section loses its last line */
    uint8_t *entry = (uint8_t *)file.text + LMBI_EDGE_HEADER +
                     (size_t)(lmbi_edge_u32((uint8_t *)file.text + 24) - 1) * LMBI_EDGE_SECTION;
    put_u32(entry + 16, 4864 - 64);
    file.n -= 64;
    reseal((uint8_t *)file.text, file.n);
    ck_ok(lmb_laid_look(file.text, file.n, &f, &err));
    ck_assert_str_eq(f.false_sets, "neon");
}
END_TEST

/* The section that a device like this one would use says where numbers lie, and they do not. */
START_TEST(not_as_it_must_be)
{
    lmb_laid_facts f;
    int usable;
    lmb_edge_model m;
    size_t bytes;
    const char *mine = NULL;
    for (int i = 0; !mine && lmb_edge_kernels(i, &usable); i++)
        mine = usable ? lmb_edge_kernels(i, &usable) : NULL;
    if (strcmp(mine, "scalar") == 0)
        return;
    ck_ok(lmb_laid_make(&file, mine, &err));
    ck_assert_int_eq(lmb_edge_open(file.text, file.n, &m, why, sizeof why), LMB_EDGE_OK);
    char *name = file.text + (lmb_edge_laid(&m, 0, &bytes) - file.text);
    name[LMBI_EDGE_LAID_HEAD - 8] ^= 4;
    reseal((uint8_t *)file.text, file.n);
    ck_assert_int_eq(lmb_laid_look(file.text, file.n, &f, &err), LMB_E_FORMAT);
    ck_assert_msg(strstr(err.msg, "op 0 has its own at byte") != NULL, "%s", err.msg);
}
END_TEST

START_TEST(names_that_are_none)
{
    static const struct {
        const char *names, *sentence;
    } bad[] = {
        { "mmx", "'mmx'" },
        { "neon,,avx2", "''" },
        { "neon,neon", "named twice" },
        { "scalar", "'scalar'" },
        { "neon,neondot,avx2,avxvnni,avx512vnni,neon", "some of" },
        { "a-name-that-is-too-long", "some of" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t n = file.n;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_laid_make(&file, bad[i].names, &err), LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, bad[i].sentence) != NULL, "%s", err.msg);
        ck_assert_uint_eq(file.n, n);
    }
}
END_TEST

LMB_TEST_MAIN("distill/laid_file", tcase_add_checked_fixture(tc_, setup, teardown); add(its_own_weights);
              add(weights_of_others); add(of_another_length); add(not_as_it_must_be); add(names_that_are_none);)
