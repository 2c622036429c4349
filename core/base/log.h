/* core/base/log.h - how library code speaks: through a listener that the caller hands in.
 *
 * Idea: a library never prints and keeps no global state, because many clients live in one process.
 * Whoever starts work passes a `const lmb_log *`; NULL is silence. Metrics are not log lines: they go
 * to train/metrics as JSON.
 */
#ifndef LMB_CORE_BASE_LOG_H
#define LMB_CORE_BASE_LOG_H

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { LMB_LOG_ERROR, LMB_LOG_WARN, LMB_LOG_INFO, LMB_LOG_DEBUG } lmb_log_level;

typedef struct lmb_log {
    void (*line)(void *ctx, lmb_log_level level, const char *subsystem, const char *text);
    void *ctx;
    lmb_log_level max_level; /* lines above it are not formatted */
} lmb_log;

/* Format one line (no newline needed) for the listener. Thread-safe if the listener is. */
void lmb_log_at(const lmb_log *log, lmb_log_level level, const char *subsystem, const char *fmt, ...)
    LMB_PRINTF(4, 5);

#ifdef __cplusplus
}
#endif
#endif
