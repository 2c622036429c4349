/* launch/compress_half.c - is half of the test part enough to decide by? See compress.h. */
#include "distill/search/paired.h"
#include "launch/compress.h"

lmb_status lmb_compress_half_check(const lmb_search_config *c, int64_t samples, lmb_error *err)
{
    lmb_budget b;

    LMB_TRY(lmb_search_budget(c, &b, err));
    double least = b.drop > 0 ? lmb_paired_least(b.drop, c->confidence) : 0;
    if ((double)samples >= least)
        return LMB_OK;
    return LMB_FAIL(
        err, LMB_E_ARG,
        "compress.held_out is test, and its %lld samples that decide, half of the test part, can not show with "
        "confidence %g that no more than %g %% is lost; that takes %.0f, a test part of %.0f (and ten times "
        "that to have a choice). Allow a larger accuracy_drop_max, or train a teacher without the samples of "
        "split.validation, which then decide by held_out: validation",
        (long long)samples, c->confidence, 100 * b.drop, least, 2 * least);
}
