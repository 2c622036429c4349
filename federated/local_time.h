/* federated/local_time.h - what a clock on the wall shows.
 *
 * libc's localtime_r reads a zone's rules with all of scanf, a tenth of a megabyte of a static client; quiet hours want
 * no more than the minute of the day. Zones come from where libc has them: the variable TZ, else /etc/localtime.
 *   source  RFC 8536 (TZif), POSIX.1-2017 base definitions §8.3 (TZ)
 */
#ifndef LMB_FEDERATED_LOCAL_TIME_H
#define LMB_FEDERATED_LOCAL_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Minutes since midnight in local time, at `now` seconds after 1970 began. UTC where there are no rules, or none that
 * can be read. */
int lmbi_local_minute(int64_t now);

/* Seconds that local time is ahead of UTC, by the bytes of a TZif file or by a rule as "CET-1CEST,M3.5.0,M10.5.0/3";
 * false if it is none. */
bool lmbi_offset_by_file(const uint8_t *file, size_t n, int64_t now, int64_t *offset);
bool lmbi_offset_by_rule(const char *rule, int64_t now, int64_t *offset);

#endif
