/* core/edge/monitor_file.h - the file of monitor.h in bytes, for those who write, check and read it. */
#ifndef LMB_CORE_EDGE_MONITOR_FILE_H
#define LMB_CORE_EDGE_MONITOR_FILE_H

#include "core/edge/monitor.h"

#define LMBI_MONITOR_MAGIC "\x89LMN\r\n\x1a\n"

enum {
    LMBI_MONITOR_HEAD_1 = 48, /* of version 1 */
    LMBI_MONITOR_HEAD = 56,
    LMBI_MONITOR_COUNTERS = 4 * (LMB_MONITOR_TIMES + LMB_MONITOR_MARGINS),
    LMBI_MONITOR_CHANNEL = 8 * (3 + LMB_MONITOR_BINS),
    LMBI_MONITOR_SAMPLE = 16
};

typedef struct lmbi_monitor_head {
    size_t bytes; /* counters follow */
    uint32_t channels, classes, looked, unsure, strange, model;
    uint64_t predictions, release;
} lmbi_monitor_head;

/* NULL: a whole file that does not contradict itself, and what it is of; else a sentence. */
const char *lmbi_monitor_check(const void *file, size_t n, lmbi_monitor_head *head);

#endif
