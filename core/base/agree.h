/* core/base/agree.h - does a configuration that was stored agree with the one of now?
 *
 * Idea: what was stored has all keys that the program knew then, with their values. A newer program knows more keys.
 * One that is not in what was stored agrees if it is as nobody named it, which a marked dump says
 * (lmb_fields_dump_marked); a key that both have agrees if the values are the same, whatever the defaults were. Both are
 * YAML as lmb_fields_dump writes it: a key a line, nested by indentation, in the order of the rows.
 */
#ifndef LMB_CORE_BASE_AGREE_H
#define LMB_CORE_BASE_AGREE_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_AGREE_LINE = 80 };
typedef struct lmb_agree_lines { char had[LMB_AGREE_LINE], has[LMB_AGREE_LINE]; } lmb_agree_lines;

/*   here         a marked dump; `stored` may be one, too: its marks say nothing
 *   passed_over  a line, without indentation, that is no matter in either; may be NULL
 *   differ       on false: the lines in which they first differ, without indentation and marks; may be NULL */
bool lmb_agree(const char *stored, const char *here, bool (*passed_over)(const char *line), lmb_agree_lines *differ);

#ifdef __cplusplus
}
#endif
#endif
