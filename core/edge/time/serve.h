/* core/edge/time/serve.h - a device that answers how long models take on it: what limbeck-time does with its standard
 * input and output. Questions and answers: frames.h. */
#ifndef LMB_CORE_EDGE_TIME_SERVE_H
#define LMB_CORE_EDGE_TIME_SERVE_H

#include "core/edge/time/frames.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A way for bytes, both ways. */
typedef struct lmb_edge_line {
    size_t (*read)(void *ctx, void *to, size_t n); /* n bytes; fewer: that was all */
    bool (*write)(void *ctx, const void *from, size_t n);
    void *ctx;
} lmb_edge_line;

/* Answer until no more is asked, which is true. false: what came is no question, which the other side has been told as
 * well, or nobody takes answers; `why` is a sentence without its full stop. */
bool lmb_edge_serve(const lmb_edge_line *line, char *why, size_t cap);

/* What this machine calls its board or processor, printable ASCII; never empty. */
void lmb_edge_processor(char name[LMB_FRAME_NAME]);

#ifdef __cplusplus
}
#endif
#endif
