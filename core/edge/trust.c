/* core/edge/trust.c - a file is believed before it is read: signature, then content, then release. */
#include "core/edge/internal.h"

lmb_edge_status lmb_edge_verify(const void *file, size_t n, const lmb_edge_trust *trust, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    size_t signed_bytes, signature_bytes;
    const uint8_t *signature;
    lmb_edge_status s = lmb_edge_signature(file, n, &signed_bytes, &signature, &signature_bytes, why_text, why_cap);
    if (s != LMB_EDGE_OK)
        return s;
    if (!signature)
        return lmbi_edge_fail(&why, LMB_EDGE_E_UNTRUSTED, "the file is not signed");
    if (trust->verify(trust->ctx, (const uint8_t *)file, signed_bytes, signature, signature_bytes) != 1)
        return lmbi_edge_fail(&why, LMB_EDGE_E_UNTRUSTED, "no trusted key has signed these bytes");
    return LMB_EDGE_OK;
}

lmb_edge_status lmb_edge_open_trusted(const void *file, size_t n, const lmb_edge_trust *trust, lmb_edge_model *out,
                                      char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    lmb_edge_model m;
    lmb_edge_status s = lmb_edge_verify(file, n, trust, why_text, why_cap);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_open(file, n, &m, why_text, why_cap);
    if (s != LMB_EDGE_OK)
        return s;
    if (m.release < trust->minimum_release)
        return lmbi_edge_fail(&why, LMB_EDGE_E_OLD, "release %llu; %llu is the oldest allowed",
                              (unsigned long long)m.release, (unsigned long long)trust->minimum_release);
    *out = m;
    return LMB_EDGE_OK;
}
