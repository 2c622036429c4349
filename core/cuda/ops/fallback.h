/* core/cuda/ops/fallback.h - the kernel of our own that stands behind a library's, and the sentence that says which of
 * them runs. */
#ifndef LMB_CORE_CUDA_OPS_FALLBACK_H
#define LMB_CORE_CUDA_OPS_FALLBACK_H

#include <string.h>

#include "core/cuda/ops/grid.h"

namespace lmb {

struct fallback {
    const lmb_kernel *row;
    void *state = nullptr;
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *err)
    {
        return row->create(c, &state, scratch, err);
    }
    lmb_status run(const lmb_run *r, lmb_error *err) { return row->run(state, r, err); }
    ~fallback()
    {
        if (state)
            row->destroy(state);
    }
};

/* What is tried from the best to the plainest, and how each step ended. */
struct remarks {
    char text[900] = "";
    void append(const char *s) /* as much as there is room for */
    {
        size_t n = strlen(text), more = strlen(s), room = sizeof text - 1 - n;
        more = more < room ? more : room;
        memcpy(text + n, s, more);
        text[n + more] = 0;
    }
    void add(const char *step, const char *what)
    {
        append(*text ? "; " : "");
        append(step);
        append(*what ? ": " : "");
        append(what);
    }
    void clear() { text[0] = 0; }
};

} // namespace lmb

#endif
