/* core/base/text.h - text from outside, on its way to a log or a terminal.
 *
 * Names and sentences of peers, files and models are shown to people. A terminal obeys more than the first 32
 * characters: U+009B begins a sequence as ESC [ does (ECMA-48), U+2028 ends a line, and U+202E shows what follows
 * backwards.
 *   source  the Unicode standard, table 3-7 (well-formed UTF-8), UAX #9 (directional formatting characters)
 */
#ifndef LMB_CORE_BASE_TEXT_H
#define LMB_CORE_BASE_TEXT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the well-formed UTF-8 character at `p`, 0 when there is none. A NUL ends the text, and is one byte. */
size_t lmb_utf8_length(const char *p);
/* The same of a character that may be shown; 0 also for one that steers what shows it, and for the NUL. */
size_t lmb_text_length(const char *p);
/* Each byte of what may not be shown becomes '?'. */
void lmb_text_clean(char *s);

#ifdef __cplusplus
}
#endif
#endif
