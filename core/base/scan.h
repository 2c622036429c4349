/* core/base/scan.h - short texts read piece by piece.
 *
 * Idea: each call takes one piece off the front of *at, or says false and leaves *at alone. What sscanf and fnmatch can
 * do for us and no more: no locale, nothing that overflows, and a tenth of a megabyte less in a static program.
 *   const char *at = "12/20"; uint64_t i, k;
 *   good = lmb_scan_count(&at, 6, &i) && lmb_scan_char(&at, '/') && lmb_scan_count(&at, 6, &k) && !*at;
 */
#ifndef LMB_CORE_BASE_SCAN_H
#define LMB_CORE_BASE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A number of 1 to `digits` decimal digits; digits: at most 20. False for one of more digits, or beyond 64 bits. */
bool lmb_scan_count(const char **at, int digits, uint64_t *out);
/* 1 to cap - 1 bytes, as many as are of the set `letters`; false for more. */
bool lmb_scan_word(const char **at, const char *letters, char *out, size_t cap);
bool lmb_scan_char(const char **at, char c);
/* Whole text against a pattern as in a shell: * anything, ? any one byte, [a-cx] one of these, [!a-cx] none of them.
 * Everything else, a [ without its ] too, stands for itself. The time is at most length times length. */
bool lmb_matches(const char *pattern, const char *text);

#ifdef __cplusplus
}
#endif
#endif
