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

static void skip_without_compiler(void)
{
    if (!have_compiler()) {
        printf("skipped: no cc on this machine\n");
        exit(0);
    }
}

LMB_TEST_MAIN("distill/c_export", skip_without_compiler(); add_loop(zoo, C_MODELS);)
