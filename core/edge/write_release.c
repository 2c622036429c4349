/* core/edge/write_release.c - a finished file once more, with other sections of its own: facts, release, reference,
 * signature. */
#include <stdio.h>

#include "core/edge/write_internal.h"

static const uint32_t release_type = LMBI_EDGE_TYPE('R', 'E', 'L', ' ');
static const uint32_t meta_type = LMBI_EDGE_TYPE('M', 'E', 'T', 'A');
static const uint32_t monitor_type = LMBI_EDGE_TYPE('M', 'O', 'N', ' ');
static const uint32_t signature_type = LMBI_EDGE_TYPE('S', 'I', 'G', 'N');

lmb_edge_status lmbi_write_again(const void *from, size_t n, const lmbi_write_section *own, int n_own,
                                 int (*drop)(uint32_t type), lmb_edge_buffer *out, char *why_text, size_t why_cap)
{
    const uint8_t *file = (const uint8_t *)from;
    lmbi_edge_why why = { why_text, why_cap };
    lmbi_write_section all[LMBI_EDGE_MAX_SECTIONS + LMBI_WRITE_OWN];
    int kept = 0, placed[LMBI_WRITE_OWN] = { 0 };
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
        if (type == signature_type || (drop && drop(type)))
            continue;
        all[kept] = (lmbi_write_section){ type, file + lmbi_edge_u64(entry + 8), (size_t)lmbi_edge_u64(entry + 16) };
        for (int k = 0; k < n_own; k++)
            if (own[k].type == type) {
                all[kept] = own[k];
                placed[k] = 1;
            }
        kept++;
    }
    for (int k = 0; k < n_own; k++)
        if (!placed[k])
            all[kept++] = own[k];
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
    return lmbi_write_again(file, n, own, 2, NULL, out, why, why_cap);
}

lmb_edge_status lmb_edge_write_reference(const void *file, size_t n, const void *reference, size_t reference_bytes,
                                         lmb_edge_buffer *out, char *why, size_t why_cap)
{
    const lmbi_write_section own = { monitor_type, reference, reference_bytes };
    return lmbi_write_again(file, n, &own, 1, NULL, out, why, why_cap);
}

lmb_edge_status lmb_edge_write_lines(const void *file, size_t n, const char *lines, size_t bytes, lmb_edge_buffer *out,
                                     char *why, size_t why_cap)
{
    const lmbi_write_section own = { meta_type, lines, bytes };
    return lmbi_write_again(file, n, &own, 1, NULL, out, why, why_cap);
}
