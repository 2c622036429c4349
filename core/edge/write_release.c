/* core/edge/write_release.c - a finished file once more, with other sections of its own: facts, release, reference,
 * signature. */
#include <stdio.h>

#include "core/edge/write_internal.h"

static const uint32_t release_type = LMBI_EDGE_TYPE('R', 'E', 'L', ' ');
static const uint32_t meta_type = LMBI_EDGE_TYPE('M', 'E', 'T', 'A');
static const uint32_t monitor_type = LMBI_EDGE_TYPE('M', 'O', 'N', ' ');
static const uint32_t signature_type = LMBI_EDGE_TYPE('S', 'I', 'G', 'N');

/* All sections of a checked file but the signature, with own[0] in the place of the one of its type, or behind them,
 * and own[1] last. */
static lmb_edge_status rewrite(const uint8_t *file, size_t n, const lmbi_write_section own[2], lmb_edge_buffer *out,
                               char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    lmbi_write_section all[LMBI_EDGE_MAX_SECTIONS + 2];
    int kept = 0, replaced = 0;
    lmb_edge_model m;
    lmb_edge_status s = lmb_edge_open(file, n, &m, why_text, why_cap);
    if (s != LMB_EDGE_OK)
        return s;
    lmb_edge_writer *w = lmb_edge_writer_create();
    if (!w)
        return lmbi_edge_fail(&why, LMB_EDGE_E_NOMEM, "out of memory for another copy of the file");
    for (uint32_t i = 0; i < lmbi_edge_u32(file + 24); i++) {
        const uint8_t *entry = file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        uint32_t type = lmbi_edge_u32(entry);
        replaced |= type == own[0].type;
        if (type != signature_type)
            all[kept++] =
                type == own[0].type
                    ? own[0]
                    : (lmbi_write_section){ type, file + lmbi_edge_u64(entry + 8), (size_t)lmbi_edge_u64(entry + 16) };
    }
    if (!replaced)
        all[kept++] = own[0];
    all[kept++] = own[1];
    if (lmbi_write_assemble(w, all, kept, out) != 0)
        lmbi_edge_fail(&why, w->status, "%s", w->why);
    s = w->status;
    lmb_edge_writer_destroy(w);
    return s;
}

lmb_edge_status lmb_edge_write_release(const void *file, size_t n, uint64_t release, size_t signature_bytes,
                                       lmb_edge_buffer *out, char *why, size_t why_cap)
{
    uint8_t number[8];
    const lmbi_write_section own[2] = { { release_type, number, sizeof number },
                                        { signature_type, NULL, signature_bytes } };
    lmbi_write_u64(number, release);
    return rewrite((const uint8_t *)file, n, own, out, why, why_cap);
}

lmb_edge_status lmb_edge_write_reference(const void *file, size_t n, const void *reference, size_t reference_bytes,
                                         lmb_edge_buffer *out, char *why, size_t why_cap)
{
    const lmbi_write_section own[2] = { { monitor_type, reference, reference_bytes }, { 0, NULL, 0 } };
    return rewrite((const uint8_t *)file, n, own, out, why, why_cap);
}

lmb_edge_status lmb_edge_write_lines(const void *file, size_t n, const char *lines, size_t bytes, lmb_edge_buffer *out,
                                     char *why, size_t why_cap)
{
    const lmbi_write_section own[2] = { { meta_type, lines, bytes }, { 0, NULL, 0 } };
    return rewrite((const uint8_t *)file, n, own, out, why, why_cap);
}
