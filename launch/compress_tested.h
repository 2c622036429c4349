/* launch/compress_tested.h - does the test part bear out what a search has decided by others? One sentence, without a
 * full stop.
 *
 *   p      the teacher in floats and the answer, on the same test samples
 *   may    the share that may be lost; below 0: as much as there is
 *   met    the search has found a point within all its limits
 */
#ifndef LMB_LAUNCH_COMPRESS_TESTED_H
#define LMB_LAUNCH_COMPRESS_TESTED_H

#include "core/base/str.h"
#include "distill/search/paired.h"

void lmb_compress_tested(const lmb_paired *p, double may, bool met, lmb_str *out);

#endif
