/* comm/no_window.c - stands in for window.c in the client, which is always alone. */
#include "comm/window.h"

lmb_status lmb_window_open(lmb_comm *c, size_t floats, bool must, lmb_window **out, lmb_error *err)
{
    (void)c, (void)floats;
    *out = NULL;
    return must ? LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build has no shared memory between ranks") : LMB_OK;
}

void lmb_window_close(lmb_window *w) { (void)w; }
float *lmb_window_vector(const lmb_window *w) { return (void)w, NULL; }
bool lmb_window_one_node(const lmb_window *w) { return (void)w, true; }

lmb_status lmb_window_reduce(lmb_window *w, size_t at, size_t n, bool alert, lmb_combine combine, void *ctx,
                             lmb_error *err)
{
    (void)w, (void)at, (void)n, (void)alert, (void)combine, (void)ctx;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "this build has no shared memory between ranks");
}
