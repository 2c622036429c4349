/* launch/compress_tested.c - see compress_tested.h. */
#include "launch/compress_tested.h"

void lmb_compress_tested(const lmb_paired *p, double may, bool met, lmb_str *out)
{
    double drop = lmb_paired_drop(p), lo, hi;

    lmb_paired_interval(p, 0.95, &lo, &hi);
    lmb_str_addf(out,
                 "of %lld test samples, which had no say, %lld are lost and %lld won beside the teacher: %.2f points "
                 "(95 %% interval %.2f to %.2f)",
                 (long long)p->n, (long long)p->lost, (long long)p->won, 100 * drop, 100 * lo, 100 * hi);
    if (may < 0)
        return;
    lmb_str_addf(out, " where %.2f may be", 100 * may);
    if (met && drop <= may)
        lmb_str_add(out, ", which bears the decision out");
    else if (met)
        lmb_str_addf(out,
                     ", and that is more%s held-out samples that decide many times flatter. More of them, or a "
                     "compress.confidence nearer to 1, decide more strictly",
                     lo > may ? " than chance does:" : ": chance, or");
}
