/* launch/inspect_lmb.c - into a .lmb: operators, tensors with their scales, memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/release.h"
#include "core/base/file.h"
#include "core/base/text.h"
#include "core/edge/lmb.h"
#include "distill/quantize/laid_file.h"
#include "distill/quantize/packed_file.h"
#include "launch/inspect.h"

enum { MOST = 1 << 28, LINE = 400 };

static bool is_lmb(const char *path, const unsigned char *head, size_t n)
{
    (void)path;
    return n >= 4 && head[0] == 0x89 && memcmp(head + 1, "LMB", 3) == 0;
}

/* Text of the file, for a terminal. */
static const char *shown(const char *text, size_t n, char to[LINE])
{
    snprintf(to, LINE, "%.*s", (int)(n < LINE ? n : LINE), text);
    lmb_text_clean(to);
    return to;
}

static void print_tensor(const lmb_edge_tensor *t)
{
    char q[64] = "f32";
    if (t->type == LMB_EDGE_U8)
        snprintf(q, sizeof q, "u8, scale %.6g, zero point %d", (double)t->scale, t->zero_point);
    printf("%4u x %u x %-5u %-40s", t->c, t->h, t->w, q);
}

/* Of the weights: how many are zero, and whether at most two of every four inputs of an output count. */
static void print_zeros(const lmb_edge_model *m, const lmb_edge_op *op)
{
    lmb_edge_tensor x;
    uint32_t zeros = 0, over = 0;

    lmb_edge_tensor_at(m, op->in[0], &x);
    uint32_t row = op->kind == LMB_EDGE_CONV ? x.c / op->groups : x.c;
    for (uint32_t k = 0; k < op->n_weights; k++)
        zeros += lmb_edge_weight_at(op, k) == 0;
    for (uint32_t r = 0; r + row <= op->n_weights; r += row)
        for (uint32_t k = 0; k + 4 <= row; k += 4) {
            int used = 0;
            for (uint32_t i = 0; i < 4; i++)
                used += lmb_edge_weight_at(op, r + k + i) != 0;
            over += used > 2;
        }
    printf("%7.2f %% zero%s", 100.0 * zeros / op->n_weights, row >= 4 && !over ? ", 2:4" : "");
}

/* What is laid out for kernel sets, compared with the weights by laying them out once more, which clients can not. */
static lmb_status print_laid(const lmb_edge_model *m, const void *file, size_t n, lmb_error *err)
{
#ifndef LMB_CLIENT_ONLY
    lmb_laid_facts laid;

    LMB_TRY(lmb_laid_look(file, n, &laid, err));
    if (laid.sets[0])
        printf("weights laid out for %s\n", laid.sets);
    if (laid.prepared)
        printf("a device that maps the file and uses them: %zu bytes in place of %zu with kernels '%s'\n",
               laid.prepared, lmb_edge_prepare_bytes(m), lmb_edge_kernels_of(m));
    if (laid.false_sets[0])
        printf("NOT the weights of this file, or not known here: those for %s\n", laid.false_sets);
#else
    (void)m, (void)file, (void)n, (void)err;
#endif
    return LMB_OK;
}

static void print_model(const lmb_edge_model *m, size_t bytes)
{
    lmb_edge_tensor t;
    lmb_edge_op op;
    char name[LINE];

    lmb_edge_tensor_at(m, 0, &t);
    printf("  %-4s %-15s %-24s ", "", "input", shown(t.name, LINE, name));
    print_tensor(&t);
    printf("\n");
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_edge_op_at(m, i, &op);
        lmb_edge_tensor_at(m, i + 1, &t);
        printf("  %-4u %-15s %-24.24s ", i, lmb_edge_kind_name(op.kind), shown(t.name, LINE, name));
        print_tensor(&t);
        if (op.n_weights) {
            printf("%9u weights", op.n_weights);
            if (op.bits < 8)
                printf(" of %u bits", op.bits);
            print_zeros(m, &op);
        }
        if (lmb_edge_op_macs(m, i))
            printf("%12llu MACs", (unsigned long long)lmb_edge_op_macs(m, i));
        printf("\n");
    }
    printf("%llu parameters, %llu MACs; %zu bytes, %zu of weights, %zu of constants\n",
           (unsigned long long)lmb_edge_parameters(m), (unsigned long long)lmb_edge_macs(m), bytes, m->weights_bytes,
           m->constants_bytes);
    printf("%zu bytes of working memory and %zu of repacked weights with kernels '%s'\n", lmb_edge_arena_bytes(m),
           lmb_edge_prepare_bytes(m), lmb_edge_kernels_of(m));
}

/* Whose signature it is, not whether it holds: that needs a key from elsewhere. */
static void print_release(const lmb_edge_model *m, const void *file, size_t n)
{
    size_t covered, bytes;
    const uint8_t *signature;
    char key[LMB_PUBLIC_TEXT], why[8];

    if (m->release)
        printf("release %llu\n", (unsigned long long)m->release);
    if (lmb_edge_signature(file, n, &covered, &signature, &bytes, why, sizeof why) != LMB_EDGE_OK || !signature)
        return;
    if (bytes != LMB_RELEASE_SIGNATURE) {
        printf("%zu bytes of an unknown signature\n", bytes);
        return;
    }
    lmb_public_format(signature, key);
    printf("says it is signed by %s; `limbeck sign FILE --check KEY` verifies\n", key);
}

/* Anybody may have written it: behind a margin, so that it is not taken for what this program says. */
static void print_facts(const lmb_edge_model *m)
{
    const char *at = (const char *)m->meta, *end = at + m->meta_bytes, *stop;
    char line[LINE];

    if (at < end)
        printf("the file says of itself:\n");
    for (; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at)); /* opening has seen that the last one is there */
        printf("    %s\n", shown(at, (size_t)(stop - at), line));
    }
}

static lmb_status print(const char *path, const lmb_args *a, lmb_error *err)
{
    lmb_edge_model m;
    char why[200] = "";
    void *file, *plain = NULL;
    size_t n, bytes;

    (void)a;
    LMB_TRY(lmb_file_read(path, MOST, &file, &n, err));
    bytes = n;
    lmb_status st = lmb_packed_open(file, n, &plain, &bytes, err);
    if (st == LMB_OK && lmb_edge_open(plain ? plain : file, bytes, &m, why, sizeof why) != LMB_EDGE_OK)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s", why);
    if (st == LMB_OK) {
        printf("%s: a .lmb model of %u operators\n", path, m.n_ops);
        if (plain)
            printf("packed: %zu bytes, %zu when unpacked\n", n, bytes);
        print_model(&m, n);
        st = print_laid(&m, plain ? plain : file, bytes, err);
        print_facts(&m);
        if (m.monitor_bytes)
            printf("a reference for `limbeck monitor`, %zu bytes\n", m.monitor_bytes);
        print_release(&m, file, n);
    }
    if (st != LMB_OK)
        lmb_error_context(err, "%s", path);
    free(plain);
    free(file);
    return st;
}

const lmb_inspector lmbi_inspect_lmb = { "lmb", is_lmb, print };
