/* tests/distill/cortex_m/make_samples.c DIR - C exports of two networks, with images and the runtime's answers to them
 * as C arrays: what main.c compares on the device. */
#include "tests/core/edge/c_compile.h"
#include "tests/core/edge/network.h"
#include "tests/distill/c_models.h"

enum { IMAGES = 4 };

static void put_array(lmb_str *s, const char *type, const char *name, uint32_t n, const uint8_t *bytes, uint32_t count)
{
    lmb_str_addf(s, "static const %s %s[%u] = {", type, name, n);
    for (uint32_t i = 0; i < count; i++)
        lmb_str_addf(s, "%s%u,", i % 24 ? " " : "\n    ", bytes[i]);
    lmb_str_add(s, "\n};\n");
}

static void make(const char *dir, const char *name, const void *file, size_t n)
{
    char why[200] = "", sample[80];
    lmb_edge_model m;
    lmb_edge_tensor x, y;
    lmb_str s = LMB_STR_INIT;
    ck_assert_msg(lmb_edge_open(file, n, &m, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_int_eq(lmb_edge_use(&m, "scalar"), LMB_EDGE_OK);
    lmb_edge_tensor_at(&m, 0, &x);
    lmb_edge_tensor_at(&m, m.n_ops, &y);
    uint8_t *prepared = malloc(lmb_edge_prepare_bytes(&m)), *arena = malloc(lmb_edge_arena_bytes(&m));
    uint8_t *images = malloc((size_t)x.bytes * IMAGES), *answers = malloc((size_t)y.bytes * IMAGES);
    ck_assert(prepared && arena && images && answers);
    lmb_edge_prepare(&m, prepared);
    uint32_t noise = 99;
    for (uint32_t i = 0; i < IMAGES; i++) {
        for (uint32_t k = 0; k < x.bytes; k++) {
            noise = noise * 1664525u + 1013904223u;
            images[i * x.bytes + k] = (uint8_t)(noise >> 24);
        }
        ck_assert_int_eq(lmb_edge_run(&m, arena, images + i * x.bytes, answers + i * y.bytes), LMB_EDGE_OK);
    }
    lmb_str_addf(&s, "#include \"%s.h\"\n#define RUN %s_run\n#define SELFTEST %s_selftest\n", name, name, name);
    lmb_str_addf(&s, "#define IMAGES %d\n#define INPUT %u\n#define OUTPUT %u\n", IMAGES, x.bytes, y.count);
    put_array(&s, "uint8_t", "images", x.bytes * IMAGES, images, x.bytes * IMAGES);
    put_array(&s, "uint8_t", "answers", y.bytes * IMAGES, answers, y.bytes * IMAGES);
    snprintf(sample, sizeof sample, "%s_sample", name);
    c_write_model(&m, dir, name);
    c_write(dir, sample, "h", s.text, s.n);
    lmb_str_free(&s);
    free(prepared);
    free(arena);
    free(images);
    free(answers);
}

int main(int argc, char **argv)
{
    lmb_edge_buffer small = { NULL, 0, 0 };
    lmb_str file = LMB_STR_INIT;
    char why[200] = "";
    if (argc != 2 || small_network(&small, why, sizeof why) != LMB_EDGE_OK)
        return 1;
    make(argv[1], "small", small.data, small.size);
    c_model_build(&c_models[0], &file);
    make(argv[1], c_models[0].name, file.text, file.n);
    lmb_str_free(&file);
    free(small.data);
    return 0;
}
