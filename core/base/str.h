/* core/base/str.h - a growing text buffer.
 *
 * Idea: append, never check in between; a failed allocation sticks and shows once, at the end.
 *   lmb_str s = LMB_STR_INIT;  lmb_str_addf(&s, "x=%d", 3);  ... lmb_str_free(&s);
 */
#ifndef LMB_CORE_BASE_STR_H
#define LMB_CORE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_str {
    char *text; /* NUL-terminated, NULL while empty */
    size_t n, cap;
    bool failed; /* an allocation failed; further appends do nothing */
} lmb_str;
#define LMB_STR_INIT { NULL, 0, 0, false }

void lmb_str_add(lmb_str *s, const char *text);
void lmb_str_add_n(lmb_str *s, const void *bytes, size_t n);
void lmb_str_addf(lmb_str *s, const char *fmt, ...) LMB_PRINTF(2, 3);
/* A JSON string literal, quotes included; bytes that are not UTF-8 become U+FFFD. */
void lmb_str_add_json(lmb_str *s, const char *text);
/* A number as JSON: shortest text that reads back to the same double; null when not finite. */
void lmb_str_add_number(lmb_str *s, double v);
/* One more number of a JSON object: `, "key": v`. */
void lmb_str_add_member(lmb_str *s, const char *key, double v);
/* Text escaped for HTML. */
void lmb_str_add_html(lmb_str *s, const char *text);
void lmb_str_clear(lmb_str *s); /* keeps the memory */
void lmb_str_free(lmb_str *s);
/* LMB_OK, or E_NOMEM if any append failed. */
lmb_status lmb_str_check(const lmb_str *s, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
