/* core/edge/write_release.c - a finished file with another release, and room for a signature. */
#include <stdio.h>

#include "core/edge/write_internal.h"

static const uint32_t release_type = LMBI_EDGE_TYPE('R', 'E', 'L', ' ');
static const uint32_t signature_type = LMBI_EDGE_TYPE('S', 'I', 'G', 'N');

/* The sections of a checked file but those two; returns how many. */
static int keep(const uint8_t *file, lmbi_write_section out[LMBI_EDGE_MAX_SECTIONS])
{
    int n = 0;
    for (uint32_t i = 0; i < lmbi_edge_u32(file + 24); i++) {
        const uint8_t *entry = file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        uint32_t type = lmbi_edge_u32(entry);
        if (type == release_type || type == signature_type)
            continue;
        out[n].type = type;
        out[n].data = file + lmbi_edge_u64(entry + 8);
        out[n++].bytes = (size_t)lmbi_edge_u64(entry + 16);
    }
    return n;
}

lmb_edge_status lmb_edge_write_release(const void *file, size_t n, uint64_t release, size_t signature_bytes,
                                       lmb_edge_buffer *out, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    lmbi_write_section all[LMBI_EDGE_MAX_SECTIONS + 2];
    uint8_t number[8];
    lmb_edge_model m;
    lmb_edge_status s = lmb_edge_open(file, n, &m, why_text, why_cap);
    if (s != LMB_EDGE_OK)
        return s;
    lmb_edge_writer *w = lmb_edge_writer_create();
    if (!w)
        return lmbi_edge_fail(&why, LMB_EDGE_E_NOMEM, "out of memory for another copy of the file");
    int kept = keep((const uint8_t *)file, all);
    lmbi_write_u64(number, release);
    all[kept] = (lmbi_write_section){ release_type, number, sizeof number };
    all[kept + 1] = (lmbi_write_section){ signature_type, NULL, signature_bytes };
    if (lmbi_write_assemble(w, all, kept + 2, out) != 0)
        lmbi_edge_fail(&why, w->status, "%s", w->why);
    s = w->status;
    lmb_edge_writer_destroy(w);
    return s;
}
