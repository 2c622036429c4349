/* tests/core/edge/hostile.h - what tests and fuzzing do with a damaged .lmb file: make its checksums right again, so
 * that the damage reaches the checks behind them, and try to run it. */
#ifndef LMB_TESTS_CORE_EDGE_HOSTILE_H
#define LMB_TESTS_CORE_EDGE_HOSTILE_H

#include <stdlib.h>

#include "core/edge/internal.h"
#include "core/edge/laid.h"

static inline void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static inline void reseal(uint8_t *file, size_t n)
{
    if (n < LMBI_EDGE_HEADER)
        return;
    uint32_t sections = lmbi_edge_u32(file + 24);
    if (sections > (n - LMBI_EDGE_HEADER) / LMBI_EDGE_SECTION)
        return;
    for (uint32_t i = 0; i < sections; i++) {
        uint8_t *entry = file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        uint64_t offset = lmbi_edge_u64(entry + 8), bytes = lmbi_edge_u64(entry + 16);
        if (lmbi_edge_u32(entry) != LMBI_EDGE_TYPE('S', 'I', 'G', 'N') && offset <= n && bytes <= n - offset)
            put_u32(entry + 4, lmbi_edge_crc32c(0, file + offset, (size_t)bytes));
    }
    put_u32(file + 12, 0);
    put_u32(file + 12, lmbi_edge_crc32c(0, file, LMBI_EDGE_HEADER + (size_t)sections * LMBI_EDGE_SECTION));
}

/* Run an open model in blocks of exactly the size asked for, unless it asks for more than a test wants to give. */
static inline int try_model(lmb_edge_model *m)
{
    size_t prepared = lmb_edge_prepare_bytes(m), arena = lmb_edge_arena_bytes(m);
    int ran = 0;
    lmb_edge_tensor x, y;
    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    if (prepared > 1 << 22 || arena > 1 << 22)
        return 0;
    uint8_t *memory = (uint8_t *)malloc(prepared), *room = (uint8_t *)calloc(arena, 1);
    uint8_t *in = (uint8_t *)calloc(x.bytes, 1), *out = (uint8_t *)malloc(y.bytes);
    if (memory && room && in && out) {
        lmb_edge_prepare(m, memory);
        ran = lmb_edge_run(m, room, in, out) == LMB_EDGE_OK;
    }
    free(memory);
    free(room);
    free(in);
    free(out);
    return ran;
}

/* With the weights that the file has laid out, where a block of exactly its size is aligned as a mapped one. */
static inline int try_laid(const uint8_t *file, size_t n, const char *kernels)
{
    lmb_edge_model m;
    void *mapped = NULL;
    int ran = 0;
    if (posix_memalign(&mapped, 64, n) != 0)
        return 0;
    memcpy(mapped, file, n);
    if (lmb_edge_open(mapped, n, &m, NULL, 0) == LMB_EDGE_OK && lmb_edge_use(&m, kernels) == LMB_EDGE_OK &&
        lmb_edge_use_laid(&m, NULL, 0) == LMB_EDGE_OK) {
        ran = try_model(&m);
        if (lmb_edge_within(&m, lmb_edge_arena_bytes(&m) / 2) == LMB_EDGE_OK)
            try_model(&m);
    }
    free(mapped);
    return ran;
}

/* What a hostile file may do: be refused, or be opened and run, with every kernel set. Returns 1 if it ran. */
static inline int try_file(const uint8_t *file, size_t n)
{
    lmb_edge_model m;
    char why[200];
    int usable, ran = 0;
    size_t bytes;
    const char *name;
    if (lmb_edge_open(file, n, &m, why, sizeof why) != LMB_EDGE_OK || lmb_edge_work(&m) > 1 << 20)
        return 0;
    for (int i = 0; (name = lmb_edge_kernels(i, &usable)); i++) {
        if (!usable || lmb_edge_use(&m, name) != LMB_EDGE_OK)
            continue;
        ran |= try_model(&m);
        if (lmb_edge_laid(&m, 0, &bytes))
            try_laid(file, n, name);
    }
    return ran;
}

#endif
