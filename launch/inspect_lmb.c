/* launch/inspect_lmb.c - into a .lmb: operators, tensors with their scales, memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/edge/lmb.h"
#include "launch/inspect.h"

enum { MOST = 1 << 28 };

static bool is_lmb(const char *path, const unsigned char *head, size_t n)
{
    (void)path;
    return n >= 4 && head[0] == 0x89 && memcmp(head + 1, "LMB", 3) == 0;
}

static void print_tensor(const lmb_edge_tensor *t)
{
    char q[64] = "f32";
    if (t->type == LMB_EDGE_U8)
        snprintf(q, sizeof q, "u8, scale %.6g, zero point %d", (double)t->scale, t->zero_point);
    printf("%4u x %u x %-5u %-40s", t->c, t->h, t->w, q);
}

static void print_model(const lmb_edge_model *m, size_t bytes)
{
    lmb_edge_tensor t;
    lmb_edge_op op;

    lmb_edge_tensor_at(m, 0, &t);
    printf("  %-4s %-15s %-24s ", "", "input", t.name);
    print_tensor(&t);
    printf("\n");
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_edge_op_at(m, i, &op);
        lmb_edge_tensor_at(m, i + 1, &t);
        printf("  %-4u %-15s %-24.24s ", i, lmb_edge_kind_name(op.kind), t.name);
        print_tensor(&t);
        if (op.n_weights)
            printf("%9u weights", op.n_weights);
        if (op.bits && op.bits < 8)
            printf(" of %u bits", op.bits);
        if (lmb_edge_op_macs(m, i))
            printf("%12llu MACs", (unsigned long long)lmb_edge_op_macs(m, i));
        printf("\n");
    }
    printf("%llu parameters, %llu MACs; %zu bytes, %zu of weights, %zu of constants\n", (unsigned long long)lmb_edge_parameters(m),
           (unsigned long long)lmb_edge_macs(m), bytes, m->weights_bytes, m->constants_bytes);
    printf("%zu bytes of working memory and %zu of repacked weights with kernels '%s'\n", lmb_edge_arena_bytes(m), lmb_edge_prepare_bytes(m),
           lmb_edge_kernels_of(m));
    if (m->meta_bytes)
        printf("%.*s\n", (int)m->meta_bytes, (const char *)m->meta);
}

static lmb_status print(const char *path, const lmb_args *a, lmb_error *err)
{
    lmb_edge_model m;
    char why[200] = "";
    void *file;
    size_t n;

    (void)a;
    LMB_TRY(lmb_file_read(path, MOST, &file, &n, err));
    lmb_status st = lmb_edge_open(file, n, &m, why, sizeof why) == LMB_EDGE_OK ? LMB_OK : LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
    if (st == LMB_OK) {
        printf("%s: a .lmb model of %u operators\n", path, m.n_ops);
        print_model(&m, n);
    }
    free(file);
    return st;
}

const lmb_inspector lmbi_inspect_lmb = { "lmb", is_lmb, print };
