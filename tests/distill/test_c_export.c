/* tests/distill/test_c_export.c - the networks of the zoo as C source answer like the runtime. */
#include <string.h>

#include "tests/core/edge/c_compile.h"
#include "tests/distill/c_models.h"
#include "tests/temp_dir.h"

START_TEST(zoo)
{
    lmb_str file = LMB_STR_INIT;
    char dir[256], why[200] = "";
    lmb_edge_model m;
    temp_make(dir, sizeof dir);
    c_model_build(&c_models[_i], &file);
    ck_assert_msg(lmb_edge_open(file.text, file.n, &m, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    c_agrees(&m, dir, c_models[_i].name, "-O2", 20);
    lmb_str_free(&file);
    temp_remove(dir);
}
END_TEST

/* ResNet-8 in 50 kB, as its C source has it, whatever this processor's kernels would want; the same bytes. */
START_TEST(resnet8_in_little_memory)
{
    lmb_str file = LMB_STR_INIT;
    uint8_t image[3 * 32 * 32];
    float want[10], got[10];
    const char *name;
    int usable;

    c_model_build(&c_models[0], &file);
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (uint8_t)(i * 37 + i / 96);
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        lmb_edge_model m;
        if (!usable)
            continue;
        for (int little = 0; little < 2; little++) {
            ck_assert_int_eq(lmb_edge_open(file.text, file.n, &m, NULL, 0), LMB_EDGE_OK);
            ck_assert_int_eq(lmb_edge_use(&m, name), LMB_EDGE_OK);
            ck_assert_int_eq(lmb_edge_within(&m, 49000), LMB_EDGE_E_ARG); /* three tensors of 16 kB are alive at once */
            if (little)
                ck_assert_int_eq(lmb_edge_within(&m, 50000), LMB_EDGE_OK);
            size_t bytes = lmb_edge_arena_bytes(&m);
            ck_assert_msg(bytes <= 50000 || (!little && strcmp(name, "scalar") != 0), "%s: %zu", name, bytes);
            void *memory = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(bytes); /* exactly: ASan looks */
            ck_assert(memory && arena);
            lmb_edge_prepare(&m, memory);
            ck_assert_int_eq(lmb_edge_run(&m, arena, image, got), LMB_EDGE_OK);
            if (i == 0 && !little)
                memcpy(want, got, sizeof want);
            ck_assert_mem_eq(got, want, sizeof want);
            free(memory);
            free(arena);
        }
    }
    lmb_str_free(&file);
}
END_TEST

LMB_TEST_MAIN(
    "distill/c_export", add(resnet8_in_little_memory); if (have_compiler()) add_loop(zoo, C_MODELS);
    else printf("zoo is left out: no cc on this machine\n");)
