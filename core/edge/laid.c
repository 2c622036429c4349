/* core/edge/laid.c - see laid.h: which section is for these kernels, and whether it is as long as they read. A file of
 * its own, so that a program which does not ask has none of it. */
#include "core/edge/laid.h"

#include "core/edge/internal.h"

enum { SET_NAME = 16 };

typedef struct laid_section {
    const uint8_t *at; /* NULL: no section of this kind */
    size_t bytes;
} laid_section;

/* Section i of a file that has been opened, if it is PCK and has a head of this version. */
static laid_section laid_at(const lmb_edge_model *m, uint32_t i)
{
    const uint8_t *entry = m->file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
    laid_section s = { m->file + lmbi_edge_u64(entry + 8), (size_t)lmbi_edge_u64(entry + 16) };
    int found = (lmbi_edge_u32(entry) & 0xffffff) == LMBI_EDGE_LAID_TYPE && s.bytes >= LMBI_EDGE_LAID_HEAD &&
                lmbi_edge_u32(s.at) == LMB_EDGE_LAID_VERSION;
    int end = 0;
    for (int k = 0; found && k < SET_NAME; k++) { /* printable, and zeros behind it */
        uint8_t c = s.at[8 + k];
        end |= !c;
        found = end ? !c : c > 0x20 && c < 0x7f;
    }
    if (!found || !end)
        s.at = NULL;
    return s;
}

const char *lmb_edge_laid(const lmb_edge_model *m, int i, size_t *bytes)
{
    uint32_t sections = lmbi_edge_u32(m->file + 24);
    for (uint32_t k = 0; k < sections; k++) {
        laid_section s = laid_at(m, k);
        if (s.at && i-- == 0) {
            *bytes = s.bytes;
            return (const char *)s.at + 8;
        }
    }
    return NULL;
}

/* Bytes of the numbers of a step: what its packed memory has beside the head, and biases and multipliers where run()
 * reads them. */
static uint64_t numbers_bytes(lmbi_edge_step *s)
{
    if (!s->kernel->packed_bytes)
        return 0;
    s->laid = NULL;
    uint64_t all = s->kernel->packed_bytes(s);
    s->laid = (const uint8_t *)s; /* any that is not NULL */
    uint64_t numbers = all - s->kernel->packed_bytes(s);
    return numbers + (s->kernel->reads_bias ? 2 * lmbi_edge_round_up((uint64_t)s->y.c * 4) : 0);
}

/* All lies where the ops say. The list, which preparing reads, is equal to what is computed here. */
static lmb_edge_status check(const lmb_edge_model *m, const laid_section *in, const lmbi_edge_why *why)
{
    lmb_edge_model all = *m;
    all.scratch_max = UINT64_MAX; /* numbers are for the first kernel that takes an op */
    all.laid = NULL;
    uint64_t end = LMBI_EDGE_LAID_HEAD + 4 * (uint64_t)m->n_ops;
    if (lmbi_edge_u32(in->at + 4) != m->n_ops || in->bytes < end)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT,
                              "weights laid out for '%s': %lu ops in %llu bytes; there are %lu ops", m->kernels->name,
                              (unsigned long)lmbi_edge_u32(in->at + 4), (unsigned long long)in->bytes,
                              (unsigned long)m->n_ops);
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmbi_edge_step s;
        uint64_t at = (uint64_t)lmbi_edge_u32(in->at + LMBI_EDGE_LAID_HEAD + 4 * (size_t)i) * LMBI_EDGE_ALIGN;
        if (!at)
            continue;
        lmbi_edge_decode(&all, i, &s);
        uint64_t bytes = numbers_bytes(&s);
        end = lmbi_edge_round_up(end);
        if (!bytes || at != end)
            return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT,
                                  "weights laid out for '%s': op %lu has its own at byte %llu, and must have %s",
                                  m->kernels->name, (unsigned long)i, (unsigned long long)at,
                                  bytes ? "them behind those before" : "none");
        end += bytes;
    }
    if (lmbi_edge_round_up(end) != in->bytes)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "weights laid out for '%s': %llu bytes, and the ops need %llu",
                              m->kernels->name, (unsigned long long)in->bytes,
                              (unsigned long long)lmbi_edge_round_up(end));
    return LMB_EDGE_OK;
}

lmb_edge_status lmb_edge_use_laid(lmb_edge_model *m, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    uint32_t sections = lmbi_edge_u32(m->file + 24);
    for (uint32_t i = 0; i < sections; i++) {
        laid_section s = laid_at(m, i);
        if (!s.at || strcmp((const char *)s.at + 8, m->kernels->name) != 0)
            continue;
        lmb_edge_status bad = check(m, &s, &why);
        if (bad != LMB_EDGE_OK)
            return bad;
        if ((uintptr_t)s.at % LMBI_EDGE_ALIGN)
            return lmbi_edge_fail(&why, LMB_EDGE_E_ARG,
                                  "the file lies %d bytes past a multiple of 64: map it, or align its memory to 64",
                                  (int)((uintptr_t)s.at % LMBI_EDGE_ALIGN));
        m->laid = s.at;
        m->steps = NULL; /* they were packed in memory */
        return LMB_EDGE_OK;
    }
    return lmbi_edge_fail(&why, LMB_EDGE_E_ARG, "the file has no weights laid out for '%s' in version %d",
                          m->kernels->name, LMB_EDGE_LAID_VERSION);
}
