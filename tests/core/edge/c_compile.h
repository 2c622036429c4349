/* tests/core/edge/c_compile.h - a C export, compiled as strictly as C99 can be and loaded into this process. */
#ifndef LMB_TESTS_CORE_EDGE_C_COMPILE_H
#define LMB_TESTS_CORE_EDGE_C_COMPILE_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/edge/c_source.h"
#include "tests/check_main.h"

#define C_COMPILE_FLAGS                                                                                                \
    "-std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror"

static inline int have_compiler(void) { return system("cc --version >/dev/null 2>&1") == 0; }

/* DIR/NAME.c, with its self test if it has one, as a shared object; dlclose it. */
static inline void *c_compile(const char *dir, const char *name, const char *flags)
{
    char command[2048], path[512], test[512];
    snprintf(test, sizeof test, "%s/%s_test.c", dir, name);
    snprintf(command, sizeof command, "cc %s %s -shared -fPIC -o %s/%s.so %s/%s.c %s", C_COMPILE_FLAGS, flags, dir,
             name, dir, name, lmb_file_exists(test) ? test : "");
    ck_assert_msg(system(command) == 0, "%s", command);
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    return library;
}

static inline void c_write(const char *dir, const char *name, const char *suffix, const void *text, size_t n)
{
    lmb_error err = LMB_ERROR_INIT;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s", dir, name, suffix);
    ck_ok(lmb_file_write(path, text, n, &err));
}

/* Source, header and self test of a model into DIR. */
static inline void c_write_model(const lmb_edge_model *m, const char *dir, const char *name)
{
    lmb_edge_buffer source = { NULL, 0, 0 }, header = { NULL, 0, 0 }, test = { NULL, 0, 0 };
    char why[200] = "", test_name[80];
    ck_assert_msg(lmb_edge_write_c(m, name, &source, &header, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_msg(lmb_edge_write_c_test(m, name, &test, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    snprintf(test_name, sizeof test_name, "%s_test", name);
    c_write(dir, name, "c", source.data, source.size);
    c_write(dir, name, "h", header.data, header.size);
    c_write(dir, test_name, "c", test.data, test.size);
    free(source.data);
    free(header.data);
    free(test.data);
}

typedef void (*c_run_f32)(const uint8_t *input, float *output);
typedef void (*c_run_u8)(const uint8_t *input, uint8_t *output);
typedef int (*c_selftest)(void);

static inline void *c_symbol(void *library, const char *name)
{
    void *at = dlsym(library, name);
    ck_assert_msg(at != NULL, "%s", dlerror());
    return at;
}

/* What NAME_selftest says. */
static inline int c_self_tested(void *library, const char *name)
{
    char symbol[80];
    c_selftest f;
    snprintf(symbol, sizeof symbol, "%s_selftest", name);
    void *at = c_symbol(library, symbol);
    memcpy(&f, &at, sizeof f);
    return f();
}

/* The export and the scalar kernels answer `n` noisy images the same, byte for byte. */
static inline void c_agrees(lmb_edge_model *m, const char *dir, const char *name, const char *flags, int n)
{
    char symbol[80];
    lmb_edge_tensor x, y;
    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    ck_assert_int_eq(lmb_edge_use(m, "scalar"), LMB_EDGE_OK);
    void *prepared = malloc(lmb_edge_prepare_bytes(m)), *arena = malloc(lmb_edge_arena_bytes(m));
    uint8_t *image = malloc(x.bytes), *want = malloc(y.bytes), *got = calloc(1, y.bytes + 1);
    ck_assert(prepared && arena && image && want && got);
    lmb_edge_prepare(m, prepared);
    c_write_model(m, dir, name);
    void *library = c_compile(dir, name, flags);
    snprintf(symbol, sizeof symbol, "%s_run", name);
    void *run = c_symbol(library, symbol);
    uint32_t noise = 12345;
    for (int i = 0; i < n; i++) {
        for (uint32_t k = 0; k < x.bytes; k++) {
            noise = noise * 1664525u + 1013904223u;
            image[k] = (uint8_t)(((noise >> 24) + (k + 7u * (uint32_t)i) % 256) / 2); /* noise over a slope */
        }
        ck_assert_int_eq(lmb_edge_run(m, arena, image, want), LMB_EDGE_OK);
        if (y.type == LMB_EDGE_F32) {
            c_run_f32 f;
            memcpy(&f, &run, sizeof f);
            f(image, (float *)(void *)got);
        } else {
            c_run_u8 f;
            memcpy(&f, &run, sizeof f);
            f(image, got);
        }
        ck_assert_msg(memcmp(want, got, y.bytes) == 0, "%s, image %d", name, i);
    }
    ck_assert_int_eq(got[y.bytes], 0);
    ck_assert_int_eq(c_self_tested(library, name), 0);
    dlclose(library);
    free(prepared);
    free(arena);
    free(image);
    free(want);
    free(got);
}

#endif
