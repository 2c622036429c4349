/* tests/fuzz/edge_file.h - treat bytes as a `.lmb` file: open it and, if it is accepted and small enough, run it with
 * every set of kernels. Shared by the libFuzzer target and the deterministic test of hostile files. */
#ifndef LMB_TESTS_FUZZ_EDGE_FILE_H
#define LMB_TESTS_FUZZ_EDGE_FILE_H

#include "core/edge/format.h"
#include "core/edge/kernels.h"
#include "tests/core/edge/nets.h"

/* Make the checksums right, as an attacker would: what lies behind them must hold as well. */
static inline void edge_fix_checksums(unsigned char *file, size_t bytes)
{
    lmbi_edge_header h;
    if (bytes < sizeof h)
        return;
    memcpy(&h, file, sizeof h);
    for (uint32_t i = 0; i < h.sections && i < LMBI_EDGE_MAX_SECTIONS; i++) {
        lmbi_edge_section s;
        unsigned char *at = file + sizeof h + i * sizeof s;
        if (sizeof h + (i + 1) * sizeof s > bytes)
            return;
        memcpy(&s, at, sizeof s);
        if (s.offset <= bytes && s.length <= bytes - s.offset)
            s.crc = lmbi_edge_crc32c(file + s.offset, (size_t)s.length);
        memcpy(at, &s, sizeof s);
    }
    h.crc = 0;
    memcpy(file, &h, sizeof h);
    if (h.header_bytes <= bytes)
        h.crc = lmbi_edge_crc32c(file, h.header_bytes);
    memcpy(file, &h, sizeof h);
}

/* Elementary operations of one run, to leave out files that are valid and endless. */
static inline double edge_work(const lmb_edge_model *m)
{
    double sum = 0;
    for (uint32_t i = 0; i < m->n_ops; i++) {
        double out = (double)lmb_edge_tensor_bytes(&m->tensors[i + 1]);
        double in = (double)lmb_edge_tensor_bytes(&m->tensors[m->ops[i].input[0]]);
        sum += in + out * (1 + m->ops[i].kernel_h * m->ops[i].kernel_w) + (double)lmb_edge_op_macs(m, i);
    }
    return sum;
}

/* 0 refused, with a sentence; 1 accepted; 2 accepted and run. */
static inline int edge_try(const unsigned char *file, size_t bytes, char *why, size_t why_cap)
{
    lmb_edge_model m;
    int result = 1;
    if (lmb_edge_open(file, bytes, &m, why, why_cap) != LMB_EDGE_OK)
        return 0;
    for (int i = 0; lmb_edge_kernels_at(i); i++) {
        if (lmb_edge_use(&m, lmb_edge_kernels_at(i)) != LMB_EDGE_OK)
            return 1;
        const size_t prepare = lmb_edge_prepare_bytes(&m), arena_bytes = lmb_edge_arena_bytes(&m);
        const size_t in = lmb_edge_tensor_bytes(&m.tensors[0]), out = lmb_edge_tensor_bytes(&m.tensors[m.output]);
        if (edge_work(&m) > 3e6 || prepare > 1 << 24 || arena_bytes > 1 << 24)
            return 1;
        void *prepared = malloc(prepare + 1), *arena = malloc(arena_bytes + 1);
        uint8_t *input = (uint8_t *)calloc(1, in), *output = (uint8_t *)malloc(out);
        if (lmb_edge_prepare(&m, prepared, prepare) == LMB_EDGE_OK &&
            lmb_edge_run(&m, arena, input, output) == LMB_EDGE_OK)
            result = 2;
        free(prepared);
        free(arena);
        free(input);
        free(output);
    }
    return result;
}

#endif
